//! A task and the statuses of it.

use bytes::Bytes;
use regency_resources::Resources;
use regency_types::{
    AgentId, ClusterTime, DurationMs, Generation, TaskKey, TaskState, UpdateUuid, WallTime,
};

use super::executor::TaskExecutor;

/// The oldest update of a task that its framework has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnackedUpdate {
    /// Identity of the update; its acknowledgement names it.
    pub uuid: UpdateUuid,
    /// The state it tells.
    pub state: TaskState,
    /// The encoded `mesos.v1.TaskStatus`, uuid included, as the agent sent it.
    pub status: Bytes,
}

/// A kill that was asked for and has not ended in a terminal state yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingKill {
    /// Grace asked for.
    pub grace: Option<DurationMs>,
    /// The command that carries it to the agent.
    pub command_seq: u64,
}

/// A state a task went through, for display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRecord {
    /// The state.
    pub state: TaskState,
    /// When the masters learnt of it.
    pub wall: WallTime,
}

/// A task that was launched and is not completed, or is kept as completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Framework and task id.
    pub key: TaskKey,
    /// Which launch of that id.
    pub generation: Generation,
    /// Where it was placed.
    pub agent: AgentId,
    /// The role its resources were offered to.
    pub role: String,
    /// Name for people.
    pub name: String,
    /// The encoded `mesos.v1.TaskInfo` as the scheduler sent it.
    pub info: Bytes,
    /// What it uses until it ends.
    pub resources: Resources,
    /// The executor that runs it; `None` for a task with a command.
    pub executor: Option<TaskExecutor>,
    /// Number of its launch in the agent's command stream.
    pub launch_seq: u64,
    /// The newest state the masters know, in its partition-aware form.
    pub state: TaskState,
    /// The state before the agent became unreachable, to which the task returns if the agent
    /// comes back; `None` unless `state` is `Unreachable`.
    pub state_before_unreachable: Option<TaskState>,
    /// When the agent was marked unreachable, for the statuses; `None` unless it is.
    pub unreachable: Option<WallTime>,
    /// The newest status an agent sent, encoded; empty before the first.
    pub status: Bytes,
    /// Number of the newest update seen within the task's own stream.
    pub task_seq: u64,
    /// The head of its update stream.
    pub unacked: Option<UnackedUpdate>,
    /// Whether its agent has lost it, so that nothing comes after the head of its update stream.
    pub lost: bool,
    /// The kill that is under way.
    pub kill: Option<PendingKill>,
    /// The states it went through, oldest first, bounded.
    pub statuses: Vec<StatusRecord>,
    /// When it was launched, in cluster time.
    pub launched: ClusterTime,
}

impl Task {
    /// Whether the task has ended for good.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.state.is_terminal()
    }
}

/// Why a master says something of a task by itself. The names are those of
/// `mesos.v1.TaskStatus.Reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusReason {
    /// REASON_INVALID_OFFERS.
    InvalidOffers,
    /// REASON_TASK_INVALID.
    TaskInvalid,
    /// REASON_TASK_GROUP_INVALID.
    TaskGroupInvalid,
    /// REASON_AGENT_REMOVED.
    AgentRemoved,
    /// REASON_AGENT_REMOVED_BY_OPERATOR; REASON_AGENT_REMOVED for who is told that it is lost.
    AgentRemovedByOperator,
    /// REASON_AGENT_REREGISTERED.
    AgentReregistered,
    /// REASON_FRAMEWORK_REMOVED.
    FrameworkRemoved,
    /// REASON_RECONCILIATION.
    Reconciliation,
}

/// A status that the masters make themselves; it carries no uuid and is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterStatus {
    /// The task id as the framework gave it, valid or not.
    pub task_id: String,
    /// The agent, when one is known.
    pub agent: Option<AgentId>,
    /// The state in its partition-aware form.
    pub state: TaskState,
    /// Why.
    pub reason: StatusReason,
    /// For people.
    pub message: String,
    /// When the agent became unreachable, for UNREACHABLE.
    pub unreachable: Option<WallTime>,
}
