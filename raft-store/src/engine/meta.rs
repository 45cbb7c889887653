//! Vote, commit index, purge marker and durable end, in one small file with two slots.
//!
//! Both slots hold the same; each is written and synced on its own, the first one before the
//! second. A crash while one is written leaves the other whole, with what was acknowledged before
//! or already with what was being written. Writing them in turn instead would cost half as many
//! syncs, but then a newest slot that was damaged later looks like one that was never finished,
//! and a vote would be forgotten without a word.
//!
//! Behind them lies a mark of the last entry that was synced. It is written after each sync of
//! entries and never synced itself, so it costs nothing; it outlives the process, though not always
//! a power cut. It counts only with the slots of the same sequence number: whoever removes entries
//! writes the slots first. A mark that cannot be read is no mark.
//!
//! | offset in a slot | size | what |
//! |---|---|---|
//! | 0 | 4 | magic `RGMT` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 1 | flags: 1 vote, 2 committed, 4 purged, 8 durable, 16 the vote is committed |
//! | 6 | 2 | 0 |
//! | 8 | 8 | sequence number |
//! | 16 | 16 | vote: term, node id |
//! | 32 | 16 | committed: term, index |
//! | 48 | 16 | purged: term, index |
//! | 64 | 24 | durable: term, index, check value of the chain |
//! | 88 | 4 | CRC-32 of bytes 0 to 87 |
//!
//! | offset in the mark | size | what |
//! |---|---|---|
//! | 0 | 4 | magic `RGMK` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 3 | 0 |
//! | 8 | 8 | sequence number of the slots |
//! | 16 | 24 | durable: term, index, check value of the chain |
//! | 40 | 4 | CRC-32 of bytes 0 to 39 |

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use regency_rpc::proto::regency::raft::v1 as proto;

use super::EngineError;
use crate::convert;
use crate::durable;
use crate::failpoint::failpoint;
use crate::record::Position;
use crate::space::synced;
use crate::types::Vote;

/// How long the marker of what is durable, and the commit index, may stay behind.
pub(super) const MARK_EVERY: Duration = Duration::from_secs(1);
/// Name of the file.
pub(super) const FILE: &str = "meta";
/// The slots lie in different blocks, so that no write touches both.
const SLOT_DISTANCE_BYTES: usize = 4096;
const SLOT_BYTES: usize = 92;
const CRC_AT: usize = 88;
const MAGIC: [u8; 4] = *b"RGMT";
const MARK_AT: usize = 2 * SLOT_DISTANCE_BYTES;
const MARK_BYTES: usize = 44;
const MARK_CRC_AT: usize = 40;
const MARK_MAGIC: [u8; 4] = *b"RGMK";
const VERSION: u8 = 1;

/// What the file says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<Position>,
    pub(super) purged: Option<Position>,
    /// An entry that was durable when this was written; entries up to it may never be cut.
    pub(super) durable: Option<Durable>,
}

/// An entry that is certainly on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Durable {
    pub(super) at: Position,
    /// Check value of the chain behind it; 0 for engines without one.
    pub(super) chain: u64,
}

/// The open file.
pub(super) struct MetaFile {
    file: File,
    sequence: u64,
    /// Whether there is a mark that counts.
    marked: bool,
}

impl MetaFile {
    /// Makes the file of an empty log.
    pub(super) fn create(dir: &Path) -> Result<Self, EngineError> {
        let (path, aside) = (dir.join(FILE), dir.join("meta.new"));
        let mut bytes = vec![0; 3 * SLOT_DISTANCE_BYTES];
        let slot = encode(1, &Meta::default());
        for at in [0, SLOT_DISTANCE_BYTES] {
            bytes[at..at + SLOT_BYTES].copy_from_slice(&slot);
        }
        let write = || -> io::Result<File> {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&aside)?;
            file.write_all_at(&bytes, 0)?;
            synced(durable::sync_all(&file))?;
            failpoint!("meta.create.synced");
            std::fs::rename(&aside, &path)?;
            failpoint!("meta.create.renamed");
            synced(durable::sync_all(&File::open(dir)?))?;
            Ok(file)
        };
        let file = write().map_err(EngineError::io("make", &path))?;
        Ok(Self {
            file,
            sequence: 1,
            marked: false,
        })
    }

    /// Reads the file; a slot that a crash or a fault spoilt is repaired from the other. `None`
    /// when there is no file.
    pub(super) fn open(dir: &Path) -> Result<Option<(Self, Meta)>, EngineError> {
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::io("read", path)(error)),
        };
        let damaged = |detail: String| EngineError::Damaged {
            path: path.clone(),
            detail,
        };
        let slots = [0, SLOT_DISTANCE_BYTES]
            .map(|at| decode(bytes.get(at..at + SLOT_BYTES).unwrap_or_default()));
        let (sequence, mut meta, bad) = match &slots {
            [Ok(first), Ok(second)] if first == second => (first.0, first.1, None),
            // The first slot is written first.
            [Ok(first), Ok(second)] if first.0 == second.0 + 1 => (first.0, first.1, Some(1)),
            [Ok(first), Ok(second)] => {
                return Err(damaged(format!(
                    "its slots with sequence numbers {} and {} contradict each other",
                    first.0, second.0
                )));
            }
            [Ok(first), Err(_)] => (first.0, first.1, Some(1)),
            [Err(_), Ok(second)] => (second.0, second.1, Some(0)),
            [Err(first), Err(second)] => {
                return Err(damaged(format!(
                    "both of its slots are unreadable: {first}; {second}"
                )));
            }
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(EngineError::io("open", &path))?;
        let mut meta_file = Self {
            file,
            sequence,
            marked: false,
        };
        if let Some(bad) = bad {
            tracing::warn!(
                path = %path.display(),
                slot = bad,
                "a slot was not completely written or is damaged; repaired from the other one"
            );
            crate::metrics::log_repaired("meta");
            meta_file
                .write_slot(bad, &meta)
                .map_err(EngineError::io("repair", &path))?;
        }
        let mark = decode_mark(bytes.get(MARK_AT..).unwrap_or_default(), sequence);
        if let Some(mark) = mark
            && meta
                .durable
                .is_none_or(|durable| durable.at.index <= mark.at.index)
        {
            meta.durable = Some(mark);
            meta_file.marked = true;
        }
        Ok(Some((meta_file, meta)))
    }

    /// Notes that an entry is durable, for whoever opens the file after this process died. Until
    /// [`Self::save`] it has to be the last one: nothing up to it may be removed.
    pub(super) fn mark(&mut self, durable: &Durable) -> io::Result<()> {
        self.marked = true;
        let mark = encode_mark(self.sequence, durable);
        self.file.write_all_at(&mark, MARK_AT as u64)
    }

    /// Whether entries were marked since the last save, so that only a further one lets them go.
    pub(super) fn is_marked(&self) -> bool {
        self.marked
    }

    /// Whether nothing was ever saved.
    pub(super) fn is_new(&self) -> bool {
        self.sequence == 1
    }

    /// Replaces what the file says; durable on return.
    pub(super) fn save(&mut self, meta: &Meta) -> io::Result<()> {
        self.sequence += 1;
        self.write_slot(0, meta)?;
        self.write_slot(1, meta)?;
        self.marked = false;
        Ok(())
    }

    fn write_slot(&mut self, slot: usize, meta: &Meta) -> io::Result<()> {
        let at = (slot * SLOT_DISTANCE_BYTES) as u64;
        failpoint!("meta.slot.write");
        self.file.write_all_at(&encode(self.sequence, meta), at)?;
        failpoint!("meta.slot.written");
        synced(durable::sync_data(&self.file))?;
        failpoint!("meta.slot.synced");
        Ok(())
    }
}

fn encode(sequence: u64, meta: &Meta) -> [u8; SLOT_BYTES] {
    let mut out = [0; SLOT_BYTES];
    let mut flags = 0;
    let mut put = |at: usize, value: u64| out[at..at + 8].copy_from_slice(&value.to_be_bytes());
    put(8, sequence);
    if let Some(vote) = &meta.vote {
        let vote = convert::vote_to_proto(vote);
        flags |= 1 | if vote.committed { 16 } else { 0 };
        put(16, vote.term);
        put(24, vote.node_id);
    }
    let durable = meta.durable.map(|durable| durable.at);
    for (flag, at, position) in [
        (2, 32, meta.committed),
        (4, 48, meta.purged),
        (8, 64, durable),
    ] {
        if let Some(position) = position {
            flags |= flag;
            put(at, position.term);
            put(at + 8, position.index);
        }
    }
    put(80, meta.durable.map_or(0, |durable| durable.chain));
    out[..4].copy_from_slice(&MAGIC);
    out[4] = VERSION;
    out[5] = flags;
    let crc = crc32fast::hash(&out[..CRC_AT]);
    out[CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    out
}

fn decode(slot: &[u8]) -> Result<(u64, Meta), String> {
    if slot.len() < SLOT_BYTES {
        return Err(format!("{} bytes instead of {SLOT_BYTES}", slot.len()));
    }
    if slot[..4] != MAGIC {
        return Err("it does not begin like a slot".to_owned());
    }
    if crc32fast::hash(&slot[..CRC_AT]).to_be_bytes() != slot[CRC_AT..SLOT_BYTES] {
        return Err("its checksum does not match".to_owned());
    }
    if slot[4] != VERSION {
        return Err(format!(
            "it was written in format {}, this program reads format {VERSION}",
            slot[4]
        ));
    }
    let has = |flag: u8| slot[5] & flag != 0;
    let position = |flag: u8, at: usize| {
        has(flag).then(|| Position {
            term: number(slot, at),
            index: number(slot, at + 8),
        })
    };
    Ok((
        number(slot, 8),
        Meta {
            vote: has(1).then(|| {
                convert::vote_from_proto(&proto::Vote {
                    term: number(slot, 16),
                    node_id: number(slot, 24),
                    committed: has(16),
                })
            }),
            committed: position(2, 32),
            purged: position(4, 48),
            durable: position(8, 64).map(|at| Durable {
                at,
                chain: number(slot, 80),
            }),
        },
    ))
}

fn encode_mark(sequence: u64, durable: &Durable) -> [u8; MARK_BYTES] {
    let mut out = [0; MARK_BYTES];
    out[..4].copy_from_slice(&MARK_MAGIC);
    out[4] = VERSION;
    let Durable { at, chain } = durable;
    for (nth, value) in [sequence, at.term, at.index, *chain]
        .into_iter()
        .enumerate()
    {
        out[8 + 8 * nth..16 + 8 * nth].copy_from_slice(&value.to_be_bytes());
    }
    let crc = crc32fast::hash(&out[..MARK_CRC_AT]);
    out[MARK_CRC_AT..].copy_from_slice(&crc.to_be_bytes());
    out
}

/// The mark in `bytes`, if it belongs to the slots with this sequence number.
fn decode_mark(bytes: &[u8], sequence: u64) -> Option<Durable> {
    let mark = bytes.get(..MARK_BYTES)?;
    let crc = crc32fast::hash(&mark[..MARK_CRC_AT]).to_be_bytes();
    let whole = mark[..4] == MARK_MAGIC && mark[4] == VERSION && mark[MARK_CRC_AT..] == crc;
    (whole && number(mark, 8) == sequence).then(|| Durable {
        at: Position {
            term: number(mark, 16),
            index: number(mark, 24),
        },
        chain: number(mark, 32),
    })
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(term: u64) -> Meta {
        let at = |index| Position { term, index };
        Meta {
            vote: Some(Vote::new_committed(term, 2)),
            committed: Some(at(30)),
            purged: Some(at(10)),
            durable: Some(Durable {
                at: at(40),
                chain: 99,
            }),
        }
    }

    fn open(dir: &Path) -> Meta {
        MetaFile::open(dir).expect("readable").expect("there").1
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        assert!(MetaFile::open(dir.path()).expect("readable").is_none());
        let mut file = MetaFile::create(dir.path()).expect("made");
        assert_eq!(open(dir.path()), Meta::default());
        file.save(&meta(3)).expect("saved");
        assert_eq!(open(dir.path()), meta(3));
    }

    /// Nor does the vote lie on disk in a form of the consensus library, whose serialised form may
    /// change. Computed by hand from the table above.
    #[test]
    fn a_vote_on_disk_is_not_in_a_form_of_the_library() {
        let slot = encode(5, &meta(3));
        let digits: Vec<String> = slot.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            digits.concat(),
            "52474d54011f0000000000000000000500000000000000030000000000000002000000000000\
             0003000000000000001e0000000000000003000000000000000a000000000000000300000000\
             00000028000000000000006352f814c4"
        );
    }

    #[test]
    fn a_mark_counts_until_the_slots_are_written_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut file = MetaFile::create(dir.path()).expect("made");
        file.save(&meta(3)).expect("saved");
        let marked = Durable {
            at: Position { term: 3, index: 41 },
            chain: 7,
        };
        file.mark(&marked).expect("marked");
        assert!(file.is_marked());
        let with_mark = Meta {
            durable: Some(marked),
            ..meta(3)
        };
        assert_eq!(open(dir.path()), with_mark);
        let path = dir.path().join(FILE);
        let good = std::fs::read(&path).expect("readable");
        for at in MARK_AT..MARK_AT + MARK_BYTES {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).expect("writable");
            let found = open(dir.path());
            // What lies between its fields belongs to the checksum as well.
            assert_eq!(found, meta(3), "byte {at}");
        }
        // A file from before there were marks.
        std::fs::write(&path, &good[..MARK_AT]).expect("writable");
        assert_eq!(open(dir.path()), meta(3));
        std::fs::write(&path, &good).expect("writable");
        let (mut file, found) = MetaFile::open(dir.path())
            .expect("readable")
            .expect("there");
        assert!(file.is_marked());
        file.save(&meta(3)).expect("saved");
        assert_eq!(open(dir.path()), meta(3));
        assert_eq!(found, with_mark);
    }

    #[test]
    fn any_flipped_bit_is_repaired_with_nothing_forgotten() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut file = MetaFile::create(dir.path()).expect("made");
        file.save(&meta(3)).expect("saved");
        file.save(&meta(4)).expect("saved");
        let path = dir.path().join(FILE);
        let good = std::fs::read(&path).expect("readable");
        for at in (0..SLOT_BYTES).chain(SLOT_DISTANCE_BYTES..SLOT_DISTANCE_BYTES + SLOT_BYTES) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).expect("writable");
            assert_eq!(open(dir.path()), meta(4), "byte {at}");
            assert_eq!(std::fs::read(&path).expect("readable"), good, "byte {at}");
        }
    }

    #[test]
    fn a_write_that_a_crash_stopped_leaves_the_old_or_the_new() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(FILE);
        let mut file = MetaFile::create(dir.path()).expect("made");
        file.save(&meta(3)).expect("saved");
        let old = std::fs::read(&path).expect("readable");
        file.save(&meta(4)).expect("saved");
        let new = std::fs::read(&path).expect("readable");
        for cut in 0..old.len() {
            let mixed = [&new[..cut], &old[cut..]].concat();
            std::fs::write(&path, mixed).expect("writable");
            let read = open(dir.path());
            assert!(read == meta(3) || read == meta(4), "cut at {cut}");
            assert!(cut < SLOT_BYTES || read == meta(4), "cut at {cut}");
            if cut == SLOT_BYTES + 1 {
                break;
            }
        }
    }

    #[test]
    fn slots_that_contradict_each_other_or_are_both_bad_are_damage() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(FILE);
        let mut file = MetaFile::create(dir.path()).expect("made");
        let stale = std::fs::read(&path).expect("readable");
        file.save(&meta(3)).expect("saved");
        file.save(&meta(4)).expect("saved");
        let good = std::fs::read(&path).expect("readable");
        let refused = |bytes: Vec<u8>| {
            std::fs::write(&path, bytes).expect("writable");
            match MetaFile::open(dir.path()) {
                Err(error) => error.to_string(),
                Ok(_) => panic!("it was accepted"),
            }
        };
        let mixed = [&good[..SLOT_DISTANCE_BYTES], &stale[SLOT_DISTANCE_BYTES..]].concat();
        assert!(refused(mixed).contains("contradict"));
        let mut bad = good;
        bad[20] ^= 1;
        bad[SLOT_DISTANCE_BYTES + 20] ^= 1;
        assert!(refused(bad).contains("both"));
        assert!(refused(Vec::new()).contains("both"));
    }
}
