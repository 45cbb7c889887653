//! The replicated state machine: what every master holds, and the one function that changes it.
//!
//! Suggested reading order: [`State`] and the records in [`model`], then [`Command`], then
//! [`State::apply`] and one family below `commands/`, then [`Outcome`], [`Refusal`] and
//! [`Effect`], last [`State::check_invariants`] and [`Change`].
//!
//! This crate deliberately knows no clock, no chance, no socket, no raft and no protobuf. Mesos
//! messages that no rule reads travel through it as opaque bytes. Applying the same proposals in
//! the same order gives the same state on every master, at every restart.

mod apply;
pub mod bounds;
mod changes;
mod command;
mod commands;
mod consumed_quota;
mod effect;
mod invariants;
mod level;
pub mod model;
mod outcome;
mod state;

pub use apply::Applied;
pub use changes::Change;
pub use command::*;
pub use consumed_quota::{ConsumedQuota, charged, is_charged};
pub use effect::{CloseReason, Effect};
pub use invariants::Violation;
pub use level::{FEATURE_LEVEL, FEATURE_LEVEL_FIRST};
pub use outcome::{Outcome, Refusal, Verdict};
pub use state::{Counters, Parts, PartsError, State, TermRecord};
