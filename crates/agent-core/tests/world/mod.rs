//! A world around the machine: masters that keep a command log, processes, a disk that forgets
//! what was not synced, and crashes between any two of the driver's steps.

mod checks;
mod executors;
mod masters;

use std::collections::{BTreeMap, BTreeSet};

use regency_agent_core::{
    Action, CheckStatus, Command, ContainerId, Core, Cx, Durable, Exit, Finding, Input, InstanceId,
    LaunchId, MasterMessage, Mint, ProcessFact, ProcessRef, Record, Step, StreamNo, Timing, Update,
};
use regency_types::{
    BootId, ClusterId, DurationMs, FrameworkId, TaskState, Term, UpdateUuid, WallTime,
};

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

/// The life of a real process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    Preparing,
    Ready,
    Running,
    Over(Exit),
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

struct Counter(u128);

impl Mint for Counter {
    fn update_uuid(&mut self) -> UpdateUuid {
        self.0 += 1;
        UpdateUuid(self.0)
    }
    fn container_id(&mut self) -> ContainerId {
        self.0 += 1;
        ContainerId(self.0)
    }
}

pub(crate) struct World {
    core: Core,
    disk: Vec<Vec<Record>>,
    mint: Counter,
    now_ms: u64,
    boot: BootId,
    crash: Option<Crash>,
    processes: BTreeMap<LaunchId, Process>,
    starts: BTreeMap<LaunchId, u32>,
    stream: Option<StreamNo>,
    n_streams: u64,
    term: Term,
    log: Vec<Command>,
    delivered: usize,
    known: BTreeMap<LaunchId, Known>,
    launched: BTreeSet<LaunchId>,
    /// The executor of each framework that the masters know of, with the number of its command.
    instances: BTreeMap<FrameworkId, (InstanceId, u64)>,
    memories: BTreeMap<InstanceId, executors::Memory>,
    gone: BTreeSet<FrameworkId>,
    applied_report_seq: u64,
    sent_report_seq: u64,
    next_generation: u64,
    /// What a kill reached while it ran.
    killed: BTreeSet<LaunchId>,
    /// How often the agent was started.
    run: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            core: Core::new(Durable::default(), Timing::STANDARD),
            disk: Vec::new(),
            mint: Counter(0),
            now_ms: 0,
            boot: BootId(1),
            crash: None,
            processes: BTreeMap::new(),
            starts: BTreeMap::new(),
            stream: None,
            n_streams: 0,
            term: Term(1),
            log: Vec::new(),
            delivered: 0,
            known: BTreeMap::new(),
            launched: BTreeSet::new(),
            instances: BTreeMap::new(),
            memories: BTreeMap::new(),
            gone: BTreeSet::new(),
            applied_report_seq: 0,
            sent_report_seq: 0,
            next_generation: 0,
            killed: BTreeSet::new(),
            run: 0,
        };
        world.restart();
        world
    }

    /// One step of the driver: decide, sync, act; dying where it was told to.
    fn step(&mut self, decide: impl FnOnce(&mut Core, &mut Cx<'_>)) {
        let mut step = Step::default();
        let mut cx = Cx {
            now_ms: self.now_ms,
            wall: WallTime(self.now_ms),
            mint: &mut self.mint,
            step: &mut step,
        };
        decide(&mut self.core, &mut cx);
        self.core.flush(&mut cx);
        let crash = self.crash.take();
        if matches!(crash, Some(Crash::BeforeSync)) {
            return self.restart();
        }
        let records = step.take_records();
        if !records.is_empty() {
            self.disk.push(records);
        }
        if crash.is_some() {
            return self.restart();
        }
        let run = self.run;
        for action in step.take_actions() {
            // An action can lead to the next crash; the rest of them dies with the agent.
            if self.run == run {
                self.act(action);
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.step(|core, cx| core.handle(input, cx));
    }

    /// The agent dies and starts again: only what is on the disk and what processes left counts.
    fn restart(&mut self) {
        self.run += 1;
        self.stream = None;
        self.executors_lose_their_streams();
        for process in self.processes.values_mut() {
            // Whoever waits for its go sees the pipe close and ends without running.
            if matches!(process, Process::Preparing | Process::Ready) {
                *process = Process::Over(Exit::NotStarted);
            }
        }
        let mut durable = Durable::default();
        for record in self.disk.iter().flatten() {
            durable.apply(record);
        }
        let tasks = durable.tasks.iter().filter(|(_, task)| task.is_started());
        let executors = durable.executors.iter();
        let executors = executors.filter(|(_, executor)| executor.is_started());
        let facts = tasks
            .map(|(id, _)| id)
            .chain(executors.map(|(id, _)| id))
            .map(|id| {
                let fact = match self.processes.get(id) {
                    Some(Process::Running) => ProcessFact::Alive,
                    Some(Process::Over(exit)) => ProcessFact::Ended(*exit),
                    other => panic!("{id} is recorded as started, its process is {other:?}"),
                };
                (id.clone(), fact)
            })
            .collect();
        self.core = Core::new(durable, Timing::STANDARD);
        let boot = self.boot;
        self.step(|core, cx| core.recover(boot, &facts, cx));
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
            Action::Prepare(id) => {
                let earlier = self.processes.insert(id.clone(), Process::Preparing);
                assert_eq!(earlier, None, "{id} is prepared a second time");
            }
            Action::Go(id) => {
                if self.processes.get(&id) == Some(&Process::Ready) {
                    *self.starts.entry(id.clone()).or_default() += 1;
                    self.processes.insert(id, Process::Running);
                }
            }
            Action::Abort(id) => {
                let process = self.processes.get_mut(&id);
                if let Some(process @ (Process::Preparing | Process::Ready)) = process {
                    *process = Process::Over(Exit::NotStarted);
                }
            }
            Action::Check(id) => {
                let task = self.core.durable().tasks.get(&id);
                let process = self.processes.get(&id);
                // Without a process only when it ended and nobody was told yet.
                let is_over = matches!(process, Some(Process::Over(_)));
                assert!(
                    is_over || process == Some(&Process::Running),
                    "{id} is not running"
                );
                assert!(
                    task.is_some_and(|task| task.kill.is_none()),
                    "{id} is checked while it is killed"
                );
            }
            Action::Terminate(_) => {}
            Action::Destroy(id) => {
                if self.processes.get(&id) == Some(&Process::Running) {
                    self.end(id, Exit::Signaled(9));
                }
            }
            Action::Forget(id, _) => {
                let gone = self.gone.contains(&id.key.framework);
                let process = self.processes.get(&id);
                assert!(
                    process != Some(&Process::Running),
                    "{id} runs and is forgotten"
                );
                let done = self.settled(&id) || self.is_executor(&id);
                assert!(
                    gone || done,
                    "{id} is forgotten before its end was acknowledged"
                );
            }
            Action::Tell(id, event) => self.told(&id, event),
            Action::Stop(reason) => panic!("nobody removed the agent: {reason}"),
        }
    }

    fn end(&mut self, id: LaunchId, exit: Exit) {
        self.processes.insert(id.clone(), Process::Over(exit));
        self.input(Input::Ended(id, exit));
    }

    fn process(&self) -> ProcessRef {
        ProcessRef {
            pid: 1,
            start_ticks: 1,
            boot: self.boot,
        }
    }

    fn pick<T: Clone>(items: &[T], index: u8) -> Option<T> {
        (!items.is_empty()).then(|| items[usize::from(index) % items.len()].clone())
    }

    fn processes_that(&self, wanted: Process) -> Vec<LaunchId> {
        let those = self
            .processes
            .iter()
            .filter(|(_, process)| **process == wanted);
        those.map(|(id, _)| id.clone()).collect()
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
                let over: Vec<_> = self
                    .processes
                    .iter()
                    .filter_map(|(id, process)| match process {
                        Process::Over(exit) => Some((id.clone(), *exit)),
                        _ => None,
                    })
                    .collect();
                match Self::pick(&over, index) {
                    Some((id, Exit::NotStarted)) => {
                        let process = self.process();
                        self.input(Input::Prepared(id, process));
                    }
                    Some((id, exit)) => self.input(Input::Ended(id, exit)),
                    None => {}
                }
            }
            Op::ShutdownFramework(framework) => {
                let framework = Self::key(framework, 0).framework;
                if self.gone.insert(framework.clone()) {
                    self.instances.remove(&framework);
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
                    self.processes.insert(id.clone(), Process::Ready);
                    let process = self.process();
                    self.input(Input::Prepared(id, process));
                }
            }
            Op::PrepareFails(index) => {
                if let Some(id) = Self::pick(&self.processes_that(Process::Preparing), index) {
                    self.processes
                        .insert(id.clone(), Process::Over(Exit::NotStarted));
                    self.input(Input::LaunchFailed(id, "no sandbox".to_owned()));
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
            Op::Crash(Crash::Idle) => self.restart(),
            Op::Crash(Crash::Reboot) => {
                self.boot = BootId(self.boot.0 + 1);
                for process in self.processes.values_mut() {
                    if *process == Process::Running {
                        *process = Process::Over(Exit::Lost);
                    }
                }
                self.restart();
            }
            Op::Crash(crash) => self.crash = Some(crash),
            Op::Resync => {
                if let Some(stream) = self.stream.filter(|_| self.core.attached_to().is_some()) {
                    self.say(stream, MasterMessage::ResyncRequest { inventory: false });
                }
            }
        }
    }
}
