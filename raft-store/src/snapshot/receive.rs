//! Snapshots on their way in.
//!
//! What was received stays in a file named after the snapshot it is a part of, whatever ends the
//! transfer: the connection, the leader, or this process. The next transfer of the same snapshot goes on
//! behind it. Nothing is believed for being there: the whole file is checked against the digest that
//! was announced before anybody gets it, and thrown away when it is something else.
//!
//! There is one such file at a time, because a master has one leader at a time. A transfer that begins
//! takes over from one that has not noticed yet that it is over.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{SUFFIX, SnapshotError, SnapshotFile, SnapshotProgress, SnapshotStore, io_error};
use crate::durable;
use crate::failpoint::failpoint;
use crate::metrics::{self, Direction, TransferEvent};
use crate::space::{self, synced};
use crate::types::LogId;

/// A part of a snapshot.
const PART: &str = "received";
/// All of one, until it is installed.
const WHOLE: &str = "complete";
/// What is received is synced in pieces, so that the last sync does not hold up the log for long.
const SYNC_EVERY_BYTES: u64 = 32 * 1024 * 1024;

/// What the sender says about a snapshot before it sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The last entry in it.
    pub(crate) last: Option<LogId>,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Digest of the file; senders that do not tell cannot go on with a transfer either.
    pub(crate) digest: Option<u128>,
}

/// The name of a part, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    index: u64,
    term: u64,
    bytes: u64,
    digest: u128,
}

impl Name {
    fn of(announced: &Announced) -> Self {
        let at = announced.last;
        Self {
            index: at.map_or(0, |at| at.index),
            term: at.map_or(0, |at| at.leader_id.term),
            bytes: announced.bytes,
            digest: announced.digest.unwrap_or(0),
        }
    }

    /// `None` for a file that no program since parts are kept has made.
    fn read(path: &Path) -> Option<Self> {
        let mut parts = path.file_name()?.to_str()?.split('.').next()?.split('-');
        let name = Self {
            index: parts.next()?.parse().ok()?,
            term: parts.next()?.parse().ok()?,
            bytes: parts.next()?.parse().ok()?,
            digest: u128::from_str_radix(parts.next()?, 16).ok()?,
        };
        (parts.next().is_none() && name.digest != 0).then_some(name)
    }

    fn path(&self, dir: &Path) -> PathBuf {
        let Self {
            index,
            term,
            bytes,
            digest,
        } = self;
        dir.join(format!(
            "{index:020}-{term:020}-{bytes}-{digest:032x}.{PART}"
        ))
    }
}

/// Why a snapshot was not received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(transparent)]
    File(#[from] SnapshotError),
    #[error("the transfer goes on at byte {offset}, but only {have} bytes are here")]
    Gap { offset: u64, have: u64 },
    #[error(
        "the disk of this master has no room for the snapshot: {needed} more bytes are needed and \
         {free} are free; free some, or replace the member"
    )]
    NoRoom { needed: u64, free: u64 },
    #[error("another transfer of a snapshot took over")]
    TakenOver,
    #[error("the snapshot ended after {got} bytes, {announced} were announced")]
    TooShort { got: u64, announced: u64 },
    #[error("more than the {announced} bytes came that were announced; all was thrown away")]
    TooLong { announced: u64 },
    #[error("what came is not the snapshot that was announced, and was thrown away: {0}")]
    Damaged(String),
}

/// The transfer that may write.
#[derive(Debug, Default)]
pub(super) struct Incoming(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    /// Counts transfers; only the last one may write.
    turn: u64,
    /// While one is under way.
    progress: Option<SnapshotProgress>,
}

impl Incoming {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SnapshotStore {
    /// The transfer that is under way, if one is.
    pub(crate) fn receiving(&self) -> Option<SnapshotProgress> {
        self.incoming.lock().progress
    }

    /// How many bytes of a snapshot are here.
    pub(crate) fn received_bytes(&self, announced: &Announced) -> Result<u64, SnapshotError> {
        if announced.digest.is_none() {
            return Ok(0);
        }
        let path = Name::of(announced).path(&self.dir);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len().min(announced.bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(io_error("look at", &path)(error)),
        }
    }

    /// Begins to receive a snapshot, or goes on at `offset`. Parts of other snapshots are removed.
    pub(crate) fn receive(
        &self,
        announced: Announced,
        offset: u64,
    ) -> Result<Receiving, ReceiveError> {
        let path = Name::of(&announced).path(&self.dir);
        let mut slot = self.incoming.lock();
        for other in self.parts()?.into_iter().filter(|other| *other != path) {
            let bytes = std::fs::metadata(&other).map_or(0, |metadata| metadata.len());
            std::fs::remove_file(&other).map_err(io_error("remove", &other))?;
            tracing::warn!(
                bytes,
                "the leader sends another snapshot than the one of which a part is here; that part \
                 is thrown away, and the transfer begins anew"
            );
        }
        let have = self.received_bytes(&announced)?;
        if offset > have {
            return Err(ReceiveError::Gap { offset, have });
        }
        let needed = announced.bytes.saturating_sub(offset);
        if let Some(space) = &self.space
            && let Some(free) = space.lacks(needed)
        {
            return Err(ReceiveError::NoRoom { needed, free });
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error("make", &path))?;
        file.set_len(offset)
            .and_then(|()| file.seek(SeekFrom::Start(offset)))
            .map_err(io_error("write", &path))?;
        slot.turn += 1;
        let progress = SnapshotProgress {
            done_bytes: offset,
            bytes: announced.bytes,
        };
        slot.progress = Some(progress);
        metrics::snapshot_receiving(Some(progress));
        metrics::snapshot_transfer(Direction::Receive, TransferEvent::begun(offset));
        Ok(Receiving {
            store: self.clone(),
            turn: slot.turn,
            path,
            file,
            announced,
            bytes: offset,
            unsynced_bytes: 0,
            finished: false,
        })
    }

    /// Removes a snapshot that was received and not adopted.
    pub(crate) fn discard(&self, received: &SnapshotFile) {
        if received.path.extension().is_some_and(|ext| ext == WHOLE)
            && let Err(error) = std::fs::remove_file(&received.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %received.path.display(), %error, "cannot remove a snapshot");
        }
    }

    /// Removes parts of snapshots that are not newer than what is here already.
    pub(super) fn forget_received(&self) -> Result<(), SnapshotError> {
        let slot = self.incoming.lock();
        if slot.progress.is_some() {
            return Ok(());
        }
        let newest = self.files()?.last().and_then(|path| index_of(path));
        for part in self.parts()? {
            let stale = |name: Name| newest.is_some_and(|newest| name.index <= newest);
            if Name::read(&part).is_none_or(stale) {
                std::fs::remove_file(&part).map_err(io_error("remove", &part))?;
            }
        }
        Ok(())
    }

    /// After a start: what was received as a whole and not installed counts as a part that lacks
    /// nothing, and at most one part stays.
    pub(super) fn settle_received(&self) -> Result<(), SnapshotError> {
        for whole in self.with_extension(WHOLE)? {
            match Name::read(&whole) {
                Some(name) => {
                    let part = name.path(&self.dir);
                    std::fs::rename(&whole, &part).map_err(io_error("rename", &whole))?;
                }
                None => std::fs::remove_file(&whole).map_err(io_error("remove", &whole))?,
            }
        }
        self.forget_received()?;
        let parts = self.parts()?;
        for old in parts.iter().rev().skip(1) {
            std::fs::remove_file(old).map_err(io_error("remove", old))?;
        }
        Ok(())
    }

    fn parts(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        self.with_extension(PART)
    }
}

/// Index of the last entry in a snapshot of ours.
fn index_of(path: &Path) -> Option<u64> {
    debug_assert!(path.extension().is_some_and(|ext| ext == SUFFIX));
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

/// A snapshot on its way in. What was received stays when it is dropped.
#[derive(Debug)]
pub(crate) struct Receiving {
    store: SnapshotStore,
    turn: u64,
    path: PathBuf,
    file: File,
    announced: Announced,
    bytes: u64,
    unsynced_bytes: u64,
    finished: bool,
}

impl Receiving {
    pub(crate) fn progress(&self) -> SnapshotProgress {
        SnapshotProgress {
            done_bytes: self.bytes,
            bytes: self.announced.bytes,
        }
    }

    /// Takes the next piece.
    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), ReceiveError> {
        let mut slot = self.store.incoming.lock();
        if slot.turn != self.turn {
            return Err(ReceiveError::TakenOver);
        }
        let announced = self.announced.bytes;
        if self.bytes + data.len() as u64 > announced {
            self.remove();
            return Err(ReceiveError::TooLong { announced });
        }
        if let Err(error) = self.file.write_all(data) {
            if space::is_full(&error) {
                // Others need the room more: this can be sent again.
                self.remove();
            }
            return Err(io_error("write", &self.path)(error).into());
        }
        self.bytes += data.len() as u64;
        slot.progress = Some(self.progress());
        drop(slot);
        metrics::snapshot_received(data.len() as u64);
        metrics::snapshot_receiving(Some(self.progress()));
        self.unsynced_bytes += data.len() as u64;
        if self.unsynced_bytes >= SYNC_EVERY_BYTES {
            self.unsynced_bytes = 0;
            synced(durable::sync_data(&self.file)).map_err(io_error("sync", &self.path))?;
        }
        Ok(())
    }

    /// Makes it durable and checks it. The file has to be adopted or discarded.
    pub(crate) fn finish(mut self) -> Result<SnapshotFile, ReceiveError> {
        let (got, announced) = (self.bytes, self.announced.bytes);
        if got != announced {
            return Err(ReceiveError::TooShort { got, announced });
        }
        failpoint!("snapshot.received");
        synced(durable::sync_all(&self.file)).map_err(io_error("sync", &self.path))?;
        failpoint!("snapshot.received.synced");
        let file = SnapshotFile::open(&self.path)?;
        let damage = match file.digest() {
            Ok(digest) if self.announced.digest.is_none_or(|wanted| wanted == digest) => None,
            Ok(_) => Some("its digest is another one".to_owned()),
            Err(SnapshotError::Damaged { detail, .. }) => Some(detail),
            Err(error) => return Err(error.into()),
        };
        let slot = self.store.incoming.lock();
        if slot.turn != self.turn {
            return Err(ReceiveError::TakenOver);
        }
        if let Some(damage) = damage {
            self.remove();
            return Err(ReceiveError::Damaged(damage));
        }
        // Under a name that no later transfer of the same snapshot takes.
        let whole = self.path.with_extension(format!("{}.{WHOLE}", self.turn));
        std::fs::rename(&self.path, &whole).map_err(io_error("rename", &self.path))?;
        let file = SnapshotFile::open(&whole)?;
        drop(slot);
        self.finished = true;
        Ok(file)
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a part of a snapshot");
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut slot = self.store.incoming.lock();
        let event = if self.finished {
            TransferEvent::Finished
        } else {
            TransferEvent::Failed
        };
        metrics::snapshot_transfer(Direction::Receive, event);
        if slot.turn != self.turn {
            return;
        }
        slot.progress = None;
        metrics::snapshot_receiving(None);
        if !self.finished && self.announced.digest.is_none() {
            // Nobody can go on with it. May be gone already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
