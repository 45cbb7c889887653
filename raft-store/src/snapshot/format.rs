//! What a snapshot file consists of.
//!
//! Magic (8 bytes), format version (4), least reader version (4), length of the header (4), CRC-32
//! of all that and the header (4), the header (a `SnapshotHeader` message), the body: the state in
//! its stored form, compressed. Numbers are big-endian. Up to and including the checksum this is
//! for ever, so that every version can tell damage from what a newer one wrote.
//!
//! Version 1 stored the body as it is, and its checksum was of the header alone. Version 2
//! compresses the body and has a digest of the compressed bytes, so that damage is found before
//! anything unpacks them. Both are read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use prost::Message as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_state::State;
use regency_stored::{StateDigester, StoredError};
use regency_types::ClusterId;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Loaded, SnapshotError, SnapshotFile, io_error};
use crate::convert;
use crate::members::former::Former;
use crate::types::SnapshotMeta;

const MAGIC: [u8; 8] = *b"RGNCYSNP";
/// Version that is written.
const FORMAT: u32 = 2;
/// Oldest program version that can read what is written, in terms of [`FORMAT`].
const READER_MIN: u32 = 2;
const PREFIX_BYTES: usize = 24;
/// A header is a membership and a few numbers.
const HEADER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Level of zstd. Higher ones cost several times the processor and save a few percent: a state
/// is many records that resemble each other, which the lowest one finds already.
const LEVEL: i32 = 1;
/// Bytes that are digested at once.
const PIECE_BYTES: usize = 1024 * 1024;
/// Memory taken for a body before its first byte was read, at most.
const RESERVE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a file says about itself.
#[derive(Debug)]
pub(super) struct Header {
    /// Version of the format it is written in.
    pub(super) format: u32,
    pub(super) cluster: ClusterId,
    /// Whose the state in it still is, when that is another cluster.
    pub(super) parent: Option<ClusterId>,
    pub(super) meta: SnapshotMeta,
    /// Who was a member before.
    pub(super) former: Former,
    /// The program that wrote it.
    pub(super) written_by: String,
    /// Digest of the state.
    pub(super) state_digest: u128,
    pub(super) body: Body,
}

/// Where the state lies in the file, and how.
#[derive(Debug)]
pub(super) struct Body {
    offset: u64,
    pub(super) compression: proto::SnapshotCompression,
    /// Size in the file.
    pub(super) stored_bytes: u64,
    /// Digest of what is in the file; older formats have none.
    stored_digest: Option<u128>,
    /// Size and CRC-32 of what it unpacks to.
    pub(super) bytes: u64,
    crc32: u32,
}

/// Writes a whole file. The encoded state is never in memory as a whole, only its compressed form.
pub(super) fn write(
    file: &mut impl Write,
    cluster: ClusterId,
    parent: Option<ClusterId>,
    meta: &SnapshotMeta,
    former: &Former,
    state: &State,
    written_by: &str,
) -> io::Result<()> {
    let mut packed = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    let mut digester = StateDigester::default();
    let mut crc = crc32fast::Hasher::new();
    let mut bytes = 0;
    let mut packing = Ok(());
    regency_stored::write_state(state, |piece| {
        digester.update(piece);
        crc.update(piece);
        bytes += piece.len() as u64;
        if packing.is_ok() {
            packing = packed.write_all(piece);
        }
    });
    packing?;
    let body = packed.finish()?;
    let header = proto::SnapshotHeader {
        cluster_id: convert::cluster_to_proto(cluster),
        last_log_id: meta.last_log_id.as_ref().map(convert::log_id_to_proto),
        last_membership: Some(convert::stored_membership_to_proto(&meta.last_membership)),
        body_bytes: bytes,
        body_crc32: crc.finalize(),
        state_digest: digest_to_proto(digester.finish()),
        written_by: written_by.to_owned(),
        compression: proto::SnapshotCompression::Zstd.into(),
        stored_bytes: body.len() as u64,
        stored_digest: digest_to_proto(xxh3_128(&body)),
        former_members: former.to_proto(),
        parent_cluster_id: parent.map(convert::cluster_to_proto).unwrap_or_default(),
    }
    .encode_to_vec();
    file.write_all(&prefix(&header))?;
    file.write_all(&header)?;
    file.write_all(&body)
}

fn digest_to_proto(digest: u128) -> Bytes {
    Bytes::copy_from_slice(&digest.to_be_bytes())
}

fn prefix(header: &[u8]) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&MAGIC);
    prefix[8..12].copy_from_slice(&FORMAT.to_be_bytes());
    prefix[12..16].copy_from_slice(&READER_MIN.to_be_bytes());
    // Bounded by the number of members.
    let len = u32::try_from(header.len()).unwrap_or(u32::MAX);
    prefix[16..20].copy_from_slice(&len.to_be_bytes());
    let crc = header_crc(FORMAT, &prefix[..20], header);
    prefix[20..].copy_from_slice(&crc.to_be_bytes());
    prefix
}

fn header_crc(format: u32, before: &[u8], header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if format != 1 {
        crc.update(before);
    }
    crc.update(header);
    crc.finalize()
}

/// Reads a whole snapshot and checks everything that can be checked about it.
pub(crate) fn load(
    snapshot: &SnapshotFile,
    cluster: Option<ClusterId>,
) -> Result<Loaded, SnapshotError> {
    let header = read_header(snapshot)?;
    if let Some(expected) = cluster.filter(|expected| *expected != header.cluster) {
        return Err(SnapshotError::OtherCluster {
            path: snapshot.path.to_path_buf(),
            found: header.cluster,
            expected,
        });
    }
    Ok(Loaded {
        state: read_state(snapshot, &header)?,
        meta: header.meta,
        former: header.former,
    })
}

/// Reads a whole file, checks it against its own checksums, and gives the digest of all its bytes.
/// The state is not unpacked.
pub(super) fn checked_digest(snapshot: &SnapshotFile) -> Result<u128, SnapshotError> {
    let header = read_header(snapshot)?;
    let (mut whole, mut body) = (Xxh3::new(), Xxh3::new());
    let mut at = 0;
    while at < snapshot.bytes {
        let piece = snapshot
            .read_at(at, PIECE_BYTES)
            .map_err(io_error("read", &snapshot.path))?;
        whole.update(&piece);
        let before_body = header.body.offset.saturating_sub(at);
        let before_body = usize::try_from(before_body).unwrap_or(usize::MAX);
        body.update(&piece[before_body.min(piece.len())..]);
        at += piece.len() as u64;
    }
    match header.body.stored_digest {
        Some(expected) if expected != body.digest128() => Err(SnapshotError::Damaged {
            path: snapshot.path.to_path_buf(),
            detail: "the digest of the stored state does not match".to_owned(),
        }),
        _ => Ok(whole.digest128()),
    }
}

/// Reads and checks what a file says about itself, its size included.
pub(super) fn read_header(snapshot: &SnapshotFile) -> Result<Header, SnapshotError> {
    let damaged = |detail: String| SnapshotError::Damaged {
        path: snapshot.path.to_path_buf(),
        detail,
    };
    let ends = || damaged("it ends within its header".to_owned());
    let prefix = read_at(snapshot, 0, PREFIX_BYTES)?.ok_or_else(ends)?;
    let number = |at: usize| {
        u32::from_be_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]])
    };
    if prefix[..8] != MAGIC {
        return Err(damaged("it does not begin like a snapshot".to_owned()));
    }
    let header_bytes = number(16) as usize;
    if header_bytes > HEADER_BYTES_MAX {
        return Err(damaged(format!(
            "a header of {header_bytes} bytes is impossible"
        )));
    }
    let header = read_at(snapshot, PREFIX_BYTES as u64, header_bytes)?.ok_or_else(ends)?;
    if header_crc(number(8), &prefix[..20], &header) != number(20) {
        return Err(damaged(
            "the checksum of the header does not match".to_owned(),
        ));
    }
    if number(12) > FORMAT {
        return Err(SnapshotError::TooNew {
            path: snapshot.path.to_path_buf(),
            needs: number(12),
            reads: FORMAT,
        });
    }
    let header = proto::SnapshotHeader::decode(header).map_err(|e| damaged(e.to_string()))?;
    let offset = (PREFIX_BYTES + header_bytes) as u64;
    parse(&header, number(8), offset, snapshot.bytes).map_err(damaged)
}

/// Up to the whole of `len` bytes, or `None` when the file ends before.
fn read_at(snapshot: &SnapshotFile, at: u64, len: usize) -> Result<Option<Bytes>, SnapshotError> {
    let bytes = snapshot
        .read_at(at, len)
        .map_err(io_error("read", &snapshot.path))?;
    Ok((bytes.len() == len).then_some(bytes))
}

fn parse(
    header: &proto::SnapshotHeader,
    format: u32,
    offset: u64,
    file_bytes: u64,
) -> Result<Header, String> {
    let compression = proto::SnapshotCompression::try_from(header.compression)
        .map_err(|_| format!("compression {} is unknown", header.compression))?;
    let (stored_bytes, stored_digest) = match format {
        1 => (header.body_bytes, None),
        _ => (
            header.stored_bytes,
            Some(digest(&header.stored_digest, "the stored state")?),
        ),
    };
    let whole = offset.saturating_add(stored_bytes);
    if file_bytes != whole {
        return Err(format!("it has {file_bytes} bytes, not {whole}"));
    }
    let membership = header
        .last_membership
        .as_ref()
        .ok_or("it has no membership")?;
    Ok(Header {
        format,
        cluster: convert::cluster_from_proto(&header.cluster_id).map_err(|e| e.to_string())?,
        parent: match header.parent_cluster_id.as_ref() {
            [] => None,
            id => Some(convert::cluster_from_proto(id).map_err(|e| e.to_string())?),
        },
        meta: SnapshotMeta {
            last_log_id: header.last_log_id.as_ref().map(convert::log_id_from_proto),
            last_membership: convert::stored_membership_from_proto(membership)
                .map_err(|e| e.to_string())?,
        },
        former: Former::from_proto(&header.former_members).map_err(|e| e.to_string())?,
        written_by: header.written_by.clone(),
        state_digest: digest(&header.state_digest, "the state")?,
        body: Body {
            offset,
            compression,
            stored_bytes,
            stored_digest,
            bytes: header.body_bytes,
            crc32: header.body_crc32,
        },
    })
}

fn digest(bytes: &[u8], of: &str) -> Result<u128, String> {
    let bytes: [u8; 16] = bytes
        .try_into()
        .map_err(|_| format!("the digest of {of} has {} bytes, not 16", bytes.len()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// Reads the state and checks it against everything the header says about it.
pub(super) fn read_state(snapshot: &SnapshotFile, header: &Header) -> Result<State, SnapshotError> {
    let damaged = |detail: String| SnapshotError::Damaged {
        path: snapshot.path.to_path_buf(),
        detail,
    };
    let state = regency_stored::decode_state(&read_body(snapshot, &header.body)?);
    let state = state.map_err(|error| match error {
        StoredError::Malformed { .. } => damaged(error.to_string()),
        StoredError::Unknown { .. } | StoredError::TooNew { .. } => SnapshotError::NotUnderstood {
            path: snapshot.path.to_path_buf(),
            detail: error.to_string(),
        },
    })?;
    if regency_stored::state_digest(&state) != header.state_digest {
        return Err(damaged("the digest of the state does not match".to_owned()));
    }
    Ok(state)
}

fn read_body(snapshot: &SnapshotFile, body: &Body) -> Result<Vec<u8>, SnapshotError> {
    let damaged = |detail: String| SnapshotError::Damaged {
        path: snapshot.path.to_path_buf(),
        detail,
    };
    let mut stored = Vec::with_capacity(reserve(body.stored_bytes));
    At {
        file: &snapshot.file,
        offset: body.offset,
    }
    .take(body.stored_bytes)
    .read_to_end(&mut stored)
    .map_err(io_error("read", &snapshot.path))?;
    // The file may have lost its end since its size was looked at.
    if stored.len() as u64 != body.stored_bytes {
        return Err(damaged("it ends within the state".to_owned()));
    }
    if let Some(expected) = body.stored_digest
        && xxh3_128(&stored) != expected
    {
        return Err(damaged(
            "the digest of the stored state does not match".to_owned(),
        ));
    }
    let bytes = match body.compression {
        proto::SnapshotCompression::None => stored,
        proto::SnapshotCompression::Zstd => unpack(&stored, body.bytes)
            .map_err(|error| damaged(format!("the state cannot be unpacked: {error}")))?,
    };
    if bytes.len() as u64 != body.bytes {
        return Err(damaged(format!(
            "the state does not have the {} bytes it should have",
            body.bytes
        )));
    }
    if crc32fast::hash(&bytes) != body.crc32 {
        return Err(damaged(
            "the checksum of the state does not match".to_owned(),
        ));
    }
    Ok(bytes)
}

/// Unpacks no more than one byte beyond what is expected, whatever the bytes say.
fn unpack(stored: &[u8], bytes: u64) -> io::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(reserve(bytes));
    zstd::stream::read::Decoder::with_buffer(stored)?
        .take(bytes.saturating_add(1))
        .read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

fn reserve(bytes: u64) -> usize {
    usize::try_from(bytes.min(RESERVE_BYTES_MAX)).unwrap_or(0)
}

/// Reads a file from an offset on, without moving the position that its other users share.
struct At<'f> {
    file: &'f File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
