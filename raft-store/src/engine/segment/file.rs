//! One segment: a file of fixed size that is filled from the front.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 4 | magic `RGSG` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 3 | 0 |
//! | 8 | 8 | index of the first entry |
//! | 16 | 8 | check value of the chain ahead of it |
//! | 24 | 4 | CRC-32 of bytes 0 to 23 |
//! | 28 | 4 | 0 |
//! | 32 | | frames, then zeros |
//!
//! The file is written full of zeros and synced before it gets its name. So an append changes no
//! metadata of the file system, and a full disk is noticed ahead of time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, Chain, number};
use crate::durable;
use crate::engine::meta::Durable;
use crate::engine::{EngineError, sync_dir};
use crate::failpoint::failpoint;
use crate::record::Position;
use crate::space::synced;

/// Size of what lies ahead of the first frame.
pub(super) const HEADER_BYTES: usize = 32;
const CRC_AT: usize = 24;
const MAGIC: [u8; 4] = *b"RGSG";
const VERSION: u8 = 1;
const PREFIX: &str = "log-";
const SUFFIX: &str = ".segment";
/// A segment in the making.
pub(super) const ASIDE: &str = "segment.new";
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A segment whose frames were all seen.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Index of its first entry.
    pub(super) first: u64,
    /// Check value ahead of its first entry.
    pub(super) chain_before: Chain,
    /// Where the frame of each entry begins.
    pub(super) offsets: Vec<u64>,
    /// Where the next frame goes.
    pub(super) end: u64,
    /// Bytes it should have at most.
    pub(super) capacity: u64,
}

/// What loading a segment found besides its entries.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) segment: SegmentFile,
    /// Its last entry.
    pub(super) last: Option<Position>,
    /// Check value behind its last entry.
    pub(super) chain: Chain,
    /// What lies behind it, when that is not zeros.
    pub(super) fault: Option<Fault>,
}

/// Bytes that are not the next entry.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) detail: String,
    /// A later entry that was written when this one was already durable.
    pub(super) proof: Option<u64>,
}

impl SegmentFile {
    /// Index of the entry that comes behind its last one.
    pub(super) fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// Where the frame of entry `index` begins and ends.
    pub(super) fn span(&self, index: u64) -> Option<(u64, u64)> {
        let nth = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let start = *self.offsets.get(nth)?;
        Some((
            start,
            self.offsets.get(nth + 1).copied().unwrap_or(self.end),
        ))
    }

    /// Makes a segment of `bytes` bytes; it is durable on return. With `prepared`, the file aside
    /// is already there.
    pub(super) fn create(
        dir: &Path,
        first: u64,
        chain: Chain,
        bytes: u64,
        prepared: bool,
    ) -> io::Result<Self> {
        let aside = dir.join(ASIDE);
        if !prepared {
            prepare(&aside, bytes)?;
        }
        let file = File::options().read(true).write(true).open(&aside)?;
        file.write_all_at(&header(first, chain), 0)?;
        failpoint!("segment.create.written");
        synced(durable::sync_all(&file))?;
        failpoint!("segment.create.synced");
        let path = dir.join(file_name(first));
        std::fs::rename(&aside, &path)?;
        failpoint!("segment.create.renamed");
        sync_dir(dir)?;
        failpoint!("segment.create.done");
        Ok(Self {
            path,
            file: Arc::new(file),
            first,
            chain_before: chain,
            offsets: Vec::new(),
            end: HEADER_BYTES as u64,
            capacity: bytes,
        })
    }

    /// Reads the segment in `path` and checks every entry in it. `last` is the entry before it,
    /// `durable` one that must be as it was.
    pub(super) fn load(
        path: &Path,
        first: u64,
        capacity: u64,
        mut last: Option<Position>,
        durable: Option<&Durable>,
    ) -> Result<Loaded, EngineError> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(path)
            .map_err(EngineError::io("open", path))?;
        let bytes = std::fs::read(path).map_err(EngineError::io("read", path))?;
        let chain_before = read_header(&bytes, first)
            .map_err(|detail| EngineError::damaged_at(path, 0, first, detail))?;
        let mut segment = Self {
            path: path.to_path_buf(),
            file: Arc::new(file),
            first,
            chain_before,
            offsets: Vec::new(),
            end: HEADER_BYTES as u64,
            capacity: capacity.max(bytes.len() as u64),
        };
        let mut chain = chain_before;
        let mut own_last = None;
        let mut rest = &bytes[HEADER_BYTES..];
        let fault = loop {
            let index = segment.next();
            let frame = match frame::decode(rest, chain) {
                _ if is_zero(rest) => break None,
                Ok(frame) => frame,
                Err(error) => {
                    break Some(Fault {
                        detail: error.to_string(),
                        proof: frame::proof_of_durability(rest, index),
                    });
                }
            };
            let at = frame.record.at;
            // A whole frame that continues the chain was written by this program like that.
            let wrong = if at.index != index || !frame.record.kind.is_entry() {
                Some(format!("it is {:?} of {at:?}", frame.record.kind))
            } else if last.is_some_and(|last| last.index < index && at.term < last.term) {
                Some(format!("its term {} is below that before it", at.term))
            } else {
                let marked = durable.filter(|durable| durable.at.index == index);
                marked
                    .filter(|durable| durable.at != at || durable.chain != frame.chain.0)
                    .map(|_| "it is another entry than the one that was durable here".to_owned())
            };
            if let Some(detail) = wrong {
                return Err(EngineError::damaged_at(path, segment.end, index, detail));
            }
            segment.offsets.push(segment.end);
            segment.end += frame.bytes as u64;
            chain = frame.chain;
            own_last = Some(at);
            if last.is_none_or(|last| last.index < index) {
                last = own_last;
            }
            rest = &rest[frame.bytes..];
        };
        Ok(Loaded {
            segment,
            last: own_last,
            chain,
            fault,
        })
    }

    /// Removes what lies behind `end` from the disk; durable on return.
    pub(super) fn clear_behind(file: &File, end: u64, capacity: u64) -> io::Result<()> {
        file.set_len(end)?;
        failpoint!("segment.truncate.cut");
        file.set_len(capacity)?;
        synced(durable::sync_all(file))
    }
}

/// Writes a file full of zeros, and syncs it.
pub(super) fn prepare(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let mut at = 0;
    while at < bytes {
        let part = usize::try_from(bytes - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all_at(&ZEROS[..part], at)?;
        at += part as u64;
    }
    synced(durable::sync_all(&file))
}

/// The segments in a directory, with the index of the first entry of each, in order.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let first = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX))
            .and_then(|digits| digits.parse().ok());
        if let Some(first) = first {
            found.push((first, path));
        }
    }
    found.sort();
    Ok(found)
}

fn file_name(first: u64) -> String {
    format!("{PREFIX}{first:020}{SUFFIX}")
}

fn header(first: u64, chain: Chain) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..4].copy_from_slice(&MAGIC);
    out[4] = VERSION;
    out[8..16].copy_from_slice(&first.to_be_bytes());
    out[16..24].copy_from_slice(&chain.0.to_be_bytes());
    let crc = crc32fast::hash(&out[..CRC_AT]);
    out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    out
}

fn read_header(bytes: &[u8], first: u64) -> Result<Chain, String> {
    if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC {
        return Err("the file does not begin like a segment".to_owned());
    }
    if crc32fast::hash(&bytes[..CRC_AT]).to_be_bytes() != bytes[CRC_AT..CRC_AT + 4] {
        return Err("the checksum of the segment's header does not match".to_owned());
    }
    if bytes[4] != VERSION {
        return Err(format!(
            "the segment was written in format {}, this program reads format {VERSION}",
            bytes[4]
        ));
    }
    if number(bytes, 8) != first {
        return Err(format!(
            "the segment is the one that begins with entry {}",
            number(bytes, 8)
        ));
    }
    Ok(Chain(number(bytes, 16)))
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| *chunk == ZEROS[..chunk.len()])
}
