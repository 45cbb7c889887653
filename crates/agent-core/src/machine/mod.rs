//! The machine: what an agent does about everything that happens to it.
//!
//! * `attachment`: which master is listened to, and what it is told.
//! * `commands`: what a command does to the table of launches.
//! * `checks`: what checks find, and what runs too long.
//! * `executors`: what happens to executors, and between them and their tasks.
//! * `groups`: task groups, and the executors that the agent itself plays for them.
//! * `processes`: what the life of a process does to it, and the timers of kills.
//! * `recovery`: what a restart makes of the table.

mod attachment;
mod checks;
mod commands;
mod executors;
mod groups;
mod processes;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use regency_mutants::{Mutant, on};
use regency_types::{BootId, DurationMs, TaskState};

use crate::check::{CheckStatus, Finding, KillCause};
use crate::durable::{Durable, ProcessRef, Record};
use crate::executor::{ExecutorUpdate, InstanceId, Subscription};
use crate::exit::Exit;
use crate::launch::LaunchId;
use crate::message::{Drain, Fence, MasterMessage};
use crate::step::{Action, Cx, StreamNo};
use crate::update::{Reason, Source, Update};

use attachment::{Attached, Connection};
use checks::Health;
use processes::KillTimer;

pub use recovery::ProcessFact;

/// Spans the machine waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between SIGTERM and SIGKILL for tasks of a framework that is gone.
    pub shutdown_grace: DurationMs,
    /// Until a SIGKILL that showed no effect is repeated.
    pub destroy_retry: DurationMs,
    /// Until an executor that was started must have subscribed.
    pub registration_timeout: DurationMs,
    /// Until an executor must have subscribed again after a restart of the agent.
    pub reregistration_timeout: DurationMs,
}

impl Timing {
    /// Five seconds of grace for the tasks of a framework that is gone (Mesos), five seconds
    /// between two SIGKILLs, a minute for an executor to subscribe (Mesos), twenty seconds for one
    /// to come back: some wait fifteen between two tries.
    pub const STANDARD: Self = Self {
        shutdown_grace: DurationMs(5_000),
        destroy_retry: DurationMs(5_000),
        registration_timeout: DurationMs(60_000),
        reregistration_timeout: DurationMs(20_000),
    };
}

/// Everything that can happen to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A stream to some master is open; nothing was said on it.
    StreamOpened(StreamNo),
    /// A master said something.
    Received(StreamNo, Fence, MasterMessage),
    /// The stream ended.
    StreamClosed(StreamNo),
    /// The process that will run the command stands ready and waits.
    Prepared(LaunchId, ProcessRef),
    /// The command could not be prepared; it certainly never ran.
    LaunchFailed(LaunchId, String),
    /// The command runs.
    Running(LaunchId),
    /// A check of the command was made.
    Found(LaunchId, Finding),
    /// The command's process is gone.
    Ended(LaunchId, Exit),
    /// What the tasks of a built-in executor need is there.
    ExecutorReady(InstanceId),
    /// The executor subscribed; an earlier stream of it is over.
    ExecutorSubscribed(InstanceId, Subscription),
    /// The stream of the executor ended.
    ExecutorUnsubscribed(InstanceId),
    /// The executor has news of a task.
    ExecutorUpdated(InstanceId, ExecutorUpdate),
    /// The executor says something to its framework.
    ExecutorSpoke(InstanceId, Bytes),
    /// Time passed.
    Tick,
}

/// The agent's decisions; see the crate's documentation for what it keeps true.
#[derive(Debug)]
pub struct Core {
    durable: Durable,
    timing: Timing,
    /// Which launch each current report number belongs to.
    reports: BTreeMap<u64, LaunchId>,
    connection: Connection,
    kills: BTreeMap<LaunchId, KillTimer>,
    /// Executors with a stream.
    subscribed: BTreeSet<InstanceId>,
    /// Executors that must subscribe by then, and what their tasks are told when they do not.
    awaited: BTreeMap<InstanceId, (u64, Reason)>,
    /// Tasks of groups whose processes wait for the others of their group.
    prepared: BTreeMap<LaunchId, ProcessRef>,
    /// Tasks of built-in executors that ended in this step.
    ended: Vec<LaunchId>,
    /// Health checks that go on.
    healths: BTreeMap<LaunchId, Health>,
    /// When launches have run too long.
    time_limits: BTreeMap<LaunchId, u64>,
    /// Set once the masters removed this agent: it ends when nothing runs any more.
    removed: Option<String>,
    /// What the master said last of its draining.
    drain: Option<Drain>,
    stopped: bool,
}

impl Core {
    /// A machine that goes on from `durable`. Call [`Self::recover`] before anything else.
    #[must_use]
    pub fn new(durable: Durable, timing: Timing) -> Self {
        let reports = durable
            .tasks
            .iter()
            .filter(|(_, task)| task.report_seq > 0 && !task.silent)
            .map(|(id, task)| (task.report_seq, id.clone()));
        let ends = durable
            .executors
            .iter()
            .filter(|(_, executor)| executor.is_ended())
            .map(|(id, executor)| (executor.report_seq, id.clone()));
        let reports = reports.chain(ends).collect();
        let mut durable = durable;
        if on(Mutant::ReportNumbersRestart) {
            durable.report_seq = 0;
        }
        Self {
            durable,
            timing,
            reports,
            connection: Connection::Closed,
            kills: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            awaited: BTreeMap::new(),
            prepared: BTreeMap::new(),
            ended: Vec::new(),
            healths: BTreeMap::new(),
            time_limits: BTreeMap::new(),
            removed: None,
            drain: None,
            stopped: false,
        }
    }

    /// What is durable once every record given out so far is.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// Whom it is attached to at the moment.
    #[must_use]
    pub fn attached_to(&self) -> Option<Fence> {
        self.connection.attached().map(|attached| attached.fence)
    }

    /// How an operator has this agent drained, as far as a master told since its last start.
    #[must_use]
    pub fn drain(&self) -> Option<Drain> {
        self.drain
    }

    /// Goes on after a start of the agent: `boot` is the boot the machine runs in now, `facts`
    /// what was found of every process in [`Durable`]. A started launch without a fact counts as
    /// lost.
    pub fn recover(
        &mut self,
        boot: BootId,
        facts: &BTreeMap<LaunchId, ProcessFact>,
        cx: &mut Cx<'_>,
    ) {
        recovery::recover(self, boot, facts, cx);
        groups::settle(self, cx);
    }

    /// Follows one input. Reports that it causes are sent by [`Self::flush`].
    pub fn handle(&mut self, input: Input, cx: &mut Cx<'_>) {
        match input {
            Input::StreamOpened(stream) => attachment::opened(self, stream, cx),
            Input::Received(stream, fence, message) => {
                attachment::received(self, stream, fence, message, cx);
            }
            Input::StreamClosed(stream) => attachment::closed(self, stream),
            Input::Prepared(id, process) => processes::prepared(self, &id, process, cx),
            Input::LaunchFailed(id, message) => processes::launch_failed(self, &id, message, cx),
            Input::Running(id) => processes::running(self, &id, cx),
            Input::Found(id, finding) => checks::found(self, &id, finding, cx),
            Input::Ended(id, exit) => processes::ended(self, &id, exit, cx),
            Input::ExecutorReady(id) => executors::ready(self, &id, cx),
            Input::ExecutorSubscribed(id, subscription) => {
                executors::subscribed(self, &id, subscription, cx);
            }
            Input::ExecutorUnsubscribed(id) => executors::unsubscribed(self, &id),
            Input::ExecutorUpdated(id, update) => executors::update(self, &id, update, cx),
            Input::ExecutorSpoke(id, data) => executors::spoke(self, &id, data, cx),
            Input::Tick => {
                attachment::tick(self, cx);
                executors::tick(self, cx);
                checks::tick(self, cx);
                processes::tick(self, cx);
            }
        }
        groups::settle(self, cx);
    }

    /// Sends what the master has not been told yet. To be called after one or more inputs: those
    /// handled together share a message.
    pub fn flush(&mut self, cx: &mut Cx<'_>) {
        attachment::flush(self, cx);
    }

    /// When the next tick is needed, in the milliseconds of [`Cx::now_ms`].
    #[must_use]
    pub fn next_tick_ms(&self) -> Option<u64> {
        let silence = self
            .connection
            .attached()
            .map(Attached::silence_deadline_ms);
        let kill = self.kills.values().map(|timer| timer.at_ms).min();
        let limit = self.time_limits.values().copied().min();
        let awaited = self.awaited.values().map(|(until, _)| *until).min();
        let timers = silence.into_iter().chain(kill).chain(limit);
        timers.chain(awaited).min()
    }

    /// Makes `record` part of this step and follows it.
    fn record(&mut self, record: Record, cx: &mut Cx<'_>) {
        self.durable.apply(&record);
        cx.step.record(record);
    }

    /// Adds an update to a launch's stream, to be reported.
    fn update(&mut self, id: &LaunchId, mut news: News, cx: &mut Cx<'_>) {
        let Some(task) = self.durable.tasks.get(id) else {
            return;
        };
        if task.silent {
            return;
        }
        if task.kill.is_some() {
            news.drained(task.kill_cause);
        }
        if news.state.is_terminal() && task.launch.parent.is_some() {
            self.ended.push(id.clone());
        }
        // What checks say stays said: each status stands for itself.
        let (healthy, check_status) = match news.source {
            Source::Agent => (None, None),
            Source::Executor => (
                news.healthy.or_else(|| {
                    let runs = news.state == TaskState::Running;
                    task.healthy.filter(|_| runs)
                }),
                news.check_status.or(task.check_status),
            ),
        };
        let update = Update {
            uuid: cx.mint.update_uuid(),
            task_seq: task.n_updates + 1,
            state: news.state,
            source: news.source,
            reason: news.reason,
            message: news.message,
            healthy,
            check_status,
            timestamp: cx.wall,
            status: Bytes::new(),
        };
        let report_seq = self.next_report_seq(id);
        let id = id.clone();
        self.record(
            Record::Updated {
                id,
                update,
                report_seq,
            },
            cx,
        );
    }

    /// The next report number, from now on that of `id`. The caller records it.
    fn next_report_seq(&mut self, id: &LaunchId) -> u64 {
        if let Some(task) = self.durable.tasks.get(id) {
            self.reports.remove(&task.report_seq);
        } else if let Some(executor) = self.durable.executors.get(id) {
            self.reports.remove(&executor.report_seq);
        }
        let report_seq = self.durable.report_seq + 1;
        self.reports.insert(report_seq, id.clone());
        report_seq
    }

    /// Drops a launch from the table, with everything kept for it.
    fn forget(&mut self, id: &LaunchId, cx: &mut Cx<'_>) {
        self.record(Record::Forgotten(id.clone()), cx);
    }

    /// Follows the removal of a launch from the table with what is kept outside of it.
    fn forgotten(
        &mut self,
        id: &LaunchId,
        report_seq: u64,
        container: crate::ContainerId,
        cx: &mut Cx<'_>,
    ) {
        self.reports.remove(&report_seq);
        self.kills.remove(id);
        self.prepared.remove(id);
        checks::end(self, id);
        cx.act(Action::Forget(id.clone(), container));
    }
}

/// What an update says.
struct News {
    state: TaskState,
    source: Source,
    reason: Option<Reason>,
    message: Option<String>,
    healthy: Option<bool>,
    check_status: Option<CheckStatus>,
}

impl News {
    /// About the course of a command.
    fn course(state: TaskState) -> Self {
        Self {
            state,
            source: Source::Executor,
            reason: None,
            message: None,
            healthy: None,
            check_status: None,
        }
    }

    /// Says why the task is killed, when that is because its agent is drained.
    fn drained(&mut self, cause: KillCause) {
        if let Some((state, reason)) = cause.told(self.state) {
            self.state = state;
            self.reason = Some(reason);
        }
    }

    /// What the agent itself has to say.
    fn agent(state: TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state,
            source: Source::Agent,
            reason: Some(reason),
            message: Some(message.into()),
            healthy: None,
            check_status: None,
        }
    }
}
