//! Reading entries, from memory where they are there.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::watch;

use super::entry::entry_from_record;
use super::memory::{Log, payload_bytes};
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

    /// The entries of `range` that exist, in order; at most `bytes_max` bytes, but at least one
    /// entry.
    async fn entries(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        loop {
            let (mut entries, on_disk, removals) = {
                let log = self.read();
                let start = range.start.max(log.first_index());
                let end = range.end.min(log.next_index());
                if start >= end {
                    return Ok(Vec::new());
                }
                let cached = start.max(log.cached_from)..end;
                let on_disk = start..end.min(log.cached_from);
                let mut entries = Vec::new();
                let mut bytes = 0;
                if on_disk.is_empty() {
                    entries.reserve((cached.end - cached.start) as usize);
                    for index in cached {
                        let entry = &log.cache[(index - log.cached_from) as usize];
                        bytes += payload_bytes(entry);
                        if bytes > bytes_max && !entries.is_empty() {
                            break;
                        }
                        entries.push(entry.clone());
                    }
                    return Ok(entries);
                }
                // A bounded reader comes again for the rest; an unbounded one gets all at once.
                if bytes_max == usize::MAX {
                    entries.extend(
                        cached.map(|index| log.cache[(index - log.cached_from) as usize].clone()),
                    );
                }
                (entries, on_disk, log.removals)
            };
            let mut opened = self.disk.subscribe();
            let disk = match opened.wait_for(Option::is_some).await {
                Ok(disk) => disk.clone().ok_or_else(stopped)?,
                Err(_) => return Err(stopped()),
            };
            // Not on a thread that sends heartbeats.
            let wanted = on_disk.clone();
            let read = tokio::task::spawn_blocking(move || disk.read(wanted, bytes_max));
            let records = read.await.map_err(io::Error::other)?;
            if self.read().removals != removals {
                // What was read, or could not be, may have been removed under our hands: look again.
                continue;
            }
            let records = records?;
            let complete =
                bytes_max != usize::MAX || records.len() as u64 == on_disk.end - on_disk.start;
            let contiguous = records
                .iter()
                .enumerate()
                .all(|(offset, record)| record.at.index == on_disk.start + offset as u64);
            if !complete || !contiguous || records.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the log on disk has a hole in {on_disk:?}"),
                ));
            }
            let mut all = records
                .into_iter()
                .map(entry_from_record)
                .collect::<io::Result<Vec<_>>>()?;
            all.append(&mut entries);
            return Ok(all);
        }
    }
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
pub(crate) struct LogReader(pub(super) Arc<Shared>);

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.0.entries(to_range(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.0
            .entries(start..end, self.0.bounds.append_bytes_max)
            .await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.read().vote)
    }
}
