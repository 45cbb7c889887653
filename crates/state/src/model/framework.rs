//! A framework, its filters, and what is kept of it after its end.

use std::collections::BTreeSet;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};
use regency_resources::Resources;
use regency_types::{
    AgentId, ClusterTime, DurationMs, FrameworkId, OfferId, StreamId, TaskId, Term, WallTime,
};

use super::{MasterStatus, RefusedOperation, Task};
use std::sync::Arc;

/// Capabilities of a framework that a rule reads; the rest stays in the opaque info.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one capability of Mesos"
)]
pub struct Capabilities {
    /// PARTITION_AWARE: told DROPPED, UNREACHABLE, GONE and UNKNOWN instead of LOST.
    pub partition_aware: bool,
    /// MULTI_ROLE: speaks of roles, and sees `allocation_info`.
    pub multi_role: bool,
    /// GPU_RESOURCES: may be offered agents with GPUs.
    pub gpu_resources: bool,
    /// REVOCABLE_RESOURCES.
    pub revocable_resources: bool,
    /// SHARED_RESOURCES.
    pub shared_resources: bool,
    /// RESERVATION_REFINEMENT: sees the new resource format.
    pub reservation_refinement: bool,
    /// TASK_KILLING_STATE: is told TASK_KILLING.
    pub task_killing_state: bool,
    /// REGION_AWARE: may be offered agents of another region.
    pub region_aware: bool,
}

/// How a framework describes itself: what a subscription carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkSpec {
    /// The encoded `mesos.v1.FrameworkInfo` as the scheduler sent it.
    pub info: Bytes,
    /// Name for people.
    pub name: String,
    /// User its tasks run as.
    pub user: String,
    /// Authenticated or claimed principal; may never change.
    pub principal: Option<String>,
    /// Roles it subscribes to, at least one.
    pub roles: BTreeSet<String>,
    /// How long it may be away before it is removed.
    pub failover_timeout: DurationMs,
    /// Whether it asked for checkpointing (echoed; our agents checkpoint all).
    pub checkpoint: bool,
    /// What it can deal with.
    pub capabilities: Capabilities,
    /// The encoded `mesos.v1.scheduler.OfferConstraints`: which agents it wants offers of. Empty for
    /// all.
    pub offer_constraints: Bytes,
}

/// Whether a framework is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameworkPhase {
    /// It subscribed; whether its stream is open at this moment is memory of the leader.
    Subscribed {
        /// The subscription that counts.
        stream: StreamId,
    },
    /// A leader saw its stream end. Its tasks run on; it has no offers and no filters.
    Disconnected {
        /// Since when.
        since: ClusterTime,
        /// When its failover timeout ends.
        deadline: ClusterTime,
    },
}

/// Resources of one agent that a framework does not want for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The role the refused offer was made to.
    pub role: String,
    /// What was refused; an offer contained in it is not made.
    pub refused: Resources,
    /// Until when.
    pub until: ClusterTime,
}

/// A framework that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framework {
    /// Its id, stable for its life.
    pub id: FrameworkId,
    /// What it says of itself.
    pub spec: FrameworkSpec,
    /// Roles for which it wants no offers now; a subset of its roles.
    pub suppressed: BTreeSet<String>,
    /// How often it has described itself anew. Offers planned for an earlier description are not
    /// made.
    pub described: u64,
    /// Whether it is there.
    pub phase: FrameworkPhase,
    /// Whether it has shown that it knows its id, by any call after its first SUBSCRIBED. One that
    /// has not may never have seen that answer, and subscribed anew under another id.
    pub confirmed: bool,
    /// The term of its last subscription.
    pub subscribed_term: Term,
    /// When it first subscribed, for display.
    pub registered: WallTime,
    /// When it last subscribed again, for display.
    pub reregistered: Option<WallTime>,
    /// Its tasks that are not completed.
    pub tasks: OrdSet<TaskId>,
    /// Its outstanding offers.
    pub offers: OrdSet<OfferId>,
    /// Inverse offers that it has not answered.
    pub inverse_offers: OrdSet<OfferId>,
    /// Its decline filters, oldest first within an agent.
    pub filters: OrdMap<AgentId, Vec<Filter>>,
    /// How many of its tasks have an unacknowledged update.
    pub n_unacked: u64,
    /// Tasks that ended and were acknowledged, newest last, bounded.
    pub completed_tasks: Vector<Arc<Task>>,
    /// Statuses of refused launches, sent again at a subscription since they cannot be
    /// acknowledged; bounded in number and age.
    pub retained: Vector<(ClusterTime, MasterStatus)>,
    /// Operations that were not carried out, sent again at a subscription like `retained`; bounded
    /// in number and age.
    pub refused_operations: Vector<(ClusterTime, RefusedOperation)>,
}

impl Framework {
    /// Whether it is subscribed as far as the replicated state knows.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        matches!(self.phase, FrameworkPhase::Subscribed { .. })
    }

    /// The subscription that counts, while there is one.
    #[must_use]
    pub fn stream(&self) -> Option<StreamId> {
        match self.phase {
            FrameworkPhase::Subscribed { stream } => Some(stream),
            FrameworkPhase::Disconnected { .. } => None,
        }
    }
}

/// What is kept of a framework after its end, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedFramework {
    /// The framework as it last was; no offers, filters or tasks that are not completed.
    pub framework: Framework,
    /// When it was removed.
    pub unregistered: WallTime,
}
