//! Status updates as the agent makes them.

use bytes::Bytes;
use regency_types::{TaskState, UpdateUuid, WallTime};
use serde::{Deserialize, Serialize};

use crate::check::CheckStatus;

/// Who speaks in an update (`mesos.v1.TaskStatus.Source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// SOURCE_AGENT: the agent itself, about a task that did not run or was lost from sight.
    Agent,
    /// SOURCE_EXECUTOR: about the course of the command.
    Executor,
}

/// Why a task is in its state (`mesos.v1.TaskStatus.Reason`); those this agent gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// REASON_AGENT_DRAINING: killed because its agent is drained.
    AgentDraining,
    /// REASON_AGENT_RESTARTED: the agent died between noting the launch and starting it.
    AgentRestarted,
    /// REASON_CONTAINER_LAUNCH_FAILED: sandbox or process could not be made.
    ContainerLaunchFailed,
    /// REASON_EXECUTOR_REGISTRATION_TIMEOUT: its executor never subscribed.
    ExecutorRegistrationTimeout,
    /// REASON_EXECUTOR_REREGISTRATION_TIMEOUT: its executor did not come back after a restart of the
    /// agent.
    ExecutorReregistrationTimeout,
    /// REASON_EXECUTOR_TERMINATED: what watched the command is gone, by a crash or a reboot.
    ExecutorTerminated,
    /// REASON_RECONCILIATION: the launch was withdrawn before it came here.
    Reconciliation,
    /// REASON_TASK_INVALID: the description cannot be run.
    TaskInvalid,
    /// REASON_TASK_GROUP_INVALID: the description of one task of its group cannot be run.
    TaskGroupInvalid,
    /// REASON_TASK_KILLED_DURING_LAUNCH: killed before it started.
    TaskKilledDuringLaunch,
    /// REASON_TASK_HEALTH_CHECK_STATUS_UPDATED: its health changed.
    TaskHealthCheckStatusUpdated,
    /// REASON_TASK_CHECK_STATUS_UPDATED: its check found something else than before.
    TaskCheckStatusUpdated,
    /// REASON_MAX_COMPLETION_TIME_REACHED: it ran longer than it may.
    MaxCompletionTimeReached,
}

/// One status update of one launch, without what its task says already (ids, container).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// What an acknowledgement names.
    pub uuid: UpdateUuid,
    /// Number within the launch's own stream, from 1 without gaps.
    pub task_seq: u64,
    /// The state it tells of.
    pub state: TaskState,
    /// Who speaks.
    pub source: Source,
    /// Why, where there is more to say than the state.
    pub reason: Option<Reason>,
    /// For people; absent when the state says it all.
    pub message: Option<String>,
    /// What its health check says of it, once there is a result.
    pub healthy: Option<bool>,
    /// What its check found last, when it has one.
    pub check_status: Option<CheckStatus>,
    /// When the agent noticed.
    pub timestamp: WallTime,
    /// The encoded `mesos.v1.TaskStatus` when an executor made it; empty when the agent did.
    pub status: Bytes,
}
