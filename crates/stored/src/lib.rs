//! The stored form of commands and of the state: what the log and the snapshots consist of.
//!
//! The messages are those of `proto/internal/stored.proto`; this crate converts between them and
//! the types of `regency-state`, one file per noun. It knows nothing of files, checksums or raft.
//!
//! What it keeps: what was written can be read, by this version and by every later one; equal
//! states give equal bytes, because records are written in the order of their ids, derived values
//! are left out, and there is one way to write each value; what cannot be understood completely is
//! an error and never half a command. Damage ([`StoredError::Malformed`]) is told apart from what
//! a newer program wrote ([`StoredError::Unknown`], [`StoredError::TooNew`]).

mod agent;
mod command;
mod error;
mod executor;
mod field;
mod framework;
mod maintenance;
mod offer;
mod operation;
mod proposal;
mod resources;
mod role;
mod state;
mod task;
mod term;
mod verdict;

/// The generated messages.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; documented in the .proto file"
)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/regency.stored.v1.rs"));
}

pub use error::StoredError;
pub use proposal::{COMMAND_MIN_READER_VERSION, COMMAND_VERSION, decode_proposal, encode_proposal};
pub use state::{
    STATE_MIN_READER_VERSION, STATE_READER_VERSION, STATE_VERSION, StateDigester, decode_state,
    encode_state, state_digest, write_state,
};
