//! An agent around the real machine: processes, a disk that forgets what was not synced, and
//! crashes between any two of the driver's steps.
//!
//! What is said to masters and by them is the caller's business: [`Machine::take_said`] gives it.

mod executor;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use regency_agent_core::{
    Action, ContainerId, Core, Cx, Durable, Exit, Input, InstanceId, LaunchId, Mint, ProcessFact,
    ProcessRef, Record, Step, Timing,
};
use regency_mutants::{Mutant, on};
use regency_types::{BootId, UpdateUuid, WallTime};

pub use executor::Memory;

/// Where the agent dies, in its next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// Before anything of the step is durable.
    BeforeSync,
    /// When it is durable and nothing of it is done.
    AfterSync,
}

/// The life of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It is being made.
    Preparing,
    /// It waits for its go.
    Ready,
    /// Its command runs.
    Running,
    /// It ended.
    Over(Exit),
}

/// Ids that never repeat.
#[derive(Debug)]
pub struct Counter(u128);

impl Counter {
    /// Counts above this number.
    #[must_use]
    pub const fn above(first: u128) -> Self {
        Self(first)
    }
}

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

/// An agent with its machine.
#[derive(Debug)]
pub struct Machine {
    core: Core,
    /// What was synced, in order.
    disk: Vec<Record>,
    /// The same, folded.
    synced: Durable,
    mint: Counter,
    now_ms: u64,
    boot: BootId,
    crash: Option<Crash>,
    processes: BTreeMap<LaunchId, Process>,
    starts: BTreeMap<LaunchId, u32>,
    /// Running commands that were sent SIGTERM.
    asked_to_end: BTreeSet<LaunchId>,
    memories: BTreeMap<InstanceId, Memory>,
    built_in: BTreeSet<InstanceId>,
    said: Vec<Action>,
    /// What came of actions that are being carried out: the driver takes it up after the last.
    waiting: VecDeque<Input>,
    is_acting: bool,
    runs: u64,
    n_lost_records: u64,
    n_undone: u64,
}

impl Machine {
    /// A machine with an empty disk, whose ids are above `first_id`.
    #[must_use]
    pub fn new(first_id: u128) -> Self {
        let mut machine = Self {
            core: Core::new(Durable::default(), Timing::STANDARD),
            disk: Vec::new(),
            synced: Durable::default(),
            mint: Counter::above(first_id),
            now_ms: 0,
            boot: BootId(1),
            crash: None,
            processes: BTreeMap::new(),
            starts: BTreeMap::new(),
            asked_to_end: BTreeSet::new(),
            memories: BTreeMap::new(),
            built_in: BTreeSet::new(),
            said: Vec::new(),
            waiting: VecDeque::new(),
            is_acting: false,
            runs: 0,
            n_lost_records: 0,
            n_undone: 0,
        };
        machine.restart();
        machine
    }

    /// The agent's decisions.
    #[must_use]
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// Every record that was synced, in order.
    #[must_use]
    pub fn disk(&self) -> &[Record] {
        &self.disk
    }

    /// How often the agent was started.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Records that a crash took before they were durable.
    #[must_use]
    pub fn n_lost_records(&self) -> u64 {
        self.n_lost_records
    }

    /// Steps of which a crash left everything durable and nothing done.
    #[must_use]
    pub fn n_undone(&self) -> u64 {
        self.n_undone
    }

    /// How often each command was let run, or handed to its executor.
    #[must_use]
    pub fn starts(&self) -> &BTreeMap<LaunchId, u32> {
        &self.starts
    }

    /// What became of a process.
    #[must_use]
    pub fn process(&self, id: &LaunchId) -> Option<Process> {
        self.processes.get(id).copied()
    }

    /// Processes in that part of their life.
    #[must_use]
    pub fn processes_that(&self, wanted: Process) -> Vec<LaunchId> {
        let those = self
            .processes
            .iter()
            .filter(|(_, process)| **process == wanted);
        those.map(|(id, _)| id.clone()).collect()
    }

    /// Processes that ended, with how.
    #[must_use]
    pub fn processes_over(&self) -> Vec<(LaunchId, Exit)> {
        let over = self.processes.iter().filter_map(|(id, process)| {
            let Process::Over(exit) = process else {
                return None;
            };
            Some((id.clone(), *exit))
        });
        over.collect()
    }

    /// Whether a running command was sent SIGTERM.
    #[must_use]
    pub fn is_asked_to_end(&self, id: &LaunchId) -> bool {
        self.asked_to_end.contains(id)
    }

    /// The boot its machine runs in.
    #[must_use]
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Lets time pass; nothing happens by that alone.
    pub fn set_now_ms(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// The next step is the last one of this run.
    pub fn crash_next(&mut self, crash: Crash) {
        self.crash = Some(crash);
    }

    /// What was said since the last call: `Send`, `Reattach`, `Forget` and `Stop`, in order.
    pub fn take_said(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.said)
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
        // Their data is none of ours.
        let _ = step.take_destroyed_volumes();
        let crash = self.crash.take();
        let records = step.take_records();
        if crash == Some(Crash::BeforeSync) {
            self.n_lost_records += records.len() as u64;
            if on(Mutant::ActBeforeSync) {
                self.carry_out(step.take_actions());
            }
            return self.restart();
        }
        for record in records {
            self.synced.apply(&record);
            self.disk.push(record);
        }
        if crash.is_some() {
            self.n_undone += 1;
            return self.restart();
        }
        self.carry_out(step.take_actions());
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        self.is_acting = true;
        for action in actions {
            self.act(action);
        }
        self.is_acting = false;
    }

    /// Something happens to the agent.
    pub fn input(&mut self, input: Input) {
        self.waiting.push_back(input);
        self.take_up();
    }

    /// Takes up what waits, unless actions are being carried out.
    fn take_up(&mut self) {
        while !self.is_acting
            && let Some(input) = self.waiting.pop_front()
        {
            self.step(|core, cx| core.handle(input, cx));
        }
    }

    /// The agent dies and starts again: only what is on the disk and what processes left counts.
    pub fn restart(&mut self) {
        self.runs += 1;
        self.waiting.clear();
        for memory in self.memories.values_mut() {
            memory.hang_up();
        }
        for process in self.processes.values_mut() {
            // Whoever waits for its go sees the pipe close and ends without running.
            if matches!(process, Process::Preparing | Process::Ready) {
                *process = Process::Over(Exit::NotStarted);
            }
        }
        let durable = self.synced.clone();
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
        self.take_up();
    }

    /// Its machine goes down and comes up again, and everything that ran is lost.
    pub fn reboot(&mut self) {
        self.boot = BootId(self.boot.0 + 1);
        for process in self.processes.values_mut() {
            if *process == Process::Running {
                *process = Process::Over(Exit::Lost);
            }
        }
        self.restart();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Prepare(id) => {
                let earlier = self.processes.insert(id.clone(), Process::Preparing);
                assert_eq!(earlier, None, "I1: {id} is prepared a second time");
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
            Action::Check(id) => self.begin_check(&id),
            Action::Terminate(id) => {
                self.asked_to_end.insert(id);
            }
            Action::Destroy(id) => {
                if self.processes.get(&id) == Some(&Process::Running) {
                    self.end(id, Exit::Signaled(9));
                }
            }
            Action::Forget(id, container) => {
                let process = self.processes.get(&id);
                assert!(
                    process != Some(&Process::Running),
                    "I1: {id} runs and is forgotten"
                );
                self.said.push(Action::Forget(id, container));
            }
            Action::Tell(id, event) => self.told(&id, event),
            Action::Send(..) | Action::Reattach { .. } | Action::Stop(_) => self.said.push(action),
        }
    }

    fn begin_check(&self, id: &LaunchId) {
        let process = self.processes.get(id);
        // Without a process only when it ended and nobody was told yet.
        let is_over = matches!(process, Some(Process::Over(_)));
        assert!(
            is_over || process == Some(&Process::Running),
            "{id} is not running"
        );
        let task = self.core.durable().tasks.get(id);
        assert!(
            task.is_some_and(|task| task.kill.is_none()),
            "{id} is checked while it is killed"
        );
    }

    /// A running command ends by itself or by force.
    pub fn end(&mut self, id: LaunchId, exit: Exit) {
        self.processes.insert(id.clone(), Process::Over(exit));
        self.input(Input::Ended(id, exit));
    }

    /// A process stands ready, or the sandbox of a built-in executor, which has none.
    pub fn prepared(&mut self, id: LaunchId) {
        if self.built_in.contains(&id) {
            self.processes
                .insert(id.clone(), Process::Over(Exit::NotStarted));
            return self.input(Input::ExecutorReady(id));
        }
        self.processes.insert(id.clone(), Process::Ready);
        let process = self.process_ref();
        self.input(Input::Prepared(id, process));
    }

    /// A process could not be made.
    pub fn preparation_failed(&mut self, id: LaunchId) {
        self.processes
            .insert(id.clone(), Process::Over(Exit::NotStarted));
        self.input(Input::LaunchFailed(id, "no sandbox".to_owned()));
    }

    /// News of a process that was dropped, or of an end already told, come late.
    pub fn late_news(&mut self, id: LaunchId, exit: Exit) {
        if exit == Exit::NotStarted {
            let process = self.process_ref();
            self.input(Input::Prepared(id, process));
        } else {
            self.input(Input::Ended(id, exit));
        }
    }

    fn process_ref(&self) -> ProcessRef {
        ProcessRef {
            pid: 1,
            start_ticks: 1,
            boot: self.boot,
        }
    }

    /// Holds at every moment: what runs was noted first, nothing ran twice, and a restart would
    /// rebuild what the agent has.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), String> {
        if let Some((id, n)) = self.starts.iter().find(|(_, n)| **n > 1) {
            return Err(format!("{id} started {n} times"));
        }
        let durable = self.core.durable();
        for (id, process) in &self.processes {
            let noted = || {
                durable.tasks.get(id).is_some_and(|task| task.is_started())
                    || durable.executors.get(id).is_some_and(|e| e.is_started())
            };
            if *process == Process::Running && !noted() {
                return Err(format!("{id} runs unnoticed"));
            }
        }
        if *durable == self.synced {
            Ok(())
        } else {
            Err("the agent has something else than its disk".to_owned())
        }
    }
}
