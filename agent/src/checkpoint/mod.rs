//! The agent's memory on disk: an append-only log of the records of `regency-agent-core`.
//!
//! A batch of records is one frame: durable as a whole or not at all. [`Log::append`] returns
//! once the batch is on the disk; nothing may be done on the strength of a record before that.
//! At a start the log is read back ([`Log::open`]): a torn tail, which nobody relied on, is cut
//! off and said so; damage anywhere else refuses the start, because going on with half of a
//! memory could start a task twice.
//!
//! When the log has grown to a multiple of what it says, it is written anew as one picture beside
//! the old one, which is then replaced by a rename.

mod frame;
mod log;

pub(crate) use log::{Log, Opened, WriteError};
