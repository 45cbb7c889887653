//! Entries of the log.

use prost::Message;
use regency_state::Proposal;
use regency_types::{ClusterTime, WallTime};

use crate::StoredError;
use crate::field::chosen;
use crate::{command, proto};

/// The version of entries this program writes.
pub const COMMAND_VERSION: u32 = 1;
/// The lowest version that understands what this program writes.
pub const COMMAND_MIN_READER_VERSION: u32 = 1;

/// The stored form of an entry.
#[must_use]
pub fn encode_proposal(proposal: &Proposal) -> Vec<u8> {
    proto::Proposal {
        version: COMMAND_VERSION,
        min_reader_version: COMMAND_MIN_READER_VERSION,
        proposed_at_ms: proposal.proposed_at.0,
        wall_ms: proposal.wall.0,
        command: Some(command::store(&proposal.command)),
    }
    .encode_to_vec()
}

/// The entry that was stored.
///
/// # Errors
/// [`StoredError::Malformed`] for damage; [`StoredError::Unknown`] or [`StoredError::TooNew`] for
/// an entry of a newer program, which must never be skipped.
pub fn decode_proposal(bytes: &[u8]) -> Result<Proposal, StoredError> {
    let message =
        proto::Proposal::decode(bytes).map_err(|e| StoredError::malformed("Proposal", e))?;
    check_version(
        "Proposal",
        "Proposal.version",
        message.version,
        message.min_reader_version,
        COMMAND_VERSION,
    )?;
    Ok(Proposal {
        proposed_at: ClusterTime(message.proposed_at_ms),
        wall: WallTime(message.wall_ms),
        command: command::load(chosen(message.command, "Proposal.command")?)?,
    })
}

/// Whether a reader of `reader_version` understands what says this of itself.
pub(crate) fn check_version(
    what: &'static str,
    field: &'static str,
    version: u32,
    min_reader_version: u32,
    reader_version: u32,
) -> Result<(), StoredError> {
    if min_reader_version == 0 || min_reader_version > version {
        return Err(StoredError::malformed(
            field,
            format!("version {version} with least reader {min_reader_version}"),
        ));
    }
    if min_reader_version > reader_version {
        return Err(StoredError::TooNew {
            what,
            min_reader_version,
            reader_version,
        });
    }
    Ok(())
}
