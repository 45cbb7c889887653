use bytes::Bytes;
use regency_runtime::CountingIds;

use super::*;
use crate::identity::Identity;
use crate::record::{Kind, Position, Record};
use crate::types::Vote;

const STEPS: [Step; 5] = [
    Step::Written,
    Step::Named,
    Step::Decided,
    Step::Aside,
    Step::Placed,
];
const WAYS: [(EngineKind, EngineKind); 2] = [
    (EngineKind::Sled, EngineKind::Segment),
    (EngineKind::Segment, EngineKind::Sled),
];

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn entries() -> Vec<Record> {
    (40..300)
        .map(|index| Record {
            kind: Kind::Proposal,
            at: at(2, index),
            payload: Bytes::from(vec![index as u8; 10 + (index as usize * 37) % 5000]),
        })
        .collect()
}

/// A data directory with a log that was purged, voted in and committed to.
fn make(dir: &Path, kind: EngineKind) {
    drop(Identity::open(dir, NodeId(1), kind, &CountingIds::default()).expect("new"));
    let (mut log, _) = engine::open(kind, &dir.join("log")).expect("opens");
    log.save_vote(&Vote::new_committed(3, 2)).expect("saved");
    log.purge_upto(at(2, 39)).expect("purged");
    log.append(&entries()).expect("appended");
    log.save_committed(at(2, 250)).expect("saved");
    log.sync().expect("synced");
}

/// Checks that a master can use the directory with the engine it names, and gives that.
fn check(dir: &Path) -> EngineKind {
    let kind = crate::offline::identity_of(dir)
        .expect("an identity")
        .engine;
    drop(Identity::open(dir, NodeId(1), kind, &CountingIds::default()).expect("opens"));
    let facts = crate::offline::DataDir::open(dir)
        .expect("opens")
        .facts()
        .clone();
    assert_eq!((facts.engine, facts.last), (kind, Some((2, 299))));
    let place = log_dir::settle(dir, kind).expect("settled");
    let (log, recovered) = engine::open(kind, &place).expect("opens");
    let expected = Recovered {
        purged: Some(at(2, 39)),
        last: Some(at(2, 299)),
        vote: Some(Vote::new_committed(3, 2)),
        committed: Some(at(2, 250)),
        unfinished: None,
    };
    assert_eq!(recovered, expected);
    let read = log.reader().read(40..400, usize::MAX).expect("read");
    assert!(read == entries());
    kind
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .expect("listed")
        .map(|entry| {
            entry
                .expect("listed")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_log_goes_to_the_other_engine_and_back_with_vote_and_markers() {
    let dir = tempfile::tempdir().expect("temporary directory");
    make(dir.path(), EngineKind::Sled);
    for (from, to) in WAYS {
        let change = change_engine(dir.path(), to, false).expect("changed");
        assert_eq!((change.from, change.to, change.entries), (from, to, 260));
        assert_eq!((change.last, change.kept), (Some((2, 299)), None));
        assert!(change.bytes_before > 0 && change.bytes_after > 0);
        assert_eq!(check(dir.path()), to);
        assert_eq!(names(dir.path()), ["identity", "lock", "log"]);
        // Asked again, there is nothing to do.
        let again = change_engine(dir.path(), to, false).expect("nothing to do");
        assert_eq!((again.from, again.to), (to, to));
    }
}

#[test]
fn a_crash_behind_any_step_leaves_a_usable_directory_and_the_change_can_be_repeated() {
    for (from, to) in WAYS {
        for stop in STEPS {
            let dir = tempfile::tempdir().expect("temporary directory");
            make(dir.path(), from);
            let crashed = change(dir.path(), to, false, &mut |step| match step == stop {
                true => Err(OfflineError::InTheWay(PathBuf::from("crash"))),
                false => Ok(()),
            });
            assert!(crashed.is_err());
            let decided = !matches!(stop, Step::Written | Step::Named);
            assert_eq!(
                check(dir.path()),
                if decided { to } else { from },
                "{stop:?}"
            );
            if decided {
                // Only removing the old log was not done.
                assert_eq!(names(dir.path()), ["identity", "lock", "log", "log.before"]);
                std::fs::remove_dir_all(log_dir::before(dir.path())).expect("removed");
            }
            change_engine(dir.path(), to, false).expect("changed");
            assert_eq!(check(dir.path()), to);
            assert_eq!(names(dir.path()), ["identity", "lock", "log"]);
        }
    }
}

#[test]
fn the_old_log_is_kept_on_request_and_never_overwritten() {
    let dir = tempfile::tempdir().expect("temporary directory");
    make(dir.path(), EngineKind::Sled);
    let change = change_engine(dir.path(), EngineKind::Segment, true).expect("changed");
    let kept = change.kept.expect("kept");
    assert!(kept.join("db").exists());
    let error = change_engine(dir.path(), EngineKind::Sled, false).expect_err("in the way");
    assert!(error.to_string().contains("log.before"), "{error}");
    assert_eq!(check(dir.path()), EngineKind::Segment);
}

#[test]
fn a_directory_in_use_and_a_damaged_log_are_refused_unchanged() {
    let dir = tempfile::tempdir().expect("temporary directory");
    make(dir.path(), EngineKind::Segment);
    let ids = CountingIds::default();
    let identity = Identity::open(dir.path(), NodeId(1), EngineKind::Segment, &ids).expect("opens");
    let error = change_engine(dir.path(), EngineKind::Sled, false).expect_err("in use");
    assert!(error.to_string().contains("in use"), "{error}");
    drop(identity);
    let segment = std::fs::read_dir(dir.path().join("log"))
        .expect("listed")
        .map(|entry| entry.expect("listed").path())
        .find(|path| path.extension().is_some_and(|it| it == "segment"))
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("readable");
    bytes[100] ^= 1;
    std::fs::write(&segment, &bytes).expect("writable");
    let error = change_engine(dir.path(), EngineKind::Sled, false).expect_err("damaged");
    assert!(error.to_string().contains("damaged"), "{error}");
    assert_eq!(names(dir.path()), ["identity", "lock", "log"]);
}
