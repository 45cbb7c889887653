use bytes::Bytes;

use super::*;
use crate::record::Kind;

/// Room for a few entries, so that tests have several segments.
const SMALL: u64 = 1024;

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn entry(term: u64, index: u64) -> Record {
    Record {
        kind: Kind::Proposal,
        at: at(term, index),
        payload: Bytes::from(vec![index as u8 | 1; 50]),
    }
}

fn open(dir: &Path) -> Result<(SegmentEngine, Recovered), EngineError> {
    let options = Options {
        segment_bytes: SMALL,
        ..Options::default()
    };
    SegmentEngine::open(dir, &options)
}

fn opened(dir: &Path) -> (SegmentEngine, Recovered) {
    open(dir).expect("opens")
}

fn refused(dir: &Path) -> String {
    match open(dir) {
        Err(error) => error.to_string(),
        Ok((_, recovered)) => panic!("it was accepted: {recovered:?}"),
    }
}

/// Adds entries, each synced on its own.
fn append(engine: &mut SegmentEngine, term: u64, range: Range<u64>) {
    for index in range {
        engine.append(&[entry(term, index)]).expect("appended");
        engine.sync().expect("synced");
    }
}

fn crash(engine: SegmentEngine) {
    engine.abandon();
}

/// The process dies when it has written these entries, before anybody is told.
fn die_writing(mut engine: SegmentEngine, entries: &[Record]) {
    engine.append(entries).expect("appended");
    engine.write_pending().expect("written");
    crash(engine);
}

fn indexes(engine: &SegmentEngine) -> Vec<u64> {
    let records = engine.reader().read(0..1000, usize::MAX).expect("read");
    assert!(
        records
            .iter()
            .all(|r| r.payload == entry(0, r.at.index).payload)
    );
    records.iter().map(|record| record.at.index).collect()
}

fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let files = file::list(dir).expect("listed");
    files.into_iter().map(|(_, path)| path).collect()
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("readable");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("writable");
}

/// Where the frame of entry `index` begins in the file at `path`.
fn offset_of(dir: &Path, index: u64) -> (PathBuf, usize) {
    let (engine, _) = opened(dir);
    let segments = engine.segments.read();
    let found = segments
        .iter()
        .find_map(|s| Some((s.path.clone(), s.span(index)?.0 as usize)))
        .expect("there");
    drop(segments);
    crash(engine);
    found
}

#[test]
fn entries_go_on_from_segment_to_segment() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..100);
    assert!(segment_files(dir.path()).len() > 5);
    assert_eq!(indexes(&engine), (0..100).collect::<Vec<_>>());
    crash(engine);
    let (engine, recovered) = opened(dir.path());
    assert_eq!(recovered.last, Some(at(1, 99)));
    assert_eq!(recovered.unfinished, None);
    assert_eq!(indexes(&engine), (0..100).collect::<Vec<_>>());
}

#[test]
fn purged_segments_disappear_and_truncated_ones_too() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..100);
    let all = segment_files(dir.path()).len();
    engine.truncate_from(60).expect("truncated");
    let after = segment_files(dir.path()).len();
    assert!(after < all, "{after} of {all}");
    engine.purge_upto(at(1, 39)).expect("purged");
    while engine.tidy().expect("tidied") {}
    assert!(segment_files(dir.path()).len() < after);
    append(&mut engine, 2, 60..70);
    // An earlier purge changes nothing.
    engine.purge_upto(at(1, 10)).expect("purged");
    assert!(engine.truncate_from(39).is_err(), "that was purged");
    crash(engine);
    let (engine, recovered) = opened(dir.path());
    assert_eq!(recovered.purged, Some(at(1, 39)));
    assert_eq!(recovered.last, Some(at(2, 69)));
    let found = indexes(&engine);
    assert!(found.ends_with(&(40..70).collect::<Vec<_>>()), "{found:?}");
}

#[test]
fn an_interrupted_purge_is_finished_after_the_restart() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..100);
    engine.purge_upto(at(1, 80)).expect("purged");
    crash(engine);
    let files = segment_files(dir.path());
    // Names of different files may become durable in any order.
    std::fs::remove_file(&files[1]).expect("removed");
    let (mut engine, recovered) = opened(dir.path());
    assert_eq!(recovered.last, Some(at(1, 99)));
    while engine.tidy().expect("tidied") {}
    assert!(segment_files(dir.path()).len() < files.len() / 2);
    assert!(indexes(&engine).ends_with(&(81..100).collect::<Vec<_>>()));
}

#[test]
fn an_entry_that_a_crash_cut_short_is_cut_off_and_said() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..2);
    die_writing(engine, &[entry(1, 2)]);
    let (path, offset) = offset_of(dir.path(), 2);
    change(&path, |bytes| bytes[offset + 70..].fill(0));
    let (mut engine, recovered) = opened(dir.path());
    assert_eq!(recovered.unfinished, Some(2));
    assert_eq!(recovered.last, Some(at(1, 1)));
    append(&mut engine, 2, 2..5);
    crash(engine);
    let (engine, recovered) = opened(dir.path());
    assert_eq!(recovered.unfinished, None);
    assert_eq!(indexes(&engine), [0, 1, 2, 3, 4]);
}

#[test]
fn a_group_of_which_a_crash_kept_only_a_later_part_is_cut_off() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..2);
    die_writing(engine, &[entry(1, 2), entry(1, 3), entry(1, 4)]);
    let (path, offset) = offset_of(dir.path(), 3);
    change(&path, |bytes| bytes[offset..offset + 20].fill(0));
    let (engine, recovered) = opened(dir.path());
    assert_eq!(recovered.unfinished, Some(3));
    assert_eq!(indexes(&engine), [0, 1, 2]);
}

#[test]
fn damage_names_file_offset_entry_and_the_way_back() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..9);
    crash(engine);
    let (path, offset) = offset_of(dir.path(), 4);
    change(&path, |bytes| bytes[offset + 60] ^= 1);
    let text = refused(dir.path());
    for part in [
        "entry 4".to_owned(),
        format!("offset {offset}"),
        path.display().to_string(),
        "checksum".to_owned(),
        "new master with an empty directory".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} is not in: {text}");
    }
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn lost_swapped_and_foreign_entries_break_the_chain() {
    let make = |name: &str, dir: &Path, term| {
        let dir = dir.join(name);
        let (mut engine, _) = opened(&dir);
        append(&mut engine, term, 0..40);
        crash(engine);
        dir
    };
    let root = tempfile::tempdir().expect("temporary directory");
    let (other, lost, swapped, foreign, missing) = (
        make("other", root.path(), 2),
        make("lost", root.path(), 1),
        make("swapped", root.path(), 1),
        make("foreign", root.path(), 1),
        make("missing", root.path(), 1),
    );
    let (path, two) = offset_of(&lost, 2);
    let (_, three) = offset_of(&lost, 3);
    change(&path, |bytes| {
        bytes.drain(two..three);
    });
    assert!(refused(&lost).contains("chain"));
    // Another log has an entry with the same index that is right in itself.
    let (path, two) = offset_of(&swapped, 2);
    let (from, _) = offset_of(&other, 2);
    let donor = std::fs::read(from).expect("readable");
    change(&path, |bytes| {
        bytes[two..three].copy_from_slice(&donor[two..three])
    });
    assert!(refused(&swapped).contains("chain"));
    // A whole segment of another log.
    let (own, theirs) = (segment_files(&foreign), segment_files(&other));
    std::fs::copy(&theirs[1], &own[1]).expect("copied");
    let text = refused(&foreign);
    assert!(text.contains("does not continue"), "{text}");
    std::fs::remove_file(&segment_files(&missing)[1]).expect("removed");
    let text = refused(&missing);
    assert!(text.contains("the file begins with entry"), "{text}");
}

#[test]
fn what_was_once_marked_durable_is_never_cut() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..5);
    drop(engine);
    let (path, offset) = offset_of(dir.path(), 4);
    let good = std::fs::read(&path).expect("readable");
    change(&path, |bytes| bytes[offset + 20] ^= 1);
    let text = refused(dir.path());
    assert!(text.contains("it was once durable"), "{text}");
    // Also when nothing of it is left, as in a file from an old backup.
    std::fs::write(&path, &good).expect("writable");
    change(&path, |bytes| bytes[offset..].fill(0));
    let text = refused(dir.path());
    assert!(text.contains("it is missing"), "{text}");
}

#[test]
fn what_was_acknowledged_before_the_process_died_is_never_cut() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..5);
    crash(engine);
    let (path, offset) = offset_of(dir.path(), 4);
    let good = std::fs::read(&path).expect("readable");
    change(&path, |bytes| bytes[offset + 20] ^= 1);
    assert!(refused(dir.path()).contains("it was once durable"));
    std::fs::write(&path, &good).expect("writable");
    change(&path, |bytes| bytes[offset..].fill(0));
    assert!(refused(dir.path()).contains("it is missing"));
    // Unless it was removed on purpose, to the very entry that the slots tell of.
    std::fs::write(&path, &good).expect("writable");
    let (mut engine, _) = opened(dir.path());
    engine.save_vote(&Vote::new(2, 1)).expect("saved");
    append(&mut engine, 2, 5..8);
    engine.truncate_from(5).expect("truncated");
    crash(engine);
    let (engine, recovered) = opened(dir.path());
    assert_eq!(recovered.last, Some(at(1, 4)));
    assert_eq!(indexes(&engine), [0, 1, 2, 3, 4]);
}

#[test]
fn files_that_are_missing_are_damage_and_not_a_new_log() {
    let dir = tempfile::tempdir().expect("temporary directory");
    drop(opened(dir.path()));
    let meta = dir.path().join(meta::FILE);
    let aside = dir.path().join("elsewhere");
    std::fs::rename(&meta, &aside).expect("moved");
    assert!(refused(dir.path()).contains("missing"));
    std::fs::rename(&aside, &meta).expect("moved");
    std::fs::remove_file(&segment_files(dir.path())[0]).expect("removed");
    assert!(refused(dir.path()).contains("there is none"));
}

#[test]
fn a_first_start_that_a_crash_stopped_begins_again() {
    let dir = tempfile::tempdir().expect("temporary directory");
    drop(MetaFile::create(dir.path()).expect("made"));
    std::fs::write(dir.path().join(file::ASIDE), b"half").expect("writable");
    let (mut engine, recovered) = opened(dir.path());
    assert_eq!(recovered, Recovered::default());
    append(&mut engine, 1, 0..3);
}

#[test]
fn after_an_error_nothing_is_written_any_more() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..3);
    engine.append(&[entry(1, 7)]).expect_err("a hole");
    engine.append(&[entry(1, 3)]).expect_err("failed before");
    engine.sync().expect_err("failed before");
    engine
        .save_vote(&Vote::new(9, 1))
        .expect_err("failed before");
    drop(engine);
    let (engine, recovered) = opened(dir.path());
    assert_eq!(recovered.vote, None);
    assert_eq!(indexes(&engine), [0, 1, 2]);
}

#[test]
fn an_entry_that_changed_under_a_running_master_is_not_served() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = opened(dir.path());
    append(&mut engine, 1, 0..5);
    let path = segment_files(dir.path()).remove(0);
    let (start, _) = engine.segments.read()[0].span(3).expect("there");
    let start = start as usize;
    change(&path, |bytes| bytes[start + 50] ^= 8);
    let error = engine.reader().read(0..5, usize::MAX).expect_err("changed");
    let text = error.to_string();
    assert!(
        text.contains("entry 3") && text.contains("checksum"),
        "{text}"
    );
}
