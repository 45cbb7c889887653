//! The rules one by one. How they hold together under crashes is tried in `tests/`.

mod attachments;
mod checks;
mod executors;
mod groups;
mod kills;

use std::collections::BTreeMap;

use bytes::Bytes;
use regency_types::{
    BootId, ClusterId, DurationMs, FrameworkId, Generation, NodeId, TaskId, TaskKey, Term,
    UpdateUuid, WallTime,
};

use crate::{
    Action, AgentMessage, Command, ContainerId, Core, Cx, Durable, Fence, Input, LaunchId,
    MasterMessage, Mint, Numbered, ProcessRef, Step, StreamNo, Timing,
};

const STREAM: StreamNo = StreamNo(1);
const FENCE: Fence = Fence {
    cluster: ClusterId(7),
    term: Term(3),
    leader: NodeId(1),
};

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

/// A machine, and what it asked for since somebody last looked.
struct Bench {
    core: Core,
    mint: Counter,
    now_ms: u64,
    seq: u64,
    actions: Vec<Action>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self {
            core: Core::new(Durable::default(), Timing::STANDARD),
            mint: Counter(0),
            now_ms: 1_000,
            seq: 0,
            actions: Vec::new(),
        };
        bench.step(|core, cx| core.recover(BootId(1), &BTreeMap::new(), cx));
        bench
    }

    /// Attached to the leader of [`FENCE`].
    fn attached() -> Self {
        let mut bench = Self::new();
        bench.input(Input::StreamOpened(STREAM));
        bench.say(FENCE, attached_at(0));
        bench.actions.clear();
        bench
    }

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
        self.actions.extend(step.take_actions());
    }

    fn input(&mut self, input: Input) {
        self.step(|core, cx| core.handle(input, cx));
    }

    fn say(&mut self, fence: Fence, message: MasterMessage) {
        self.input(Input::Received(STREAM, fence, message));
    }

    fn command(&mut self, command: Command) {
        self.seq += 1;
        let seq = self.seq;
        let batch = vec![Numbered { seq, command }];
        self.say(FENCE, MasterMessage::Commands(batch));
    }

    /// A task that runs, of a framework that wants to hear TASK_KILLING.
    fn running(&mut self, task: &str) -> LaunchId {
        let id = self.running_as(task, launch);
        self.actions.clear();
        id
    }

    /// The same of a launch that `command` makes.
    fn running_as(&mut self, task: &str, command: impl Fn(&LaunchId) -> Command) -> LaunchId {
        let id = launch_id(task, self.seq + 1);
        self.command(command(&id));
        let process = ProcessRef {
            pid: 9,
            start_ticks: 9,
            boot: BootId(1),
        };
        self.input(Input::Prepared(id.clone(), process));
        self.input(Input::Running(id.clone()));
        id
    }

    fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.input(Input::Tick);
    }

    /// What it asked for, other than to send something.
    fn take_deeds(&mut self) -> Vec<Action> {
        let actions = std::mem::take(&mut self.actions);
        let deeds = actions
            .into_iter()
            .filter(|a| !matches!(a, Action::Send(..)));
        deeds.collect()
    }

    /// What it sent.
    fn take_sent(&mut self) -> Vec<AgentMessage> {
        let actions = std::mem::take(&mut self.actions);
        let sent = actions.into_iter().filter_map(|action| match action {
            Action::Send(_, message) => Some(message),
            _ => None,
        });
        sent.collect()
    }

    /// States of the waiting updates of a launch, oldest first.
    fn states(&self, id: &LaunchId) -> Vec<&'static str> {
        let task = self.core.durable().tasks.get(id);
        let updates = task.into_iter().flat_map(|task| &task.updates);
        updates.map(|update| update.state.name()).collect()
    }
}

fn attached_at(applied_report_seq: u64) -> MasterMessage {
    MasterMessage::Attached {
        agent_id: FENCE.cluster.agent_id(0),
        applied_report_seq,
        ping_interval: DurationMs(2_000),
        ping_timeout: DurationMs(6_000),
        adoption: None,
    }
}

fn launch_id(task: &str, generation: u64) -> LaunchId {
    LaunchId {
        key: TaskKey {
            framework: framework(),
            task: TaskId::new(task).expect("an id"),
        },
        generation: Generation(generation),
    }
}

fn framework() -> FrameworkId {
    FrameworkId::new("f").expect("an id")
}

fn launch(id: &LaunchId) -> Command {
    Command::Launch {
        id: id.clone(),
        framework_info: Bytes::from_static(b"f"),
        task_info: Bytes::from_static(b"t"),
        kill_grace: Some(DurationMs(2_000)),
        killing_state: true,
        health: None,
        check: None,
        max_completion: None,
        executor: None,
        defect: None,
    }
}
