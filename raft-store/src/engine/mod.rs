//! The one door through which everything durable passes, and what lies behind it.

mod ahead;
mod meta;
pub(crate) mod segment;
pub(crate) mod sled;
mod witness;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use self::sled::RebuildWhen;
use crate::config::EngineKind;
use crate::durable;
use crate::record::{Position, Record, RecordError};
use crate::space::synced;
use crate::types::Vote;
use crate::watchdog::start::Progress;

/// Keeps log, vote and commit index on disk.
///
/// One thread owns it. Writes happen in the order of the calls; nothing later may be durable
/// before something earlier. An error from any method means that the disk can no longer be
/// believed: the caller must stop and never call the engine again.
pub(crate) trait LogEngine: Send + 'static {
    /// Adds entries at the end. Certainly durable only after [`Self::sync`]; an engine may make
    /// them durable earlier.
    fn append(&mut self, records: &[Record]) -> io::Result<()>;

    /// Replaces the vote. Durable after [`Self::sync`].
    fn save_vote(&mut self, vote: &Vote) -> io::Result<()>;

    /// Notes what is committed. Need not become durable before the next [`Self::sync`]; its loss
    /// only makes a restart slower.
    fn save_committed(&mut self, at: Position) -> io::Result<()>;

    /// Makes everything so far durable.
    fn sync(&mut self) -> io::Result<()>;

    /// Removes all entries from `index` on, the last one first. Durable on return, as is
    /// everything before it.
    fn truncate_from(&mut self, index: u64) -> io::Result<()>;

    /// Removes all entries up to `at`, which may lie beyond the last one. That they are gone is
    /// durable on return, as is everything before it; their space is given back by
    /// [`Self::tidy`].
    fn purge_upto(&mut self, at: Position) -> io::Result<()>;

    /// Does a small bounded piece of work that can wait. `true` when there is more.
    fn tidy(&mut self) -> io::Result<bool>;

    /// Reads what was made durable, from any thread.
    fn reader(&self) -> Arc<dyn LogRead>;

    /// What the log takes on the disk, and what is in it.
    fn bytes(&self) -> io::Result<LogBytes>;

    /// After about this many bytes of appends the writer should sync.
    fn group_bytes_max(&self) -> usize;
}

/// Size of a log in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogBytes {
    /// Of its files.
    pub(crate) disk: u64,
    /// Of the entries that were not purged.
    pub(crate) live: u64,
}

/// What an engine can be told.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Size of a segment file.
    pub(crate) segment_bytes: u64,
    /// When a sled database is replaced by a smaller one.
    pub(crate) rebuild: RebuildWhen,
    /// Told what was read when the log is opened.
    pub(crate) progress: Progress,
}

impl Default for Options {
    fn default() -> Self {
        #[cfg(not(feature = "simulation"))]
        let segment_bytes = segment::SEGMENT_BYTES;
        #[cfg(feature = "simulation")]
        let segment_bytes = crate::simulation::segment_bytes();
        Self {
            segment_bytes,
            rebuild: RebuildWhen::NEVER,
            progress: Progress::UNWATCHED,
        }
    }
}

/// Reads durable entries.
pub(crate) trait LogRead: Send + Sync + 'static {
    /// The entries with these indexes, in order, as far as they exist; at least one of them, and
    /// no further one after `bytes_max` bytes of payload.
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Record>>;
}

/// What an engine found when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    pub(crate) purged: Option<Position>,
    /// The last entry; the purged position when there is none behind it.
    pub(crate) last: Option<Position>,
    pub(crate) vote: Option<Vote>,
    pub(crate) committed: Option<Position>,
    /// Index of an entry at the end that was never completely written, and so never acknowledged
    /// to anybody. It was removed.
    pub(crate) unfinished: Option<u64>,
}

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk or file system failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database says that its files are damaged, or could not even say it.
    #[error(
        "the log in {path} is damaged ({detail}); this master must not vote with it: remove it \
         from the cluster, move its data directory aside, and add it as a new master under a \
         node id never used before"
    )]
    Damaged {
        /// Directory of the log.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// An entry is not what was written.
    #[error(
        "the log is damaged: entry {index} in {file} at offset {offset}: {detail}; this master must \
         not vote with it: remove it from the cluster, move its data directory aside, and add it as \
         a new master with an empty directory, under a node id never used before"
    )]
    DamagedAt {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// Index of the entry.
        index: u64,
        /// What is wrong.
        detail: String,
    },
}

/// Opens or makes the log in `dir` and checks every record in it.
pub(crate) fn open(
    kind: EngineKind,
    dir: &Path,
) -> Result<(Box<dyn LogEngine>, Recovered), EngineError> {
    open_with(kind, dir, &Options::default())
}

/// The same, with other options than usual.
pub(crate) fn open_with(
    kind: EngineKind,
    dir: &Path,
    options: &Options,
) -> Result<(Box<dyn LogEngine>, Recovered), EngineError> {
    refuse_other_engine(kind, dir)?;
    let (engine, recovered): (Box<dyn LogEngine>, _) = match kind {
        EngineKind::Sled => {
            let (engine, recovered) = sled::SledEngine::open(dir, options)?;
            let engine = witness::Witnessed::open(&dir.join("witness"), engine, &recovered)?;
            (Box::new(engine), recovered)
        }
        EngineKind::Segment => {
            let (engine, recovered) = segment::SegmentEngine::open(dir, options)?;
            (Box::new(engine), recovered)
        }
    };
    if let Some(index) = recovered.unfinished {
        crate::metrics::log_repaired("tail");
        tracing::warn!(
            log_index = index,
            "removed an entry that a crash left incomplete; nobody was told about it"
        );
    }
    Ok((engine, recovered))
}

/// An engine that sees no files of its own takes the log for new; it must not see those of another.
fn refuse_other_engine(kind: EngineKind, dir: &Path) -> Result<(), EngineError> {
    let (other, names): (_, &[&str]) = match kind {
        EngineKind::Sled => (EngineKind::Segment, &[meta::FILE]),
        EngineKind::Segment => (EngineKind::Sled, &["witness", "conf"]),
    };
    match names.iter().find(|name| dir.join(name).exists()) {
        None => Ok(()),
        Some(name) => Err(EngineError::Damaged {
            path: dir.to_path_buf(),
            detail: format!("'{name}' in it belongs to the engine '{other}', not to '{kind}'"),
        }),
    }
}

impl EngineError {
    /// The same about files that were copied from `original` to `copy`.
    pub(crate) fn elsewhere(mut self, copy: &Path, original: &Path) -> Self {
        let (Self::Io { path, .. }
        | Self::Damaged { path, .. }
        | Self::DamagedAt { file: path, .. }) = &mut self;
        if let Ok(rest) = path.strip_prefix(copy) {
            *path = original.join(rest);
        }
        self
    }

    fn damaged_at(file: &Path, offset: u64, index: u64, detail: String) -> Self {
        Self::DamagedAt {
            file: file.to_path_buf(),
            offset,
            index,
            detail,
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// Makes created, renamed and removed names durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    synced(durable::sync_all(&std::fs::File::open(dir)?))
}

/// A fault within what an engine holds, as an I/O error for the library.
pub(crate) fn damaged(what: impl std::fmt::Display, error: RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {error}"))
}

#[cfg(test)]
mod flip_tests;
#[cfg(test)]
mod tests;
