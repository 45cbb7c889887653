//! The records that [`State`](crate::State) is made of.

mod agent;
mod ancestor;
mod executor;
mod framework;
mod maintenance;
mod offer;
mod operation;
mod role;
mod task;

pub use agent::{Agent, AgentCommand, AgentPhase, AgentSpec, Drain, DrainProgress};
pub use ancestor::Ancestor;
pub use executor::{Executor, ExecutorKey, TaskExecutor};
pub use framework::{
    Capabilities, CompletedFramework, Filter, Framework, FrameworkPhase, FrameworkSpec,
};
pub use maintenance::{
    InverseAnswer, InverseOffer, Machine, MachineId, MaintenanceWindow, Unavailability,
};
pub use offer::{ConsumedOffer, Consumption, Offer};
pub use operation::{FinishedOperation, RefusedOperation};
pub use role::{Quota, RoleConfig, WEIGHT_MAX, WEIGHT_MIN, check_weight};
pub use task::{MasterStatus, PendingKill, StatusReason, StatusRecord, Task, UnackedUpdate};
