//! The form in which everything lies in the log on disk, whichever engine keeps it.
//!
//! A record checks itself: an engine whose own checksums miss a fault must not hand us an entry
//! that nobody wrote. Layout, all numbers big-endian:
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 2 | magic `RG` |
//! | 2 | 1 | format version, 1 |
//! | 3 | 1 | kind |
//! | 4 | 2 | flags, 0 |
//! | 6 | 8 | term |
//! | 14 | 8 | index |
//! | 22 | 4 | length of the payload |
//! | 26 | 4 | CRC-32 of bytes 0 to 25 and the payload |
//! | 30 | | payload |

use bytes::Bytes;

/// Size of what comes before the payload.
pub(crate) const HEADER_BYTES: usize = 30;
const MAGIC: [u8; 2] = *b"RG";
const VERSION: u8 = 1;
const CRC_AT: usize = 26;

/// Largest payload a record may have: above every bound on proposals, far below what a flipped
/// bit in the length could make us allocate.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a record is. The numbers are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// An entry without content.
    Blank = 1,
    /// An entry with an encoded proposal.
    Proposal = 2,
    /// An entry with an encoded membership.
    Membership = 3,
    /// The vote: term, and node id and "committed" as payload.
    Vote = 16,
    /// The last entry known to be committed.
    Committed = 17,
    /// The last entry that was purged.
    Purged = 18,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Blank,
            2 => Self::Proposal,
            3 => Self::Membership,
            16 => Self::Vote,
            17 => Self::Committed,
            18 => Self::Purged,
            _ => return None,
        })
    }

    /// Whether such a record is an entry of the log.
    pub(crate) fn is_entry(self) -> bool {
        matches!(self, Self::Blank | Self::Proposal | Self::Membership)
    }
}

/// Position of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) at: Position,
    pub(crate) payload: Bytes,
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{have} bytes, {need} are needed")]
    Short { have: usize, need: usize },
    #[error("it does not begin like a record")]
    Magic,
    #[error("it was written in format {0}, this program reads format {VERSION}")]
    Version(u8),
    #[error("it is of the unknown kind {0}")]
    Kind(u8),
    #[error("a payload of {0} bytes is impossible")]
    Length(usize),
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    #[error("its checksum does not match")]
    Checksum,
}

impl Record {
    /// A record that says no more than a position.
    pub(crate) fn marker(kind: Kind, at: Position) -> Self {
        Self {
            kind,
            at,
            payload: Bytes::new(),
        }
    }

    /// Size of its encoding.
    pub(crate) fn encoded_bytes(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// Its encoding.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_bytes());
        self.encode_to(&mut out);
        out
    }

    /// Adds its encoding to `out`.
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        header[..2].copy_from_slice(&MAGIC);
        header[2] = VERSION;
        header[3] = self.kind as u8;
        header[6..14].copy_from_slice(&self.at.term.to_be_bytes());
        header[14..22].copy_from_slice(&self.at.index.to_be_bytes());
        // Every path that makes a payload bounds it far below 4 GiB.
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        header[22..CRC_AT].copy_from_slice(&len.to_be_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[..CRC_AT]);
        crc.update(&self.payload);
        header[CRC_AT..].copy_from_slice(&crc.finalize().to_be_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(&self.payload);
    }

    /// The size of the record that begins with `start`, as far as its header tells.
    pub(crate) fn needed_bytes(start: &[u8]) -> Result<usize, RecordError> {
        if start.len() < HEADER_BYTES {
            return Err(RecordError::Short {
                have: start.len(),
                need: HEADER_BYTES,
            });
        }
        if start[..2] != MAGIC {
            return Err(RecordError::Magic);
        }
        if start[2] != VERSION {
            return Err(RecordError::Version(start[2]));
        }
        let len = u32::from_be_bytes([start[22], start[23], start[24], start[25]]) as usize;
        if len > PAYLOAD_BYTES_MAX {
            return Err(RecordError::Length(len));
        }
        Ok(HEADER_BYTES + len)
    }

    /// The position that a header claims. At least [`HEADER_BYTES`] bytes are needed.
    pub(crate) fn position(header: &[u8]) -> Position {
        Position {
            term: number(header, 6),
            index: number(header, 14),
        }
    }

    /// The record that `bytes` are, wholly.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let need = Self::needed_bytes(bytes)?;
        if bytes.len() < need {
            return Err(RecordError::Short {
                have: bytes.len(),
                need,
            });
        }
        if bytes.len() > need {
            return Err(RecordError::Trailing(bytes.len() - need));
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[..CRC_AT]);
        crc.update(&bytes[HEADER_BYTES..]);
        if crc.finalize().to_be_bytes() != bytes[CRC_AT..HEADER_BYTES] {
            return Err(RecordError::Checksum);
        }
        let kind = Kind::from_number(bytes[3]).ok_or(RecordError::Kind(bytes[3]))?;
        Ok(Self {
            kind,
            at: Self::position(bytes),
            payload: Bytes::copy_from_slice(&bytes[HEADER_BYTES..]),
        })
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            kind: Kind::Proposal,
            at: Position {
                term: 0x0102,
                index: 0x0304,
            },
            payload: Bytes::from_static(b"payload"),
        }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = record().encode();
        assert_eq!(
            bytes[..HEADER_BYTES - 4],
            [
                b'R', b'G', 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 7
            ]
        );
        assert_eq!(bytes.len(), HEADER_BYTES + 7);
        assert_eq!(Record::decode(&bytes), Ok(record()));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let bytes = record().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_cut_or_extended_record_is_told_apart() {
        let bytes = record().encode();
        assert!(matches!(
            Record::decode(&bytes[..bytes.len() - 1]),
            Err(RecordError::Short { .. })
        ));
        let mut long = bytes;
        long.push(0);
        assert_eq!(Record::decode(&long), Err(RecordError::Trailing(1)));
    }
}
