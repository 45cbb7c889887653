//! A world around the machine: masters that keep a command log, processes, a disk that forgets
//! what was not synced, and crashes between any two of the driver's steps.

mod checks;
mod executors;
mod groups;
mod masters;

use std::collections::{BTreeMap, BTreeSet};

use regency_agent_core::{
    Action, CheckStatus, Command, Exit, Finding, Input, InstanceId, LaunchId, MasterMessage,
    StreamNo, Update,
};
use regency_testkit::agent::{self, Machine, Process};
use regency_types::{ClusterId, DurationMs, FrameworkId, TaskState, Term, UpdateUuid};

const CLUSTER: ClusterId = ClusterId(7);

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Launch {
        framework: u8,
        task: u8,
        defect: bool,
    },
    Kill(u8),
    KillUnseen(u8, u8),
    /// A task that an executor shall run.
    LaunchInside(u8, u8),
    /// So many tasks that shall run together in an executor of the framework, built in or not.
    LaunchGroup {
        framework: u8,
        first: u8,
        n: u8,
        built_in: bool,
        defect: bool,
    },
    DropGroupUnseen(u8, u8),
    ExecutorSubscribes(u8),
    ExecutorBreaks(u8),
    ExecutorTells(u8, u8),
    /// A launch that came before, or was buried, under a new number.
    LaunchAgain(u8),
    /// An acknowledgement that does not name the head.
    AcknowledgeStranger(u8),
    /// The news of a process that was dropped, or of an end already told, comes late.
    LateNews(u8),
    DropUnseen(u8, u8),
    ShutdownFramework(u8),
    AcknowledgeHead(u8),
    /// The master sends what the agent lacks.
    Deliver,
    Connect,
    Disconnect,
    NewTerm,
    /// A leader of an older term answers an attachment.
    StaleMaster,
    /// The whole command log once more, from its beginning.
    Repeat,
    PrepareDone(u8),
    PrepareFails(u8),
    RunningSeen(u8),
    /// The health check of a running command passes or fails; its check succeeds or not.
    Found(u8, bool),
    Exit(u8, u8),
    /// The process that watches a command is killed, and the command with it.
    WatcherDies(u8),
    Tick,
    Crash(Crash),
    Resync,
}

/// Where the agent dies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crash {
    /// During the next step, before anything of it is durable.
    BeforeSync,
    /// During the next step, when it is durable and nothing of it is done.
    AfterSync,
    /// Between two steps.
    Idle,
    /// With its machine.
    Reboot,
}

/// What the masters know of a launch.
#[derive(Debug, Default)]
struct Known {
    /// Updates by their number, as first seen.
    updates: BTreeMap<u64, Update>,
    acknowledged: u64,
    latest: Option<TaskState>,
}

impl Known {
    fn head(&self) -> Option<&Update> {
        self.updates.get(&(self.acknowledged + 1))
    }
}

pub(crate) struct World {
    machine: Machine,
    now_ms: u64,
    stream: Option<StreamNo>,
    n_streams: u64,
    term: Term,
    log: Vec<Command>,
    delivered: usize,
    known: BTreeMap<LaunchId, Known>,
    launched: BTreeSet<LaunchId>,
    /// The executor of each framework that the masters know of, with the number of its command.
    instances: BTreeMap<FrameworkId, (InstanceId, u64)>,
    /// As `instances`, of built-in executors.
    pods: BTreeMap<FrameworkId, (InstanceId, u64)>,
    /// The groups of built-in executors.
    groups: Vec<Vec<LaunchId>>,
    gone: BTreeSet<FrameworkId>,
    applied_report_seq: u64,
    sent_report_seq: u64,
    next_generation: u64,
    /// What a kill reached while it ran.
    killed: BTreeSet<LaunchId>,
    /// How often the agent was started, as far as was followed.
    run: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            machine: Machine::new(0),
            now_ms: 0,
            stream: None,
            n_streams: 0,
            term: Term(1),
            log: Vec::new(),
            delivered: 0,
            known: BTreeMap::new(),
            launched: BTreeSet::new(),
            instances: BTreeMap::new(),
            pods: BTreeMap::new(),
            groups: Vec::new(),
            gone: BTreeSet::new(),
            applied_report_seq: 0,
            sent_report_seq: 0,
            next_generation: 0,
            killed: BTreeSet::new(),
            run: 1,
        }
    }

    /// Something happens to the agent; what it says is heard.
    fn with_machine(&mut self, act: impl FnOnce(&mut Machine)) {
        self.machine.set_now_ms(self.now_ms);
        act(&mut self.machine);
        let said = self.machine.take_said();
        if self.machine.runs() != self.run {
            self.run = self.machine.runs();
            self.stream = None;
        }
        for action in said {
            self.act(action);
        }
    }

    fn input(&mut self, input: Input) {
        self.with_machine(|machine| machine.input(input));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Send(stream, message) => {
                if self.stream == Some(stream) {
                    self.hear(stream, message);
                }
            }
            Action::Reattach { stream, .. } => {
                if self.stream == Some(stream) {
                    self.stream = None;
                }
            }
            Action::Forget(id, _) => {
                let gone = self.gone.contains(&id.key.framework);
                let done = self.settled(&id) || self.machine.is_executor(&id);
                assert!(
                    gone || done,
                    "{id} is forgotten before its end was acknowledged"
                );
            }
            Action::Stop(reason) => panic!("nobody removed the agent: {reason}"),
            other => panic!("the machine does that by itself: {other:?}"),
        }
    }

    fn end(&mut self, id: LaunchId, exit: Exit) {
        self.with_machine(|machine| machine.end(id, exit));
    }

    fn processes_that(&self, wanted: Process) -> Vec<LaunchId> {
        self.machine.processes_that(wanted)
    }

    fn pick<T: Clone>(items: &[T], index: u8) -> Option<T> {
        (!items.is_empty()).then(|| items[usize::from(index) % items.len()].clone())
    }

    pub(crate) fn follow(&mut self, op: Op) {
        self.now_ms += 100;
        match op {
            Op::Launch {
                framework,
                task,
                defect,
            } => {
                if let Some(id) = self.fresh(framework, task) {
                    self.log.push(Self::launch(id, defect));
                }
            }
            Op::Kill(index) => {
                let launched: Vec<_> = self.launched.iter().cloned().collect();
                if let Some(id) = Self::pick(&launched, index)
                    && !self
                        .known
                        .get(&id)
                        .is_some_and(|k| k.latest.is_some_and(TaskState::is_terminal))
                    && !self.gone.contains(&id.key.framework)
                {
                    self.log.push(Command::Kill {
                        id,
                        grace: Some(DurationMs(500)),
                    });
                }
            }
            Op::KillUnseen(framework, task) => {
                if let Some(id) = self.fresh(framework, task) {
                    self.log.push(Command::Kill { id, grace: None });
                }
            }
            Op::DropUnseen(framework, task) => {
                if let Some(id) = self.fresh(framework, task) {
                    self.log.push(Command::DropLaunch(id));
                }
            }
            Op::LaunchInside(framework, task) => self.launch_inside(framework, task),
            Op::LaunchGroup {
                framework,
                first,
                n,
                built_in,
                defect,
            } => self.launch_group(framework, first, n, built_in, defect),
            Op::DropGroupUnseen(framework, first) => {
                let tasks = self.fresh_ones(framework, first, 2);
                self.log.push(Command::DropGroup(tasks));
            }
            Op::ExecutorSubscribes(index) => self.executor_subscribes(index),
            Op::ExecutorBreaks(index) => self.executor_breaks(index),
            Op::ExecutorTells(index, what) => self.executor_tells(index, what),
            Op::LaunchAgain(index) => {
                let unsettled: Vec<_> = self
                    .launched
                    .iter()
                    .filter(|id| !self.settled(id))
                    .cloned()
                    .collect();
                if let Some(id) = Self::pick(&unsettled, index)
                    && !self.gone.contains(&id.key.framework)
                {
                    self.log.push(Self::launch(id, false));
                }
            }
            Op::AcknowledgeStranger(index) => {
                let launched: Vec<_> = self.launched.iter().cloned().collect();
                if let Some(id) = Self::pick(&launched, index) {
                    let uuid = UpdateUuid(u128::MAX);
                    self.log.push(Command::Acknowledge { id, uuid });
                }
            }
            Op::LateNews(index) => {
                if let Some((id, exit)) = Self::pick(&self.machine.processes_over(), index) {
                    self.with_machine(|machine| machine.late_news(id, exit));
                }
            }
            Op::ShutdownFramework(framework) => {
                let framework = Self::key(framework, 0).framework;
                if self.gone.insert(framework.clone()) {
                    self.instances.remove(&framework);
                    self.pods.remove(&framework);
                    self.log.push(Command::ShutdownFramework(framework));
                }
            }
            Op::AcknowledgeHead(index) => {
                let heads = self.heads();
                if let Some((id, uuid)) = Self::pick(&heads, index) {
                    self.acknowledge(id, uuid);
                }
            }
            Op::Deliver => self.deliver(self.delivered),
            Op::Connect => self.connect(),
            Op::Disconnect => {
                if let Some(stream) = self.stream.take() {
                    self.input(Input::StreamClosed(stream));
                }
            }
            Op::NewTerm => {
                self.term = Term(self.term.0 + 1);
                self.follow(Op::Disconnect);
            }
            Op::StaleMaster => self.stale_master(),
            Op::Repeat => self.deliver(0),
            Op::PrepareDone(index) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Preparing), index) {
                    self.with_machine(|machine| machine.prepared(id));
                }
            }
            Op::PrepareFails(index) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Preparing), index) {
                    self.with_machine(|machine| machine.preparation_failed(id));
                }
            }
            Op::RunningSeen(index) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Running), index) {
                    self.input(Input::Running(id));
                }
            }
            Op::Found(index, good) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Running), index) {
                    self.input(Input::Found(id.clone(), Finding::Health(good)));
                    let status = CheckStatus::Tcp(Some(good));
                    self.input(Input::Found(id, Finding::Check(status)));
                }
            }
            Op::Exit(index, status) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Running), index) {
                    self.end(id, Exit::Exited(i32::from(status % 3)));
                }
            }
            Op::WatcherDies(index) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Running), index) {
                    self.end(id, Exit::Lost);
                }
            }
            Op::Tick => self.input(Input::Tick),
            Op::Crash(Crash::Idle) => self.with_machine(Machine::restart),
            Op::Crash(Crash::Reboot) => self.with_machine(Machine::reboot),
            Op::Crash(Crash::BeforeSync) => self.machine.crash_next(agent::Crash::BeforeSync),
            Op::Crash(Crash::AfterSync) => self.machine.crash_next(agent::Crash::AfterSync),
            Op::Resync => {
                if let Some(stream) = self
                    .stream
                    .filter(|_| self.machine.core().attached_to().is_some())
                {
                    self.say(stream, MasterMessage::ResyncRequest { inventory: false });
                }
            }
        }
    }
}
