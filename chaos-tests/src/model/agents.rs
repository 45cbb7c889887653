//! Agents of the model: the real machine, and what its driver and its surroundings do.

use bytes::Bytes;
use regency_agent_core::{Action, AgentMessage, Exit, Input, LaunchId, StreamNo};
use regency_leader_core::attachment::Attach;
use regency_state::model::AgentSpec;
use regency_testkit::agent::{Machine, Process};
use regency_types::{AgentEpoch, TaskState, Term};

use super::coverage::Fault;
use super::op::Kind;
use super::session::Session;
use super::world::{World, note};
use crate::invariants::Checked;

/// An agent with its machine.
#[derive(Debug)]
pub(super) struct SimAgent {
    /// Number of its address.
    pub(super) n: usize,
    pub(super) epoch: AgentEpoch,
    /// How much it has.
    pub(super) units: i64,
    pub(super) machine: Machine,
    /// The connection it is at.
    pub(super) stream: Option<u64>,
    /// It ended, because it was told to.
    pub(super) stopped: bool,
    /// Another agent took its place at its address.
    pub(super) is_former: bool,
    /// Something happened to it in this step.
    pub(super) touched: bool,
    /// The highest term it ever was attached to.
    pub(super) highest_term: Term,
    /// The last message of its present attachment.
    said: Option<AgentMessage>,
}

impl SimAgent {
    pub(super) fn new(n: usize, epoch: AgentEpoch, units: i64, first_id: u128) -> Self {
        Self {
            n,
            epoch,
            units,
            machine: Machine::new(first_id),
            stream: None,
            stopped: false,
            is_former: false,
            touched: false,
            highest_term: Term(0),
            said: None,
        }
    }

    /// What it says when it asks to attach, with what its driver adds.
    pub(super) fn attach(&self) -> Attach {
        let durable = self.machine.core().durable();
        let mut attach = Attach {
            cluster: durable.cluster,
            agent: durable.agent_id.clone(),
            epoch: self.epoch,
            boot: self.machine.boot(),
            highest_term: durable.highest_term,
            spec: AgentSpec {
                info: Bytes::from(format!("{} units", self.units)),
                hostname: format!("host{}", self.n),
                address: format!("10.0.0.{}:5051", self.n),
                total: World::agent_resources(self.units),
                version: "1".to_owned(),
            },
            has_domain: false,
            report_seq: durable.report_seq,
            command_seq: durable.command_seq,
            digest: None,
        };
        // As it was when it said so.
        if let Some(AgentMessage::Attach {
            report_seq,
            command_seq,
            digest,
            highest_term,
            ..
        }) = &self.said
        {
            attach.report_seq = *report_seq;
            attach.command_seq = *command_seq;
            attach.digest = Some(*digest);
            attach.highest_term = *highest_term;
        }
        attach
    }

    /// Launches and executors in that part of their life.
    fn those(&self, wanted: Process) -> Vec<LaunchId> {
        self.machine.processes_that(wanted)
    }
}

/// What happens to agents.
impl World {
    /// Something happens to an agent; what it says goes on its way.
    pub(super) fn agent_input(&mut self, at: usize, input: Input) -> Checked {
        self.with_machine(at, |machine| machine.input(input))
    }

    /// Does something with an agent's machine, and follows what comes of it.
    pub(super) fn with_machine(&mut self, at: usize, act: impl FnOnce(&mut Machine)) -> Checked {
        let now_ms = self.now_ms;
        let agent = &mut self.agents[at];
        if agent.stopped {
            return Ok(());
        }
        agent.touched = true;
        agent.machine.set_now_ms(now_ms);
        let (runs, lost) = (agent.machine.runs(), agent.machine.n_lost_records());
        let undone = agent.machine.n_undone();
        let was_running = !agent.those(Process::Running).is_empty();
        act(&mut agent.machine);
        let crashed = agent.machine.runs() != runs;
        let lost_records = agent.machine.n_lost_records() > lost;
        let undone = agent.machine.n_undone() > undone;
        let said = agent.machine.take_said();
        for action in said {
            self.agent_acts(at, action);
        }
        if crashed {
            note!(self, "         agent {at} starts again");
            if lost_records {
                self.struck(Fault::CrashBeforeSync);
            }
            if undone {
                self.struck(Fault::CrashAfterSync);
            }
            if was_running {
                self.struck(Fault::CrashWhileRunning);
            }
            if let Some(no) = self.agents[at].stream.take() {
                self.agent_closed(no, true);
                self.sessions.remove(&no);
            }
        }
        Ok(())
    }

    fn agent_acts(&mut self, at: usize, action: Action) {
        match action {
            Action::Send(StreamNo(no), message) => {
                if self.agents[at].stream != Some(no) {
                    return;
                }
                if matches!(message, AgentMessage::Attach { .. }) {
                    self.agents[at].said = Some(message.clone());
                }
                if let Some(session) = self.sessions.get_mut(&no)
                    && session.open_at_agent
                {
                    session.to_leader.push_back(message);
                }
            }
            Action::Reattach { stream, why, .. } => {
                note!(self, "         agent {at} leaves: {why}");
                if self.agents[at].stream == Some(stream.0) {
                    self.agents[at].stream = None;
                    self.agent_closed(stream.0, true);
                }
            }
            Action::Stop(reason) => {
                note!(self, "         agent {at} ends: {reason}");
                self.agents[at].stopped = true;
                if let Some(no) = self.agents[at].stream.take() {
                    self.agent_closed(no, true);
                }
            }
            // What is beside its sandbox is none of ours.
            _ => {}
        }
    }

    /// An agent opens a stream to the leader of a term.
    pub(super) fn connect(&mut self, at: usize, term: Term) -> Checked {
        if self.agents[at].stream.is_some() || self.agents[at].stopped {
            return Ok(());
        }
        self.n_streams += 1;
        let no = self.n_streams;
        let epoch = self.agents[at].epoch;
        self.sessions.insert(no, Session::new(at, epoch, term));
        self.agents[at].stream = Some(no);
        note!(self, "         agent {at} connects to {term}");
        self.agent_input(at, Input::StreamOpened(StreamNo(no)))
    }

    pub(super) fn break_connection(&mut self, at: usize, noticed: bool) -> Checked {
        let Some(no) = self.agents[at].stream.take() else {
            return Ok(());
        };
        self.agent_closed(no, noticed);
        self.agent_input(at, Input::StreamClosed(StreamNo(no)))
    }

    /// Everything an agent and its leader have to say to each other is said and committed.
    pub(super) fn exchange(&mut self, at: usize) -> Checked {
        // Enough for all that a history can pile up.
        for _ in 0..64 {
            let Some(no) = self.agents[at].stream else {
                return Ok(());
            };
            let Some(session) = self.sessions.get(&no) else {
                return Ok(());
            };
            if session.is_quiet() && session.open_at_leader {
                return Ok(());
            }
            while self
                .sessions
                .get(&no)
                .is_some_and(|s| s.open_at_leader && !s.to_leader.is_empty() && !s.is_waiting())
            {
                self.deliver_to_leader(no)?;
            }
            self.commit_session(no)?;
            while self
                .sessions
                .get(&no)
                .is_some_and(|s| !s.to_agent.is_empty() || !s.open_at_leader)
            {
                self.deliver_to_agent(no)?;
            }
        }
        Ok(())
    }

    /// Commits what an attachment waits for.
    fn commit_session(&mut self, no: u64) -> Checked {
        use super::log::Caller;
        let is_its = |caller: &Caller| matches!(caller, Caller::Admit(n) | Caller::Reports(n) | Caller::Executors(n) | Caller::Picture(n) if *n == no);
        while let Some(at) = self
            .log
            .in_flight
            .iter()
            .position(|entry| is_its(&entry.caller))
        {
            self.commit(at, true)?;
        }
        Ok(())
    }

    /// Timers of agents.
    pub(super) fn tick_agents(&mut self) -> Checked {
        for at in 0..self.agents.len() {
            let due = self.agents[at].machine.core().next_tick_ms();
            if due.is_some_and(|due| due <= self.now_ms) {
                self.agent_input(at, Input::Tick)?;
            }
        }
        Ok(())
    }

    pub(super) fn agent_dies(&mut self, at: usize) -> Checked {
        self.with_machine(at, Machine::restart)
    }

    pub(super) fn agent_reboots(&mut self, at: usize) -> Checked {
        if !self.agents[at].those(Process::Running).is_empty() {
            self.struck(Fault::RebootWhileRunning);
        }
        self.with_machine(at, Machine::reboot)
    }

    pub(super) fn process_event(&mut self, at: usize, kind: Kind, b: u32) -> Checked {
        let agent = &self.agents[at];
        let pick = |those: &[LaunchId]| {
            let n = those.len();
            (n > 0).then(|| those[b as usize % n].clone())
        };
        match kind {
            Kind::Prepared => match pick(&agent.those(Process::Preparing)) {
                Some(id) => {
                    note!(self, "         {}#{} is ready", id.key.task, id.generation);
                    self.with_machine(at, |m| m.prepared(id))
                }
                None => Ok(()),
            },
            Kind::PrepareFails => match pick(&agent.those(Process::Preparing)) {
                Some(id) => self.with_machine(at, |m| m.preparation_failed(id)),
                None => Ok(()),
            },
            Kind::Running => match pick(&agent.those(Process::Running)) {
                Some(id) => self.agent_input(at, Input::Running(id)),
                None => Ok(()),
            },
            Kind::Exit | Kind::WatcherDies => match pick(&agent.those(Process::Running)) {
                Some(id) => {
                    let exit = match kind {
                        Kind::WatcherDies => Exit::Lost,
                        _ => Exit::Exited(i32::from(b.is_multiple_of(3))),
                    };
                    note!(
                        self,
                        "         {}#{} ends: {exit:?}",
                        id.key.task,
                        id.generation
                    );
                    self.with_machine(at, |m| m.end(id, exit))
                }
                None => Ok(()),
            },
            Kind::LateNews => {
                let over = agent.machine.processes_over();
                if over.is_empty() {
                    return Ok(());
                }
                let (id, exit) = over[b as usize % over.len()].clone();
                self.with_machine(at, |m| m.late_news(id, exit))
            }
            Kind::ExecutorSubscribes => match pick(&agent.machine.living_executors()) {
                Some(id) => self.with_machine(at, |m| m.executor_subscribes(&id)),
                None => Ok(()),
            },
            Kind::ExecutorBreaks => match pick(&agent.machine.living_executors()) {
                Some(id) => self.with_machine(at, |m| m.executor_breaks(&id, b & 64 == 0)),
                None => Ok(()),
            },
            _ => {
                let Some(id) = pick(&agent.machine.living_executors()) else {
                    return Ok(());
                };
                let Some(memory) = agent.machine.memory(&id) else {
                    return Ok(());
                };
                let (open, killed) = (memory.open(), memory.killed());
                let Some(task) = pick(&open) else {
                    return Ok(());
                };
                let state = match b >> 8 & 3 {
                    _ if killed.contains(&task) => TaskState::Killed,
                    0 => TaskState::Finished,
                    1 => TaskState::Failed,
                    _ => TaskState::Running,
                };
                self.with_machine(at, |m| m.executor_tells(&id, task, state))
            }
        }
    }
}
