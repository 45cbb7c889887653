//! Executors: processes of frameworks that run tasks of theirs.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_types::{DurationMs, TaskId, TaskState, UpdateUuid};
use serde::{Deserialize, Serialize};

use crate::durable::ProcessRef;
use crate::exit::Exit;
use crate::launch::{ContainerId, LaunchId};
use crate::update::Reason;

/// One life of an executor's process. It is started, watched and killed like the process of a task
/// and named alike: the executor's id takes the place of the task's, and its number comes from the
/// same counter as those of launches, so that no launch has it.
pub type InstanceId = LaunchId;

/// How far an executor got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutorPhase {
    /// Noted. Its command certainly has not run.
    Intended,
    /// It is built in, and takes tasks.
    Ready,
    /// Its watching process is recorded and may have been told to run the command.
    Started(ProcessRef),
    /// It is gone; the masters may not know yet.
    Ended(Exit),
}

/// One executor, from the moment its command was noted until the masters know that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executor {
    /// Where it and its tasks run.
    pub container: ContainerId,
    /// An encoded `mesos.v1.ExecutorInfo`.
    pub info: Bytes,
    /// It has no process: the agent itself runs its tasks (the default executor of Mesos).
    pub built_in: bool,
    /// How long it may take to end once it was asked to.
    pub shutdown_grace: DurationMs,
    /// Number of the command that launched it; the next one launches its first task.
    pub command_seq: u64,
    /// How far it got.
    pub phase: ExecutorPhase,
    /// It was asked to end, or the agent gave it up: nothing is launched in it any more.
    pub ending: bool,
    /// What its tasks are told when the agent itself made it end.
    pub cause: Option<Reason>,
    /// Whether any task was ever handed to it.
    pub used: bool,
    /// Its framework is gone: nobody is told of it any more.
    pub silent: bool,
    /// Number of the report of its end; 0 before.
    pub report_seq: u64,
}

impl Executor {
    /// Whether its process runs or may run.
    #[must_use]
    pub fn is_started(&self) -> bool {
        matches!(self.phase, ExecutorPhase::Started(_))
    }

    /// Whether its end is known here.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, ExecutorPhase::Ended(_))
    }
}

/// A status update that an executor made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorUpdate {
    /// Of which task.
    pub task: TaskId,
    /// Identity of the update; an executor that repeats one repeats it.
    pub uuid: UpdateUuid,
    /// The state it tells of.
    pub state: TaskState,
    /// The encoded `mesos.v1.TaskStatus`, complete as frameworks get it.
    pub status: Bytes,
}

/// What an executor says when its stream is open: what it was not told to be noted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscription {
    /// Tasks of which no update was acknowledged to it.
    pub tasks: BTreeSet<TaskId>,
    /// Updates that were not acknowledged to it, oldest first.
    pub updates: Vec<ExecutorUpdate>,
}

/// What an executor is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutorEvent {
    /// It is subscribed.
    Subscribed,
    /// Run this task.
    Launch(LaunchId),
    /// Run these tasks, which are one group.
    LaunchGroup(Vec<LaunchId>),
    /// End this task.
    Kill(LaunchId, Option<DurationMs>),
    /// An update is durable here and need not be repeated.
    Acknowledged(TaskId, UpdateUuid),
    /// Its framework says something.
    Message(Bytes),
    /// End, with all tasks.
    Shutdown,
}

/// Updates of one task whose uuids are remembered, to know a repetition by. An executor repeats only
/// what was not acknowledged to it, and that happens as soon as an update is durable.
pub const SEEN_UPDATES_MAX: usize = 256;
