//! Ids, time and small enums shared by every crate.
//!
//! Constructors take parts; nothing here is minted and no clock is read, so that the pure crates
//! can depend on this one without being able to reach chance or time.

pub mod digest;
mod id;
mod task_state;
mod time;

pub use id::{
    AgentEpoch, AgentId, BootId, ClusterId, ExecutorId, FrameworkId, ID_BYTES_MAX, IdError,
    Incarnation, NodeId, OfferId, OperationId, OperationKey, StreamId, TaskId, TaskKey, UpdateUuid,
    validate_id,
};
pub use task_state::TaskState;
pub use time::{ClusterTime, DurationMs, WallTime};

/// Number of a raft term, as the consensus library counts them.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Term(pub u64);

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Launch generation: which launch of a task id an update or a kill speaks of.
///
/// Taken from one replicated counter at the launch, so a later launch of the same task id always
/// has the higher generation.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
