//! Frames of the two protocols that are nothing but numbered frames over TCP: ours between the
//! load generator and a member, and ZooKeeper's.
//!
//! A frame is its length in 4 bytes, the number of the request in 4 bytes, and a body; big-endian.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Longest frame that is accepted. A longer one is nonsense, not an answer.
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Frames that are written by one system call at most.
const WRITE_BATCH: usize = 256;

/// A frame with this number and body.
pub(crate) fn encode(id: u32, body: &[&[u8]]) -> Bytes {
    let len = 4 + body.iter().map(|part| part.len()).sum::<usize>();
    let mut frame = BytesMut::with_capacity(4 + len);
    frame.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    frame.put_u32(id);
    for part in body {
        frame.put_slice(part);
    }
    frame.freeze()
}

/// Reads frames, many with one system call.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            buffer: BytesMut::with_capacity(READ_BUFFER_BYTES),
        }
    }

    /// Number and body of the next frame; `None` at the end of the connection.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<(u32, Bytes)>> {
        loop {
            if let Some(mut frame) = self.complete()? {
                return Ok(Some((frame.get_u32(), frame)));
            }
            self.buffer.reserve(READ_BUFFER_BYTES);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn complete(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(header) = self.buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*header) as usize;
        if !(4..=FRAME_BYTES_MAX).contains(&len) {
            let why = format!("a frame of {len} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }
}

/// Writes what comes through the queue until the queue or the connection ends.
pub(crate) async fn write_all(
    mut to: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
) -> std::io::Result<()> {
    let mut frames = Vec::with_capacity(WRITE_BATCH);
    let mut batch = Vec::new();
    while queue.recv_many(&mut frames, WRITE_BATCH).await > 0 {
        batch.clear();
        for frame in frames.drain(..) {
            batch.extend_from_slice(&frame);
        }
        to.write_all(&batch).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_were_written_however_they_are_cut() {
        let mut bytes = encode(7, &[b"ab", b"c"]).to_vec();
        bytes.extend_from_slice(&encode(8, &[]));
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let mut reader = Reader::new(tokio::io::AsyncReadExt::chain(head, tail));
            let first = reader.next().await.expect("readable");
            assert_eq!(first, Some((7, Bytes::from_static(b"abc"))));
            let second = reader.next().await.expect("readable");
            assert_eq!(second, Some((8, Bytes::new())));
            assert_eq!(reader.next().await.expect("readable"), None);
        }
    }

    #[tokio::test]
    async fn nonsense_is_no_frame() {
        for len in [0_u32, 3, u32::MAX] {
            let bytes = len.to_be_bytes();
            assert!(Reader::new(&bytes[..]).next().await.is_err());
        }
    }
}
