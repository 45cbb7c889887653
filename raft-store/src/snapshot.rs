//! Snapshots: plain files, written aside, synced, and renamed into place.
//!
//! A file is: magic (8 bytes), format version (4), least reader version (4), length of the header
//! (4), CRC-32 of the header (4), the header (a `SnapshotHeader` message), the body (the state in
//! its stored form). Numbers are big-endian. The newest two are kept, so that one damaged file
//! does not cost a master its place.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_state::State;
use regency_types::ClusterId;

use crate::convert;
use crate::metrics;
use crate::types::{LogId, SnapshotMeta};

const MAGIC: [u8; 8] = *b"RGNCYSNP";
/// Version that is written.
const FORMAT: u32 = 1;
/// Oldest program version that can read what is written, in terms of [`FORMAT`].
const READER_MIN: u32 = 1;
const PREFIX_BYTES: usize = 24;
/// A header is a membership and a few numbers.
const HEADER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Snapshots that stay on disk.
const KEEP: usize = 2;

const SUFFIX: &str = "snapshot";
const ASIDE: &str = "writing";
const RECEIVED: &str = "received";

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
         {FORMAT}; upgrade this master"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// What it needs.
        needs: u32,
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
}

impl SnapshotFile {
    pub(crate) fn open(path: &Path) -> Result<Self, SnapshotError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let bytes = file.metadata().map_err(io_error("look at", path))?.len();
        Ok(Self {
            path: Arc::from(path),
            file: Arc::new(file),
            bytes,
        })
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
    pub(crate) state: State,
}

/// The directory of snapshots. All methods block on the disk.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotStore {
    dir: Arc<Path>,
    version: Arc<str>,
}

impl SnapshotStore {
    /// Opens the directory; removes what an interrupted write left.
    pub(crate) fn open(dir: &Path, version: &str) -> Result<Self, SnapshotError> {
        std::fs::create_dir_all(dir).map_err(io_error("make", dir))?;
        for entry in std::fs::read_dir(dir).map_err(io_error("list", dir))? {
            let path = entry.map_err(io_error("list", dir))?.path();
            if path
                .extension()
                .is_some_and(|ext| ext == ASIDE || ext == RECEIVED)
            {
                std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok(Self {
            dir: Arc::from(dir),
            version: Arc::from(version),
        })
    }

    /// Writes a snapshot; durable on return.
    pub(crate) fn write(
        &self,
        cluster: ClusterId,
        meta: &SnapshotMeta,
        state: &State,
    ) -> Result<SnapshotFile, SnapshotError> {
        let begun = Instant::now();
        let body = regency_stored::encode_state(state);
        let header = proto::SnapshotHeader {
            cluster_id: convert::cluster_to_proto(cluster),
            last_log_id: meta.last_log_id.as_ref().map(convert::log_id_to_proto),
            last_membership: Some(convert::stored_membership_to_proto(&meta.last_membership)),
            body_bytes: body.len() as u64,
            body_crc32: crc32fast::hash(&body),
            state_digest: Bytes::copy_from_slice(
                &regency_stored::state_digest(state).to_be_bytes(),
            ),
            written_by: self.version.to_string(),
        }
        .encode_to_vec();

        let path = self.path_of(meta.last_log_id.as_ref());
        let aside = path.with_extension(ASIDE);
        let mut file = File::create(&aside).map_err(io_error("make", &aside))?;
        file.write_all(&prefix(&header))
            .and_then(|()| file.write_all(&header))
            .and_then(|()| file.write_all(&body))
            .and_then(|()| file.sync_all())
            .map_err(io_error("write", &aside))?;
        self.put_in_place(&aside, &path)?;
        let written = SnapshotFile::open(&path)?;
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

    /// Where to put a snapshot that is being received.
    pub(crate) fn receive(&self, name: u128) -> Result<Receiving, SnapshotError> {
        let path = self.dir.join(format!("{name:032x}.{RECEIVED}"));
        let file = File::create(&path).map_err(io_error("make", &path))?;
        Ok(Receiving {
            path,
            file,
            bytes: 0,
        })
    }

    /// Makes a received snapshot one of ours.
    pub(crate) fn adopt(
        &self,
        received: &SnapshotFile,
        last: Option<&LogId>,
    ) -> Result<SnapshotFile, SnapshotError> {
        let path = self.path_of(last);
        if received.path.as_ref() != path {
            self.put_in_place(&received.path, &path)?;
        }
        SnapshotFile::open(&path)
    }

    fn put_in_place(&self, aside: &Path, path: &Path) -> Result<(), SnapshotError> {
        std::fs::rename(aside, path).map_err(io_error("replace", path))?;
        self.sync_dir()?;
        let files = self.files()?;
        for old in files.iter().rev().skip(KEEP) {
            std::fs::remove_file(old).map_err(io_error("remove", old))?;
        }
        Ok(())
    }

    fn sync_dir(&self) -> Result<(), SnapshotError> {
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(io_error("sync", &self.dir))
    }

    fn path_of(&self, last: Option<&LogId>) -> PathBuf {
        let (index, term) = last.map_or((0, 0), |last| (last.index, last.leader_id.term));
        // The name sorts by index.
        self.dir.join(format!("{index:020}-{term:020}.{SUFFIX}"))
    }

    /// All snapshots, the oldest first.
    fn files(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(io_error("list", &self.dir))? {
            let path = entry.map_err(io_error("list", &self.dir))?.path();
            if path.extension().is_some_and(|ext| ext == SUFFIX) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

/// A snapshot on its way in. Removed when it is dropped before it is complete.
#[derive(Debug)]
pub(crate) struct Receiving {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Receiving {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), SnapshotError> {
        self.file
            .write_all(data)
            .map_err(io_error("write", &self.path))?;
        self.bytes += data.len() as u64;
        Ok(())
    }

    /// Makes it durable. The file is removed at the next start unless it is adopted.
    pub(crate) fn finish(mut self) -> Result<SnapshotFile, SnapshotError> {
        self.file.sync_all().map_err(io_error("sync", &self.path))?;
        let file = SnapshotFile::open(&self.path)?;
        // Nothing is left for drop to remove.
        self.path = PathBuf::new();
        Ok(file)
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Best effort: the next start removes what this leaves.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn prefix(header: &[u8]) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..12].copy_from_slice(&FORMAT.to_be_bytes());
    prefix[12..16].copy_from_slice(&READER_MIN.to_be_bytes());
    // Bounded by the number of members.
    let len = u32::try_from(header.len()).unwrap_or(u32::MAX);
    prefix[16..20].copy_from_slice(&len.to_be_bytes());
    prefix[20..].copy_from_slice(&crc32fast::hash(header).to_be_bytes());
    prefix
}

/// Reads a whole snapshot and checks everything that can be checked about it.
pub(crate) fn load(
    snapshot: &SnapshotFile,
    cluster: Option<ClusterId>,
) -> Result<Loaded, SnapshotError> {
    let path = &snapshot.path;
    let damaged = |detail: String| SnapshotError::Damaged {
        path: path.to_path_buf(),
        detail,
    };
    let mut file = File::open(path)
        .or_else(|_| snapshot.file.try_clone())
        .map_err(io_error("open", path))?;
    let mut prefix = [0; PREFIX_BYTES];
    file.read_exact(&mut prefix)
        .map_err(|e| damaged(e.to_string()))?;
    let number = |at: usize| {
        u32::from_be_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    if prefix[..8] != MAGIC {
        return Err(damaged("it does not begin like a snapshot".to_owned()));
    }
    if number(12) > FORMAT {
        return Err(SnapshotError::TooNew {
            path: path.to_path_buf(),
            needs: number(12),
        });
    }
    let header_bytes = number(16) as usize;
    if header_bytes > HEADER_BYTES_MAX {
        return Err(damaged(format!(
            "a header of {header_bytes} bytes is impossible"
        )));
    }
    let mut header = vec![0; header_bytes];
    file.read_exact(&mut header)
        .map_err(|e| damaged(e.to_string()))?;
    if crc32fast::hash(&header) != number(20) {
        return Err(damaged(
            "the checksum of the header does not match".to_owned(),
        ));
    }
    let header =
        proto::SnapshotHeader::decode(header.as_slice()).map_err(|e| damaged(e.to_string()))?;
    let found =
        convert::cluster_from_proto(&header.cluster_id).map_err(|e| damaged(e.to_string()))?;
    if let Some(expected) = cluster.filter(|expected| *expected != found) {
        return Err(SnapshotError::OtherCluster {
            path: path.to_path_buf(),
            found,
            expected,
        });
    }
    let body_offset = (PREFIX_BYTES + header_bytes) as u64;
    if snapshot.bytes != body_offset + header.body_bytes {
        return Err(damaged(format!(
            "it has {} bytes, not {}",
            snapshot.bytes,
            body_offset + header.body_bytes
        )));
    }
    let mut body = Vec::new();
    file.read_to_end(&mut body)
        .map_err(io_error("read", path))?;
    if crc32fast::hash(&body) != header.body_crc32 {
        return Err(damaged(
            "the checksum of the state does not match".to_owned(),
        ));
    }
    let state = regency_stored::decode_state(&body).map_err(|e| damaged(e.to_string()))?;
    if header.state_digest
        != regency_stored::state_digest(&state)
            .to_be_bytes()
            .as_slice()
    {
        return Err(damaged("the digest of the state does not match".to_owned()));
    }
    let membership = header
        .last_membership
        .as_ref()
        .ok_or_else(|| damaged("it has no membership".to_owned()))?;
    Ok(Loaded {
        meta: SnapshotMeta {
            last_log_id: header.last_log_id.as_ref().map(convert::log_id_from_proto),
            last_membership: convert::stored_membership_from_proto(membership)
                .map_err(|e| damaged(e.to_string()))?,
        },
        state,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: Some(log_id(2, index)),
            last_membership: Default::default(),
        }
    }

    #[test]
    fn the_newest_whole_snapshot_is_used_and_two_are_kept() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = SnapshotStore::open(dir.path(), "test").expect("opens");
        assert!(store.load_newest(None).expect("empty").is_none());
        let state = State::default();
        for index in [5, 7, 9] {
            store
                .write(ClusterId(1), &meta(index), &state)
                .expect("written");
        }
        let files = store.files().expect("listed");
        assert_eq!(files.len(), KEEP);
        let (newest, _) = store
            .load_newest(Some(ClusterId(1)))
            .expect("read")
            .expect("some");
        assert_eq!(newest.meta, meta(9));

        // One flipped bit in the body of the newest.
        let mut bytes = std::fs::read(&files[1]).expect("readable");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&files[1], bytes).expect("writable");
        let (older, _) = store
            .load_newest(Some(ClusterId(1)))
            .expect("read")
            .expect("some");
        assert_eq!(older.meta, meta(7));
    }

    #[test]
    fn a_snapshot_of_another_cluster_or_a_newer_program_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = SnapshotStore::open(dir.path(), "test").expect("opens");
        let file = store
            .write(ClusterId(1), &meta(5), &State::default())
            .expect("written");
        assert!(matches!(
            load(&file, Some(ClusterId(2))),
            Err(SnapshotError::OtherCluster { .. })
        ));
        let mut bytes = std::fs::read(&*file.path).expect("readable");
        bytes[15] = 99;
        std::fs::write(&*file.path, bytes).expect("writable");
        assert!(matches!(
            load(&file, Some(ClusterId(1))),
            Err(SnapshotError::TooNew { needs: 99, .. })
        ));
    }

    #[test]
    fn what_an_interrupted_write_left_is_removed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let half = dir.path().join("half.writing");
        std::fs::write(&half, "half").expect("writable");
        let store = SnapshotStore::open(dir.path(), "test").expect("opens");
        assert!(!half.exists());
        let mut receiving = store.receive(3).expect("made");
        receiving.write(b"half").expect("written");
        drop(receiving);
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
