//! An agent, and the durable stream of commands for it.

use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};
use regency_resources::Resources;
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterTime, DurationMs, FrameworkId, Generation, OfferId,
    TaskKey, UpdateUuid, WallTime,
};

use super::executor::{Executor, ExecutorKey};
use super::maintenance::{InverseAnswer, MachineId};

/// How an agent describes itself: what a registration carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpec {
    /// The encoded `mesos.v1.AgentInfo` as the agent sent it (its id field is not read).
    pub info: Bytes,
    /// Name frameworks reach the agent's machine by.
    pub hostname: String,
    /// Advertised `ip:port` of the agent's HTTP listener.
    pub address: String,
    /// Everything the agent offers in total, before any operation.
    pub total: Resources,
    /// Version of the agent's program.
    pub version: String,
}

impl AgentSpec {
    /// The names under which its machine may be in a maintenance schedule, the closest one first.
    #[must_use]
    pub fn machines(&self) -> [MachineId; 3] {
        let hostname = Some(self.hostname.to_lowercase());
        let host = self.address.rsplit_once(':').map(|(host, _)| host);
        let ip = host.map(|host| host.trim_matches(['[', ']']).to_owned());
        [
            MachineId {
                hostname: hostname.clone(),
                ip: ip.clone(),
            },
            MachineId { hostname, ip: None },
            MachineId { hostname: None, ip },
        ]
    }
}

/// Whether an agent counts.
///
/// That an agent is attached or not is memory of the leader, not part of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentPhase {
    /// It registered and nothing else was decided.
    Registered,
    /// It was silent for too long and its tasks were reported unreachable. It may come back.
    Unreachable {
        /// When that was decided.
        since: ClusterTime,
        /// The same on the leader's wall clock, which frameworks are shown.
        wall: WallTime,
    },
    /// Its machine was taken down for maintenance: what it ran has ended. It may come back when the
    /// machine does, with what is reserved and kept on it.
    Down {
        /// When that was decided.
        since: ClusterTime,
    },
}

/// How far the draining of an agent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainProgress {
    /// Its tasks are being killed, or their ends are not acknowledged yet.
    Draining,
    /// Nothing of any framework is left on it.
    Drained,
}

/// That an agent is emptied because an operator said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// How far it is.
    pub progress: DrainProgress,
    /// The longest grace of a task that is killed for it; `None`: the task's own.
    pub max_grace: Option<DurationMs>,
    /// Whether the agent is marked gone once it is empty.
    pub mark_gone: bool,
    /// When it was asked for, for display.
    pub since: WallTime,
}

/// One instruction in an agent's command stream. Its number is the key it is stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentCommand {
    /// Start the task, once.
    Launch {
        /// Which task.
        task: TaskKey,
        /// Which launch of it.
        generation: Generation,
    },
    /// Start all of these tasks in the executor they name, together, once.
    LaunchGroup {
        /// Which tasks, and which launch of each.
        tasks: Vec<(TaskKey, Generation)>,
    },
    /// Takes the place of a launch that was withdrawn before the agent confirmed it.
    DropLaunch {
        /// Which task.
        task: TaskKey,
        /// Which launch of it.
        generation: Generation,
    },
    /// The same of the launch of a task group.
    DropGroup {
        /// Which tasks, and which launch of each.
        tasks: Vec<(TaskKey, Generation)>,
    },
    /// Kill that launch of the task.
    Kill {
        /// Which task.
        task: TaskKey,
        /// Which launch of it.
        generation: Generation,
        /// Grace between the polite and the final signal; absent: the task's own policy.
        grace: Option<DurationMs>,
    },
    /// Kill that launch of the task because its agent is drained.
    DrainTask {
        /// Which task.
        task: TaskKey,
        /// Which launch of it.
        generation: Generation,
        /// The longest grace between the polite and the final signal; absent: the task's own.
        max_grace: Option<DurationMs>,
        /// Whether its end is told as TASK_GONE_BY_OPERATOR.
        gone: bool,
    },
    /// The framework acknowledged this update: send the next one.
    Acknowledge {
        /// Which task.
        task: TaskKey,
        /// Which launch of it.
        generation: Generation,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// The framework is gone: kill all it runs there and forget its updates.
    ShutdownFramework {
        /// Which framework.
        framework: FrameworkId,
    },
    /// A persistent volume is no more: its data goes.
    DestroyVolume {
        /// The volume, one.
        volume: Resources,
    },
    /// Start the executor, once. Comes right before the first launch of one of its tasks. When the
    /// instance is gone meanwhile there is nothing to start.
    LaunchExecutor {
        /// Which executor.
        executor: ExecutorKey,
        /// Which instance of it.
        instance: Generation,
    },
    /// The framework wants the executor to end.
    ShutdownExecutor {
        /// Which executor.
        executor: ExecutorKey,
        /// Which instance of it.
        instance: Generation,
    },
}

impl AgentCommand {
    /// The tasks that it starts, and which launch of each; none of any other command.
    pub fn launches(&self) -> impl Iterator<Item = (&TaskKey, Generation)> {
        let (one, group) = match self {
            Self::Launch { task, generation } => (Some((task, *generation)), &[][..]),
            Self::LaunchGroup { tasks } => (None, &tasks[..]),
            _ => (None, &[][..]),
        };
        one.into_iter()
            .chain(group.iter().map(|(task, generation)| (task, *generation)))
    }

    /// What takes its place when it is withdrawn; `None` when it starts no task.
    fn withdrawal(&self) -> Option<Self> {
        match self {
            Self::Launch { task, generation } => Some(Self::DropLaunch {
                task: task.clone(),
                generation: *generation,
            }),
            Self::LaunchGroup { tasks } => Some(Self::DropGroup {
                tasks: tasks.clone(),
            }),
            _ => None,
        }
    }
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id, stable for the life of its checkpoint directory.
    pub id: AgentId,
    /// Identity of that directory.
    pub epoch: AgentEpoch,
    /// The machine's boot at the last (re-)registration.
    pub boot: BootId,
    /// What it says of itself.
    pub spec: AgentSpec,
    /// What operations made of it: dynamic reservations and persistent volumes.
    pub checkpointed: Resources,
    /// Everything it has: what it says, with what operations made of it.
    pub total: Resources,
    /// Whether it counts.
    pub phase: AgentPhase,
    /// Silent since, as the last leaders noticed; `None` while it is heard.
    pub suspect_since: Option<ClusterTime>,
    /// It has not told yet what it runs since the state became that of another cluster. Until it
    /// does, nothing is offered on it and its reports wait.
    pub inventory_due: bool,
    /// Whether an operator took it out of use: nothing is offered on it.
    pub deactivated: bool,
    /// Set while it is drained, and since it was; then it is deactivated, too.
    pub drain: Option<Drain>,
    /// What frameworks answered to inverse offers for it since its unavailability is what it is.
    pub answers: OrdMap<FrameworkId, InverseAnswer>,
    /// When it registered, for display.
    pub registered: WallTime,
    /// When it last re-registered, for display.
    pub reregistered: Option<WallTime>,
    /// Highest report number applied.
    pub report_seq: u64,
    /// Highest command number minted.
    pub command_seq: u64,
    /// Highest command number the agent confirmed to have noted durably.
    pub confirmed_seq: u64,
    /// Commands above `confirmed_seq`, without gaps.
    pub outbox: OrdMap<u64, AgentCommand>,
    /// Executors on it, until it told that they are gone.
    pub executors: OrdMap<ExecutorKey, Arc<Executor>>,
    /// Sum over its executors and its tasks that have not ended.
    pub allocated: Resources,
    /// Sum over its outstanding offers.
    pub offered: Resources,
    /// Tasks placed here that are not completed (ended ones stay until acknowledged).
    pub tasks: OrdSet<TaskKey>,
    /// Offers outstanding on it.
    pub offers: OrdSet<OfferId>,
    /// Inverse offers outstanding for it.
    pub inverse_offers: OrdSet<OfferId>,
}

impl Agent {
    /// Whether offers may be made on it as far as the replicated state knows.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is_registered() && !self.deactivated
    }

    /// Whether it is being emptied and is not empty yet.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        let drain = self.drain.as_ref();
        drain.is_some_and(|drain| drain.progress == DrainProgress::Draining)
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self.phase, AgentPhase::Registered)
    }

    /// What is neither used nor offered, and known to be so; of shared resources all.
    ///
    /// Nothing is available where more is promised than there is, which no sequence of commands
    /// can bring about (see the invariants).
    #[must_use]
    pub fn available(&self) -> Resources {
        if self.inventory_due {
            return Resources::default();
        }
        self.unpromised()
    }

    /// What is neither used nor offered.
    pub(crate) fn unpromised(&self) -> Resources {
        self.total
            .without_used(&self.allocated)
            .and_then(|rest| rest.without_used(&self.offered))
            .unwrap_or_default()
    }

    /// Appends a command and returns its number.
    pub(crate) fn push(&mut self, command: AgentCommand) -> u64 {
        self.command_seq += 1;
        self.outbox.insert(self.command_seq, command);
        self.command_seq
    }

    /// Puts a withdrawal in the place of a launch that the agent has not confirmed.
    pub(crate) fn withdraw(&mut self, seq: u64) {
        if let Some(withdrawal) = self.outbox.get(&seq).and_then(AgentCommand::withdrawal) {
            self.outbox.insert(seq, withdrawal);
        }
    }

    /// Notes that the agent durably has everything up to `seq`. A number never minted is cut to
    /// the highest minted one.
    pub(crate) fn confirm(&mut self, seq: u64) {
        let seq = seq.min(self.command_seq);
        if seq > self.confirmed_seq {
            self.confirmed_seq = seq;
            self.outbox = self.outbox.split(&seq).1;
        }
    }
}
