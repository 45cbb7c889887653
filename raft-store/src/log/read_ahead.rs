//! Reading the disk ahead of who reads the log from one end to the other.
//!
//! A master that starts applies its log, and one that sends it to a follower reads it, a few entries at
//! a time, always those behind the last ones. Going to the disk for each few is slow, and nothing
//! is applied meanwhile. So the second of two reads that follow each other brings more than was asked for,
//! and what comes behind it is read while that is used. A single read brings what it asked for.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::entry::entry_from_record;
use super::memory::payload_bytes;
use crate::engine::LogRead;
use crate::types::Entry;

/// Most bytes and entries that are read at once; up to twice as much lies ready.
const AHEAD_BYTES_MAX: usize = 1024 * 1024;
const AHEAD_ENTRIES_MAX: u64 = 4096;

/// What a reader's next request wants of the disk.
pub(super) struct Wanted {
    /// Its entries. Not empty.
    pub(super) range: Range<u64>,
    /// The entries below this index are on the disk.
    pub(super) until: u64,
    /// Most bytes of payload to give, but at least one entry.
    pub(super) bytes_max: usize,
    /// What is read under another count may have been removed.
    pub(super) removals: u64,
}

/// Entries that one reader will want next.
#[derive(Default)]
pub(super) struct ReadAhead {
    /// Behind the last request.
    next: u64,
    removals: u64,
    /// The entries from `next` on.
    ready: VecDeque<Entry>,
    /// Those behind them.
    reading: Option<JoinHandle<io::Result<Vec<Entry>>>>,
}

impl ReadAhead {
    /// The entries that are wanted, in order. Fewer where the disk has fewer, or `bytes_max` is reached.
    pub(super) async fn read(
        &mut self,
        disk: &Arc<dyn LogRead>,
        wanted: &Wanted,
    ) -> io::Result<Vec<Entry>> {
        let Wanted {
            range,
            until,
            bytes_max,
            removals,
        } = wanted;
        if self.next != range.start || self.removals != *removals {
            *self = Self::default();
            let entries = read(disk, range.clone(), *bytes_max).await??;
            self.next = range.start + entries.len() as u64;
            self.removals = *removals;
            return Ok(entries);
        }
        // Nothing is taken out before all is there: a request may be given up at any await.
        let mut n_ready = self.n_ready(range, *bytes_max);
        while n_ready.is_none() {
            let Some(reading) = self.read_on(disk, *until) else {
                break;
            };
            let read = reading.await;
            self.reading = None;
            let read = read??;
            if read.is_empty() {
                break;
            }
            self.ready.extend(read);
            n_ready = self.n_ready(range, *bytes_max);
        }
        let n_ready = n_ready.unwrap_or(self.ready.len());
        let entries: Vec<Entry> = self.ready.drain(..n_ready).collect();
        self.next += n_ready as u64;
        if (self.ready.len() as u64) < AHEAD_ENTRIES_MAX {
            self.read_on(disk, *until);
        }
        Ok(entries)
    }

    /// How many of what is ready make up the range, or as much of it as may be given; `None` when
    /// more has to be read.
    fn n_ready(&self, range: &Range<u64>, bytes_max: usize) -> Option<usize> {
        let wanted = (range.end - range.start) as usize;
        let mut bytes = 0;
        for (n, entry) in self.ready.iter().take(wanted).enumerate() {
            bytes += payload_bytes(entry);
            if bytes > bytes_max && n > 0 {
                return Some(n);
            }
        }
        (self.ready.len() >= wanted).then_some(wanted)
    }

    /// Begins to read what is behind what is ready, if that was not done, as far as there is any.
    fn read_on(
        &mut self,
        disk: &Arc<dyn LogRead>,
        until: u64,
    ) -> Option<&mut JoinHandle<io::Result<Vec<Entry>>>> {
        let from = self.next + self.ready.len() as u64;
        let upto = until.min(from + AHEAD_ENTRIES_MAX);
        if self.reading.is_none() && from < upto {
            self.reading = Some(read(disk, from..upto, AHEAD_BYTES_MAX));
        }
        self.reading.as_mut()
    }
}

/// Not on a thread that sends heartbeats.
fn read(
    disk: &Arc<dyn LogRead>,
    range: Range<u64>,
    bytes_max: usize,
) -> JoinHandle<io::Result<Vec<Entry>>> {
    let disk = Arc::clone(disk);
    regency_runtime::spawn_blocking(move || {
        let records = disk.read(range, bytes_max)?;
        records.into_iter().map(entry_from_record).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::log::entry::record_from_entry;
    use crate::log::tests::proposal;
    use crate::record::Record;

    const ENTRY_BYTES: usize = 100;

    /// A log without end, and what was read of it.
    #[derive(Default)]
    struct Disk(Mutex<Vec<Range<u64>>>);

    impl LogRead for Disk {
        fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Record>> {
            let n = (bytes_max / ENTRY_BYTES).max(1);
            self.0.lock().expect("not poisoned").push(range.clone());
            let entries = range.take(n).map(|index| proposal(1, index, ENTRY_BYTES));
            Ok(entries.map(|entry| record_from_entry(&entry)).collect())
        }
    }

    fn wanted(range: Range<u64>) -> Wanted {
        Wanted {
            range,
            until: 20_000,
            bytes_max: usize::MAX,
            removals: 7,
        }
    }

    async fn indexes(ahead: &mut ReadAhead, disk: &Arc<dyn LogRead>, wanted: Wanted) -> Vec<u64> {
        let entries = ahead.read(disk, &wanted).await.expect("read");
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[tokio::test]
    async fn reads_that_follow_each_other_are_served_from_few_large_ones() {
        let disk = Arc::new(Disk::default());
        let log: Arc<dyn LogRead> = disk.clone();
        let mut ahead = ReadAhead::default();
        for start in (100..20_000).step_by(50) {
            let range = start..start + 50;
            let read = indexes(&mut ahead, &log, wanted(range.clone())).await;
            assert_eq!(read, range.collect::<Vec<_>>());
        }
        let reads = disk.0.lock().expect("not poisoned");
        assert_eq!(reads[0], 100..150, "the first one is as large as asked for");
        assert!(reads.len() < 10, "{reads:?}");
        assert!(reads.iter().all(|range| range.end <= 20_000), "{reads:?}");
    }

    #[tokio::test]
    async fn a_single_read_brings_what_it_asked_for() {
        let disk = Arc::new(Disk::default());
        let log: Arc<dyn LogRead> = disk.clone();
        let mut ahead = ReadAhead::default();
        for start in [500, 100, 300] {
            let read = indexes(&mut ahead, &log, wanted(start..start + 2)).await;
            assert_eq!(read, [start, start + 1]);
        }
        assert_eq!(
            *disk.0.lock().expect("not poisoned"),
            [500..502, 100..102, 300..302]
        );
    }

    #[tokio::test]
    async fn bytes_are_bounded_and_the_rest_comes_next() {
        let log: Arc<dyn LogRead> = Arc::new(Disk::default());
        let mut ahead = ReadAhead::default();
        let bounded = |range| Wanted {
            bytes_max: 3 * ENTRY_BYTES,
            ..wanted(range)
        };
        assert_eq!(indexes(&mut ahead, &log, bounded(0..10)).await, [0, 1, 2]);
        assert_eq!(indexes(&mut ahead, &log, bounded(3..10)).await, [3, 4, 5]);
        assert_eq!(indexes(&mut ahead, &log, bounded(6..8)).await, [6, 7]);
        let tiny = Wanted {
            bytes_max: 1,
            ..wanted(8..10)
        };
        assert_eq!(indexes(&mut ahead, &log, tiny).await, [8], "at least one");
    }

    #[tokio::test]
    async fn what_may_have_been_removed_is_read_again() {
        let disk = Arc::new(Disk::default());
        let log: Arc<dyn LogRead> = disk.clone();
        let mut ahead = ReadAhead::default();
        for range in [0..2, 2..4] {
            indexes(&mut ahead, &log, wanted(range)).await;
        }
        let after = Wanted {
            removals: 8,
            ..wanted(4..6)
        };
        assert_eq!(indexes(&mut ahead, &log, after).await, [4, 5]);
        assert!(disk.0.lock().expect("not poisoned").contains(&(4..6)));
    }
}
