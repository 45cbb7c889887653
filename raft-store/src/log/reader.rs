//! Reading entries, from memory where they are there.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::watch;

use super::memory::{Log, payload_bytes};
use super::read_ahead::{ReadAhead, Wanted};
use super::{LogBounds, stopped};
use crate::disk::DiskWatch;
use crate::engine::LogRead;
use crate::types::{Entry, TypeConfig, Vote};

/// What the store, its readers and its writer thread share.
pub(super) struct Shared {
    pub(super) log: RwLock<Log>,
    /// `None` while the log is opened again.
    pub(super) disk: watch::Sender<Option<Arc<dyn LogRead>>>,
    pub(super) bounds: LogBounds,
    pub(super) watch: Arc<DiskWatch>,
}

impl Shared {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Log> {
        // Nothing panics while it holds the lock; if it did, the log itself would still be whole.
        self.log.read().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(|e| e.into_inner())
    }

    /// Where the entries of `range` are, as far as they exist.
    fn find(&self, range: &Range<u64>, bytes_max: usize) -> Found {
        let log = self.read();
        let start = range.start.max(log.first_index());
        let end = range.end.min(log.next_index()).max(start);
        let cached = start.max(log.cached_from).min(end)..end;
        let on_disk = start..end.min(log.cached_from).max(start);
        let mut entries = Vec::new();
        // A bounded reader of the disk comes again for the rest; an unbounded one gets all at once.
        if on_disk.is_empty() || bytes_max == usize::MAX {
            entries.reserve((cached.end - cached.start) as usize);
            let mut bytes = 0;
            for index in cached {
                let entry = &log.cache[(index - log.cached_from) as usize];
                bytes += payload_bytes(entry);
                if bytes > bytes_max && !entries.is_empty() {
                    break;
                }
                entries.push(entry.clone());
            }
        }
        Found {
            cached: entries,
            on_disk: Wanted {
                range: on_disk,
                until: log.cached_from,
                bytes_max,
                removals: log.removals,
            },
        }
    }

    /// The disk, once it is open.
    async fn disk(&self) -> io::Result<Arc<dyn LogRead>> {
        let mut opened = self.disk.subscribe();
        match opened.wait_for(Option::is_some).await {
            Ok(disk) => disk.clone().ok_or_else(stopped),
            Err(_) => Err(stopped()),
        }
    }
}

/// Entries in memory, and those before them, on the disk.
struct Found {
    cached: Vec<Entry>,
    on_disk: Wanted,
}

fn to_range(bounds: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match bounds.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match bounds.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

/// Reads the log; one per task that does.
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    ahead: ReadAhead,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            ahead: ReadAhead::default(),
        }
    }

    /// The entries of `range` that exist, in order; at most `bytes_max` bytes, but at least one
    /// entry.
    async fn entries(&mut self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        loop {
            let Found {
                mut cached,
                on_disk: wanted,
            } = self.shared.find(&range, bytes_max);
            if wanted.range.is_empty() {
                return Ok(cached);
            }
            let disk = self.shared.disk().await?;
            let read = self.ahead.read(&disk, &wanted).await;
            if self.shared.read().removals != wanted.removals {
                // What was read, or could not be, may have been removed under our hands: look again.
                continue;
            }
            let mut all = read?;
            let Range { start, end } = wanted.range;
            let complete = bytes_max != usize::MAX || all.len() as u64 == end - start;
            let contiguous = all
                .iter()
                .zip(start..)
                .all(|(entry, index)| entry.log_id.index == index);
            if !complete || !contiguous || all.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the log on disk has a hole in {start}..{end}"),
                ));
            }
            all.append(&mut cached);
            return Ok(all);
        }
    }
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.entries(to_range(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let bytes_max = self.shared.bounds.append_bytes_max;
        self.entries(start..end, bytes_max).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.shared.read().vote)
    }
}
