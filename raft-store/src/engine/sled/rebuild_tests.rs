use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::EngineKind;
use crate::engine;

const ALWAYS: Options = Options {
    segment_bytes: 0,
    rebuild: RebuildWhen {
        factor: 2,
        bytes_min: 0,
    },
    progress: Progress::UNWATCHED,
};

fn entries(range: Range<u64>) -> Vec<Record> {
    range
        .map(|index| Record {
            kind: Kind::Proposal,
            at: Position { term: 1, index },
            payload: Bytes::from(vec![index as u8; 100 + (index as usize * 53) % 3000]),
        })
        .collect()
}

fn open(dir: &Path) -> (Box<dyn LogEngine>, Recovered) {
    engine::open_with(EngineKind::Sled, dir, &ALWAYS).expect("opens")
}

/// A log of 500 entries of which all but the last 50 were purged, with vote and commit index.
fn swollen(dir: &Path) -> Box<dyn LogEngine> {
    let (mut log, _) = open(dir);
    log.save_vote(&Vote::new(1, 2)).expect("saved");
    log.append(&entries(0..500)).expect("appended");
    log.save_committed(at(490)).expect("saved");
    log.sync().expect("synced");
    log.purge_upto(at(449)).expect("purged");
    log
}

fn at(index: u64) -> Position {
    Position { term: 1, index }
}

fn expected(last: u64, vote: u64) -> Recovered {
    Recovered {
        purged: Some(at(449)),
        last: Some(at(last)),
        vote: Some(Vote::new(vote, 2)),
        committed: Some(at(490)),
        unfinished: None,
    }
}

/// Opens what a process that is killed now would leave, and checks it.
fn check_copy(dir: &Path, found: &Recovered) {
    let copy = tempfile::tempdir().expect("temporary directory");
    copy_all(dir, copy.path());
    let (log, recovered) = open(copy.path());
    assert_eq!(recovered, *found);
    let last = found.last.expect("entries").index;
    let read = log.reader().read(450..u64::MAX, usize::MAX).expect("read");
    assert!(read == entries(450..last + 1));
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    // The replaced database is removed at the same time.
    let Ok(entries) = std::fs::read_dir(from) else {
        assert!(!from.exists());
        return;
    };
    for entry in entries {
        let path = entry.expect("listed").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_all(&path, &target);
        } else if std::fs::copy(&path, &target).is_err() {
            assert!(!path.exists());
        }
    }
}

#[test]
fn a_swollen_log_shrinks_while_it_is_used_and_nothing_in_it_changes() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut log = swollen(dir.path());
    let reader = log.reader();
    let before = log.bytes().expect("measured");
    // Between the steps the log is written and truncated, as ever.
    let mut last = 499;
    let mut steps = 0;
    while log.tidy().expect("tidied") {
        steps += 1;
        if steps < 6 {
            log.append(&entries(last + 1..last + 4)).expect("appended");
            log.sync().expect("synced");
            last += 3;
        }
        if steps == 3 {
            log.truncate_from(495).expect("truncated");
            log.save_vote(&Vote::new(2, 2)).expect("saved");
            log.sync().expect("synced");
            last = 494;
        }
    }
    let after = log.bytes().expect("measured");
    assert!(after.disk * 2 < before.disk, "{before:?} {after:?}");
    assert!(dir.path().join("current").exists());
    assert!(!log.tidy().expect("tidied"));
    // A reader from before sees the log as it is.
    let read = reader.read(450..u64::MAX, usize::MAX).expect("read");
    assert!(read == entries(450..last + 1));
    drop((log, reader));
    assert!(!dir.path().join("db").exists());
    let (log, recovered) = open(dir.path());
    assert_eq!(recovered, expected(last, 2));
    assert_eq!(log.bytes().expect("measured").live, after.live);
}

#[test]
fn a_kill_behind_any_step_leaves_the_whole_log() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut log = swollen(dir.path());
    let mut last = 499;
    loop {
        let more = log.tidy().expect("tidied");
        check_copy(dir.path(), &expected(last, 1));
        if !more {
            break;
        }
        log.append(&entries(last + 1..last + 2)).expect("appended");
        log.sync().expect("synced");
        last += 1;
        check_copy(dir.path(), &expected(last, 1));
    }
    assert!(dir.path().join("current").exists());
}

#[test]
fn a_kill_within_the_switch_leaves_the_old_or_the_new_log() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut log = swollen(dir.path());
    let old = tempfile::tempdir().expect("temporary directory");
    copy_all(dir.path(), old.path());
    while log.tidy().expect("tidied") {}
    drop(log);
    // Complete, prepared, and not decided.
    copy_all(&dir.path().join("rebuilt-1"), &old.path().join("rebuilt-1"));
    std::fs::copy(dir.path().join("current"), old.path().join("current.new")).expect("copied");
    check_copy(old.path(), &expected(499, 1));
    // Decided, and nothing of the old one removed.
    std::fs::rename(old.path().join("current.new"), old.path().join("current")).expect("renamed");
    check_copy(old.path(), &expected(499, 1));
    // A name that is damaged, or names nothing, is not taken for a log that is new.
    std::fs::write(old.path().join("current"), "rebuilt-7\n00000000\n").expect("written");
    let error = engine::open_with(EngineKind::Sled, old.path(), &ALWAYS)
        .err()
        .expect("damaged");
    assert!(error.to_string().contains("checksum"), "{error}");
    std::fs::copy(dir.path().join("current"), old.path().join("current")).expect("copied");
    std::fs::remove_dir_all(old.path().join("rebuilt-1")).expect("removed");
    let error = engine::open_with(EngineKind::Sled, old.path(), &ALWAYS)
        .err()
        .expect("damaged");
    assert!(error.to_string().contains("not there"), "{error}");
}

#[test]
fn readers_are_served_while_the_database_is_replaced() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut log = swollen(dir.path());
    let (reader, stop) = (log.reader(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let reading = std::thread::spawn(move || {
        let all = entries(450..500);
        let mut reads = 0;
        while !stopped.load(Ordering::Relaxed) || reads == 0 {
            assert!(reader.read(450..500, usize::MAX).expect("read") == all);
            reads += 1;
        }
    });
    while log.tidy().expect("tidied") {}
    stop.store(true, Ordering::Relaxed);
    reading.join().expect("every read was right");
    assert!(dir.path().join("current").exists());
}

#[test]
fn a_log_that_is_small_or_full_is_left_alone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let options = Options {
        rebuild: RebuildWhen {
            factor: 4,
            bytes_min: 1 << 40,
        },
        ..Options::default()
    };
    let (mut log, _) = SledEngine::open(dir.path(), &options).expect("opens");
    log.append(&entries(0..500)).expect("appended");
    log.sync().expect("synced");
    log.purge_upto(at(480)).expect("purged");
    while log.tidy().expect("tidied") {}
    assert!(!dir.path().join("current").exists());
    log.rebuild.when.factor = 0;
    log.rebuild.bytes_min = 0;
    assert!(!log.tidy().expect("tidied"));
    assert!(!dir.path().join("current").exists());
}
