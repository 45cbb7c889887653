//! The log in a sled database, made honest.
//!
//! sled 0.34 promises less than its names say: `flush` reaches no device cache, nodes above
//! 128 KiB go to files that are never synced, and a large unsynced window can lose everything at
//! a power cut. The rules below were found by crash models that keep or drop every unsynced
//! write at will, and hold under them; each is kept by this file and needed:
//!
//! 1. The file `conf` is whole and durable before a database is made beside it; after opening, the
//!    other files and directories that creation leaves unsynced are synced. A database that is there
//!    is opened in two steps (`sled/open.rs`).
//! 2. Values are cut into pieces of at most [`PIECE_BYTES_MAX`], so that no node spills.
//! 3. At most [`STEP_BYTES_MAX`] bytes, or [`DELETES_MAX`] deletions, lie between two syncs.
//! 4. A sync is `flush` *and* `fdatasync` on the database file. Both results count, and neither
//!    is tried again.
//! 5. A purge writes its marker first; a truncation removes the last key first.
//! 6. Opening may panic on damage; that is caught and is damage.
//!
//! A file that has grown far beyond what is in it is replaced while it is in use (`sled/rebuild.rs`).
//!
//! What lies between two syncs is written key by key, in the order in which it was asked for: a crash
//! keeps the first part of it, and nothing here needs more. A batch of the database would be kept as a
//! whole or not at all, but it writes to the file twice, first a mark of its own, and so doubles
//! what a sync costs.
//!
//! Keys are `1, index (8 bytes), piece (2 bytes)` for entries and `0, name` for the rest, all in
//! one tree, so that the order of writes is the order in the database's own log. What a key costs
//! the database is far more than what a byte costs. So small entries that are synced together share
//! a value, under the index of the first of them; only a large one has pieces.

mod open;
mod place;
mod pool;
mod rebuild;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use bytes::Bytes;
use sled::{Db, IVec};

use self::open::open_db;
pub(crate) use self::rebuild::RebuildWhen;
use self::rebuild::{Rebuild, SharedDb};
use super::ahead::Ahead;
use super::{EngineError, LogBytes, LogEngine, LogRead, Options, Recovered, damaged};
use crate::convert;
use crate::failpoint::failpoint;
use crate::metrics;
use crate::record::{Kind, Position, Record};
use crate::space::synced;
use crate::types::Vote;
use crate::watchdog::start::Progress;

/// Largest value.
const PIECE_BYTES_MAX: usize = 2 * 1024;
/// Most bytes of values between two syncs.
const STEP_BYTES_MAX: usize = 32 * 1024;
/// Most deletions between two syncs.
const DELETES_MAX: usize = 64;

const META: u8 = 0;
const LOG: u8 = 1;
const VOTE_KEY: [u8; 2] = [META, b'v'];
const COMMITTED_KEY: [u8; 2] = [META, b'c'];
const PURGED_KEY: [u8; 2] = [META, b'p'];

/// The engine.
pub(crate) struct SledEngine {
    db: Db,
    /// The database's file, opened a second time to sync it.
    file: File,
    ahead: Ahead,
    /// What the next sync makes durable, in order. No value: the key is removed.
    step: Vec<(IVec, Option<IVec>)>,
    step_bytes: usize,
    /// Small entries that will share a value, encoded, and the index of the first.
    shared: Vec<u8>,
    shared_from: u64,
    committed: Option<Position>,
    /// Whether something was put into the step since the last sync.
    unsynced: bool,
    /// Values below this index were purged and may still be there.
    purge_to: u64,
    purged_from: u64,
    /// Index of the first entry behind the purge marker.
    first: u64,
    /// Sizes of the entries from there on, and their sum.
    sizes: VecDeque<u32>,
    live_bytes: u64,
    /// The directory of the log, and which of the databases in it this is.
    dir: PathBuf,
    number: u64,
    /// What readers read; always `db`.
    read_db: SharedDb,
    rebuild: Rebuild,
}

impl SledEngine {
    /// Opens or makes the log in `dir` and checks every record in it.
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<(Self, Recovered), EngineError> {
        let number = place::current(dir)?;
        let (mut engine, recovered) =
            Self::open_plain(&place::path(dir, number), &options.progress)?;
        place::sweep(dir, number).map_err(EngineError::io("tidy up", dir))?;
        engine.dir = dir.to_path_buf();
        engine.number = number;
        engine.rebuild = Rebuild::new(options.rebuild);
        Ok((engine, recovered))
    }

    /// The same for the one database in `dir`.
    fn open_plain(dir: &Path, progress: &Progress) -> Result<(Self, Recovered), EngineError> {
        std::fs::create_dir_all(dir).map_err(EngineError::io("make", dir))?;
        place::configure(dir, |aside| open_db(aside, progress).map(drop))?;
        let db = open_db(dir, progress)?;
        sync_created(dir)?;
        let path = dir.join("db");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(EngineError::io("open", path))?;
        let mut engine = Self {
            read_db: Arc::new(RwLock::new(db.clone())),
            db,
            file,
            ahead: Ahead::default(),
            step: Vec::new(),
            step_bytes: 0,
            shared: Vec::with_capacity(PIECE_BYTES_MAX),
            shared_from: 0,
            committed: None,
            unsynced: false,
            purge_to: 0,
            purged_from: 0,
            first: 0,
            sizes: VecDeque::new(),
            live_bytes: 0,
            dir: dir.to_path_buf(),
            number: 0,
            rebuild: Rebuild::new(RebuildWhen::NEVER),
        };
        let recovered = engine.recover(dir, progress)?;
        Ok((engine, recovered))
    }

    fn recover(&mut self, dir: &Path, progress: &Progress) -> Result<Recovered, EngineError> {
        let damage = |detail: String| EngineError::Damaged {
            path: dir.to_path_buf(),
            detail,
        };
        let meta = |key: &[u8]| -> Result<Option<Record>, EngineError> {
            let value = self.db.get(key).map_err(|e| damage(e.to_string()))?;
            value
                .map(|value| Record::decode(&value))
                .transpose()
                .map_err(|e| damage(format!("record {key:?}: {e}")))
        };
        let purged = meta(&PURGED_KEY)?.map(|record| record.at);
        let committed = meta(&COMMITTED_KEY)?.map(|record| record.at);
        let vote = match meta(&VOTE_KEY)? {
            None => None,
            Some(record) => Some(vote_from(&record).map_err(|e| damage(e.to_string()))?),
        };

        let first = purged.map_or(0, |at| at.index + 1);
        let mut last = purged;
        let mut unfinished = None;
        let mut next = first;
        self.first = first;
        let mut sizes = VecDeque::new();
        let mut entries = Entries::from(&self.db, first).map_err(|e| damage(e.to_string()))?;
        while let Some(read) = entries.next().map_err(|e| damage(e.to_string()))? {
            let (index, record) = read;
            if index != next {
                return Err(damage(format!("entry {index} where {next} is expected")));
            }
            let Some(record) = record else {
                // Only the very last entry can be cut short by a crash: later steps were
                // never begun. Nobody was told about it.
                let more = entries.next().map_err(|e| damage(e.to_string()))?;
                if more.is_some() {
                    return Err(damage(format!("entry {index} is incomplete")));
                }
                unfinished = Some(index);
                break;
            };
            if last.is_some_and(|last| record.at.term < last.term) {
                return Err(damage(format!("entry {index} is that of {:?}", record.at)));
            }
            last = Some(record.at);
            next += 1;
            sizes.push_back(size_of(&record));
            progress.made(1);
        }
        drop(entries);
        self.live_bytes = sizes.iter().map(|size| u64::from(*size)).sum();
        self.sizes = sizes;
        if let Some(index) = unfinished {
            self.truncate_from(index)
                .map_err(EngineError::io("repair", dir))?;
        }
        // What a purge left behind is removed bit by bit.
        self.purge_to = value_of(&self.db, first).map_err(EngineError::io("read", dir))?;
        Ok(Recovered {
            purged,
            last,
            vote,
            committed,
            unfinished,
        })
    }

    fn next_index(&self) -> u64 {
        self.first + self.sizes.len() as u64
    }

    /// An entry is gone that had this size.
    fn forget(&mut self, size: Option<u32>) {
        self.live_bytes -= size.map_or(0, u64::from);
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.step_bytes + value.len() > STEP_BYTES_MAX {
            self.sync_step()?;
        }
        self.step.push((key.into(), Some(value.into())));
        self.step_bytes += value.len();
        self.unsynced = true;
        Ok(())
    }

    /// Puts the entries that share a value into the step.
    fn put_shared(&mut self) -> io::Result<()> {
        if self.shared.is_empty() {
            return Ok(());
        }
        let mut shared = std::mem::take(&mut self.shared);
        self.put(&entry_key(self.shared_from, 0), &shared)?;
        shared.clear();
        self.shared = shared;
        Ok(())
    }

    fn sync_step(&mut self) -> io::Result<()> {
        if !self.unsynced {
            return Ok(());
        }
        let begun = Instant::now();
        self.ahead.keep(&self.file);
        pool::rest(&self.db);
        let step = std::mem::take(&mut self.step);
        self.step_bytes = 0;
        let written = self.apply(step).and_then(|()| {
            failpoint!("sled.sync.applied");
            self.db.flush()
        });
        if let Err(error) = written.map_err(sled_error) {
            // Its flush also writes pages back, and gives no hint which of the two failed. A failed
            // write-back is told once to every open file.
            synced(self.file.sync_data())?;
            return Err(error);
        }
        failpoint!("sled.sync.flushed");
        synced(self.file.sync_data())?;
        failpoint!("sled.sync.done");
        self.unsynced = false;
        metrics::synced(begun.elapsed());
        Ok(())
    }

    /// Gives a step to the database, in order.
    fn apply(&self, step: Vec<(IVec, Option<IVec>)>) -> sled::Result<()> {
        for (key, value) in step {
            match value {
                Some(value) => self.db.insert(key, value)?,
                None => self.db.remove(key)?,
            };
            failpoint!("sled.sync.key");
        }
        Ok(())
    }

    /// Writes entries, be they new or not.
    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        for record in records {
            let bytes = record.encoded_bytes();
            if self.shared.len() + bytes > PIECE_BYTES_MAX {
                self.put_shared()?;
            }
            if bytes <= PIECE_BYTES_MAX {
                if self.shared.is_empty() {
                    self.shared_from = record.at.index;
                }
                record.encode_to(&mut self.shared);
                continue;
            }
            for (piece, value) in record.encode().chunks(PIECE_BYTES_MAX).enumerate() {
                let piece = u16::try_from(piece)
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "entry too large"))?;
                self.put(&entry_key(record.at.index, piece), value)?;
            }
        }
        Ok(())
    }

    /// Removes keys, a few at a time, each lot synced.
    fn remove(&mut self, keys: &[Vec<u8>]) -> io::Result<()> {
        for lot in keys.chunks(DELETES_MAX) {
            self.sync()?;
            for key in lot {
                self.step.push((key.as_slice().into(), None));
            }
            self.unsynced = true;
            self.sync()?;
            failpoint!("sled.removed");
        }
        Ok(())
    }
}

impl LogEngine for SledEngine {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        for size in records.iter().map(size_of) {
            self.sizes.push_back(size);
            self.live_bytes += u64::from(size);
        }
        self.write(records)
    }

    fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.put_shared()?;
        self.put(&VOTE_KEY, &vote_record(vote).encode())
    }

    fn save_committed(&mut self, at: Position) -> io::Result<()> {
        // Once for each sync is enough.
        self.committed = Some(at);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.put_shared()?;
        if let Some(at) = self.committed.take() {
            let record = Record::marker(Kind::Committed, at);
            self.put(&COMMITTED_KEY, &record.encode())?;
        }
        self.sync_step()
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.sync()?;
        self.truncate_copy(index);
        while self.next_index() > index && !self.sizes.is_empty() {
            let size = self.sizes.pop_back();
            self.forget(size);
        }
        let mut keys = Vec::new();
        for key in self.db.range(entry_key(index, 0)..).keys().rev() {
            keys.push(key.map_err(sled_error)?.to_vec());
        }
        self.remove(&keys)?;
        // The entry may share the value of earlier ones, which stay.
        let from = value_of(&self.db, index)?;
        let kept = self.reader().read(from..index, usize::MAX)?;
        let small = kept.iter().map(Record::encoded_bytes).sum::<usize>() <= PIECE_BYTES_MAX;
        if from < index && small {
            self.write(&kept)?;
            self.sync()?;
        }
        Ok(())
    }

    fn purge_upto(&mut self, at: Position) -> io::Result<()> {
        self.put_shared()?;
        self.put(&PURGED_KEY, &Record::marker(Kind::Purged, at).encode())?;
        self.sync()?;
        failpoint!("sled.purge.marked");
        self.purge_to = self.purge_to.max(value_of(&self.db, at.index + 1)?);
        while self.first <= at.index && !self.sizes.is_empty() {
            let size = self.sizes.pop_front();
            self.forget(size);
            self.first += 1;
        }
        self.first = self.first.max(at.index + 1);
        self.skip_copy(self.first);
        Ok(())
    }

    fn tidy(&mut self) -> io::Result<bool> {
        // A database that is rebuilt needs no tidying.
        if self.rebuild()? {
            return Ok(true);
        }
        if self.purged_from >= self.purge_to {
            return Ok(false);
        }
        let range = entry_key(self.purged_from, 0)..entry_key(self.purge_to, 0);
        let mut keys = Vec::with_capacity(DELETES_MAX);
        for key in self.db.range(range).keys().take(DELETES_MAX) {
            keys.push(key.map_err(sled_error)?.to_vec());
        }
        match keys.last().and_then(|key| index_of(key)) {
            // The last key may be a middle piece of its entry: look at that entry again.
            Some(index) => self.purged_from = index,
            None => {
                self.purged_from = self.purge_to;
                return Ok(false);
            }
        }
        self.remove(&keys)?;
        Ok(true)
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        Arc::new(SledReader(Arc::clone(&self.read_db)))
    }

    fn bytes(&self) -> io::Result<LogBytes> {
        Ok(LogBytes {
            disk: self.file.metadata()?.len(),
            live: self.live_bytes,
        })
    }

    fn group_bytes_max(&self) -> usize {
        STEP_BYTES_MAX
    }
}

struct SledReader(SharedDb);

impl LogRead for SledReader {
    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        // A database that is replaced meanwhile lives until this is read.
        let db = self.0.read().unwrap_or_else(|e| e.into_inner()).clone();
        let mut entries = Entries::from(&db, range.start)?;
        while let Some((index, record)) = entries.next()? {
            if index >= range.end {
                break;
            }
            let Some(record) = record else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("entry {index} is incomplete"),
                ));
            };
            bytes += record.payload.len();
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }
}

/// Index of the first entry in the value that holds entry `index`, if it is there. Otherwise
/// whatever value lies before it, or `index` itself.
fn value_of(db: &Db, index: u64) -> io::Result<u64> {
    let upto = ..=entry_key(index, u16::MAX);
    let last = db.range::<[u8; 11], _>(upto).keys().next_back();
    let last = last.transpose().map_err(sled_error)?;
    Ok(last.and_then(|key| index_of(&key)).unwrap_or(index))
}

/// Reads entries out of their values, or puts them together from their pieces.
struct Entries {
    values: std::iter::Peekable<sled::Iter>,
    /// Index of the first entry that is wanted.
    first: u64,
    /// A value with entries that were not given yet, where the next begins in it, and its index.
    value: IVec,
    at: usize,
    index: u64,
}

impl Entries {
    /// Those with index `first` or a higher one.
    fn from(db: &Db, first: u64) -> io::Result<Self> {
        let from = value_of(db, first)?;
        Ok(Self {
            values: db.range(entry_key(from, 0)..).peekable(),
            first,
            value: IVec::default(),
            at: 0,
            index: 0,
        })
    }

    /// The next entry and its index, which the record is sure to have. No record: it is incomplete.
    fn next(&mut self) -> io::Result<Option<(u64, Option<Record>)>> {
        loop {
            let read = if self.at < self.value.len() {
                Some(self.next_in_value()?)
            } else {
                self.next_value()?
            };
            match read {
                // It shares a value with one that is wanted.
                Some((index, _)) if index < self.first => {}
                read => return Ok(read),
            }
        }
    }

    fn next_in_value(&mut self) -> io::Result<(u64, Option<Record>)> {
        let index = self.index;
        let rest = &self.value[self.at..];
        let need = Record::needed_bytes(rest).map_err(|e| damaged(format!("entry {index}"), e))?;
        let bytes = rest.get(..need).unwrap_or(rest);
        let record = decode(index, bytes)?;
        self.at += need;
        self.index += 1;
        Ok((index, Some(record)))
    }

    fn next_value(&mut self) -> io::Result<Option<(u64, Option<Record>)>> {
        let Some(first) = self.values.next() else {
            return Ok(None);
        };
        let (key, value) = first.map_err(sled_error)?;
        let (Some(index), Some(0)) = (index_of(&key), piece_of(&key)) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("key {key:?} begins no entry"),
            ));
        };
        let need =
            Record::needed_bytes(&value).map_err(|e| damaged(format!("entry {index}"), e))?;
        if need <= value.len() {
            (self.value, self.at, self.index) = (value, 0, index);
            return self.next_in_value().map(Some);
        }
        let mut bytes = value.to_vec();
        let mut piece = 0u16;
        while let Some(Ok((key, _))) = self.values.peek() {
            if index_of(key) != Some(index) || piece_of(key) != piece.checked_add(1) {
                break;
            }
            let (_, value) = self
                .values
                .next()
                .transpose()
                .map_err(sled_error)?
                .unwrap_or_default();
            bytes.extend_from_slice(&value);
            piece += 1;
        }
        if bytes.len() < need {
            return Ok(Some((index, None)));
        }
        Ok(Some((index, Some(decode(index, &bytes)?))))
    }
}

/// The record of entry `index`.
fn decode(index: u64, bytes: &[u8]) -> io::Result<Record> {
    let record = Record::decode(bytes).map_err(|e| damaged(format!("entry {index}"), e))?;
    if record.at.index != index || !record.kind.is_entry() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entry {index} is that of {:?}", record.at),
        ));
    }
    Ok(record)
}

fn size_of(record: &Record) -> u32 {
    u32::try_from(record.encoded_bytes()).unwrap_or(u32::MAX)
}

fn entry_key(index: u64, piece: u16) -> [u8; 11] {
    let mut key = [LOG; 11];
    key[1..9].copy_from_slice(&index.to_be_bytes());
    key[9..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn index_of(key: &[u8]) -> Option<u64> {
    if key.len() != 11 || key[0] != LOG {
        return None;
    }
    Some(u64::from_be_bytes(key[1..9].try_into().ok()?))
}

fn piece_of(key: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(key.get(9..11)?.try_into().ok()?))
}

fn vote_record(vote: &Vote) -> Record {
    let vote = convert::vote_to_proto(vote);
    let mut payload = vote.node_id.to_be_bytes().to_vec();
    payload.push(u8::from(vote.committed));
    Record {
        kind: Kind::Vote,
        at: Position {
            term: vote.term,
            index: 0,
        },
        payload: Bytes::from(payload),
    }
}

fn vote_from(record: &Record) -> io::Result<Vote> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "the vote is not a vote");
    if record.kind != Kind::Vote || record.payload.len() != 9 {
        return Err(bad());
    }
    let node: [u8; 8] = record.payload[..8].try_into().map_err(|_| bad())?;
    Ok(convert::vote_from_proto(
        &regency_rpc::proto::regency::raft::v1::Vote {
            term: record.at.term,
            node_id: u64::from_be_bytes(node),
            committed: record.payload[8] != 0,
        },
    ))
}

/// Syncs what creating a database leaves to chance.
fn sync_created(dir: &Path) -> Result<(), EngineError> {
    let sync = |path: PathBuf| -> Result<(), EngineError> {
        match File::open(&path) {
            Ok(file) => file.sync_all().map_err(EngineError::io("sync", path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(EngineError::io("open", path)(error)),
        }
    };
    sync(dir.join("conf"))?;
    sync(dir.join("db"))?;
    sync(dir.join("blobs"))?;
    sync(dir.to_path_buf())?;
    if let Some(parent) = dir.parent() {
        sync(parent.to_path_buf())?;
    }
    let spilled = std::fs::read_dir(dir.join("blobs")).map_or(0, |entries| entries.count());
    if spilled > 0 {
        tracing::error!(
            spilled,
            path = %dir.display(),
            "the log spilled into files that its database does not sync"
        );
    }
    Ok(())
}

fn sled_error(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}

#[cfg(test)]
mod rebuild_tests;
#[cfg(test)]
mod tests;
