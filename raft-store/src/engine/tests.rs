//! What every engine promises, tried on each of them.

use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::record::Kind;

const KINDS: [EngineKind; 2] = [EngineKind::Sled, EngineKind::Segment];

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn entry(term: u64, index: u64, payload_bytes: usize) -> Record {
    Record {
        kind: Kind::Proposal,
        at: at(term, index),
        payload: Bytes::from(vec![index as u8; payload_bytes]),
    }
}

fn entries(range: Range<u64>) -> Vec<Record> {
    range.map(|index| entry(1, index, 100)).collect()
}

/// An engine with the entries 0 to `n`.
fn filled(kind: EngineKind, dir: &Path, n: u64) -> Box<dyn LogEngine> {
    let (mut engine, recovered) = open(kind, dir).expect("opens");
    assert_eq!(recovered, Recovered::default(), "{kind}");
    engine.append(&entries(0..n)).expect("appended");
    engine.sync().expect("synced");
    engine
}

fn read(engine: &dyn LogEngine, range: Range<u64>) -> Vec<Record> {
    engine.reader().read(range, usize::MAX).expect("read")
}

fn indexes(engine: &dyn LogEngine, range: Range<u64>) -> Vec<u64> {
    let records = read(engine, range);
    records.iter().map(|record| record.at.index).collect()
}

#[test]
fn everything_synced_is_there_after_reopening() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut engine = filled(kind, dir.path(), 10);
        let vote = Vote::new_committed(3, 2);
        engine.save_vote(&vote).expect("saved");
        engine.save_committed(at(1, 7)).expect("saved");
        engine.sync().expect("synced");
        drop(engine);
        let (engine, recovered) = open(kind, dir.path()).expect("opens");
        let expected = Recovered {
            purged: None,
            last: Some(at(1, 9)),
            vote: Some(vote),
            committed: Some(at(1, 7)),
            unfinished: None,
        };
        assert_eq!(recovered, expected, "{kind}");
        assert_eq!(read(&*engine, 0..10), entries(0..10), "{kind}");
    }
}

#[test]
fn a_large_entry_comes_back_whole_and_reads_are_bounded() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (mut engine, _) = open(kind, dir.path()).expect("opens");
        let large = entry(1, 0, 3 * 1024 * 1024);
        engine
            .append(&[large.clone(), entry(1, 1, 1)])
            .expect("appended");
        engine.sync().expect("synced");
        drop(engine);
        let (engine, recovered) = open(kind, dir.path()).expect("opens");
        assert_eq!(recovered.last, Some(at(1, 1)), "{kind}");
        assert_eq!(read(&*engine, 0..2), [large, entry(1, 1, 1)], "{kind}");
        let bounded = engine.reader().read(0..2, 10).expect("read");
        assert_eq!(bounded.len(), 1, "{kind}");
    }
}

#[test]
fn truncation_removes_the_end_and_only_the_end() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut engine = filled(kind, dir.path(), 200);
        engine.truncate_from(50).expect("truncated");
        assert_eq!(indexes(&*engine, 0..300), (0..50).collect::<Vec<_>>());
        engine.append(&[entry(2, 50, 5)]).expect("appended");
        engine.sync().expect("synced");
        drop(engine);
        let (mut engine, recovered) = open(kind, dir.path()).expect("opens");
        assert_eq!(recovered.last, Some(at(2, 50)), "{kind}");
        assert_eq!(indexes(&*engine, 0..300), (0..=50).collect::<Vec<_>>());
        engine.truncate_from(0).expect("truncated");
        engine.append(&[entry(3, 0, 5)]).expect("appended");
        drop(engine);
        let (engine, recovered) = open(kind, dir.path()).expect("opens");
        // What was never synced may be gone.
        let last = recovered.last.map(|last| last.index);
        assert!(matches!(last, None | Some(0)), "{kind}: {last:?}");
        assert!(read(&*engine, 0..300).iter().all(|r| *r == entry(3, 0, 5)));
    }
}

#[test]
fn a_purge_holds_at_once_and_is_tidied_bit_by_bit() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut engine = filled(kind, dir.path(), 500);
        engine.purge_upto(at(1, 399)).expect("purged");
        drop(engine);
        let (mut engine, recovered) = open(kind, dir.path()).expect("opens");
        assert_eq!(recovered.purged, Some(at(1, 399)), "{kind}");
        assert_eq!(recovered.last, Some(at(1, 499)), "{kind}");
        while engine.tidy().expect("tidied") {}
        assert_eq!(indexes(&*engine, 400..500), (400..500).collect::<Vec<_>>());
    }
}

#[test]
fn a_purge_beyond_the_end_leaves_an_empty_log_that_goes_on_behind_it() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut engine = filled(kind, dir.path(), 10);
        engine.purge_upto(at(4, 99)).expect("purged");
        drop(engine);
        let (mut engine, recovered) = open(kind, dir.path()).expect("opens");
        assert_eq!(recovered.purged, Some(at(4, 99)), "{kind}");
        assert_eq!(recovered.last, Some(at(4, 99)), "{kind}");
        engine.append(&[entry(4, 100, 1)]).expect("appended");
        engine.sync().expect("synced");
        while engine.tidy().expect("tidied") {}
        drop(engine);
        let (engine, recovered) = open(kind, dir.path()).expect("opens");
        assert_eq!(recovered.purged, Some(at(4, 99)), "{kind}");
        assert_eq!(recovered.last, Some(at(4, 100)), "{kind}");
        assert_eq!(indexes(&*engine, 100..200), [100], "{kind}");
    }
}

#[test]
fn a_vote_is_replaced_and_never_forgotten() {
    for kind in KINDS {
        let dir = tempfile::tempdir().expect("temporary directory");
        for term in 1..5 {
            let (mut engine, recovered) = open(kind, dir.path()).expect("opens");
            assert_eq!(
                recovered.vote,
                (term > 1).then(|| Vote::new(term - 1, 2)),
                "{kind}"
            );
            engine.save_vote(&Vote::new(term, 2)).expect("saved");
            engine.sync().expect("synced");
        }
    }
}
