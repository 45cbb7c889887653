//! The log in files of its own: segments that are filled from the front, and one small file for
//! vote and markers.
//!
//! What makes it right, and where it is kept:
//!
//! 1. Every entry continues a chain of check values over all entries before it (`segment/frame.rs`).
//! 2. An entry says with which others it was synced. So what a crash cut short, and nobody was told
//!    about, is told apart from what was damaged later: the first is cut off and said, the second is
//!    an error (`segment/file.rs`, [`SegmentEngine::open`]).
//! 3. Vote and markers lie in two equal slots, written one after the other (`meta.rs`). One
//!    marker names an entry that was durable: nothing up to it is ever cut. It is renewed with the
//!    vote, with a sync at most every [`MARK_EVERY`], and when the engine is closed in order. A mark
//!    beside it is renewed with every sync, and survives the process, but not always a power cut.
//! 4. A segment is complete and synced before the next one gets its name; names are synced. Segments
//!    disappear from the end before a truncation cuts the one in the middle, and from the front only
//!    behind a synced purge marker.
//! 5. After an error nothing is written any more, not even when the engine is dropped.

mod file;
mod frame;

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Instant;

use self::file::{HEADER_BYTES, SegmentFile};
use self::frame::{Chain, FRAME_BYTES_MIN, PREFIX_BYTES};
use super::meta::{self, Durable, MARK_EVERY, Meta, MetaFile};
use super::{EngineError, LogBytes, LogEngine, LogRead, Options, Recovered, damaged, sync_dir};
use crate::durable;
use crate::failpoint::failpoint;
use crate::metrics;
use crate::record::{Position, Record};
use crate::space::synced;
use crate::types::Vote;
use crate::watchdog::start::Progress;

/// Size of a segment; an entry that is larger makes its own segment longer. In tests it is small, so
/// that all of them go from segment to segment.
pub(crate) const SEGMENT_BYTES: u64 = if cfg!(any(test, feature = "failpoints")) {
    64 * 1024
} else {
    8 * 1024 * 1024
};
/// Most bytes of entries between two syncs.
const GROUP_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes that are read from the disk at once, unless one entry has more.
const READ_BYTES_MAX: u64 = 1024 * 1024;

/// The engine.
pub(crate) struct SegmentEngine {
    dir: PathBuf,
    segment_bytes: u64,
    meta_file: MetaFile,
    meta: Meta,
    /// What the file says.
    saved: Meta,
    saved_at: Instant,
    segments: Segments,
    /// Files of purged segments that are still there.
    doomed: Vec<PathBuf>,
    /// Index of the next entry.
    next: u64,
    /// The last entry behind the purge marker, written or pending.
    last: Option<Position>,
    /// Check value behind the last entry.
    chain: Chain,
    /// Frames that are not written yet; they go to the last segment.
    pending: Vec<u8>,
    pending_offsets: Vec<u64>,
    /// Index of the first entry in `pending`.
    group: u64,
    /// Makes the file for the next segment.
    spare: Option<JoinHandle<io::Result<()>>>,
    /// Whether something failed, or is being written.
    broken: bool,
}

/// All segments that hold entries behind the purge marker, and the last one in any case. What is in
/// them is durable.
#[derive(Clone, Default)]
struct Segments(Arc<RwLock<Vec<SegmentFile>>>);

impl Segments {
    fn read(&self) -> RwLockReadGuard<'_, Vec<SegmentFile>> {
        // Nothing panics while it holds the lock.
        self.0.read().unwrap_or_else(|e| e.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<SegmentFile>> {
        self.0.write().unwrap_or_else(|e| e.into_inner())
    }
}

impl SegmentEngine {
    /// Opens or makes the log in `dir`, and checks every record in it.
    pub(super) fn open(dir: &Path, options: &Options) -> Result<(Self, Recovered), EngineError> {
        std::fs::create_dir_all(dir).map_err(EngineError::io("make", dir))?;
        let aside = dir.join(file::ASIDE);
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EngineError::io("remove", aside)(error));
            }
            _ => {}
        }
        // A process that died may have left names behind that are not durable yet.
        for dir in [Some(dir), dir.parent()].into_iter().flatten() {
            if !dir.as_os_str().is_empty() {
                sync_dir(dir).map_err(EngineError::io("sync", dir))?;
            }
        }
        let files = file::list(dir).map_err(EngineError::io("list", dir))?;
        let meta_path = dir.join(meta::FILE);
        let missing = |detail: &str| EngineError::Damaged {
            path: meta_path.clone(),
            detail: detail.to_owned(),
        };
        let (meta_file, meta) = match MetaFile::open(dir)? {
            Some(found) => found,
            None if files.is_empty() => (MetaFile::create(dir)?, Meta::default()),
            None => return Err(missing("the file is missing, but there are segments")),
        };
        let mut engine = Self {
            dir: dir.to_path_buf(),
            segment_bytes: options.segment_bytes,
            meta_file,
            meta,
            saved: meta,
            saved_at: Instant::now(),
            segments: Segments::default(),
            doomed: Vec::new(),
            next: 0,
            last: None,
            chain: Chain::START,
            pending: Vec::new(),
            pending_offsets: Vec::new(),
            group: 0,
            spare: None,
            broken: true,
        };
        let mut unfinished = None;
        if !files.is_empty() {
            unfinished = engine.load(files, &options.progress)?;
        } else if engine.meta_file.is_new() {
            engine
                .begin()
                .map_err(EngineError::io("make the first segment in", dir))?;
        } else {
            return Err(missing("it tells of segments, but there is none"));
        }
        engine.broken = false;
        let recovered = Recovered {
            purged: engine.meta.purged,
            last: engine.last.or(engine.meta.purged),
            vote: engine.meta.vote,
            committed: engine.meta.committed,
            unfinished,
        };
        Ok((engine, recovered))
    }

    /// Ends as a process that is killed does: without closing anything.
    #[cfg(test)]
    fn abandon(mut self) {
        self.broken = true;
    }

    /// Makes the first segment of all.
    fn begin(&mut self) -> io::Result<()> {
        let first = SegmentFile::create(&self.dir, 0, Chain::START, self.segment_bytes, false)?;
        self.segments.write().push(first);
        // From now on, no segments means that they were lost.
        self.meta_file.save(&self.meta)
    }

    /// Loads what is there. Gives the index of an entry at the end that was cut off.
    fn load(
        &mut self,
        files: Vec<(u64, PathBuf)>,
        progress: &Progress,
    ) -> Result<Option<u64>, EngineError> {
        let wanted = self.first_wanted();
        let durable = self
            .meta
            .durable
            .filter(|durable| durable.at.index >= wanted);
        // What lies wholly before the purge marker may be half removed, and is not looked at.
        let kept = files
            .partition_point(|(first, _)| *first <= wanted)
            .saturating_sub(1);
        let count = files.len();
        let mut before: Option<(u64, Chain)> = None;
        let mut last = self.meta.purged;
        let mut unfinished = None;
        for (nth, (first, path)) in files.into_iter().enumerate() {
            if nth < kept {
                self.doomed.push(path);
                continue;
            }
            let damage =
                |offset, index, detail| Err(EngineError::damaged_at(&path, offset, index, detail));
            let loaded =
                SegmentFile::load(&path, first, self.segment_bytes, last, durable.as_ref())?;
            let follows = before.map_or(first <= wanted, |(next, _)| first == next);
            if !follows {
                let next = before.map_or(wanted, |(next, _)| next);
                return damage(0, next, format!("the file begins with entry {first}"));
            }
            if before.is_some_and(|(_, chain)| chain != loaded.segment.chain_before) {
                let detail = "the file does not continue the one before it".to_owned();
                return damage(0, first, detail);
            }
            let (end, next) = (loaded.segment.end, loaded.segment.next());
            progress.made(next - first);
            if let Some(fault) = loaded.fault {
                if let Some(proof) = fault.proof {
                    let detail = format!(
                        "{}, and entry {proof} shows that it was once durable",
                        fault.detail
                    );
                    return damage(end, next, detail);
                }
                let marked = durable.is_some_and(|durable| durable.at.index >= next);
                if nth + 1 < count || marked {
                    let detail = format!("{}, and it was once durable", fault.detail);
                    return damage(end, next, detail);
                }
                tracing::warn!(
                    path = %path.display(),
                    offset = end,
                    log_index = next,
                    detail = fault.detail,
                    "the end of the log was never completely written; cut off"
                );
                SegmentFile::clear_behind(&loaded.segment.file, end, loaded.segment.capacity)
                    .map_err(EngineError::io("repair", &path))?;
                unfinished = Some(next);
            }
            if let Some(durable) = durable
                && nth + 1 == count
                && durable.at.index >= next
            {
                let detail = format!("it is missing, but entry {} was durable", durable.at.index);
                return damage(end, next, detail);
            }
            if nth + 1 == count {
                // What a process that died wrote may not be durable yet.
                let synced = durable::sync_data(&loaded.segment.file);
                synced.map_err(EngineError::io("sync", &path))?;
            }
            if loaded.last.is_some_and(|own| own.index >= wanted) {
                last = loaded.last;
            }
            self.chain = loaded.chain;
            self.next = next;
            before = Some((next, loaded.chain));
            self.segments.write().push(loaded.segment);
        }
        self.next = self.next.max(wanted);
        self.last = last.filter(|last| last.index >= wanted);
        Ok(unfinished)
    }

    /// The first index behind the purge marker.
    fn first_wanted(&self) -> u64 {
        self.meta.purged.map_or(0, |purged| purged.index + 1)
    }

    /// Runs something after whose failure nothing may be written any more.
    fn guarded<T>(&mut self, write: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        if self.broken {
            return Err(io::Error::other("the log failed before"));
        }
        self.broken = true;
        let result = write(self)?;
        self.broken = false;
        Ok(result)
    }

    /// Writes and syncs all pending frames.
    fn write_pending(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let (file, end) = self.current(|segment| (Arc::clone(&segment.file), segment.end))?;
        file.write_all_at(&self.pending, end)?;
        failpoint!("segment.append.written");
        synced(durable::sync_data(&file))?;
        failpoint!("segment.append.synced");
        let half_full = {
            let mut segments = self.segments.write();
            let segment = segments.last_mut().ok_or_else(no_segment)?;
            segment.offsets.append(&mut self.pending_offsets);
            segment.end += self.pending.len() as u64;
            segment.end * 2 > segment.capacity
        };
        self.pending.clear();
        if half_full && self.spare.is_none() {
            let (aside, bytes) = (self.dir.join(file::ASIDE), self.segment_bytes);
            if regency_runtime::simulated() {
                // Without a spare, the next one is made when it is needed.
                metrics::synced(begun.elapsed());
                return Ok(());
            }
            let thread = std::thread::Builder::new().name("raft-log-spare".to_owned());
            self.spare = Some(thread.spawn(move || file::prepare(&aside, bytes))?);
        }
        metrics::synced(begun.elapsed());
        Ok(())
    }

    fn current<T>(&self, look: impl FnOnce(&SegmentFile) -> T) -> io::Result<T> {
        self.segments.read().last().map(look).ok_or_else(no_segment)
    }

    /// Writes vote and markers, all entries being written.
    fn save_meta(&mut self) -> io::Result<()> {
        self.meta.durable = self.last.map(|at| Durable {
            at,
            chain: self.chain.0,
        });
        if self.meta != self.saved || self.meta_file.is_marked() {
            self.meta_file.save(&self.meta)?;
            self.saved = self.meta;
        }
        self.saved_at = Instant::now();
        Ok(())
    }

    fn push(&mut self, record: &Record) -> io::Result<()> {
        let index = record.at.index;
        if index != self.next || !record.kind.is_entry() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{:?} {index} where entry {} is expected",
                    record.kind, self.next
                ),
            ));
        }
        let bytes = frame::encoded_bytes(record) as u64;
        let (next, end, capacity) =
            self.current(|segment| (segment.next(), segment.end, segment.capacity))?;
        let next = next + self.pending_offsets.len() as u64;
        let mut at = end + self.pending.len() as u64;
        // A segment without entries takes an entry of any size.
        if next != index || (at > HEADER_BYTES as u64 && at + bytes > capacity) {
            self.write_pending()?;
            self.roll(index)?;
            at = HEADER_BYTES as u64;
        }
        if self.pending.is_empty() {
            self.group = index;
        }
        self.pending_offsets.push(at);
        self.chain = frame::encode(&mut self.pending, self.chain, self.group, record);
        self.last = Some(record.at);
        self.next = index + 1;
        Ok(())
    }

    /// Goes on in a new segment that begins with entry `first`.
    fn roll(&mut self, first: u64) -> io::Result<()> {
        let prepared = match self.spare.take().map(JoinHandle::join) {
            Some(Ok(Ok(()))) => true,
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(_)) | None => false,
        };
        let segment =
            SegmentFile::create(&self.dir, first, self.chain, self.segment_bytes, prepared)?;
        self.segments.write().push(segment);
        self.retire();
        Ok(())
    }

    /// Gives up the segments that lie wholly before the purge marker.
    fn retire(&mut self) {
        let wanted = self.first_wanted();
        let mut segments = self.segments.write();
        while segments.get(1).is_some_and(|next| next.first <= wanted) {
            self.doomed.push(segments.remove(0).path);
        }
    }

    /// Position of entry `index` and the check value behind it, when it is there.
    fn look_at(&self, index: u64) -> io::Result<Option<(Position, Chain)>> {
        let found = {
            let segments = self.segments.read();
            segments
                .iter()
                .find_map(|s| Some((Arc::clone(&s.file), s.span(index)?.0)))
        };
        let Some((file, offset)) = found else {
            return Ok(None);
        };
        let mut head = [0; FRAME_BYTES_MIN];
        file.read_exact_at(&mut head, offset)?;
        let at = Record::position(&head[PREFIX_BYTES..]);
        if at.index != index {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("entry {index} is that of {at:?}"),
            ));
        }
        Ok(Some((at, frame::claimed_chain(&head))))
    }

    fn cut(&mut self, index: u64) -> io::Result<()> {
        self.write_pending()?;
        if index >= self.next {
            return Ok(());
        }
        let wanted = self.first_wanted();
        if index < wanted {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("entry {index} was purged and cannot be truncated"),
            ));
        }
        let before = index
            .checked_sub(1)
            .map_or(Ok(None), |before| self.look_at(before))?;
        let (removed, file, end, capacity, chain) = {
            let mut segments = self.segments.write();
            let kept = segments.partition_point(|segment| segment.first <= index);
            let removed = segments.split_off(kept);
            let segment = segments.last_mut().ok_or_else(no_segment)?;
            if let Some((offset, _)) = segment.span(index) {
                segment.end = offset;
                segment
                    .offsets
                    .truncate(usize::try_from(index - segment.first).unwrap_or(usize::MAX));
            }
            let chain = before.map_or(segment.chain_before, |(_, chain)| chain);
            (
                removed,
                Arc::clone(&segment.file),
                segment.end,
                segment.capacity,
                chain,
            )
        };
        self.chain = chain;
        self.next = index;
        self.last = before.map(|(at, _)| at).filter(|at| at.index >= wanted);
        // First of all the marker goes back: what follows takes entries away on purpose.
        self.save_meta()?;
        failpoint!("segment.truncate.marked");
        for segment in removed.iter().rev() {
            std::fs::remove_file(&segment.path)?;
            failpoint!("segment.truncate.removed");
            sync_dir(&self.dir)?;
        }
        SegmentFile::clear_behind(&file, end, capacity)
    }
}

impl LogEngine for SegmentEngine {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.guarded(|engine| records.iter().try_for_each(|record| engine.push(record)))
    }

    /// Durable on return, so that no entry of a term is durable before the vote for it.
    fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.guarded(|engine| {
            engine.write_pending()?;
            engine.meta.vote = Some(*vote);
            engine.save_meta()
        })
    }

    fn save_committed(&mut self, at: Position) -> io::Result<()> {
        self.meta.committed = Some(at);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.guarded(|engine| {
            let written = !engine.pending.is_empty();
            engine.write_pending()?;
            if engine.saved_at.elapsed() >= MARK_EVERY {
                return engine.save_meta();
            }
            match engine.last {
                Some(at) if written => engine.meta_file.mark(&Durable {
                    at,
                    chain: engine.chain.0,
                }),
                _ => Ok(()),
            }
        })
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.guarded(|engine| engine.cut(index))
    }

    fn purge_upto(&mut self, at: Position) -> io::Result<()> {
        self.guarded(|engine| {
            engine.write_pending()?;
            if at.index < engine.first_wanted() {
                return Ok(());
            }
            engine.meta.purged = Some(at);
            engine.next = engine.next.max(at.index + 1);
            engine.last = engine.last.filter(|last| last.index > at.index);
            engine.save_meta()?;
            engine.retire();
            Ok(())
        })
    }

    fn tidy(&mut self) -> io::Result<bool> {
        self.guarded(|engine| {
            if let Some(path) = engine.doomed.pop() {
                std::fs::remove_file(path)?;
                failpoint!("segment.purge.removed");
                sync_dir(&engine.dir)?;
            }
            Ok(!engine.doomed.is_empty())
        })
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        Arc::new(SegmentReader(self.segments.clone()))
    }

    fn bytes(&self) -> io::Result<LogBytes> {
        let wanted = self.first_wanted();
        let segments = self.segments.read();
        Ok(LogBytes {
            disk: segments.iter().map(|segment| segment.capacity).sum(),
            live: segments
                .iter()
                .map(|segment| {
                    let first = segment.first.max(wanted);
                    segment
                        .span(first)
                        .map_or(0, |(start, _)| segment.end - start)
                })
                .sum(),
        })
    }

    fn group_bytes_max(&self) -> usize {
        GROUP_BYTES_MAX
    }
}

impl Drop for SegmentEngine {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take()
            && !matches!(spare.join(), Ok(Ok(())))
        {
            tracing::warn!("the file for the next segment could not be made");
        }
        // A simulated process never ends in order.
        if self.broken || regency_runtime::simulated() {
            return;
        }
        let closed = self.guarded(|engine| {
            engine.write_pending()?;
            engine.save_meta()
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the log could not be closed in order");
        }
    }
}

fn no_segment() -> io::Error {
    io::Error::other("the log has no segment")
}

struct SegmentReader(Segments);

impl LogRead for SegmentReader {
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let mut index = range.start;
        loop {
            // The lock is not held while the disk is read.
            let (file, path, spans) = {
                let segments = self.0.read();
                let nth = segments.partition_point(|segment| segment.next() <= index);
                let Some(segment) = segments.get(nth) else {
                    return Ok(records);
                };
                index = index.max(segment.first);
                let mut spans = Vec::new();
                for (at, span) in (index..range.end).map_while(|at| Some((at, segment.span(at)?))) {
                    let from = spans.first().map_or(span.0, |(_, (start, _))| *start);
                    if !spans.is_empty() && span.1 - from > READ_BYTES_MAX {
                        break;
                    }
                    spans.push((at, span));
                }
                (Arc::clone(&segment.file), segment.path.clone(), spans)
            };
            let (Some((_, (from, _))), Some((_, (_, to)))) = (spans.first(), spans.last()) else {
                return Ok(records);
            };
            let mut buffer = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
            file.read_exact_at(&mut buffer, *from)?;
            for (at, (start, end)) in &spans {
                let frame = &buffer[(start - from) as usize..(end - from) as usize];
                let place = || format!("entry {at} in {} at offset {start}", path.display());
                let record = frame.get(PREFIX_BYTES..).unwrap_or_default();
                let record = Record::decode(record).map_err(|e| damaged(place(), e))?;
                if record.at.index != *at {
                    let text = format!("{} is that of {:?}", place(), record.at);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                bytes += record.payload.len();
                if bytes > bytes_max && !records.is_empty() {
                    return Ok(records);
                }
                records.push(record);
                index = at + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
