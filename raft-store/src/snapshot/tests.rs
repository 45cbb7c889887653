use std::collections::{BTreeMap, BTreeSet};

use regency_state::model::{AgentSpec, Capabilities, FrameworkSpec};
use regency_state::{
    BeginTerm, Command, Counters, MasterInfo, Proposal, RegisterAgent, SubscribeFramework,
};
use regency_types::{
    AgentEpoch, BootId, ClusterTime, DurationMs, Incarnation, NodeId, StreamId, Term, WallTime,
};

use super::*;
use crate::members::former::Former;
use crate::types::{MemberInfo, Membership, StoredMembership, log_id};

/// The state in the fixtures, in the stored form of its own fixture.
const FULL: &[u8] = include_bytes!("../../../crates/stored/tests/fixtures/v1/state-full.bin");

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

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
            .write(ClusterId(1), &meta(index), &Former::default(), &state)
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
        .write(
            ClusterId(1),
            &meta(5),
            &Former::default(),
            &State::default(),
        )
        .expect("written");
    assert!(matches!(
        load(&file, Some(ClusterId(2))),
        Err(SnapshotError::OtherCluster { .. })
    ));
    let mut bytes = std::fs::read(&*file.path).expect("readable");
    bytes[15] = 99;
    // A newer program knows how to make the checksum.
    let header = u32::from_be_bytes(bytes[16..20].try_into().expect("4 bytes")) as usize;
    let crc = crc32fast::hash(&[&bytes[..20], &bytes[24..24 + header]].concat());
    bytes[20..24].copy_from_slice(&crc.to_be_bytes());
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
    drop(store);
}

#[test]
fn as_many_snapshots_stay_as_are_wanted() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for (kept, wanted) in [(0, vec![4]), (3, vec![4, 5, 6]), (1, vec![6])] {
        let store = SnapshotStore::open(dir.path(), "test").expect("opens");
        let store = store.keeping(kept);
        let newest = *wanted.last().expect("not empty");
        for index in [newest - 1, newest] {
            store
                .write(
                    ClusterId(1),
                    &meta(index),
                    &Former::default(),
                    &State::default(),
                )
                .expect("written");
        }
        let wanted: Vec<_> = wanted
            .into_iter()
            .map(|index| store.path_of(Some(&log_id(2, index))))
            .collect();
        assert_eq!(store.files().expect("listed"), wanted, "{kept}");
    }
}

#[test]
fn the_digest_of_a_file_is_read_once_and_again_when_asked() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("copy");
    std::fs::copy(fixture("snapshot-v2.bin"), &path).expect("copied");
    let file = SnapshotFile::open(&path).expect("opens");
    let digest = file.digest().expect("whole");
    let original = SnapshotFile::open(&fixture("snapshot-v2.bin")).expect("opens");
    assert_eq!(original.digest().expect("whole"), digest);

    let mut bytes = std::fs::read(&path).expect("readable");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    assert_eq!(file.digest().expect("remembered"), digest);
    file.forget_digest();
    let read = file.digest();
    assert!(
        matches!(read, Err(SnapshotError::Damaged { .. })),
        "{read:?}"
    );
}

#[test]
fn files_of_every_format_are_read() {
    let state = regency_stored::decode_state(FULL).expect("the state's own fixture");
    let info = |n: u64| MemberInfo {
        incarnation: Incarnation((u128::from(n) << 64) | 7),
        raft: format!("10.0.0.{n}:5060"),
        http: format!("10.0.0.{n}:5050"),
        agent: format!("10.0.0.{n}:5061"),
        hostname: format!("master-{n}"),
        promote: false,
    };
    let membership = Membership::new(
        vec![BTreeSet::from([1, 2, 3])],
        (1..=4).map(|n| (n, info(n))).collect::<BTreeMap<_, _>>(),
    )
    .expect("valid");
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(7, 123_456)),
        last_membership: StoredMembership::new(Some(log_id(3, 40)), membership),
    };
    for (name, format, compression) in [
        ("snapshot-v1.bin", 1, "none"),
        ("snapshot-v2.bin", 2, "zstd"),
    ] {
        let path = fixture(name);
        let file = SnapshotFile::open(&path).expect("a fixture");
        let loaded = load(&file, state.cluster()).expect(name);
        assert_eq!(loaded.meta, meta, "{name}");
        assert_eq!(loaded.state, state, "{name}");

        let facts = inspect_snapshot(&path).expect(name);
        assert_eq!(Some(facts.cluster), state.cluster());
        assert_eq!((facts.index, facts.term), (123_456, Term(7)));
        assert_eq!((facts.format, facts.compression), (format, compression));
        assert_eq!(facts.state_bytes, FULL.len() as u64);
        assert_eq!(facts.state_digest, regency_stored::state_digest(&state));
        assert_eq!(facts.written_by, "0.1.0");
        let voters: Vec<_> = facts.members.iter().map(|m| (m.node.0, m.voter)).collect();
        assert_eq!(voters, [(1, true), (2, true), (3, true), (4, false)]);
        assert_eq!(facts.members[3].http, "10.0.0.4:5050");
        assert_eq!(facts.agents, state.agents().count());
        assert_eq!(facts.tasks, state.tasks().count());
    }
}

#[test]
fn damage_anywhere_in_a_file_is_found() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("damaged");
    let whole = std::fs::read(fixture("snapshot-v2.bin")).expect("a fixture");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, bytes).expect("writable");
        let read = inspect_snapshot(&path);
        assert!(
            matches!(read, Err(SnapshotError::Damaged { .. })),
            "byte {at}: {read:?}"
        );
    }
    for len in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..len]).expect("writable");
        let read = inspect_snapshot(&path);
        assert!(
            matches!(read, Err(SnapshotError::Damaged { .. })),
            "{len} bytes: {read:?}"
        );
    }
    let longer = [&whole[..], b"x"].concat();
    std::fs::write(&path, longer).expect("writable");
    assert!(matches!(
        inspect_snapshot(&path),
        Err(SnapshotError::Damaged { .. })
    ));
}

/// A state with an agent and a framework.
fn state(cluster: ClusterId) -> State {
    let mut state = State::default();
    let begin = Command::BeginTerm(BeginTerm {
        cluster,
        term: Term(2),
        master: MasterInfo {
            node: NodeId(1),
            incarnation: Incarnation(1),
            process: 1,
            hostname: "h".into(),
            http: "h:1".into(),
            agent: "h:2".into(),
            version: "test".into(),
        },
    });
    let register = Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(5),
        boot: BootId(5),
        spec: AgentSpec {
            info: Bytes::new(),
            hostname: "agent".into(),
            address: "agent:5051".into(),
            total: Default::default(),
            version: "test".into(),
        },
    });
    let subscribe = Command::SubscribeFramework(SubscribeFramework {
        framework: None,
        spec: FrameworkSpec {
            info: Bytes::new(),
            name: "f".into(),
            user: "root".into(),
            principal: None,
            roles: BTreeSet::from(["*".to_owned()]),
            failover_timeout: DurationMs(1000),
            checkpoint: false,
            capabilities: Capabilities::default(),
            offer_constraints: Bytes::new(),
        },
        suppressed: Vec::new(),
        stream: StreamId(1),
        kept: None,
    });
    for command in [begin, register, subscribe] {
        let proposal = Proposal {
            proposed_at: ClusterTime(1),
            wall: WallTime(1),
            command,
        };
        state.apply(&proposal).verdict.expect("accepted");
    }
    state
}

#[test]
fn a_state_that_cannot_be_is_found_in_a_file_that_is_whole() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let store = SnapshotStore::open(dir.path(), "test").expect("opens");
    let good = state(ClusterId(1));
    let file = store
        .write(ClusterId(1), &meta(5), &Former::default(), &good)
        .expect("written");
    assert_eq!(verify_snapshot(&file.path).expect("whole").agents, 1);

    let mut parts = good.to_parts();
    parts.counters = Counters::default();
    let bad = State::from_parts(parts).expect("nothing dangles");
    let file = store
        .write(ClusterId(1), &meta(6), &Former::default(), &bad)
        .expect("written");
    inspect_snapshot(&file.path).expect("whole");
    let error = verify_snapshot(&file.path).expect_err("a number given out again");
    assert!(matches!(error, SnapshotError::BrokenRule { .. }), "{error}");

    let file = store
        .write(ClusterId(2), &meta(7), &Former::default(), &good)
        .expect("written");
    let error = verify_snapshot(&file.path).expect_err("of two clusters");
    assert!(matches!(error, SnapshotError::BrokenRule { .. }), "{error}");
}
