//! Attachments of agents, as the master's `rpc::attach` serves them.

use std::collections::VecDeque;

use regency_agent_core::{
    AgentMessage, Fence, Input, MasterMessage, Numbered, Refusal as Refused, StreamNo,
};
use regency_leader_core::attachment::{self, Answer, Attach, Reason};
use regency_state::{
    ApplyReports, Command, EndExecutors, Outcome, Refusal, ResyncAgent, ResyncExecutors, Verdict,
};
use regency_types::{AgentEpoch, AgentId, DurationMs, NodeId, Term};

use super::convert;
use super::coverage::Fault;
use super::log::Caller;
use super::world::{World, note};
use crate::invariants::{Broken, Checked};

const PING_INTERVAL: DurationMs = DurationMs(2_000);
const PING_TIMEOUT: DurationMs = DurationMs(6_000);

/// One stream between an agent and a leader.
#[derive(Debug)]
pub(super) struct Session {
    /// Which agent of the model.
    pub(super) agent: usize,
    /// The agent's directory, which tells it from its successors.
    pub(super) epoch: AgentEpoch,
    /// The leader's term.
    pub(super) term: Term,
    pub(super) to_agent: VecDeque<MasterMessage>,
    pub(super) to_leader: VecDeque<AgentMessage>,
    pub(super) open_at_agent: bool,
    pub(super) open_at_leader: bool,
    /// The agent it was let in as.
    id: Option<AgentId>,
    /// What it said first.
    attach: Option<Attach>,
    /// The leader waits for a verdict and reads nothing.
    waits: bool,
    /// Commands sent up to this one; `None`: not before a picture came.
    sent: Option<u64>,
    /// A picture of which the executors are on their way.
    picture: Option<AgentMessage>,
}

impl Session {
    pub(super) fn new(agent: usize, epoch: AgentEpoch, term: Term) -> Self {
        Self {
            agent,
            epoch,
            term,
            to_agent: VecDeque::new(),
            to_leader: VecDeque::new(),
            open_at_agent: true,
            open_at_leader: true,
            id: None,
            attach: None,
            waits: false,
            sent: None,
            picture: None,
        }
    }

    /// Whether nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        self.to_agent.is_empty() && self.to_leader.is_empty() && !self.waits
    }

    /// Whether it stands on both sides.
    pub(super) fn is_open(&self) -> bool {
        self.open_at_agent && self.open_at_leader
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits
    }

    pub(super) fn is_attached(&self) -> bool {
        self.id.is_some()
    }
}

/// Messages between masters and agents.
impl World {
    fn send(&mut self, no: u64, message: MasterMessage) {
        if let Some(session) = self.sessions.get_mut(&no).filter(|s| s.open_at_leader) {
            session.to_agent.push_back(message);
        }
    }

    /// The leader refuses and ends the attachment.
    fn refuse(&mut self, no: u64, refusal: Refused, message: &str) {
        self.send(
            no,
            MasterMessage::Refused {
                refusal,
                message: message.to_owned(),
                leader_address: None,
            },
        );
        self.detach(no);
        if let Some(session) = self.sessions.get_mut(&no) {
            session.open_at_leader = false;
        }
    }

    /// Takes an attachment out of its leader's registry.
    fn detach(&mut self, no: u64) {
        let Some(session) = self.sessions.get_mut(&no) else {
            return;
        };
        let (term, id) = (session.term, session.id.take());
        if let (Some(id), Some(leader)) = (id, self.leader_of_mut(term))
            && leader.attached.get(&id) == Some(&no)
        {
            leader.attached.remove(&id);
        }
    }

    /// The leader's side is gone; what it said may still arrive.
    pub(super) fn leader_closes(&mut self, no: u64) {
        self.detach(no);
        if let Some(session) = self.sessions.get_mut(&no) {
            session.open_at_leader = false;
            session.to_leader.clear();
        }
    }

    /// The connection is broken for the agent, which knows it.
    pub(super) fn agent_closed(&mut self, no: u64, noticed: bool) {
        let Some(session) = self.sessions.get_mut(&no) else {
            return;
        };
        session.open_at_agent = false;
        let lost = !session.to_leader.is_empty();
        session.to_leader.clear();
        if lost {
            self.struck(Fault::MessagesLost);
        }
        if noticed {
            self.leader_closes(no);
        } else {
            self.struck(Fault::HalfOpen);
        }
    }

    /// Something the leader said arrives, or that it hung up.
    pub(super) fn deliver_to_agent(&mut self, no: u64) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        let (at, epoch, term) = (session.agent, session.epoch, session.term);
        let message = session.to_agent.pop_front();
        let (open_at_agent, open_at_leader) = (session.open_at_agent, session.open_at_leader);
        if self.agents.get(at).is_none_or(|a| a.epoch != epoch) {
            self.sessions.remove(&no);
            return Ok(());
        }
        let Some(message) = message else {
            if !open_at_leader {
                self.sessions.remove(&no);
                if open_at_agent {
                    self.agent_input(at, Input::StreamClosed(StreamNo(no)))?;
                }
            }
            return Ok(());
        };
        let deposed = self.old.as_ref().is_some_and(|old| old.term == term);
        if deposed {
            self.struck(Fault::OldLeaderSpoke);
        }
        if !matches!(message, MasterMessage::Ping { .. }) {
            note!(self, "         {term} to agent {at}: {}", words(&message));
        }
        let fence = Fence {
            cluster: self.cluster(),
            term,
            leader: NodeId(1 + term.0 % 3),
        };
        if let MasterMessage::Commands(batch) = &message {
            for numbered in batch {
                if let regency_agent_core::Command::LaunchExecutor { id, .. } = &numbered.command {
                    self.agents[at].machine.expect_executor(id.clone());
                    self.struck(Fault::ExecutorStarted);
                }
            }
        }
        // Neither a master of the past nor a stream that was left may be followed.
        let before = self.agents[at].machine.core().durable();
        let is_past = term < self.agents[at].highest_term;
        let must_ignore = is_past || !open_at_agent;
        let before = must_ignore.then(|| (before.clone(), self.agents[at].machine.runs()));
        let attached = self.agents[at].machine.core().attached_to();
        self.agent_input(at, Input::Received(StreamNo(no), fence, message))?;
        if let Some(to) = self.agents[at].machine.core().attached_to() {
            let highest = self.agents[at].highest_term;
            self.agents[at].highest_term = highest.max(to.term);
        }
        if let Some((before, run)) = before {
            let machine = &self.agents[at].machine;
            let why = if is_past {
                "a master of the past"
            } else {
                "a stream that was left"
            };
            let follows = machine
                .core()
                .attached_to()
                .is_some_and(|to| to.term == term && is_past);
            let moved = !is_past && machine.core().attached_to() != attached;
            // A crash in this step brings changes of its own.
            if machine.runs() == run && (*machine.core().durable() != before || follows || moved) {
                return Err(Broken::new(
                    "I7",
                    format!("agent {at} followed {why}, {term}"),
                ));
            }
        }
        Ok(())
    }

    /// Something the agent said arrives, or that it hung up.
    pub(super) fn deliver_to_leader(&mut self, no: u64) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        if session.waits || !session.open_at_leader {
            return Ok(());
        }
        let Some(message) = session.to_leader.pop_front() else {
            if !session.open_at_agent {
                self.leader_closes(no);
            }
            return Ok(());
        };
        let (term, epoch) = (session.term, session.epoch);
        if let Some(id) = session.id.clone() {
            let now_ms = self.now_ms;
            if let Some(leader) = self.leader_of_mut(term) {
                let heard = leader.heard_ms.get_mut(&id);
                if let Some(heard) = heard {
                    *heard = now_ms;
                }
                if !leader.deposed {
                    let served_ms = self.served_ms();
                    self.invariants.heard(&id, served_ms);
                }
            }
        }
        let id = self.sessions[&no].id.as_ref();
        let given_up = |leader: &super::leader::Leader| {
            id.is_some_and(|id| attachment::must_attach_again(&leader.state, id))
        };
        if self.leader_of(term).is_some_and(given_up) {
            self.struck(Fault::HeardAfterGivenUp);
            self.refuse(
                no,
                Refused::Retry,
                "the agent was given up while it was silent",
            );
            return Ok(());
        }
        if !matches!(message, AgentMessage::Pong { .. }) {
            let at = self.sessions[&no].agent;
            note!(self, "         agent {at} to {term}: {}", said(&message));
        }
        match message {
            AgentMessage::Attach { .. } => self.admit(no),
            AgentMessage::Pong { command_seq } => {
                let Some(id) = self.sessions[&no].id.clone() else {
                    return Ok(());
                };
                let behind = self
                    .leader_of(term)
                    .and_then(|l| l.state.agent(&id))
                    .is_some_and(|a| a.confirmed_seq < command_seq);
                if !behind {
                    return Ok(());
                }
                let command = ApplyReports {
                    agent: id,
                    epoch,
                    command_seq,
                    reports: Vec::new(),
                };
                self.wait_for(no, Command::ApplyReports(command), Caller::Reports(no))
            }
            AgentMessage::Reports {
                reports,
                command_seq,
            } => {
                let Some(id) = self.sessions[&no].id.clone() else {
                    return Ok(());
                };
                self.invariants
                    .reported(&self.agents[self.sessions[&no].agent].machine, &reports)?;
                let command = ApplyReports {
                    agent: id,
                    epoch,
                    command_seq,
                    reports: reports.iter().map(convert::report).collect(),
                };
                self.wait_for(no, Command::ApplyReports(command), Caller::Reports(no))
            }
            AgentMessage::ExecutorExit {
                report_seq,
                executor,
                exit,
                command_seq,
            } => {
                let Some(id) = self.sessions[&no].id.clone() else {
                    return Ok(());
                };
                let command = EndExecutors {
                    agent: id,
                    epoch,
                    command_seq,
                    exits: vec![convert::exit(report_seq, &executor, exit)],
                };
                self.wait_for(no, Command::EndExecutors(command), Caller::Reports(no))
            }
            AgentMessage::ExecutorMessage { .. } => Ok(()),
            AgentMessage::Resync { .. } => self.take_picture(no, message),
        }
    }

    /// Proposes, and reads nothing from this agent until there is a verdict.
    fn wait_for(&mut self, no: u64, command: Command, caller: Caller) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        session.waits = true;
        let term = session.term;
        self.propose(term, command, caller)
    }

    fn admit(&mut self, no: u64) -> Checked {
        let session = &self.sessions[&no];
        let (at, term) = (session.agent, session.term);
        let attach = match self.agents.get(at).filter(|a| a.epoch == session.epoch) {
            Some(agent) => agent.attach(),
            None => return Ok(()),
        };
        let Some(leader) = self.leader_of(term) else {
            return Ok(());
        };
        let deposed = leader.deposed;
        let host = attachment::Host {
            cluster: self.cluster(),
            term,
            has_domain: false,
        };
        let admission = attachment::admit(&leader.state, host, &attach);
        let lets_in = !matches!(admission.answer, Answer::Refuse(..));
        if lets_in && attach.highest_term > term {
            let what = format!(
                "{term} lets in an agent that knows of {}",
                attach.highest_term
            );
            return Err(Broken::new("I7", what));
        }
        if let Some(session) = self.sessions.get_mut(&no) {
            session.attach = Some(attach);
        }
        if admission.needs_barrier && deposed {
            self.refuse(no, Refused::Retry, "leadership is not certain");
            return Ok(());
        }
        match admission.answer {
            Answer::Known(id) => self.attached(no, id),
            Answer::Propose(command) => self.wait_for(no, command, Caller::Admit(no)),
            Answer::Refuse(reason, message) => {
                if reason == Reason::NotLeader {
                    self.struck(Fault::OldLeaderRefused);
                }
                let refusal = match reason {
                    Reason::NotLeader => Refused::NotLeader,
                    Reason::WrongCluster => Refused::WrongCluster,
                    Reason::WrongEpoch => Refused::WrongEpoch,
                    Reason::Gone => Refused::Gone,
                    Reason::Retry => Refused::Retry,
                };
                self.refuse(no, refusal, &message);
                Ok(())
            }
        }
    }

    pub(super) fn admitted(&mut self, no: u64, verdict: Option<Verdict>) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        session.waits = false;
        match verdict {
            Some(Ok(Outcome::AgentRegistered { agent })) => self.attached(no, agent),
            Some(Err(Refusal::TotalBelowUsed(why))) => {
                // An operator gives it back what it had.
                let at = self.sessions[&no].agent;
                self.agents[at].units = self.agents[at].units.max(1_000);
                self.refuse(no, Refused::Retry, &why);
                Ok(())
            }
            _ => {
                self.refuse(no, Refused::Retry, "no verdict");
                Ok(())
            }
        }
    }

    /// The agent is let in.
    fn attached(&mut self, no: u64, id: AgentId) -> Checked {
        let now_ms = self.now_ms;
        let Some(session) = self.sessions.get_mut(&no).filter(|s| s.open_at_leader) else {
            return Ok(());
        };
        let (term, attach) = (session.term, session.attach.clone());
        session.id = Some(id.clone());
        let Some(attach) = attach else { return Ok(()) };
        let Some(leader) = self.leader_of_mut(term) else {
            return Ok(());
        };
        leader.heard_ms.insert(id.clone(), now_ms);
        let deposed = leader.deposed;
        let earlier = leader.attached.insert(id.clone(), no);
        let record = leader.state.agent(&id).cloned();
        let opening = record
            .as_ref()
            .map(|record| attachment::opening(&leader.state, record, &attach, false));
        if !deposed {
            let served_ms = self.served_ms();
            self.invariants.heard(&id, served_ms);
        }
        if let Some(earlier) = earlier.filter(|earlier| *earlier != no) {
            self.struck(Fault::AttachmentSuperseded);
            // It is this agent's no more.
            if let Some(session) = self.sessions.get_mut(&earlier) {
                session.id = None;
            }
            self.refuse(earlier, Refused::Superseded, "a newer attachment took over");
        }
        let (Some(record), Some(opening)) = (record, opening) else {
            self.leader_closes(no);
            return Ok(());
        };
        self.invariants.attached(&self.log.state, &id, deposed)?;
        self.send(
            no,
            MasterMessage::Attached {
                agent_id: id,
                applied_report_seq: record.report_seq,
                ping_interval: PING_INTERVAL,
                ping_timeout: PING_TIMEOUT,
                adoption: None,
            },
        );
        if opening.resync || self.asks_pictures {
            self.struck(Fault::PictureAsked);
            let inventory = opening.inventory;
            self.send(no, MasterMessage::ResyncRequest { inventory });
        }
        if let Some(session) = self.sessions.get_mut(&no) {
            session.sent = opening.sent;
        }
        self.send_commands(no)
    }

    /// An agent attaches, hears what it is told first, and answers that.
    pub(super) fn attach_and_answer(&mut self, at: usize, term: Term) -> Checked {
        self.connect(at, term)?;
        let Some(no) = self.agents[at].stream else {
            return Ok(());
        };
        self.deliver_to_leader(no)?;
        // That it is attached, and that its picture is wanted.
        for _ in 0..2 {
            if self
                .sessions
                .get(&no)
                .is_some_and(|s| !s.to_agent.is_empty())
            {
                self.deliver_to_agent(no)?;
            }
        }
        Ok(())
    }

    /// A leader answers the agent that just connected, whatever the agent said.
    pub(super) fn press(&mut self, at: usize) -> Checked {
        let Some(no) = self.agents[at].stream else {
            return Ok(());
        };
        let Some(agent_id) = self.agents[at].machine.core().durable().agent_id.clone() else {
            return Ok(());
        };
        let report_seq = self.agents[at].machine.core().durable().report_seq;
        if let Some(session) = self.sessions.get_mut(&no) {
            session.to_leader.clear();
        }
        self.send(
            no,
            MasterMessage::Attached {
                agent_id,
                applied_report_seq: report_seq,
                ping_interval: PING_INTERVAL,
                ping_timeout: PING_TIMEOUT,
                adoption: None,
            },
        );
        self.deliver_to_agent(no)?;
        self.break_connection(at, true)
    }

    /// A leader may ask at any time.
    pub(super) fn ask_picture(&mut self, at: usize) {
        let Some(no) = self.agents[at].stream else {
            return;
        };
        let is_open = self
            .sessions
            .get(&no)
            .is_some_and(|s| s.is_open() && s.is_attached());
        if is_open {
            self.struck(Fault::PictureAsked);
            self.send(no, MasterMessage::ResyncRequest { inventory: false });
        }
    }

    pub(super) fn reports_committed(&mut self, no: u64, verdict: Option<Verdict>) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        session.waits = false;
        match verdict {
            Some(Ok(Outcome::ReportsApplied { report_seq })) => {
                self.send(no, MasterMessage::ReportsCommitted(report_seq));
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => self.refuse(no, Refused::Retry, "no verdict"),
        }
        Ok(())
    }

    /// An agent shows its whole picture: first its executors, then its tasks.
    fn take_picture(&mut self, no: u64, message: AgentMessage) -> Checked {
        let AgentMessage::Resync {
            executors,
            command_seq,
            ..
        } = &message
        else {
            return Ok(());
        };
        let session = &self.sessions[&no];
        let (epoch, term) = (session.epoch, session.term);
        let Some(id) = session.id.clone() else {
            return Ok(());
        };
        let none_known = self
            .leader_of(term)
            .and_then(|l| l.state.agent(&id))
            .is_none_or(|a| a.executors.is_empty());
        if executors.is_empty() && none_known {
            return self.tasks_of_picture(no, &message);
        }
        let command = ResyncExecutors {
            agent: id,
            epoch,
            command_seq: *command_seq,
            executors: executors
                .iter()
                .map(|(id, _)| convert::reported(id))
                .collect(),
        };
        if let Some(session) = self.sessions.get_mut(&no) {
            session.picture = Some(message);
        }
        self.wait_for(no, Command::ResyncExecutors(command), Caller::Executors(no))
    }

    pub(super) fn executors_committed(&mut self, no: u64, verdict: Option<Verdict>) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        session.waits = false;
        let picture = session.picture.take();
        match (verdict, picture) {
            (Some(Ok(_)), Some(picture)) => self.tasks_of_picture(no, &picture),
            _ => {
                self.refuse(no, Refused::Retry, "no verdict");
                Ok(())
            }
        }
    }

    fn tasks_of_picture(&mut self, no: u64, message: &AgentMessage) -> Checked {
        let AgentMessage::Resync {
            report_seq,
            command_seq,
            tasks,
            ..
        } = message
        else {
            return Ok(());
        };
        let session = &self.sessions[&no];
        let Some(id) = session.id.clone() else {
            return Ok(());
        };
        let command = ResyncAgent {
            agent: id,
            epoch: session.epoch,
            command_seq: *command_seq,
            report_seq: *report_seq,
            tasks: tasks.iter().map(convert::report).collect(),
        };
        if let Some(session) = self.sessions.get_mut(&no) {
            session.sent = None;
            session.picture = Some(message.clone());
        }
        self.wait_for(no, Command::ResyncAgent(command), Caller::Picture(no))
    }

    pub(super) fn picture_committed(&mut self, no: u64, verdict: Option<Verdict>) -> Checked {
        let Some(session) = self.sessions.get_mut(&no) else {
            return Ok(());
        };
        if let Some(AgentMessage::Resync { command_seq, .. }) = session.picture.take() {
            session.sent = Some(command_seq);
        }
        self.reports_committed(no, verdict)?;
        self.send_commands(no)
    }

    /// Sends the commands above what was sent.
    pub(super) fn send_commands(&mut self, no: u64) -> Checked {
        let Some(session) = self.sessions.get(&no).filter(|s| s.open_at_leader) else {
            return Ok(());
        };
        let (Some(sent), Some(id)) = (session.sent, session.id.clone()) else {
            return Ok(());
        };
        let Some(leader) = self.leader_of(session.term) else {
            return Ok(());
        };
        let Some(record) = leader.state.agent(&id) else {
            return Ok(());
        };
        let mut batch = Vec::new();
        for (seq, command) in record.outbox.range(sent + 1..) {
            let command = convert::command(&leader.state, record, command);
            let command = command.map_err(|what| Broken::new("I1", what))?;
            batch.push(Numbered { seq: *seq, command });
        }
        let Some(last) = batch.last().map(|numbered| numbered.seq) else {
            return Ok(());
        };
        self.invariants.commands_sent(&self.log.state, &id, last)?;
        if let Some(session) = self.sessions.get_mut(&no) {
            session.sent = Some(last);
        }
        self.send(no, MasterMessage::Commands(batch));
        Ok(())
    }

    /// An agent was removed.
    pub(super) fn remove_agent(&mut self, term: Term, id: &AgentId) {
        let Some(leader) = self.leader_of_mut(term) else {
            return;
        };
        leader.heard_ms.remove(id);
        if let Some(no) = leader.attached.remove(id) {
            self.send(
                no,
                MasterMessage::Shutdown("the agent was removed".to_owned()),
            );
            self.leader_closes(no);
        }
    }

    /// Leaders show agents that they are there, and hear that agents are.
    pub(super) fn ping_all(&mut self) -> Checked {
        let quiet: Vec<(u64, usize, Term)> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.is_open() && s.is_attached() && s.is_quiet())
            .map(|(no, s)| (*no, s.agent, s.term))
            .collect();
        for (no, _, term) in quiet {
            let deposed = self.leader_of(term).is_some_and(|leader| leader.deposed);
            let quorum_ack_age = if deposed {
                DurationMs(60_000)
            } else {
                DurationMs(0)
            };
            self.send(no, MasterMessage::Ping { quorum_ack_age });
            self.deliver_to_agent(no)?;
            while self
                .sessions
                .get(&no)
                .is_some_and(|s| !s.to_leader.is_empty() && !s.waits && s.open_at_leader)
            {
                self.deliver_to_leader(no)?;
            }
        }
        Ok(())
    }
}

fn words(message: &MasterMessage) -> String {
    match message {
        MasterMessage::Attached {
            applied_report_seq, ..
        } => format!("attached, reports up to {applied_report_seq}"),
        MasterMessage::Refused {
            refusal, message, ..
        } => format!("refused, {refusal:?}: {message}"),
        MasterMessage::Commands(batch) => {
            let list: Vec<_> = batch
                .iter()
                .map(|n| {
                    use regency_agent_core::Command as C;
                    let what = match &n.command {
                        C::Launch { id, .. } => format!("launch {}#{}", id.key.task, id.generation),
                        C::LaunchExecutor { id, .. } => {
                            format!("launch executor {}#{}", id.key.task, id.generation)
                        }
                        C::ShutdownExecutor(id) => format!("shut executor {} down", id.key.task),
                        C::Kill { id, .. } => format!("kill {}#{}", id.key.task, id.generation),
                        C::DrainTask { id, .. } => {
                            format!("drain {}#{}", id.key.task, id.generation)
                        }
                        C::Acknowledge { id, uuid } => {
                            format!("acknowledge {}#{}, {}", id.key.task, id.generation, uuid.0)
                        }
                        C::ShutdownFramework(_) => "shut the framework down".to_owned(),
                        C::DestroyVolume(_) => "destroy a volume".to_owned(),
                        C::DropLaunch(id) => format!("drop {}#{}", id.key.task, id.generation),
                        C::LaunchGroup { members, .. } => {
                            format!("launch a group of {}", members.len())
                        }
                        C::DropGroup(tasks) => format!("drop a group of {}", tasks.len()),
                    };
                    format!("{}: {what}", n.seq)
                })
                .collect();
            list.join("; ")
        }
        other => format!("{other:?}"),
    }
}

fn said(message: &AgentMessage) -> String {
    match message {
        AgentMessage::Attach {
            highest_term,
            report_seq,
            command_seq,
            ..
        } => format!("attach, knows {highest_term}, reports {report_seq}, noted {command_seq}"),
        AgentMessage::Reports { reports, .. } => format!("{} reports", reports.len()),
        AgentMessage::Resync { tasks, .. } => format!("its picture, {} tasks", tasks.len()),
        other => format!("{other:?}"),
    }
}
