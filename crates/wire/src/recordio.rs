//! RecordIO: the length of a record in ASCII digits, a newline, the record.
//!
//! Every streaming answer uses it, and so do streaming requests to agents. Clients split the
//! chunks of HTTP and not the records, so whoever sends a stream must send each [`frame`] as one
//! chunk.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Most digits a length may have; `u64::MAX` has twenty.
const LENGTH_DIGITS_MAX: usize = 20;

/// One record with its length before it, to be sent as one HTTP chunk.
#[must_use]
pub fn frame(record: &[u8]) -> Bytes {
    let length = record.len().to_string();
    let mut framed = BytesMut::with_capacity(length.len() + 1 + record.len());
    framed.put_slice(length.as_bytes());
    framed.put_u8(b'\n');
    framed.put_slice(record);
    framed.freeze()
}

/// Why bytes are not a stream of records. The stream cannot be continued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Something else stands where the length of a record should.
    #[error("expecting the length of a record, found byte 0x{found:02x}")]
    BadLength {
        /// The first byte that is no digit.
        found: u8,
    },
    /// A record is longer than this reader accepts.
    #[error("a record is longer than {record_bytes_max} bytes")]
    TooLong {
        /// The limit.
        record_bytes_max: usize,
    },
    /// The stream ended within a record.
    #[error("the stream ended within a record")]
    Truncated,
}

/// Takes a stream apart into records, whatever pieces it comes in.
///
/// It holds at most one record and the piece given last.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Length of the record that is being received, once it is known.
    length: Option<usize>,
    record_bytes_max: usize,
}

impl Decoder {
    /// A reader at the start of a stream that accepts records of up to `record_bytes_max` bytes.
    #[must_use]
    pub fn new(record_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            length: None,
            record_bytes_max,
        }
    }

    /// Adds a piece of the stream. Call [`Self::next_record`] until it gives none before the
    /// next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next record that is there as a whole.
    ///
    /// # Errors
    /// When the bytes are not records, or a record is too long; the decoder then stays where
    /// it is and gives the same error again.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.read_length()? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Says that the stream ended.
    ///
    /// # Errors
    /// When it ended within a record.
    pub fn finish(&self) -> Result<(), RecordError> {
        if self.buffer.is_empty() && self.length.is_none() {
            Ok(())
        } else {
            Err(RecordError::Truncated)
        }
    }

    fn read_length(&mut self) -> Result<Option<usize>, RecordError> {
        let mut length = 0_usize;
        for (i, &byte) in self.buffer.iter().enumerate() {
            match byte {
                b'0'..=b'9' if i < LENGTH_DIGITS_MAX => {
                    length = length
                        .saturating_mul(10)
                        .saturating_add(usize::from(byte - b'0'));
                    if length > self.record_bytes_max {
                        let record_bytes_max = self.record_bytes_max;
                        return Err(RecordError::TooLong { record_bytes_max });
                    }
                }
                b'\n' if i > 0 => {
                    self.buffer.advance(i + 1);
                    return Ok(Some(length));
                }
                found => return Err(RecordError::BadLength { found }),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all(decoder: &mut Decoder, piece: &[u8]) -> Result<Vec<Bytes>, RecordError> {
        decoder.feed(piece);
        let mut records = Vec::new();
        while let Some(record) = decoder.next_record()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn a_frame_is_length_newline_record() {
        assert_eq!(
            frame(b"{\"type\":\"HEARTBEAT\"}"),
            "20\n{\"type\":\"HEARTBEAT\"}"
        );
    }

    #[test]
    fn what_is_no_length_is_an_error_and_stays_one() {
        for (stream, found) in [
            (&b"x"[..], b'x'),
            (b"\n", b'\n'),
            (b"1 \n", b' '),
            (b"-1\n", b'-'),
        ] {
            let mut decoder = Decoder::new(100);
            for _ in 0..2 {
                assert_eq!(
                    read_all(&mut decoder, stream),
                    Err(RecordError::BadLength { found })
                );
            }
        }
        let zeros = [b'0'; LENGTH_DIGITS_MAX + 1];
        assert_eq!(
            read_all(&mut Decoder::new(100), &zeros),
            Err(RecordError::BadLength { found: b'0' })
        );
    }

    #[test]
    fn a_record_beyond_the_limit_is_refused_before_it_arrives() {
        let mut decoder = Decoder::new(9);
        assert_eq!(
            read_all(&mut decoder, &frame(b"123456789")),
            Ok(vec!["123456789".into()])
        );
        assert_eq!(
            read_all(&mut decoder, b"10"),
            Err(RecordError::TooLong {
                record_bytes_max: 9
            })
        );
    }

    #[test]
    fn a_stream_may_end_between_records_only() {
        let mut decoder = Decoder::new(9);
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(read_all(&mut decoder, b"3\nab"), Ok(vec![]));
        assert_eq!(decoder.finish(), Err(RecordError::Truncated));
        assert_eq!(read_all(&mut decoder, b"c"), Ok(vec!["abc".into()]));
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(read_all(&mut decoder, b"3\n"), Ok(vec![]));
        assert_eq!(decoder.finish(), Err(RecordError::Truncated));
    }

    proptest! {
        #[test]
        fn records_survive_any_splitting(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12),
            cuts in prop::collection::vec(1_usize..30, 1..60),
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
            let mut decoder = Decoder::new(40);
            let mut got = Vec::new();
            let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
            while let Some(&cut) = cuts.next().filter(|_| !rest.is_empty()) {
                let (piece, next) = rest.split_at(cut.min(rest.len()));
                got.extend(read_all(&mut decoder, piece).expect("well formed"));
                rest = next;
            }
            prop_assert_eq!(got, records);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn garbage_never_panics_and_never_passes_the_limit(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..10),
        ) {
            let mut decoder = Decoder::new(16);
            for piece in pieces {
                match read_all(&mut decoder, &piece) {
                    Ok(records) => prop_assert!(records.iter().all(|record| record.len() <= 16)),
                    Err(_) => break,
                }
            }
        }
    }
}
