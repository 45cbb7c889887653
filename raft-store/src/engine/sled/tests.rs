use super::*;
use crate::record::HEADER_BYTES;

fn entry(term: u64, index: u64, payload_bytes: usize) -> Record {
    Record {
        kind: Kind::Proposal,
        at: Position { term, index },
        payload: Bytes::from(vec![index as u8; payload_bytes]),
    }
}

fn open(dir: &Path) -> (SledEngine, Recovered) {
    SledEngine::open(dir, &Options::default()).expect("opens")
}

fn filled(dir: &Path, n: u64) -> SledEngine {
    let (mut engine, recovered) = open(dir);
    assert_eq!(recovered, Recovered::default());
    let records: Vec<_> = (0..n).map(|index| entry(1, index, 100)).collect();
    engine.append(&records).expect("appended");
    engine.sync().expect("synced");
    engine
}

/// An engine with one value for each of the entries 0 to `n`.
fn filled_singly(dir: &Path, n: u64) -> SledEngine {
    let (mut engine, _) = open(dir);
    for index in 0..n {
        engine.append(&[entry(1, index, 100)]).expect("appended");
        engine.sync().expect("synced");
    }
    engine
}

fn n_values(engine: &SledEngine) -> usize {
    engine.db.range(entry_key(0, 0)..).count()
}

fn indexes(engine: &SledEngine, range: Range<u64>) -> Vec<u64> {
    let records = engine.reader().read(range, usize::MAX).expect("read");
    records.iter().map(|record| record.at.index).collect()
}

#[test]
fn an_entry_larger_than_a_step_comes_back_whole() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = open(dir.path());
    let large = entry(1, 0, 1024 * 1024);
    engine
        .append(&[large.clone(), entry(1, 1, 1)])
        .expect("appended");
    engine.sync().expect("synced");
    drop(engine);
    let (engine, recovered) = open(dir.path());
    assert_eq!(recovered.last, Some(Position { term: 1, index: 1 }));
    let read = engine.reader().read(0..2, usize::MAX).expect("read");
    assert_eq!(read[0], large);
    // A bounded read gives at least one entry, and no more than fit.
    assert_eq!(engine.reader().read(0..2, 10).expect("read").len(), 1);
    assert_eq!(
        std::fs::read_dir(dir.path().join("blobs")).map_or(0, |d| d.count()),
        0
    );
}

#[test]
fn a_purge_holds_at_once_and_is_tidied_bit_by_bit() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut engine = filled_singly(dir.path(), 500);
    engine
        .purge_upto(Position {
            term: 1,
            index: 399,
        })
        .expect("purged");
    drop(engine);
    // The keys are still there, but nobody believes them.
    let (mut engine, recovered) = open(dir.path());
    assert_eq!(
        recovered.purged,
        Some(Position {
            term: 1,
            index: 399
        })
    );
    assert_eq!(
        recovered.last,
        Some(Position {
            term: 1,
            index: 499
        })
    );
    assert_eq!(indexes(&engine, 0..400).len(), 400);
    let mut steps = 0;
    while engine.tidy().expect("tidied") {
        steps += 1;
    }
    assert!(steps >= 400 / DELETES_MAX, "{steps}");
    assert_eq!(indexes(&engine, 0..500), (400..500).collect::<Vec<_>>());
}

#[test]
fn small_entries_share_values_and_are_read_one_by_one() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut engine = filled(dir.path(), 100);
    // 130 bytes each: 15 of them in a value.
    assert_eq!(n_values(&engine), 7);
    engine
        .append(&[entry(1, 100, 5000), entry(1, 101, 100)])
        .expect("appended");
    engine.sync().expect("synced");
    assert_eq!(n_values(&engine), 7 + 3 + 1);
    drop(engine);
    let (engine, recovered) = open(dir.path());
    assert_eq!(
        recovered.last,
        Some(Position {
            term: 1,
            index: 101
        })
    );
    for from in 0..102 {
        let all: Vec<_> = (from..102).collect();
        assert_eq!(indexes(&engine, from..102), all);
        assert_eq!(indexes(&engine, from..from + 1), [from]);
    }
    assert_eq!(engine.reader().read(7..50, 250).expect("read").len(), 2);
}

#[test]
fn a_value_is_cut_where_its_entries_are_truncated() {
    let dir = tempfile::tempdir().expect("temporary directory");
    // The last entry is large, the others share values of 15.
    for from in [0, 1, 14, 15, 16, 29, 30, 31, 32] {
        let path = dir.path().join(from.to_string());
        let mut engine = filled(&path, 31);
        engine.append(&[entry(1, 31, 5000)]).expect("appended");
        engine.truncate_from(from).expect("truncated");
        assert_eq!(
            indexes(&engine, 0..99),
            (0..from.min(32)).collect::<Vec<_>>()
        );
        let next = from.min(32);
        engine.append(&[entry(2, next, 10)]).expect("appended");
        engine.sync().expect("synced");
        drop(engine);
        let (engine, recovered) = open(&path);
        assert_eq!(
            recovered.last,
            Some(Position {
                term: 2,
                index: next
            })
        );
        assert_eq!(indexes(&engine, 0..99), (0..=next).collect::<Vec<_>>());
    }
}

#[test]
fn a_value_goes_when_all_its_entries_are_purged() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut engine = filled(dir.path(), 100);
    for (index, n_left) in [
        (15, 6),
        (28, 6),
        (29, 5),
        (44, 4),
        (98, 1),
        (99, 1),
        (200, 1),
    ] {
        engine
            .purge_upto(Position { term: 1, index })
            .expect("purged");
        while engine.tidy().expect("tidied") {}
        assert_eq!(n_values(&engine), n_left, "{index}");
        drop(engine);
        let (again, recovered) = open(dir.path());
        engine = again;
        assert_eq!(recovered.purged, Some(Position { term: 1, index }));
        let last = recovered.last.expect("at least the purged one").index;
        assert_eq!(last, index.max(99));
        let all: Vec<_> = (index + 1..100).collect();
        assert_eq!(indexes(&engine, index + 1..200), all);
    }
    engine.append(&[entry(1, 201, 10)]).expect("appended");
    engine.sync().expect("synced");
    engine
        .purge_upto(Position {
            term: 1,
            index: 200,
        })
        .expect("purged");
    while engine.tidy().expect("tidied") {}
    assert_eq!(indexes(&engine, 0..300), [201]);
}

#[test]
fn an_entry_that_a_crash_cut_short_is_removed_when_it_is_the_last() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut engine = filled(dir.path(), 3);
    engine.append(&[entry(1, 3, 100_000)]).expect("appended");
    engine.sync().expect("synced");
    // The steps behind the first one never happened.
    for piece in 20..=49 {
        engine.db.remove(entry_key(3, piece)).expect("removed");
    }
    engine.db.flush().expect("flushed");
    drop(engine);
    let (engine, recovered) = open(dir.path());
    assert_eq!(recovered.unfinished, Some(3));
    assert_eq!(recovered.last, Some(Position { term: 1, index: 2 }));
    assert_eq!(indexes(&engine, 0..10), [0, 1, 2]);
}

fn damage(dir: &Path, change: impl FnOnce(&Db)) -> String {
    let engine = filled_singly(dir, 10);
    change(&engine.db);
    engine.db.flush().expect("flushed");
    drop(engine);
    match SledEngine::open(dir, &Options::default()) {
        Err(EngineError::Damaged { detail, .. }) => detail,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("the damage was not noticed"),
    }
}

#[test]
fn a_hole_a_flipped_bit_and_a_cut_entry_in_the_middle_are_damage() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let detail = damage(&dir.path().join("hole"), |db| {
        db.remove(entry_key(4, 0)).expect("removed");
    });
    assert!(detail.contains("entry 5 where 4"), "{detail}");
    let detail = damage(&dir.path().join("bit"), |db| {
        let key = entry_key(4, 0);
        let mut value = db.get(key).expect("read").expect("there").to_vec();
        value[HEADER_BYTES + 3] ^= 4;
        db.insert(key, value).expect("written");
    });
    assert!(
        detail.contains("entry 4") && detail.contains("checksum"),
        "{detail}"
    );
    let detail = damage(&dir.path().join("cut"), |db| {
        let key = entry_key(4, 0);
        let value = db.get(key).expect("read").expect("there").to_vec();
        db.insert(key, &value[..value.len() - 1]).expect("written");
    });
    assert!(detail.contains("entry 4 is incomplete"), "{detail}");
    let detail = damage(&dir.path().join("swapped"), |db| {
        let other = db.get(entry_key(5, 0)).expect("read").expect("there");
        db.insert(entry_key(4, 0), other).expect("written");
    });
    assert!(detail.contains("entry 4 is that of"), "{detail}");
}

#[test]
fn damage_among_entries_that_share_a_value_is_noticed() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let change = |name: &str, change: fn(&mut Vec<u8>)| {
        let path = dir.path().join(name);
        let engine = filled(&path, 10);
        let mut value = engine
            .db
            .get(entry_key(0, 0))
            .expect("read")
            .expect("there")
            .to_vec();
        change(&mut value);
        engine.db.insert(entry_key(0, 0), value).expect("written");
        engine.db.flush().expect("flushed");
        drop(engine);
        match SledEngine::open(&path, &Options::default()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("the damage was not noticed"),
        }
    };
    let detail = change("bit", |value| value[4 * 130 + HEADER_BYTES + 3] ^= 4);
    assert!(detail.contains("entry 4: its checksum"), "{detail}");
    let detail = change("cut", |value| value.truncate(10 * 130 - 1));
    assert!(detail.contains("entry 9: 129 bytes"), "{detail}");
    let detail = change("lost", |value| drop(value.drain(4 * 130..5 * 130)));
    assert!(detail.contains("entry 4 is that of"), "{detail}");
}

#[test]
fn a_damaged_vote_is_never_taken_for_no_vote() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let detail = damage(dir.path(), |db| {
        db.insert(VOTE_KEY, b"no vote").expect("written");
    });
    assert!(detail.contains("record"), "{detail}");
}

#[test]
fn files_that_are_no_database_are_damage_and_not_a_panic() {
    let dir = tempfile::tempdir().expect("temporary directory");
    drop(filled(dir.path(), 2000));
    // Wait until the database let go of its file.
    drop(open(dir.path()).0);
    let db = dir.path().join("db");
    let mut bytes = std::fs::read(&db).expect("readable");
    for byte in &mut bytes {
        *byte ^= 0x5a;
    }
    std::fs::write(&db, bytes).expect("writable");
    match SledEngine::open(dir.path(), &Options::default()) {
        Err(_) => {}
        // The database may call all of it "never written"; then everything is gone, and the
        // identity beside it is what tells that this was a voter.
        Ok((_, recovered)) => assert_eq!(recovered, Recovered::default()),
    }
}
