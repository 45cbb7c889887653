//! What agent and shim say about the input and output of a container: a kind, a length, bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of one frame.
pub(crate) const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Kind and length.
const HEAD_BYTES: usize = 5;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the shim: input; without bytes its end. The next one waits for [`Kind::Taken`].
    Stdin,
    /// To the shim: rows and columns of the terminal.
    Size,
    /// From the shim: output.
    Stdout,
    /// From the shim: output for errors.
    Stderr,
    /// From the shim: the command took the input.
    Taken,
}

impl Kind {
    const ALL: [(Self, u8); 5] = [
        (Self::Stdin, b'i'),
        (Self::Size, b'w'),
        (Self::Stdout, b'o'),
        (Self::Stderr, b'e'),
        (Self::Taken, b't'),
    ];
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) data: Vec<u8>,
}

impl Frame {
    /// `data` must not be longer than [`FRAME_BYTES_MAX`].
    pub(crate) fn new(kind: Kind, data: Vec<u8>) -> Self {
        debug_assert!(data.len() <= FRAME_BYTES_MAX);
        Self { kind, data }
    }

    pub(crate) fn of_size(rows: u16, columns: u16) -> Self {
        let data = [rows.to_be_bytes(), columns.to_be_bytes()].concat();
        Self::new(Kind::Size, data)
    }

    /// Rows and columns.
    pub(crate) fn size(&self) -> Option<(u16, u16)> {
        let [a, b, c, d] = self.data[..] else {
            return None;
        };
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let byte = Kind::ALL.iter().find(|(kind, _)| *kind == self.kind);
        let byte = byte.map_or(0, |(_, byte)| *byte);
        let length = u32::try_from(self.data.len()).unwrap_or(u32::MAX);
        [&[byte], &length.to_be_bytes()[..], &self.data].concat()
    }
}

/// The next frame; `None` at the end.
///
/// # Errors
/// When something else comes, or the end within a frame.
pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Frame>> {
    let mut head = [0; HEAD_BYTES];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let [byte, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let kind = Kind::ALL.iter().find(|(_, known)| *known == byte);
    let Some((kind, _)) = kind.filter(|_| length <= FRAME_BYTES_MAX) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut data = vec![0; length];
    from.read_exact(&mut data).await?;
    Ok(Some(Frame { kind: *kind, data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_as_they_were_written() {
        let frames = [
            Frame::new(Kind::Stdin, b"a".to_vec()),
            Frame::of_size(24, 80),
            Frame::new(Kind::Taken, Vec::new()),
            Frame::new(Kind::Stdout, vec![0; FRAME_BYTES_MAX]),
        ];
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::to_bytes).collect();
        let mut from = &bytes[..];
        for frame in &frames {
            assert_eq!(
                read(&mut from).await.expect("a frame").as_ref(),
                Some(frame)
            );
        }
        assert_eq!(frames[1].size(), Some((24, 80)));
        assert_eq!(read(&mut from).await.expect("the end"), None);
    }

    #[tokio::test]
    async fn anything_else_is_an_error() {
        for bad in [
            &b"x\0\0\0\0"[..],
            b"i\xff\xff\xff\xff",
            b"i\0\0\0\x02a",
            b"i\0",
        ] {
            assert!(read(&mut &bad[..]).await.is_err(), "{bad:?}");
        }
    }
}
