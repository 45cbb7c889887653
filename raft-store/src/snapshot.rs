//! Snapshots: plain files, written aside, synced, and renamed into place.
//!
//! What is in a file is the business of `format`; what one can say about a file
//! without a master, of `facts`; those on their way to other masters are held by `outgoing`, those on
//! their way in by `receive`. More than one is kept by default, so that one damaged file does not cost
//! a master its place.

mod facts;
mod format;
mod outgoing;
mod progress;
mod receive;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use regency_state::State;
use regency_types::ClusterId;

use crate::durable;
use crate::failpoint::failpoint;
use crate::members::former::Former;
use crate::metrics;
use crate::space::{Space, synced};
use crate::types::{LogId, SnapshotMeta};

pub(crate) use facts::verified;
pub use facts::{SnapshotFacts, SnapshotMember, inspect_snapshot, verify_snapshot};
pub(crate) use format::load;
pub(crate) use outgoing::{Outgoing, Transfer};
pub use progress::SnapshotProgress;
pub(crate) use progress::Steps;
pub(crate) use receive::{Announced, ReceiveError};

use self::receive::Incoming;

/// Snapshots that stay on disk when nobody says how many.
pub(crate) const KEEP: usize = 2;

const SUFFIX: &str = "snapshot";
const ASIDE: &str = "writing";

/// Why a snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
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
    /// The content is not what was written.
    #[error("snapshot {path} is damaged: {detail}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// It was written by a newer program.
    #[error(
        "snapshot {path} needs a program that reads format {needs}, this one reads format \
         {reads}; upgrade this program"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// What it needs.
        needs: u32,
        /// What this program reads.
        reads: u32,
    },
    /// The state in it is that of a newer program.
    #[error("snapshot {path} was written by a newer program ({detail}); upgrade this program")]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// What this program does not know.
        detail: String,
    },
    /// It is whole, and its state breaks a rule of the state machine.
    #[error("the state in snapshot {path} breaks a rule: {detail}")]
    BrokenRule {
        /// The file.
        path: PathBuf,
        /// Which rule, and what breaks it.
        detail: String,
    },
    /// It is of another cluster.
    #[error("snapshot {path} is of cluster {found}, this master belongs to cluster {expected}")]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        let kind = match &error {
            SnapshotError::Io { source, .. } => source.kind(),
            SnapshotError::Damaged { .. }
            | SnapshotError::TooNew { .. }
            | SnapshotError::NotUnderstood { .. }
            | SnapshotError::BrokenRule { .. }
            | SnapshotError::OtherCluster { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_path_buf();
    move |source| SnapshotError::Io {
        action,
        path,
        source,
    }
}

/// An open snapshot file. Stays readable when the file is removed meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    path: Arc<Path>,
    file: Arc<File>,
    bytes: u64,
    /// Digest of the whole file, once somebody asked for it.
    digest: Arc<Mutex<Option<u128>>>,
}

impl SnapshotFile {
    pub(crate) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let bytes = file.metadata().map_err(io_error("look at", path))?.len();
        Ok(Self {
            path: Arc::from(path),
            file: Arc::new(file),
            bytes,
            digest: Arc::default(),
        })
    }

    /// The same file under a new name.
    fn at(mut self, path: &Path) -> Self {
        self.path = Arc::from(path);
        self
    }

    /// Digest of the whole file, after it was checked against its own checksums. Files with the same
    /// digest are the same on all masters. Reads all of it the first time.
    pub(crate) fn digest(&self) -> Result<u128, SnapshotError> {
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(digest) = *digest {
            return Ok(digest);
        }
        let found = format::checked_digest(self)?;
        *digest = Some(found);
        Ok(found)
    }

    /// Has the next [`Self::digest`] read the file again.
    pub(crate) fn forget_digest(&self) {
        *self.digest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Up to `len` bytes from `offset` on; fewer only at the end.
    pub(crate) fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let len = len.min(usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(len));
        let mut buffer = vec![0; len];
        self.file.read_exact_at(&mut buffer, offset)?;
        Ok(buffer.into())
    }
}

/// A snapshot in memory.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) meta: SnapshotMeta,
    pub(crate) former: Former,
    pub(crate) state: State,
}

/// The directory of snapshots. All methods block on the disk.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotStore {
    dir: Arc<Path>,
    version: Arc<str>,
    space: Option<Arc<Space>>,
    keep: usize,
    incoming: Arc<Incoming>,
}

impl SnapshotStore {
    /// Opens the directory; removes what an interrupted write left, and what was received for nothing.
    pub(crate) fn open(dir: &Path, version: &str) -> Result<Self, SnapshotError> {
        std::fs::create_dir_all(dir).map_err(io_error("make", dir))?;
        for entry in std::fs::read_dir(dir).map_err(io_error("list", dir))? {
            let path = entry.map_err(io_error("list", dir))?.path();
            if path.extension().is_some_and(|ext| ext == ASIDE) {
                std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            }
        }
        let store = Self {
            version: Arc::from(version),
            ..Self::look(dir)
        };
        store.settle_received()?;
        Ok(store)
    }

    /// Those of a directory as they are: nothing is removed from it.
    pub(crate) fn look(dir: &Path) -> Self {
        Self {
            dir: Arc::from(dir),
            version: Arc::from(""),
            space: None,
            keep: KEEP,
            incoming: Arc::default(),
        }
    }

    /// The same, but with so many snapshots kept; at least 1.
    pub(crate) fn keeping(mut self, snapshots: usize) -> Self {
        self.keep = snapshots.max(1);
        self
    }

    /// The same, but what finds no room on the disk waits for it.
    pub(crate) fn with_space(mut self, space: Arc<Space>) -> Self {
        self.space = Some(space);
        self
    }

    /// Does something that may have to wait for room.
    pub(crate) fn when_room<T>(
        &self,
        what: &str,
        mut work: impl FnMut() -> Result<T, SnapshotError>,
    ) -> io::Result<T> {
        match &self.space {
            Some(space) => space.when_room(what, work),
            None => Ok(work()?),
        }
    }

    /// As [`Self::write_descended`], without parents, when there is room.
    #[cfg(test)]
    pub(crate) fn write(
        &self,
        cluster: ClusterId,
        meta: &SnapshotMeta,
        former: &Former,
        state: &State,
    ) -> io::Result<SnapshotFile> {
        self.when_room("write a snapshot", || {
            self.write_descended(cluster, &[], meta, former, state)
        })
    }

    /// Writes a snapshot, of a state that may still be that of one of `parents`; durable on return.
    pub(crate) fn write_descended(
        &self,
        cluster: ClusterId,
        parents: &[ClusterId],
        meta: &SnapshotMeta,
        former: &Former,
        state: &State,
    ) -> Result<SnapshotFile, SnapshotError> {
        let parent = state.cluster().filter(|other| parents.contains(other));
        let begun = Instant::now();
        let path = self.path_of(meta.last_log_id.as_ref());
        let aside = path.with_extension(ASIDE);
        let mut file = File::create(&aside).map_err(io_error("make", &aside))?;
        failpoint!("snapshot.write.begun");
        let written = format::write(
            &mut file,
            cluster,
            parent,
            meta,
            former,
            state,
            &self.version,
        )
        .and_then(|()| {
            failpoint!("snapshot.write.written");
            synced(durable::sync_all(&file))
        });
        if let Err(error) = written {
            // Half a file takes room from others. The next start removes what this leaves.
            let _ = std::fs::remove_file(&aside);
            return Err(io_error("write", &aside)(error));
        }
        failpoint!("snapshot.write.synced");
        // Before its name can be gone again: a newer one may have been installed meanwhile.
        let written = SnapshotFile::open(&aside)?;
        self.put_in_place(&aside, &path)?;
        let written = written.at(&path);
        metrics::snapshot_written(begun.elapsed(), written.bytes());
        Ok(written)
    }

    /// The newest snapshot that is whole. Damaged ones are logged and passed over; the caller
    /// must check that the log reaches back far enough for what is left.
    pub(crate) fn load_newest(
        &self,
        cluster: Option<ClusterId>,
    ) -> Result<Option<(Loaded, SnapshotFile)>, SnapshotError> {
        for path in self.files()?.iter().rev() {
            let file = SnapshotFile::open(path)?;
            match load(&file, cluster) {
                Ok(loaded) => return Ok(Some((loaded, file))),
                Err(SnapshotError::Damaged { path, detail }) => {
                    tracing::error!(path = %path.display(), detail, "a snapshot is damaged");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Makes a received snapshot one of ours.
    pub(crate) fn adopt(
        &self,
        received: &SnapshotFile,
        last: Option<&LogId>,
    ) -> io::Result<SnapshotFile> {
        let path = self.path_of(last);
        if received.path.as_ref() != path {
            self.when_room("install a snapshot", || {
                self.put_in_place(&received.path, &path)
            })?;
        }
        Ok(received.clone().at(&path))
    }

    fn put_in_place(&self, aside: &Path, path: &Path) -> Result<(), SnapshotError> {
        std::fs::rename(aside, path).map_err(io_error("replace", path))?;
        failpoint!("snapshot.renamed");
        self.sync_dir()?;
        failpoint!("snapshot.placed");
        let files = self.files()?;
        for old in files.iter().rev().skip(self.keep) {
            std::fs::remove_file(old).map_err(io_error("remove", old))?;
            failpoint!("snapshot.old.removed");
        }
        self.forget_received()
    }

    fn sync_dir(&self) -> Result<(), SnapshotError> {
        File::open(&self.dir)
            .and_then(|dir| synced(durable::sync_all(&dir)))
            .map_err(io_error("sync", &self.dir))
    }

    fn path_of(&self, last: Option<&LogId>) -> PathBuf {
        let (index, term) = last.map_or((0, 0), |last| (last.index, last.leader_id.term));
        // The name sorts by index.
        self.dir.join(format!("{index:020}-{term:020}.{SUFFIX}"))
    }

    /// All snapshots, the oldest first.
    fn files(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        self.with_extension(SUFFIX)
    }

    /// Files of a kind, by name.
    fn with_extension(&self, wanted: &str) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))? {
            let path = entry.map_err(io_error("list", &self.dir))?.path();
            if path.extension().is_some_and(|ext| ext == wanted) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

#[cfg(test)]
mod tests;
