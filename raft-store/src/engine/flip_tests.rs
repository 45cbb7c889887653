//! One flipped bit anywhere in the files of a log: it must be noticed, or change nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::segment::SegmentEngine;
use super::*;
use crate::record::Kind;

/// Flips for each way of ending the process.
const FLIPS: usize = 200;
const ENTRIES: u64 = 40;
/// Entries that were synced together at last.
const GROUP: u64 = 3;

fn entry(index: u64) -> Record {
    Record {
        kind: Kind::Proposal,
        at: Position { term: 2, index },
        payload: Bytes::from(vec![index as u8; 40 + index as usize]),
    }
}

fn vote() -> Vote {
    Vote::new_committed(7, 3)
}

fn fill(engine: &mut SegmentEngine) {
    let last = ENTRIES - GROUP;
    for index in 0..last {
        engine.append(&[entry(index)]).expect("appended");
        engine.sync().expect("synced");
    }
    engine.save_vote(&vote()).expect("saved");
    engine
        .append(&(last..ENTRIES).map(entry).collect::<Vec<_>>())
        .expect("appended");
    engine.sync().expect("synced");
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("listed");
    entries
        .map(|entry| entry.expect("listed").path())
        .map(|path| (path.clone(), std::fs::read(&path).expect("readable")))
        .collect()
}

/// What became of the flips.
#[derive(Debug, Default)]
struct Count {
    damage: usize,
    cut: usize,
    unchanged: usize,
}

fn flip_and_reopen(closed: bool, seed: u64) -> Count {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (mut engine, _) = SegmentEngine::open_sized(dir.path(), 2048).expect("opens");
    fill(&mut engine);
    if closed {
        drop(engine);
    } else {
        engine.abandon();
    }
    let good = files(dir.path());
    let size: usize = good.values().map(Vec::len).sum();
    let mut count = Count::default();
    let mut random = seed;
    for _ in 0..FLIPS {
        // Steps of SplitMix64.
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let mut position = (mixed >> 8) as usize % size;
        let (path, bytes) = good
            .iter()
            .find(|(_, bytes)| {
                let here = position < bytes.len();
                if !here {
                    position -= bytes.len();
                }
                here
            })
            .expect("within the files");
        let mut bad = bytes.clone();
        bad[position] ^= 1 << (mixed % 8);
        let left_over: Vec<_> = files(dir.path()).into_keys().collect();
        for path in left_over {
            std::fs::remove_file(path).expect("removed");
        }
        for (path, bytes) in &good {
            std::fs::write(path, bytes).expect("writable");
        }
        std::fs::write(path, bad).expect("writable");
        let place = format!("seed {seed}, {} at {position}", path.display());
        let (engine, recovered) = match SegmentEngine::open_sized(dir.path(), 2048) {
            Err(EngineError::DamagedAt { .. } | EngineError::Damaged { .. }) => {
                count.damage += 1;
                continue;
            }
            Err(other) => panic!("{place}: {other}"),
            Ok(opened) => opened,
        };
        assert_eq!(recovered.vote, Some(vote()), "{place}");
        assert_eq!(recovered.purged, None, "{place}");
        let records = engine.reader().read(0..1000, usize::MAX).expect("read");
        let expected: Vec<_> = (0..records.len() as u64).map(entry).collect();
        assert_eq!(records, expected, "{place}");
        let there = records.len() as u64;
        match recovered.unfinished {
            None => {
                assert_eq!(there, ENTRIES, "{place}: lost without a word");
                count.unchanged += 1;
            }
            Some(index) => {
                assert_eq!(index, there, "{place}");
                let least = if closed { ENTRIES } else { ENTRIES - GROUP };
                assert!(there >= least, "{place}: {there} entries are left");
                count.cut += 1;
            }
        }
        engine.abandon();
    }
    count
}

#[test]
#[allow(clippy::print_stdout, reason = "a failure is repeated with the seed")]
fn a_flipped_bit_is_noticed_or_changes_nothing() {
    let seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(1, |since| since.as_nanos() as u64);
    for closed in [true, false] {
        println!("seed {seed}, closed {closed}");
        let count = flip_and_reopen(closed, seed);
        println!("{count:?}");
        assert!(count.damage > 10, "seed {seed}: {count:?}");
    }
}
