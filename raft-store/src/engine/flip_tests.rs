//! One flipped bit anywhere in the files of a log: it must be noticed, or change nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::segment::SegmentEngine;
use super::*;
use crate::record::Kind;

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

/// A log that is filled and then left in some way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Log {
    /// Segments, closed in order.
    Closed,
    /// Segments of a process that was killed when it had synced a group of entries.
    Killed,
    /// A database of a process that was killed when it had synced a group of entries.
    Sled,
}

impl Log {
    fn open(self, dir: &Path) -> Result<(Box<dyn LogEngine>, Recovered), EngineError> {
        if self == Self::Sled {
            return open(EngineKind::Sled, dir);
        }
        let options = Options {
            segment_bytes: 2048,
            ..Options::default()
        };
        let (engine, recovered) = SegmentEngine::open(dir, &options)?;
        Ok((Box::new(engine), recovered))
    }

    /// The files of such a log.
    fn files(self, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut engine, _) = self.open(dir).expect("opens");
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
        if self == Self::Closed {
            drop(engine);
        }
        read_files(dir)
    }
}

/// All files below a directory, by their path in it.
fn read_files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                let name = path.strip_prefix(dir).expect("below").to_path_buf();
                found.insert(name, bytes);
            }
        }
    }
    found
}

/// Steps of SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 8) as usize % n
    }
}

/// What became of the flips.
#[derive(Debug, Default)]
struct Count {
    damage: usize,
    cut: usize,
    unchanged: usize,
}

fn flip_and_reopen(log: Log, flips: usize, seed: u64) -> Count {
    let dir = tempfile::tempdir().expect("temporary directory");
    let good = log.files(dir.path());
    let place_of = |wanted: fn(u8) -> bool| -> Vec<(&PathBuf, usize)> {
        let places = good.iter().flat_map(|(name, bytes)| {
            let fitting = bytes.iter().enumerate().filter(move |(_, b)| wanted(**b));
            fitting.map(move |(at, _)| (name, at))
        });
        places.collect()
    };
    let (filled, empty) = (place_of(|byte| byte != 0), place_of(|byte| byte == 0));
    let mut count = Count::default();
    let mut random = Random(seed);
    for nth in 0..flips {
        // Most of a preallocated file is empty.
        let places = if nth % 4 == 0 { &empty } else { &filled };
        let (name, at) = places[random.below(places.len())];
        let bit = random.below(8);
        let place = format!("seed {seed}, {log:?}: bit {bit} of byte {at} in {name:?}");
        let dir = tempfile::tempdir().expect("temporary directory");
        for (other, bytes) in &good {
            let path = dir.path().join(other);
            std::fs::create_dir_all(path.parent().expect("below")).expect("made");
            let mut bytes = bytes.clone();
            if other == name {
                bytes[at] ^= 1 << bit;
            }
            std::fs::write(path, bytes).expect("writable");
        }
        let (engine, recovered) = match log.open(dir.path()) {
            Err(_) => {
                count.damage += 1;
                continue;
            }
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
            // Only what was never an entry: all of them were acknowledged.
            Some(index) => {
                assert_eq!((index, there), (ENTRIES, ENTRIES), "{place}");
                count.cut += 1;
            }
        }
    }
    count
}

#[test]
#[allow(clippy::print_stdout, reason = "a failure is repeated with the seed")]
fn a_flipped_bit_is_noticed_or_changes_nothing() {
    let seed = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(1, |since| since.as_nanos() as u64);
    for (log, flips) in [(Log::Closed, 100), (Log::Killed, 100), (Log::Sled, 40)] {
        println!("seed {seed}, {log:?}");
        let count = flip_and_reopen(log, flips, seed);
        println!("{count:?}");
        assert!(count.damage > flips / 10, "seed {seed}: {count:?}");
    }
}
