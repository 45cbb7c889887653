//! What goes in and out of the machine besides its inputs: the context a step is taken in, and
//! what the step asks of its driver.
//!
//! The machine can only add to a step, the driver can only take it; neither can do the other's
//! part.

use bytes::Bytes;
use regency_types::{UpdateUuid, WallTime};

use crate::durable::Record;
use crate::executor::{ExecutorEvent, InstanceId};
use crate::launch::{ContainerId, LaunchId};
use crate::message::AgentMessage;

/// Number of a connection to a master, given by the driver and never used twice within one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNo(pub u64);

/// Ids that the machine needs but may not draw itself.
pub trait Mint {
    /// A fresh random uuid for an update.
    fn update_uuid(&mut self) -> UpdateUuid;
    /// A fresh random id for a container.
    fn container_id(&mut self) -> ContainerId;
}

/// Why the agent must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The masters removed this agent. All its tasks are dead.
    #[error(
        "the masters removed this agent ({0}); to join again, start with an empty work directory"
    )]
    Removed(String),
    /// The leader does not accept how the agent describes itself. Tasks run on.
    #[error("the master refuses this agent's description: {0}")]
    BadInfo(String),
    /// The agent id of this work directory belongs to another checkpoint directory. Tasks run on.
    #[error(
        "the agent id of this work directory belongs to another checkpoint directory ({0}); \
         was the directory copied?"
    )]
    WrongEpoch(String),
}

/// What the driver must do, after the records of the same step are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send on that stream, when it still stands. May be lost with it: the cursors of the next
    /// attachment find it again.
    Send(StreamNo, AgentMessage),
    /// Leave that stream and look for a leader again, at `hint` first when given.
    Reattach {
        /// The stream to leave.
        stream: StreamNo,
        /// Why, for the log.
        why: String,
        /// "host:port" to try first.
        hint: Option<String>,
    },
    /// Make the sandbox and the watching process; answer with `Prepared` or `LaunchFailed`. The
    /// command must not run yet.
    Prepare(LaunchId),
    /// Let the prepared command run.
    Go(LaunchId),
    /// Drop a prepared command, or one in preparation. It must never run.
    Abort(LaunchId),
    /// Make the checks of a running command again and again, and tell what they find. They end
    /// with [`Self::Terminate`] and with the command. Already being done: nothing to do.
    Check(LaunchId),
    /// SIGTERM to the command's processes.
    Terminate(LaunchId),
    /// SIGKILL to the command's processes.
    Destroy(LaunchId),
    /// Tell an executor, when it is still subscribed. May be lost with its stream: what counts is told
    /// again at its next subscription.
    Tell(InstanceId, ExecutorEvent),
    /// The launch is forgotten: what was kept beside its sandbox may go.
    Forget(LaunchId, ContainerId),
    /// End the agent.
    Stop(StopReason),
}

/// What one step asks for. The records of a step are one unit: durable together or not at all,
/// and durable before any of the actions.
#[derive(Debug, Default)]
pub struct Step {
    destroyed_volumes: Vec<Bytes>,
    records: Vec<Record>,
    actions: Vec<Action>,
}

impl Step {
    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(crate) fn destroy(&mut self, volume: Bytes) {
        self.destroyed_volumes.push(volume);
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Takes the volumes whose data must be out of the way before the records are durable, each an
    /// encoded `mesos.v1.Resource`. Once the command is noted it never comes again; until then it
    /// does, which is harmless: nothing behind it, such as a launch that uses a new volume of the
    /// same identity, was followed.
    #[must_use]
    pub fn take_destroyed_volumes(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.destroyed_volumes)
    }

    /// Takes what must be written and synced first.
    #[must_use]
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Takes what may be done once the records are durable.
    #[must_use]
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

/// The context of one step: the time it is taken at, a mint, and where its outcome goes.
pub struct Cx<'a> {
    /// Monotonic milliseconds of this run of the agent.
    pub now_ms: u64,
    /// What the updates made in this step are stamped with.
    pub wall: WallTime,
    /// Gives ids.
    pub mint: &'a mut dyn Mint,
    /// Where records and actions go.
    pub step: &'a mut Step,
}

impl Cx<'_> {
    pub(crate) fn act(&mut self, action: Action) {
        self.step.act(action);
    }
}
