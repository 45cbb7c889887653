//! What a launch is.

use bytes::Bytes;
use regency_types::{DurationMs, Generation, TaskKey};
use serde::{Deserialize, Serialize};

use crate::check::{CheckStatus, HealthRule};

/// One launch of a task. A task id may be used again by its framework; the generation tells the
/// launches apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaunchId {
    /// The task.
    pub key: TaskKey,
    /// Which launch of it.
    pub generation: Generation,
}

impl std::fmt::Display for LaunchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{}#{}",
            self.key.framework, self.key.task, self.generation
        )
    }
}

/// Identity of the container a launch runs in; shown as a uuid and used as a directory name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub u128);

/// What the agent must know of a launch to run it, and to run it on after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Which launch.
    pub id: LaunchId,
    /// Where it runs.
    pub container: ContainerId,
    /// An encoded `mesos.v1.TaskInfo`; empty when the agent never saw one.
    pub task_info: Bytes,
    /// Time between SIGTERM and SIGKILL when a kill names none: the task's own kill policy, else
    /// [`KILL_GRACE_DEFAULT`].
    pub kill_grace: DurationMs,
    /// Whether its framework wants to hear TASK_KILLING (capability TASK_KILLING_STATE).
    pub killing_state: bool,
    /// The executor that runs it; `None` for a task with a command.
    pub executor: Option<LaunchId>,
    /// The task group it is one of, named by the generation of its first task.
    pub group: Option<Generation>,
    /// The container it is nested in, when its executor is built in.
    pub parent: Option<ContainerId>,
    /// When its health check ends it, if it has one.
    pub health: Option<HealthRule>,
    /// The status of its check before the first result, if it has one.
    pub check: Option<CheckStatus>,
    /// It is killed when it runs longer.
    pub max_completion: Option<DurationMs>,
}

impl Launch {
    /// Whether the agent itself runs its command: alone, or in a built-in executor.
    #[must_use]
    pub fn has_command(&self) -> bool {
        self.executor.is_none() || self.parent.is_some()
    }
}

/// Time between SIGTERM and SIGKILL when neither the kill nor the task says otherwise (Mesos).
pub const KILL_GRACE_DEFAULT: DurationMs = DurationMs(3_000);
