//! A disk that is full now and then, under each engine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use openraft::RaftLogReader as _;
use openraft::storage::RaftLogStorageExt as _;
use openraft::type_config::TypeConfigExt as _;

use super::tests::proposal;
use super::*;
use crate::config::EngineKind;
use crate::engine::{self, EngineError, LogBytes, LogRead};
use crate::record::Record;
use crate::space::Space;

/// An engine whose writes find no room when its turn comes, after they did half of what was asked.
struct Crowded {
    engine: Box<dyn LogEngine>,
    calls: Arc<AtomicUsize>,
    every: usize,
}

impl Crowded {
    fn room(&self) -> io::Result<()> {
        let nth = self.calls.fetch_add(1, Ordering::SeqCst);
        if nth % self.every == self.every - 1 {
            return Err(io::Error::from(nix::errno::Errno::ENOSPC));
        }
        Ok(())
    }
}

impl LogEngine for Crowded {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        if let Err(error) = self.room() {
            self.engine.append(&records[..records.len() / 2])?;
            // A part of what was not synced may be on the disk all the same.
            self.engine.sync()?;
            return Err(error);
        }
        self.engine.append(records)
    }

    fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.room()?;
        self.engine.save_vote(vote)
    }

    fn save_committed(&mut self, at: Position) -> io::Result<()> {
        self.engine.save_committed(at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.room()?;
        self.engine.sync()
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.room()?;
        self.engine.truncate_from(index)
    }

    fn purge_upto(&mut self, at: Position) -> io::Result<()> {
        self.room()?;
        self.engine.purge_upto(at)
    }

    fn tidy(&mut self) -> io::Result<bool> {
        self.room()?;
        self.engine.tidy()
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        self.engine.reader()
    }

    fn bytes(&self) -> io::Result<LogBytes> {
        self.engine.bytes()
    }

    fn group_bytes_max(&self) -> usize {
        self.engine.group_bytes_max()
    }
}

struct Store {
    log: LogStore,
    end: WriterEnd,
    calls: Arc<AtomicUsize>,
}

fn crowded(kind: EngineKind, dir: &std::path::Path, every: usize) -> Store {
    let calls = Arc::new(AtomicUsize::new(0));
    let (path, shared) = (dir.to_path_buf(), Arc::clone(&calls));
    let open = move || -> Result<(Box<dyn LogEngine>, Recovered), EngineError> {
        let (engine, recovered) = engine::open(kind, &path)?;
        let engine = Crowded {
            engine,
            calls: Arc::clone(&shared),
            every,
        };
        Ok((Box::new(engine), recovered))
    };
    let (engine, recovered) = open().expect("opens");
    let again = Again {
        open: Box::new(open),
        space: Space::with_probe(dir, 0, Box::new(|| Ok(u64::MAX))),
    };
    let bounds = LogBounds {
        // Entries are read from the disk, also while the log is opened again.
        cache_bytes_max: 1,
        append_bytes_max: 1 << 20,
    };
    let (log, end) = LogStore::new(engine, &recovered, bounds, Some(again)).expect("starts");
    Store { log, end, calls }
}

async fn a_full_disk_loses_nothing(kind: EngineKind) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let Store {
        mut log,
        end,
        calls,
    } = crowded(kind, dir.path(), 5);
    let mut next = 0;
    for round in 1..=6 {
        for _ in 0..3 {
            let lot: Vec<Entry> = (next..next + 4)
                .map(|index| proposal(round, index, 3000))
                .collect();
            log.blocking_append(lot).await.expect("acknowledged");
            next += 4;
        }
        log.save_vote(&Vote::new(round + 1, 1)).await.expect("kept");
        // The last two lots are replaced by the next leader.
        next -= 6;
        let last = log_id(round, next - 1);
        log.truncate_after(Some(last)).await.expect("truncated");
        let mut reader = log.get_log_reader().await;
        let there = reader.try_get_log_entries(0..next + 10).await;
        assert_eq!(
            there.expect("readable").last().map(|e| e.log_id),
            Some(last)
        );
    }
    log.purge(log_id(2, 9)).await.expect("purged");
    assert!(calls.load(Ordering::SeqCst) > 20, "{calls:?}");
    drop(log);
    end.join();

    let (engine, found) = engine::open(kind, dir.path()).expect("whole");
    assert_eq!(found.last.map(|at| at.index), Some(next - 1));
    assert_eq!(found.vote, Some(Vote::new(7, 1)));
    assert_eq!(found.purged.map(|at| at.index), Some(9));
    let records = engine.reader().read(10..next, usize::MAX).expect("whole");
    let indexes: Vec<u64> = records.iter().map(|record| record.at.index).collect();
    assert_eq!(indexes, (10..next).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_loses_nothing_in_sled() {
    a_full_disk_loses_nothing(EngineKind::Sled).await;
}

#[tokio::test]
async fn a_full_disk_loses_nothing_in_segments() {
    a_full_disk_loses_nothing(EngineKind::Segment).await;
}

#[tokio::test]
async fn while_there_is_no_room_the_core_waits_for_votes_only() {
    let dir = tempfile::tempdir().expect("temporary directory");
    // The third call of the engine is the sync of the second append; then nothing works.
    let free = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (engine, recovered) = engine::open(EngineKind::Segment, dir.path()).expect("opens");
    let engine = Crowded {
        engine,
        calls: Arc::default(),
        every: 4,
    };
    let (path, probed) = (dir.path().to_path_buf(), Arc::clone(&free));
    let probe = move || Ok(probed.load(Ordering::SeqCst));
    let space = Space::with_probe(dir.path(), 0, Box::new(probe));
    let again = Again {
        open: Box::new(move || engine::open(EngineKind::Segment, &path)),
        space: Arc::clone(&space),
    };
    let bounds = LogBounds {
        cache_bytes_max: 1 << 20,
        append_bytes_max: 1 << 20,
    };
    let (mut log, _end) =
        LogStore::new(Box::new(engine), &recovered, bounds, Some(again)).expect("starts");
    log.blocking_append([proposal(1, 0, 10), proposal(1, 1, 10)])
        .await
        .expect("acknowledged");
    let (tx, mut waiting) = TypeConfig::oneshot();
    log.append(
        [proposal(1, 2, 10), proposal(1, 3, 10)],
        IOFlushed::signal(tx),
    )
    .await
    .expect("queued");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !space.is_full() {
        assert!(
            Instant::now() < deadline,
            "nobody said that the disk is full"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // It is not taken for a disk that stands still, and the core goes on.
    assert_eq!(log.watch().busy_for(), Duration::ZERO);
    log.truncate_after(Some(log_id(1, 2))).await.expect("noted");
    log.purge(log_id(1, 0)).await.expect("noted");
    let mut reader = log.get_log_reader().await;
    let there = reader.try_get_log_entries(0..10).await.expect("readable");
    assert_eq!(there.len(), 2);
    assert!(waiting.try_recv().is_err(), "acknowledged without room");
    let vote = Vote::new(2, 1);
    let watch = log.watch();
    let mut saving = Box::pin(log.save_vote(&vote));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut saving).await;
    assert!(early.is_err(), "a vote that is not durable was told");
    assert!(watch.waits_for_room(), "what waits is no stall");
    assert_eq!(watch.busy_for(), Duration::ZERO);

    free.store(u64::MAX, Ordering::SeqCst);
    saving.await.expect("durable");
    waiting.await.expect("told").expect("durable");
    assert!(!space.is_full());
    assert!(!watch.waits_for_room());
    drop(log);
}
