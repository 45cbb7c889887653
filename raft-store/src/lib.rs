//! Replication: how a proposal becomes an entry that every master applies, and how masters agree
//! who leads.
//!
//! Reading order: [`Consensus`] is what the rest of the program sees, with [`Leadership`],
//! [`StateReader`] and [`EffectReceiver`]. Below it lie the log (`log`, over an `engine`), the
//! state machine (`machine`), snapshots (`snapshot`), the peers (`network`), and who this master is
//! (`identity`, `bootstrap`).
//!
//! This is the only crate that knows the consensus library, and the only place that stamps
//! proposals with time. It knows nothing about agents, frameworks or offers: proposals are bytes
//! until they are applied.
//!
//! # Decisions
//! - Reads are confirmed by a round of heartbeats (ReadIndex), never by a lease. Therefore a
//!   restarted master may vote at once: the promise that such a vote would break is never relied
//!   on. Whoever adds lease reads must first make restarted masters wait before they vote.
//! - A restarted master never leads in a term it led before (`enable_leader_restore` is off).
//! - A member is a node id with the incarnation of its data directory; see `identity`.

mod audit;
mod bootstrap;
mod conditions;
pub mod config;
mod consensus;
mod convert;
mod disk;
mod durable;
mod effects;
mod engine;
mod entries;
mod failpoint;
mod fast_election;
mod foreign;
mod gauges;
mod identity;
mod leadership;
mod level;
mod log;
mod log_dir;
mod machine;
pub mod members;
pub mod metrics;
mod network;
pub mod offline;
mod priority;
mod propose;
mod reader;
mod record;
pub mod recover;
mod restore;
mod roll_call;
mod saved;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshot;
mod space;
mod status;
mod term;
#[cfg(feature = "test-door")]
#[doc(hidden)]
pub mod testing;
mod timing;
mod types;
mod vitals;
mod watchdog;

pub use audit::AuditedState;
pub use config::{Config, ConfigError, EngineKind, Limits, LogConfig, PeerSpec};
pub use consensus::{Consensus, ReadError, StartError, TransferError};
pub use effects::{EffectBatch, EffectReceiver, EffectsLost};
pub use engine::EngineError;
pub use entries::{AppliedEntry, EntryReceiver};
pub use identity::IdentityError;
pub use leadership::{Leadership, MasterAddress, Role};
pub use level::{BeyondLevel, Program};
pub use members::autopilot::AutopilotConfig;
pub use members::{MemberError, MemberView, Members, Removed};
pub use propose::{NoRoom, ProposeError};
pub use reader::{AppliedState, StateReader, WaitError};
pub use restore::{RestoreError, RestoreRequest, Restored, restore_snapshot};
pub use saved::{SaveError, SavedSnapshot};
pub use snapshot::{
    SnapshotError, SnapshotFacts, SnapshotMember, SnapshotProgress, inspect_snapshot,
    verify_snapshot,
};
pub use space::{Room, RoomLevel};
pub use status::{MemberStatus, Status};
pub use timing::{Profile, Timing, TimingError};
pub use vitals::ServingGate;
