//! One frame of the checkpoint log, and how its beginning is told from garbage.
//!
//! A frame is a header of [`HEADER_BYTES`] and a payload. The header carries a checksum of its
//! own, so that a damaged length cannot swallow the frames behind it, and the length of the log
//! that was known to be on the disk when the frame was written (`synced`). By that number a scan
//! tells a torn tail, which a crash leaves and which was never relied on, from damage to what
//! had been synced.

/// Bytes before the payload: length, version, checksum of the payload, `synced`, checksum of the
/// header.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 4 + 8 + 4;

/// Largest payload, in bytes. It bounds what a damaged file can make us allocate, and is far
/// above what the agent writes: a picture of ten thousand launches has about 20 MB.
pub(super) const PAYLOAD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Version of the payload's encoding.
pub(super) const VERSION: u32 = 4;

/// A header whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) payload_bytes: usize,
    pub(super) version: u32,
    pub(super) payload_crc: u32,
    /// Length of the log that was on the disk when this frame was written.
    pub(super) synced: u64,
}

impl Header {
    /// The header at the beginning of `bytes`; `None` when there is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let (fields, crc) = header.split_at(HEADER_BYTES - 4);
        if crc32fast::hash(fields) != u32_at(crc, 0)? {
            return None;
        }
        let payload_bytes = usize::try_from(u32_at(fields, 0)?).ok()?;
        Some(Self {
            payload_bytes,
            version: u32_at(fields, 4)?,
            payload_crc: u32_at(fields, 8)?,
            synced: u64::from_le_bytes(fields.get(12..20)?.try_into().ok()?),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Appends a frame with `payload` to `out`.
///
/// # Errors
/// The payload's size, when it is above [`PAYLOAD_BYTES_MAX`].
pub(super) fn write(out: &mut Vec<u8>, payload: &[u8], synced: u64) -> Result<(), usize> {
    let payload_bytes = u32::try_from(payload.len())
        .ok()
        .filter(|_| payload.len() <= PAYLOAD_BYTES_MAX)
        .ok_or(payload.len())?;
    let start = out.len();
    out.extend_from_slice(&payload_bytes.to_le_bytes());
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}
