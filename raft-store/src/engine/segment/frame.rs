//! How one record lies in a segment: behind a running check value and the number of its group.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | check value of the chain, after this record |
//! | 8 | 8 | index of the first entry of the group that was synced together with this one |
//! | 16 | | the record, see [`crate::record`] |
//!
//! The chain runs over everything ahead of the payload, and that holds the payload's own checksum:
//! a record that is lost, repeated or swapped for another valid one breaks it. The group tells an
//! entry that a crash cut short from one that was damaged later: all entries below it were durable
//! when this one was written.

use crate::record::{HEADER_BYTES, Record, RecordError};

/// Size of what lies ahead of the record.
pub(super) const PREFIX_BYTES: usize = 16;
/// Size of a frame without payload.
pub(super) const FRAME_BYTES_MIN: usize = PREFIX_BYTES + HEADER_BYTES;

/// The running check value: FNV-1a with 64 bits. Each of its steps is a bijection, so a single
/// changed byte always shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain(pub(super) u64);

impl Chain {
    /// Ahead of the first record of a log.
    pub(super) const START: Self = Self(0xcbf2_9ce4_8422_2325);

    fn over(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |value, byte| {
            (value ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    fn after(self, group: u64, record: &[u8]) -> Self {
        self.over(&group.to_be_bytes())
            .over(&record[..HEADER_BYTES])
    }
}

/// A record as it was found.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) record: Record,
    pub(super) chain: Chain,
    /// Size of the whole frame.
    pub(super) bytes: usize,
}

/// Why bytes are not the next record of a log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// It is no record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// It is a record, but not the one that followed.
    #[error("it does not continue the chain of the entries before it")]
    Chain,
}

/// Adds `record` to `out`; gives the check value behind it.
pub(super) fn encode(out: &mut Vec<u8>, chain: Chain, group: u64, record: &Record) -> Chain {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&group.to_be_bytes());
    record.encode_to(out);
    let chain = chain.after(group, &out[start + PREFIX_BYTES..]);
    out[start..start + 8].copy_from_slice(&chain.0.to_be_bytes());
    chain
}

/// Size of a frame with `record`.
pub(super) fn encoded_bytes(record: &Record) -> usize {
    PREFIX_BYTES + record.encoded_bytes()
}

/// The frame that `bytes` begin with, behind a record with the check value `before`.
pub(super) fn decode(bytes: &[u8], before: Chain) -> Result<Frame, FrameError> {
    let short = |need| RecordError::Short {
        have: bytes.len(),
        need,
    };
    let record = bytes
        .get(PREFIX_BYTES..)
        .ok_or_else(|| short(FRAME_BYTES_MIN))?;
    let need = Record::needed_bytes(record)?;
    let record = record
        .get(..need)
        .ok_or_else(|| short(PREFIX_BYTES + need))?;
    let decoded = Record::decode(record)?;
    let chain = before.after(number(bytes, 8), record);
    if chain.0 != number(bytes, 0) {
        return Err(FrameError::Chain);
    }
    Ok(Frame {
        record: decoded,
        chain,
        bytes: PREFIX_BYTES + need,
    })
}

/// The check value that a frame claims.
pub(super) fn claimed_chain(frame: &[u8]) -> Chain {
    Chain(number(frame, 0))
}

/// Looks in `bytes` for a whole record whose group began behind `index`: it proves that entry
/// `index` was durable once. `bytes` begin where that entry's frame should.
pub(super) fn proof_of_durability(bytes: &[u8], index: u64) -> Option<u64> {
    // Of the frame in question only what follows its start can be another record.
    let mut at = PREFIX_BYTES + 1;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let Some(next) = rest.iter().position(|byte| *byte == b'R') else {
            break;
        };
        at += next;
        let Some(start) = bytes.get(at..) else { break };
        if let Ok(need) = Record::needed_bytes(start)
            && let Some(record) = start.get(..need)
            && let Ok(record) = Record::decode(record)
            && record.kind.is_entry()
            && record.at.index > index
            && number(bytes, at - 8) > index
        {
            return Some(record.at.index);
        }
        at += 1;
    }
    None
}

pub(super) fn number(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Kind, Position};

    fn record(index: u64) -> Record {
        Record {
            kind: Kind::Proposal,
            at: Position { term: 1, index },
            payload: vec![index as u8; 20].into(),
        }
    }

    #[test]
    fn a_frame_is_only_itself_behind_its_predecessor() {
        let mut bytes = Vec::new();
        let first = encode(&mut bytes, Chain::START, 0, &record(0));
        let second = encode(&mut bytes, first, 1, &record(1));
        let frame = decode(&bytes, Chain::START).expect("whole");
        assert_eq!((frame.record, frame.chain), (record(0), first));
        let rest = &bytes[frame.bytes..];
        assert_eq!(decode(rest, first).expect("whole").chain, second);
        assert_eq!(claimed_chain(rest), second);
        assert!(matches!(decode(rest, Chain::START), Err(FrameError::Chain)));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let mut bytes = Vec::new();
        encode(&mut bytes, Chain::START, 0, &record(0));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad, Chain::START).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_a_later_group_proves_that_an_entry_was_durable() {
        let mut bytes = Vec::new();
        let chain = encode(&mut bytes, Chain::START, 5, &record(5));
        let chain = encode(&mut bytes, chain, 5, &record(6));
        assert_eq!(proof_of_durability(&bytes, 5), None);
        encode(&mut bytes, chain, 7, &record(7));
        assert_eq!(proof_of_durability(&bytes, 5), Some(7));
        assert_eq!(proof_of_durability(&bytes[1..], 5), Some(7));
    }
}
