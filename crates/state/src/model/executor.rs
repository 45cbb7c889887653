//! An executor: a process of a framework on one agent, which runs its tasks there.

use bytes::Bytes;
use regency_resources::Resources;
use regency_types::{ClusterTime, ExecutorId, FrameworkId, Generation};

/// An executor's name on its agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutorKey {
    /// Whose.
    pub framework: FrameworkId,
    /// The id that framework gave it.
    pub executor: ExecutorId,
}

impl std::fmt::Display for ExecutorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.framework, self.executor)
    }
}

/// Which executor runs a task: an id may be used again once its executor is gone, and a task never
/// moves to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskExecutor {
    /// Its id.
    pub executor: ExecutorId,
    /// Which instance of that id; numbered together with the launches of tasks.
    pub instance: Generation,
}

/// One instance of an executor, from its first launch until its agent told that it is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executor {
    /// Framework and executor id.
    pub key: ExecutorKey,
    /// Which instance of that id.
    pub instance: Generation,
    /// The role its resources were offered to.
    pub role: String,
    /// The encoded `mesos.v1.ExecutorInfo`. A launch that names another one under the same id is
    /// refused.
    pub info: Bytes,
    /// What it uses besides its tasks.
    pub resources: Resources,
    /// Number of its launch in the agent's command stream.
    pub launch_seq: u64,
    /// Whether its framework asked to shut it down.
    pub shutdown: bool,
    /// When it was launched, in cluster time.
    pub launched: ClusterTime,
}
