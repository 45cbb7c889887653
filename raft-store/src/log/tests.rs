use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::storage::RaftLogStorageExt as _;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt as _;
use openraft::{RaftLogReader as _, StorageError};
use regency_runtime::RandomIds;
use regency_types::{ClusterId, NodeId};

use super::memory::ENTRY_OVERHEAD_BYTES;
use super::*;
use crate::config::EngineKind;
use crate::effects::EffectSink;
use crate::engine::{self, LogBytes, LogRead};
use crate::identity::Identity;
use crate::machine::Machine;
use crate::record::Record;
use crate::snapshot::SnapshotStore;
use crate::types::{EncodedProposal, EntryPayload};

struct Builder(EngineKind);

/// The suite begins some logs behind index 0, which no cluster does and our store refuses: they
/// get blank entries before that.
struct FromZero(LogStore);

impl RaftLogStorage<TypeConfig> for FromZero {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogReader {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.0.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.0.read_committed().await
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut entries: Vec<_> = entries.into_iter().collect();
        if let Some(first) = entries.first().map(|entry| entry.log_id)
            && self.0.shared.read().last.is_none()
        {
            entries.splice(
                0..0,
                (0..first.index).map(|index| Entry {
                    log_id: log_id(first.leader_id.term, index),
                    payload: EntryPayload::Blank,
                }),
            );
        }
        self.0.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.0.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.0.purge(upto).await
    }
}

impl StoreBuilder<TypeConfig, FromZero, Machine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, FromZero, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (engine, recovered) = engine::open(self.0, &dir.path().join("log")).expect("opens");
        let bounds = LogBounds {
            // Nearly nothing is cached, so that the suite reads from the disk.
            cache_bytes_max: 1,
            append_bytes_max: 64,
        };
        let (log, _writer) = LogStore::new(engine, &recovered, bounds, None).expect("starts");
        let identity = Identity::open(dir.path(), NodeId(0), self.0, &RandomIds).expect("opens");
        identity.join(ClusterId(1)).expect("joins");
        let snapshots = SnapshotStore::open(&dir.path().join("snapshots"), "test").expect("opens");
        let audit = crate::audit::Audit::new(1_000);
        let effects = EffectSink::new(16);
        let outgoing = crate::snapshot::Outgoing::new(|| None);
        let machine = Machine::new(
            snapshots,
            None,
            Arc::new(identity),
            effects,
            audit,
            outgoing,
        );
        Ok((dir, FromZero(log), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consensus_library_accepts_this_store_over_sled() {
    Suite::test_all(Builder(EngineKind::Sled))
        .await
        .expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_consensus_library_accepts_this_store_over_segments() {
    Suite::test_all(Builder(EngineKind::Segment))
        .await
        .expect("the suite passes");
}

pub(super) fn proposal(term: u64, index: u64, payload_bytes: usize) -> Entry {
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(EncodedProposal {
            bytes: vec![index as u8; payload_bytes].into(),
        }),
    }
}

fn store(kind: EngineKind, dir: &std::path::Path, cache_bytes_max: usize) -> (LogStore, WriterEnd) {
    let (engine, recovered) = engine::open(kind, dir).expect("opens");
    let bounds = LogBounds {
        cache_bytes_max,
        append_bytes_max: 1000,
    };
    LogStore::new(engine, &recovered, bounds, None).expect("starts")
}

async fn range(log: &mut LogStore, range: Range<u64>) -> Vec<u64> {
    let mut reader = log.get_log_reader().await;
    let entries = reader.try_get_log_entries(range).await.expect("read");
    entries.iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn reads_span_disk_and_memory_without_a_seam() {
    for kind in [EngineKind::Sled, EngineKind::Segment] {
        reads_span_disk_and_memory(kind).await;
    }
}

async fn reads_span_disk_and_memory(kind: EngineKind) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut log, writer) = store(kind, dir.path(), 20 * (ENTRY_OVERHEAD_BYTES + 100));
    for index in 0..100 {
        log.blocking_append([proposal(1, index, 100)])
            .await
            .expect("appended");
    }
    let cached = log.shared.read().cache.len();
    assert!((1..40).contains(&cached), "{cached}");
    assert_eq!(range(&mut log, 0..100).await, (0..100).collect::<Vec<_>>());
    assert_eq!(range(&mut log, 70..90).await, (70..90).collect::<Vec<_>>());
    let mut reader = log.get_log_reader().await;
    let limited = reader.limited_get_log_entries(0, 100).await.expect("read");
    assert_eq!(limited.len(), 10, "1000 bytes are ten entries");
    log.purge(log_id(1, 49)).await.expect("purged");
    assert_eq!(range(&mut log, 0..100).await, (50..100).collect::<Vec<_>>());
    log.truncate_after(Some(log_id(1, 59)))
        .await
        .expect("truncated");
    assert_eq!(range(&mut log, 0..100).await, (50..60).collect::<Vec<_>>());
    log.blocking_append([proposal(2, 60, 1)])
        .await
        .expect("appended");
    log.save_committed(Some(log_id(1, 55)))
        .await
        .expect("saved");
    drop((log, reader));
    writer.join();

    let (mut log, writer) = store(kind, dir.path(), 1000);
    let state = log.get_log_state().await.expect("read");
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 49)));
    assert_eq!(state.last_log_id, Some(log_id(2, 60)));
    assert_eq!(
        log.read_committed().await.expect("read"),
        Some(log_id(1, 55))
    );
    assert_eq!(range(&mut log, 0..100).await, (50..=60).collect::<Vec<_>>());
    drop(log);
    writer.join();
}

#[tokio::test]
async fn an_entry_that_leaves_a_hole_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut log, _writer) = store(EngineKind::Sled, dir.path(), 1000);
    log.blocking_append([proposal(1, 0, 1)])
        .await
        .expect("appended");
    let error = log
        .append([proposal(1, 2, 1)], IOFlushed::noop())
        .await
        .expect_err("a hole");
    assert!(error.to_string().contains("does not follow"), "{error}");
}

/// An engine whose disk fails on demand.
struct Failing {
    records: Arc<Mutex<Vec<Record>>>,
    committed: Arc<Mutex<Option<Position>>>,
    fail: Arc<AtomicBool>,
    syncs: Arc<std::sync::atomic::AtomicUsize>,
    sync_gate: Option<std::sync::mpsc::Receiver<()>>,
}

struct Nothing;

impl LogRead for Nothing {
    fn read(&self, _range: Range<u64>, _bytes_max: usize) -> io::Result<Vec<Record>> {
        Ok(Vec::new())
    }
}

impl LogEngine for Failing {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.records
            .lock()
            .expect("not poisoned")
            .extend_from_slice(records);
        Ok(())
    }

    fn save_vote(&mut self, _vote: &Vote) -> io::Result<()> {
        Ok(())
    }

    fn save_committed(&mut self, at: Position) -> io::Result<()> {
        *self.committed.lock().expect("not poisoned") = Some(at);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(gate) = &self.sync_gate {
            // A closed gate is an open one.
            let _ = gate.recv();
        }
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if self.fail.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn truncate_from(&mut self, _index: u64) -> io::Result<()> {
        Ok(())
    }

    fn purge_upto(&mut self, _at: Position) -> io::Result<()> {
        Ok(())
    }

    fn tidy(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        Arc::new(Nothing)
    }

    fn bytes(&self) -> io::Result<LogBytes> {
        Ok(LogBytes { disk: 0, live: 0 })
    }

    fn group_bytes_max(&self) -> usize {
        1 << 20
    }
}

fn failing(
    sync_gate: Option<std::sync::mpsc::Receiver<()>>,
) -> (
    LogStore,
    Arc<AtomicBool>,
    Arc<std::sync::atomic::AtomicUsize>,
) {
    let fail = Arc::new(AtomicBool::new(false));
    let syncs = Arc::default();
    let engine = Failing {
        records: Arc::default(),
        committed: Arc::default(),
        fail: Arc::clone(&fail),
        syncs: Arc::clone(&syncs),
        sync_gate,
    };
    (started(engine).0, fail, syncs)
}

fn started(engine: Failing) -> (LogStore, WriterEnd) {
    let bounds = LogBounds {
        cache_bytes_max: 1 << 20,
        append_bytes_max: 1 << 20,
    };
    LogStore::new(Box::new(engine), &Recovered::default(), bounds, None).expect("starts")
}

#[tokio::test]
async fn after_a_failed_sync_nothing_is_ever_called_durable_again() {
    let (mut log, fail, syncs) = failing(None);
    log.blocking_append([proposal(1, 0, 1)])
        .await
        .expect("appended");
    fail.store(true, Ordering::SeqCst);
    log.blocking_append([proposal(1, 1, 1)])
        .await
        .expect_err("the disk failed");
    let tried = syncs.load(Ordering::SeqCst);
    // The disk "works" again, but what it lost cannot be known.
    fail.store(false, Ordering::SeqCst);
    log.blocking_append([proposal(1, 2, 1)])
        .await
        .expect_err("still failed");
    log.save_vote(&Vote::new(2, 1))
        .await
        .expect_err("still failed");
    log.truncate_after(None).await.expect_err("still failed");
    assert_eq!(
        syncs.load(Ordering::SeqCst),
        tried,
        "a sync was tried again"
    );
}

#[tokio::test]
async fn what_is_committed_is_saved_with_the_next_entries_and_at_the_end() {
    let committed = Arc::<Mutex<Option<Position>>>::default();
    let (mut log, writer) = started(Failing {
        records: Arc::default(),
        committed: Arc::clone(&committed),
        fail: Arc::default(),
        syncs: Arc::default(),
        sync_gate: None,
    });
    let saved = || committed.lock().expect("not poisoned").map(|at| at.index);
    log.blocking_append([proposal(1, 0, 1), proposal(1, 1, 1)])
        .await
        .expect("appended");
    assert_eq!(saved(), None);
    for index in 0..2 {
        log.save_committed(Some(log_id(1, index)))
            .await
            .expect("noted");
    }
    log.blocking_append([proposal(1, 2, 1)])
        .await
        .expect("appended");
    assert_eq!(saved(), Some(1));
    log.save_committed(Some(log_id(1, 2))).await.expect("noted");
    drop(log);
    writer.join();
    assert_eq!(saved(), Some(2));
}

#[tokio::test]
async fn appends_that_wait_together_share_a_sync_and_end_in_order() {
    let (open_gate, gate) = std::sync::mpsc::channel();
    let (mut log, _fail, syncs) = failing(Some(gate));
    let mut waiting = Vec::new();
    for index in 0..50 {
        let (tx, rx) = TypeConfig::oneshot();
        log.append([proposal(1, index, 10)], IOFlushed::signal(tx))
            .await
            .expect("queued");
        waiting.push(rx);
    }
    // Readable at once, durable later.
    assert_eq!(range(&mut log, 0..50).await.len(), 50);
    assert!(waiting.last_mut().expect("some").try_recv().is_err());
    // The sync that is held up shows as a disk that stands still, and no longer when it is done.
    let watch = log.watch();
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while watch.busy_for() < Duration::from_millis(20) {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(open_gate);
    for rx in waiting {
        rx.await.expect("told").expect("durable");
    }
    assert!(syncs.load(Ordering::SeqCst) <= 3, "{syncs:?}");
    while watch.busy_for() > Duration::ZERO {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The library's own types change their serialised form as they like; what is on disk is ours, and
/// was computed by hand from the layouts in `record` and `raft.proto`.
#[test]
fn entries_on_disk_are_not_in_a_form_of_the_library() {
    let hex = |payload, index| {
        let log_id = log_id(4, index);
        let bytes = record_from_entry(&Entry { log_id, payload }).encode();
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    };
    let info = crate::types::MemberInfo {
        incarnation: regency_types::Incarnation(7),
        raft: "a:1".into(),
        http: "a:2".into(),
        agent: "a:3".into(),
        hostname: "a".into(),
        ..crate::types::MemberInfo::default()
    };
    let membership = crate::types::Membership::new(
        vec![std::collections::BTreeSet::from([1])],
        std::collections::BTreeMap::from([(1, info)]),
    );
    let bytes = bytes::Bytes::from_static(b"x");
    for (payload, index, expected) in [
        (
            EntryPayload::Blank,
            10,
            "5247010100000000000000000004000000000000000a00000000310c5393",
        ),
        (
            EntryPayload::Normal(EncodedProposal { bytes }),
            11,
            "5247010200000000000000000004000000000000000b000000016fb293e278",
        ),
        (
            EntryPayload::Membership(membership.expect("valid")),
            12,
            "5247010300000000000000000004000000000000000c0000002f8785d7680a030a0101122808\
             0112240a10000000000000000000000000000000071203613a311a03613a322203613a332a01\
             61",
        ),
    ] {
        assert_eq!(hex(payload, index), expected);
    }
}
