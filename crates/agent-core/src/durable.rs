//! What survives a crash of the agent: a fold over the records it synced.
//!
//! [`Durable::apply`] is the only code that changes it, so that what a restart rebuilds is what
//! the running agent had.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use regency_mutants::{Mutant, on};
use regency_types::digest::{Digest, DigestBuilder};
use regency_types::{
    AgentId, BootId, ClusterId, DurationMs, ExecutorId, FrameworkId, Generation, TaskId, TaskKey,
    TaskState, Term, UpdateUuid, WallTime,
};
use serde::{Deserialize, Serialize};

use crate::check::{CheckStatus, KillCause};
use crate::executor::{Executor, ExecutorPhase, InstanceId, SEEN_UPDATES_MAX};
use crate::exit::Exit;
use crate::launch::{Launch, LaunchId};
use crate::update::{Reason, Update};

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the boot.
    pub start_ticks: u64,
    /// The boot it ran in.
    pub boot: BootId,
}

/// How far a launch got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Noted. Its command certainly has not run.
    Intended,
    /// Its watching process is recorded and may have been told to run the command.
    Started(ProcessRef),
    /// Handed to its executor, or on its way there.
    HandedOver,
    /// Its terminal update exists.
    Ended,
}

/// One launch, from the moment its command was noted until its terminal update is acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// What was launched.
    pub launch: Launch,
    /// How far it got.
    pub phase: Phase,
    /// Process that watched or watches it.
    pub executor_pid: Option<u32>,
    /// Grace of a kill that was decided.
    pub kill: Option<DurationMs>,
    /// Why it is killed, when it is.
    pub kill_cause: KillCause,
    /// Its framework is gone: nobody is told of it any more.
    pub silent: bool,
    /// State of the newest update; TASK_STAGING before the first.
    pub latest_state: TaskState,
    /// When its command was started.
    pub started: Option<WallTime>,
    /// What its health check was last told to say.
    pub healthy: Option<bool>,
    /// Whether its health check ever passed.
    pub was_healthy: bool,
    /// What its check was last told to have found.
    pub check_status: Option<CheckStatus>,
    /// Unacknowledged updates, oldest first.
    pub updates: VecDeque<Update>,
    /// Uuids of the newest updates that its executor made, oldest first.
    pub seen: VecDeque<UpdateUuid>,
    /// Number of updates ever made.
    pub n_updates: u64,
    /// Number of the newest report; 0 before the first.
    pub report_seq: u64,
}

impl Task {
    fn new(launch: Launch) -> Self {
        let check_status = launch.check;
        Self {
            launch,
            phase: Phase::Intended,
            executor_pid: None,
            kill: None,
            kill_cause: KillCause::Asked,
            silent: false,
            latest_state: TaskState::Staging,
            started: None,
            healthy: None,
            was_healthy: false,
            check_status,
            updates: VecDeque::new(),
            seen: VecDeque::new(),
            n_updates: 0,
            report_seq: 0,
        }
    }

    /// Whether its command runs or may run.
    #[must_use]
    pub fn is_started(&self) -> bool {
        matches!(self.phase, Phase::Started(_))
    }
}

/// What a step makes durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Everything, in place of all earlier records.
    Picture(Box<Durable>),
    /// The agent runs in this boot of its machine.
    Booted(BootId),
    /// Attached to this cluster, under this id and term.
    Attached {
        /// The cluster.
        cluster: ClusterId,
        /// The agent's id in it.
        agent_id: AgentId,
        /// The term.
        term: Term,
    },
    /// An executor that the agent shall start.
    ExecutorLaunched {
        /// Which instance.
        id: InstanceId,
        /// What to start.
        executor: Executor,
        /// An encoded `mesos.v1.FrameworkInfo`; empty when not known.
        framework_info: Bytes,
    },
    /// A built-in executor takes tasks.
    ExecutorReady(InstanceId),
    /// The watching process of an executor stands ready.
    ExecutorStarted(InstanceId, ProcessRef),
    /// An executor shall end; with what its tasks are told when the agent itself decided it.
    ExecutorEnding(InstanceId, Option<Reason>),
    /// An executor is gone.
    ExecutorEnded {
        /// Which instance.
        id: InstanceId,
        /// How its process ended.
        exit: Exit,
        /// Number of the report that tells of it.
        report_seq: u64,
    },
    /// An executor leaves the table.
    ExecutorForgotten(InstanceId),
    /// A task is handed to its executor.
    HandedOver(LaunchId),
    /// All commands up to this number are noted.
    Noted(u64),
    /// A launch that the agent shall start, or one that it shall never start.
    Launched {
        /// What to launch.
        launch: Launch,
        /// An encoded `mesos.v1.FrameworkInfo`; empty when not known.
        framework_info: Bytes,
    },
    /// The watching process of a launch stands ready.
    Started(LaunchId, ProcessRef),
    /// A kill was asked for, with this grace.
    KillRequested(LaunchId, DurationMs),
    /// A launch has news.
    Updated {
        /// Which launch.
        id: LaunchId,
        /// The news.
        update: Update,
        /// Number of the report that tells of it.
        report_seq: u64,
    },
    /// The head of a launch's updates was acknowledged; forgets the launch with its terminal one.
    Acknowledged {
        /// Which launch.
        id: LaunchId,
        /// The acknowledged update.
        uuid: UpdateUuid,
        /// Number of the report that tells of the new head, when there is one.
        report_seq: Option<u64>,
    },
    /// A launch gets a new report number, so that it is told of again.
    Renumbered(LaunchId, u64),
    /// Report numbers go on above this one.
    ReportSeq(u64),
    /// A framework is gone: what runs is silent from now on, the rest of it is forgotten.
    FrameworkGone(FrameworkId, DurationMs),
    /// A launch leaves the table.
    Forgotten(LaunchId),
    /// Belongs to the cluster that goes on with the state of the one it belonged to.
    Adopted {
        /// The cluster.
        cluster: ClusterId,
        /// The agent's id in it.
        agent_id: AgentId,
        /// The term.
        term: Term,
        /// Commands go on above this number.
        command_seq: u64,
    },
    /// The agent itself decided to kill a launch, with this grace.
    KillDecided(LaunchId, DurationMs, KillCause),
}

/// Everything the agent must not forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Durable {
    /// The cluster it attached to.
    pub cluster: Option<ClusterId>,
    /// Its id there.
    pub agent_id: Option<AgentId>,
    /// Highest term it attached under.
    pub highest_term: Term,
    /// The boot it last ran in.
    pub boot: Option<BootId>,
    /// Highest report number assigned.
    pub report_seq: u64,
    /// Highest command number noted.
    pub command_seq: u64,
    /// What it runs, and what it still has to tell of.
    pub tasks: BTreeMap<LaunchId, Task>,
    /// Executors that run, and those whose end the masters may not know.
    pub executors: BTreeMap<InstanceId, Executor>,
    /// Encoded `mesos.v1.FrameworkInfo` of every framework with a launch in `tasks`, or an executor.
    pub frameworks: BTreeMap<FrameworkId, Bytes>,
}

impl Durable {
    /// Follows one record. A record that speaks of an unknown launch changes nothing.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Picture(picture) => *self = (**picture).clone(),
            Record::Booted(boot) => self.boot = Some(*boot),
            Record::Attached {
                cluster,
                agent_id,
                term,
            } => {
                self.cluster = Some(*cluster);
                self.agent_id = Some(agent_id.clone());
                self.highest_term = self.highest_term.max(*term);
            }
            Record::ExecutorLaunched {
                id,
                executor,
                framework_info,
            } => {
                self.note_framework(&id.key.framework, framework_info);
                self.executors.insert(id.clone(), executor.clone());
            }
            Record::ExecutorReady(id) => {
                if let Some(executor) = self.executors.get_mut(id) {
                    executor.phase = ExecutorPhase::Ready;
                }
            }
            Record::ExecutorStarted(id, process) => {
                if let Some(executor) = self.executors.get_mut(id) {
                    executor.phase = ExecutorPhase::Started(*process);
                }
            }
            Record::ExecutorEnding(id, cause) => {
                if let Some(executor) = self.executors.get_mut(id) {
                    executor.ending = true;
                    executor.cause = executor.cause.or(*cause);
                }
            }
            Record::ExecutorEnded {
                id,
                exit,
                report_seq,
            } => {
                if let Some(executor) = self.executors.get_mut(id) {
                    executor.phase = ExecutorPhase::Ended(*exit);
                }
                self.numbered(id, *report_seq);
            }
            Record::ExecutorForgotten(id) => {
                self.executors.remove(id);
                self.forget_framework(&id.key.framework);
            }
            Record::HandedOver(id) => {
                if let Some(task) = self.tasks.get_mut(id) {
                    task.phase = Phase::HandedOver;
                    let executor = task.launch.executor.clone();
                    if let Some(executor) = executor.and_then(|id| self.executors.get_mut(&id)) {
                        executor.used = true;
                    }
                }
            }
            Record::Noted(seq) => self.command_seq = self.command_seq.max(*seq),
            Record::Launched {
                launch,
                framework_info,
            } => {
                self.note_framework(&launch.id.key.framework, framework_info);
                self.tasks
                    .insert(launch.id.clone(), Task::new(launch.clone()));
            }
            Record::Started(id, process) => {
                if let Some(task) = self.tasks.get_mut(id) {
                    task.phase = Phase::Started(*process);
                    task.executor_pid = Some(process.pid);
                }
            }
            Record::KillRequested(id, grace) => {
                if let Some(task) = self.tasks.get_mut(id) {
                    task.kill = Some(*grace);
                }
            }
            Record::KillDecided(id, grace, cause) => {
                if let Some(task) = self.tasks.get_mut(id) {
                    task.kill = Some(*grace);
                    task.kill_cause = *cause;
                }
            }
            Record::Updated {
                id,
                update,
                report_seq,
            } => self.updated(id, update, *report_seq),
            Record::Acknowledged {
                id,
                uuid,
                report_seq,
            } => {
                self.acknowledged(id, *uuid, *report_seq);
            }
            Record::Renumbered(id, report_seq) => self.numbered(id, *report_seq),
            Record::ReportSeq(seq) => self.report_seq = self.report_seq.max(*seq),
            Record::FrameworkGone(framework, grace) => self.framework_gone(framework, *grace),
            Record::Forgotten(id) => self.forget(id),
            Record::Adopted {
                cluster,
                agent_id,
                term,
                command_seq,
            } => {
                self.cluster = Some(*cluster);
                self.agent_id = Some(agent_id.clone());
                // Terms and commands of the former cluster have nothing to do with those here.
                self.highest_term = *term;
                self.command_seq = *command_seq;
            }
        }
    }

    fn note_framework(&mut self, id: &FrameworkId, info: &Bytes) {
        if !info.is_empty() {
            self.frameworks.insert(id.clone(), info.clone());
        }
    }

    fn updated(&mut self, id: &LaunchId, update: &Update, report_seq: u64) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.latest_state = update.state;
            task.n_updates = update.task_seq;
            if update.state == TaskState::Starting {
                task.started = Some(update.timestamp);
            }
            if update.healthy.is_some() {
                task.healthy = update.healthy;
                task.was_healthy |= update.healthy == Some(true);
            }
            if update.check_status.is_some() {
                task.check_status = update.check_status;
            }
            if update.state.is_terminal() {
                task.phase = Phase::Ended;
            }
            if !update.status.is_empty() {
                task.seen.push_back(update.uuid);
                if task.seen.len() > SEEN_UPDATES_MAX {
                    task.seen.pop_front();
                }
            }
            if on(Mutant::UpdateReplacesWaiting) {
                task.updates.clear();
            }
            task.updates.push_back(update.clone());
        }
        self.numbered(id, report_seq);
    }

    fn acknowledged(&mut self, id: &LaunchId, uuid: UpdateUuid, report_seq: Option<u64>) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let Some(head) = task.updates.pop_front_if(|head| head.uuid == uuid) else {
            return;
        };
        if head.state.is_terminal() {
            self.forget(id);
        } else if let Some(report_seq) = report_seq {
            self.numbered(id, report_seq);
        }
    }

    fn numbered(&mut self, id: &LaunchId, report_seq: u64) {
        self.report_seq = self.report_seq.max(report_seq);
        if let Some(task) = self.tasks.get_mut(id) {
            task.report_seq = report_seq;
        } else if let Some(executor) = self.executors.get_mut(id) {
            executor.report_seq = report_seq;
        }
    }

    fn framework_gone(&mut self, framework: &FrameworkId, grace: DurationMs) {
        self.tasks
            .retain(|id, task| id.key.framework != *framework || task.is_started());
        for (id, task) in &mut self.tasks {
            if id.key.framework == *framework {
                task.silent = true;
                task.updates.clear();
                task.kill = Some(task.kill.map_or(grace, |earlier| earlier.min(grace)));
            }
        }
        self.executors
            .retain(|id, executor| id.key.framework != *framework || executor.is_started());
        for (id, executor) in &mut self.executors {
            executor.silent |= id.key.framework == *framework;
        }
        self.forget_framework(framework);
    }

    fn forget(&mut self, id: &LaunchId) {
        self.tasks.remove(id);
        self.forget_framework(&id.key.framework);
    }

    fn forget_framework(&mut self, framework: &FrameworkId) {
        let mut left = self.tasks.keys().chain(self.executors.keys());
        if !left.any(|id| id.key.framework == *framework) {
            self.frameworks.remove(framework);
        }
    }

    /// The newest launch of a task in that executor.
    #[must_use]
    pub fn task_in(&self, executor: &InstanceId, task: &TaskId) -> Option<(&LaunchId, &Task)> {
        let key = TaskKey {
            framework: executor.key.framework.clone(),
            task: task.clone(),
        };
        let of = |generation| LaunchId {
            key: key.clone(),
            generation,
        };
        let launches = self
            .tasks
            .range(of(Generation(0))..=of(Generation(u64::MAX)));
        let mut newest_first = launches.rev();
        newest_first.find(|(_, task)| task.launch.executor.as_ref() == Some(executor))
    }

    /// The digest a leader compares with its own picture: over all launches, and the executors that
    /// have not ended, but those of frameworks that are gone, in order of key and generation.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = DigestBuilder::default();
        for (id, task) in &self.tasks {
            if !task.silent {
                let head = task.updates.front().map(|update| update.uuid);
                digest.task(&id.key, id.generation, task.latest_state, head);
            }
        }
        for (id, executor) in &self.executors {
            // Ids of both kinds follow the same rules.
            if let Ok(executor_id) = ExecutorId::new(id.key.task.as_str())
                && !executor.silent
                && !executor.is_ended()
            {
                digest.executor(&id.key.framework, &executor_id, id.generation);
            }
        }
        digest.finish()
    }
}
