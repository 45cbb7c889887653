//! One agent's attachment: from its first message to the end of its stream.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use regency_leader_core::attachment::{self, Answer, Attach};
use regency_raft_store::{Consensus, ProposeError, ServingGate};
use regency_rpc::proto::regency::agent::v1 as wire;
use regency_rpc::proto::regency::agent::v1::agent_attachment_server::AgentAttachment;
use regency_rpc::proto::regency::agent::v1::agent_message::Message as FromAgent;
use regency_rpc::proto::regency::agent::v1::master_message::Message as ToAgent;
use regency_rpc::proto::regency::agent::v1::refused::Reason;
use regency_state::model::AgentPhase;
use regency_state::{
    ApplyReports, Command, EndExecutors, Outcome, Refusal, ResyncAgent, ResyncExecutors, State,
    TakeInventory, TaskReport,
};
use regency_types::{AgentEpoch, AgentId};
use regency_wire::v1::scheduler::Event;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{convert, drain, executor};
use crate::counters::{self, Count, count_either};
use crate::leader::{Leader, LeaderWatch, PING_INTERVAL, PING_TIMEOUT, Signal};
use crate::metrics;

/// Messages to an agent that may wait for it to read.
const OUTGOING_MAX: usize = 64;
/// Messages of frameworks to executors that may wait; more of them are dropped.
const MESSAGES_MAX: usize = 64;
/// Commands in one message.
const COMMANDS_MAX: usize = 256;
/// Reports of one agent in one entry.
const REPORTS_MAX: usize = 512;

/// Serves attachments while this master leads; others are told who does.
#[derive(Debug, Clone)]
pub(crate) struct AttachService {
    pub(crate) leader: LeaderWatch,
    pub(crate) consensus: Consensus,
}

type Outgoing = Pin<Box<dyn Stream<Item = Result<wire::MasterMessage, Status>> + Send>>;

#[tonic::async_trait]
impl AgentAttachment for AttachService {
    type AttachStream = Outgoing;

    async fn attach(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (outgoing, receiver) = mpsc::channel(OUTGOING_MAX);
        let service = self.clone();
        tokio::spawn(async move { service.serve(request.into_inner(), outgoing).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// The sender side of one attachment's stream.
struct Outbox {
    header: wire::MasterMessage,
    messages: mpsc::Sender<Result<wire::MasterMessage, Status>>,
    gate: ServingGate,
}

/// The agent is gone or does not read, or this master must not lead: the attachment ends.
#[derive(Debug)]
struct Gone;

impl Outbox {
    async fn send(&self, message: ToAgent) -> Result<(), Gone> {
        // In the leader's name only what a leader may say.
        if self.header.term > 0 && !self.gate.is_open() {
            return Err(Gone);
        }
        let message = wire::MasterMessage {
            message: Some(message),
            ..self.header.clone()
        };
        // An agent that does not read for as long as it would be patient itself is stuck.
        match tokio::time::timeout(PING_TIMEOUT, self.messages.send(Ok(message))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    async fn refuse(&self, reason: Reason, message: impl ToString, leader: Option<String>) {
        ::metrics::counter!(metrics::ATTACHMENTS, "result" => "refused").increment(1);
        let refused = wire::Refused {
            reason: reason.into(),
            message: message.to_string(),
            leader_address: leader.unwrap_or_default(),
        };
        // Whether it still hears this or not, the attachment is over.
        let _ = self.send(ToAgent::Refused(refused)).await;
    }
}

impl AttachService {
    async fn serve(
        self,
        mut incoming: Streaming<wire::AgentMessage>,
        messages: mpsc::Sender<Result<wire::MasterMessage, Status>>,
    ) {
        let leader = self.leader.borrow().clone();
        let leader = leader.filter(|_| self.consensus.gate().is_open());
        let header = wire::MasterMessage {
            cluster_id: leader
                .as_ref()
                .map(|l| l.cluster)
                .or_else(|| self.consensus.cluster_id())
                .map(|c| c.to_bytes().to_vec())
                .unwrap_or_default()
                .into(),
            term: leader.as_ref().map_or(0, |l| l.term.0),
            leader: self.consensus.node().0,
            message: None,
        };
        let outbox = Outbox {
            header,
            messages,
            gate: self.consensus.gate(),
        };
        let Ok(Some(wire::AgentMessage {
            message: Some(FromAgent::Attach(attach)),
        })) = incoming.message().await
        else {
            outbox
                .refuse(Reason::BadInfo, "the first message must be Attach", None)
                .await;
            return;
        };
        let Some(leader) = leader else {
            let known = self
                .consensus
                .leadership()
                .borrow()
                .leader
                .as_ref()
                .map(|l| l.agent.clone());
            outbox
                .refuse(Reason::NotLeader, "this master does not lead", known)
                .await;
            return;
        };
        let attach = match convert::attach(attach) {
            Ok(attach) => attach,
            Err(error) => {
                outbox.refuse(Reason::BadInfo, error, None).await;
                return;
            }
        };
        let session = Session {
            leader: &leader,
            outbox: &outbox,
        };
        tokio::select! {
            // Dropping the stream is all an agent needs to be told: another master leads or will.
            () = leader.over() => {}
            _ = session.run(attach, incoming) => {}
        }
    }
}

/// An attachment under one leader.
struct Session<'a> {
    leader: &'a Arc<Leader>,
    outbox: &'a Outbox,
}

/// Takes the attachment out of the registry however the session ends.
struct Attached<'a> {
    leader: &'a Leader,
    agent: AgentId,
    generation: u64,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.leader.attachments.detach(&self.agent, self.generation);
    }
}

impl Session<'_> {
    async fn run(
        &self,
        attach: Attach,
        mut incoming: Streaming<wire::AgentMessage>,
    ) -> Result<(), Gone> {
        let epoch = attach.epoch;
        let former = attach.former(self.leader.cluster);
        let Some(agent) = self.admit(&attach).await else {
            return Ok(());
        };
        let (signals, mut signalled) = mpsc::channel(4);
        let (messages, mut spoken) = mpsc::channel(MESSAGES_MAX);
        let now_ms = self.leader.clock.monotonic_ms();
        let Some(generation) =
            self.leader
                .attachments
                .attach(agent.clone(), signals, messages, now_ms)
        else {
            return Ok(());
        };
        let _attached = Attached {
            leader: self.leader,
            agent: agent.clone(),
            generation,
        };
        // Read after the attachment became known, so that what is not in it is signalled.
        let state = self.leader.state();
        let Some(record) = state.state.agent(&agent).cloned() else {
            return Ok(());
        };
        if matches!(record.phase, AgentPhase::Down { .. }) {
            // Its machine was taken down since it was let in.
            let message = "the agent's machine is down for maintenance";
            self.outbox.refuse(Reason::Retry, message, None).await;
            return Ok(());
        }
        self.outbox
            .send(ToAgent::Attached(wire::Attached {
                agent_id: agent.to_string(),
                applied_report_seq: record.report_seq,
                ping_interval_ms: PING_INTERVAL.as_millis() as u64,
                ping_timeout_ms: PING_TIMEOUT.as_millis() as u64,
                adoption: former.map(|cluster| wire::Adoption {
                    former_cluster_id: cluster.to_bytes().to_vec().into(),
                    command_seq: record.confirmed_seq,
                }),
            }))
            .await?;
        let opening = attachment::opening(&state.state, &record, &attach, former.is_some());
        if opening.digests_differ {
            ::metrics::counter!(metrics::DIGEST_MISMATCHES).increment(1);
            tracing::warn!(agent_id = %agent, "the agent's tasks differ at equal cursors");
        }
        if opening.resync {
            let inventory = opening.inventory;
            self.outbox
                .send(ToAgent::ResyncRequest(wire::ResyncRequest { inventory }))
                .await?;
        }
        let result = match (former, opening.resync) {
            (Some(_), _) => "adopted",
            (None, true) => "resynced",
            (None, false) => "attached",
        };
        ::metrics::counter!(metrics::ATTACHMENTS, "result" => result).increment(1);
        count_either(
            attach.agent.is_some(),
            Count::MessagesReregisterAgent,
            Count::MessagesRegisterAgent,
        );
        self.leader.allocate.notify_one();
        let mut sent = opening.sent;
        let mut told = None;
        self.send_drain(&agent, &mut told).await?;
        self.send_commands(&agent, &mut sent).await?;
        let mut ping = tokio::time::interval(PING_INTERVAL);
        loop {
            tokio::select! {
                message = incoming.message() => {
                    let Ok(Some(message)) = message else { return Ok(()) };
                    self.leader.attachments.heard(&agent, self.leader.clock.monotonic_ms());
                    if attachment::must_attach_again(&self.leader.state().state, &agent) {
                        self.outbox
                            .refuse(Reason::Retry, "the agent was given up while it was silent", None)
                            .await;
                        return Ok(());
                    }
                    let Some(message) = message.message else { continue };
                    if self.receive(&agent, epoch, message, &mut sent).await?.is_break() {
                        return Ok(());
                    }
                }
                signal = signalled.recv() => match signal {
                    Some(Signal::Sync) => {
                        self.send_drain(&agent, &mut told).await?;
                        self.send_commands(&agent, &mut sent).await?;
                    }
                    Some(Signal::Superseded) | None => {
                        self.outbox
                            .refuse(Reason::Superseded, "a newer attachment took over", None)
                            .await;
                        return Ok(());
                    }
                    Some(Signal::Removed) => {
                        let reason = "the agent was removed".to_owned();
                        self.outbox.send(ToAgent::Shutdown(wire::Shutdown { reason })).await?;
                        return Ok(());
                    }
                    Some(Signal::Over) => return Ok(()),
                },
                Some(message) = spoken.recv() => {
                    let message = wire::ExecutorMessage {
                        framework_id: message.executor.framework.to_string(),
                        executor_id: message.executor.executor.to_string(),
                        data: message.data,
                    };
                    self.outbox.send(ToAgent::ExecutorMessage(message)).await?;
                }
                _ = ping.tick() => {
                    let age = self.leader.consensus.last_quorum_ack();
                    let quorum_ack_age_ms =
                        age.map_or(u64::MAX, |a| u64::try_from(a.as_millis()).unwrap_or(u64::MAX));
                    self.outbox.send(ToAgent::Ping(wire::Ping { quorum_ack_age_ms })).await?;
                }
            }
        }
    }

    /// Gives the agent its id, with a log entry only when something about it is new.
    async fn admit(&self, attach: &Attach) -> Option<AgentId> {
        let leader = self.leader;
        let host = attachment::Host {
            cluster: leader.cluster,
            term: leader.term,
            has_domain: leader.config.domain.is_some(),
        };
        let admission = attachment::admit(&leader.state().state, host, attach);
        if admission.needs_barrier && leader.consensus.read_barrier().await.is_err() {
            self.outbox
                .refuse(Reason::Retry, "leadership is not certain", None)
                .await;
            return None;
        }
        let command = match admission.answer {
            Answer::Known(agent) => return Some(agent),
            Answer::Refuse(reason, message) => {
                self.outbox.refuse(wire_reason(reason), message, None).await;
                return None;
            }
            Answer::Propose(command) => command,
        };
        match leader.consensus.propose(command).await {
            Ok(Ok(Outcome::AgentRegistered { agent })) => Some(agent),
            Ok(Ok(other)) => {
                tracing::error!(?other, "a registration had another outcome");
                None
            }
            Ok(Err(refusal @ Refusal::TotalBelowUsed(_))) => {
                self.outbox.refuse(Reason::BadInfo, refusal, None).await;
                None
            }
            Ok(Err(refusal)) => {
                self.outbox.refuse(Reason::Retry, refusal, None).await;
                None
            }
            Err(error) => {
                self.outbox.refuse(Reason::Retry, error, None).await;
                None
            }
        }
    }

    async fn receive(
        &self,
        agent: &AgentId,
        epoch: AgentEpoch,
        message: FromAgent,
        sent: &mut Option<u64>,
    ) -> Result<std::ops::ControlFlow<()>, Gone> {
        let goes_on = std::ops::ControlFlow::Continue(());
        let ends = std::ops::ControlFlow::Break(());
        match message {
            FromAgent::Attach(_) => {
                self.outbox
                    .refuse(Reason::BadInfo, "attached already", None)
                    .await;
                Ok(ends)
            }
            FromAgent::Pong(pong) => {
                let state = self.leader.state();
                let behind = state
                    .state
                    .agent(agent)
                    .is_some_and(|a| a.confirmed_seq < pong.command_seq);
                if !behind {
                    return Ok(goes_on);
                }
                let command = ApplyReports {
                    agent: agent.clone(),
                    epoch,
                    command_seq: pong.command_seq,
                    reports: Vec::new(),
                };
                self.commit(Command::ApplyReports(command)).await
            }
            FromAgent::Reports(reports) => {
                let command_seq = reports.command_seq;
                let mut parsed = Vec::with_capacity(reports.reports.len());
                for report in reports.reports {
                    match convert::report(report) {
                        Ok(report) => parsed.push(report),
                        Err(error) => {
                            self.outbox.refuse(Reason::BadInfo, error, None).await;
                            return Ok(ends);
                        }
                    }
                }
                count_updates(&parsed, &self.leader.state().state);
                for reports in parsed.chunks(REPORTS_MAX) {
                    let command = ApplyReports {
                        agent: agent.clone(),
                        epoch,
                        command_seq,
                        reports: reports.to_vec(),
                    };
                    if self
                        .commit(Command::ApplyReports(command))
                        .await?
                        .is_break()
                    {
                        return Ok(ends);
                    }
                }
                Ok(goes_on)
            }
            FromAgent::ExecutorExits(exits) => {
                let command_seq = exits.command_seq;
                let parsed: Result<Vec<_>, _> =
                    exits.exits.into_iter().map(executor::exit).collect();
                let exits = match parsed {
                    Ok(exits) => exits,
                    Err(error) => {
                        self.outbox.refuse(Reason::BadInfo, error, None).await;
                        return Ok(ends);
                    }
                };
                counters::count_n(Count::MessagesExitedExecutor, exits.len() as u64);
                let command = EndExecutors {
                    agent: agent.clone(),
                    epoch,
                    command_seq,
                    exits,
                };
                self.commit(Command::EndExecutors(command)).await
            }
            FromAgent::ExecutorMessage(message) => {
                self.pass_on(agent, message);
                Ok(goes_on)
            }
            FromAgent::Resync(resync)
                if self
                    .resync_executors(agent, epoch, &resync)
                    .await?
                    .is_break() =>
            {
                Ok(ends)
            }
            FromAgent::Resync(resync) if resync.inventory => {
                let state = self.leader.state();
                let tasks = resync.tasks.into_iter();
                let tasks = tasks.map(|task| convert::inventory_task(task, agent, &state.state));
                let command = match tasks.collect() {
                    Ok(tasks) => TakeInventory {
                        agent: agent.clone(),
                        epoch,
                        report_seq: resync.report_seq,
                        tasks,
                    },
                    Err(error) => {
                        self.outbox.refuse(Reason::BadInfo, error, None).await;
                        return Ok(ends);
                    }
                };
                let flow = self.commit(Command::TakeInventory(command)).await?;
                if flow.is_continue() {
                    *sent = Some(resync.command_seq);
                    self.send_commands(agent, sent).await?;
                }
                Ok(flow)
            }
            FromAgent::Resync(resync) => {
                let mut tasks = Vec::with_capacity(resync.tasks.len());
                for task in resync.tasks {
                    match convert::report(task) {
                        Ok(task) => tasks.push(task),
                        Err(error) => {
                            self.outbox.refuse(Reason::BadInfo, error, None).await;
                            return Ok(ends);
                        }
                    }
                }
                let command = ResyncAgent {
                    agent: agent.clone(),
                    epoch,
                    command_seq: resync.command_seq,
                    report_seq: resync.report_seq,
                    tasks,
                };
                let flow = self.commit(Command::ResyncAgent(command)).await?;
                *sent = Some(resync.command_seq);
                self.send_commands(agent, sent).await?;
                Ok(flow)
            }
        }
    }

    /// An executor speaks to its framework: sent at once or never, as in Mesos.
    fn pass_on(&self, agent: &AgentId, message: wire::ExecutorMessage) {
        let Ok(speaker) = executor::speaker(&message) else {
            return;
        };
        let stream = self.leader.streams.get(&speaker.framework);
        counters::count(Count::MessagesExecutorToFramework);
        count_either(
            stream.is_some(),
            Count::ValidExecutorMessages,
            Count::InvalidExecutorMessages,
        );
        if let Some(stream) = stream {
            let executor = (&speaker.executor).into();
            stream.send(&Event::message(agent.into(), executor, message.data));
        }
    }

    /// Commits which executors the agent has. Without any on either side there is nothing to say.
    async fn resync_executors(
        &self,
        agent: &AgentId,
        epoch: AgentEpoch,
        resync: &wire::Resync,
    ) -> Result<std::ops::ControlFlow<()>, Gone> {
        let state = self.leader.state();
        let record = state.state.agent(agent);
        if resync.executors.is_empty() && record.is_none_or(|a| a.executors.is_empty()) {
            return Ok(std::ops::ControlFlow::Continue(()));
        }
        let reported = resync.executors.iter().cloned();
        let reported = reported.map(|one| executor::reported(one, resync.inventory));
        let executors = match reported.collect() {
            Ok(executors) => executors,
            Err(error) => {
                self.outbox.refuse(Reason::BadInfo, error, None).await;
                return Ok(std::ops::ControlFlow::Break(()));
            }
        };
        let command = ResyncExecutors {
            agent: agent.clone(),
            epoch,
            command_seq: resync.command_seq,
            executors,
        };
        self.commit(Command::ResyncExecutors(command)).await
    }

    /// Commits what the agent said, then tells it how far it is committed.
    async fn commit(&self, command: Command) -> Result<std::ops::ControlFlow<()>, Gone> {
        match self.leader.consensus.propose(command).await {
            Ok(Ok(Outcome::ReportsApplied { report_seq })) => {
                let committed = wire::ReportsCommitted { report_seq };
                self.outbox
                    .send(ToAgent::ReportsCommitted(committed))
                    .await?;
                Ok(std::ops::ControlFlow::Continue(()))
            }
            Ok(Ok(_)) => Ok(std::ops::ControlFlow::Continue(())),
            // The agent says it again when it attaches again.
            Ok(Err(refusal)) => {
                self.outbox.refuse(Reason::Retry, refusal, None).await;
                Ok(std::ops::ControlFlow::Break(()))
            }
            Err(ProposeError::NotLeader { leader }) => {
                let address = leader.map(|l| l.agent);
                self.outbox
                    .refuse(Reason::NotLeader, "this master does not lead", address)
                    .await;
                Ok(std::ops::ControlFlow::Break(()))
            }
            Err(error) => {
                self.outbox.refuse(Reason::Retry, error, None).await;
                Ok(std::ops::ControlFlow::Break(()))
            }
        }
    }

    /// Tells the agent how it is drained, when that is news for it.
    async fn send_drain(
        &self,
        agent: &AgentId,
        told: &mut Option<wire::Drain>,
    ) -> Result<(), Gone> {
        let notice = drain::notice(&self.leader.state().state, agent, told);
        match notice {
            Some(notice) => self.outbox.send(ToAgent::DrainNotice(notice)).await,
            None => Ok(()),
        }
    }

    /// Sends the commands above what was sent.
    async fn send_commands(&self, agent: &AgentId, sent: &mut Option<u64>) -> Result<(), Gone> {
        let Some(sent) = sent else { return Ok(()) };
        let applied = self.leader.state();
        let Some(record) = applied.state.agent(agent) else {
            return Ok(());
        };
        let mut commands = Vec::new();
        for (seq, command) in record.outbox.range(*sent + 1..) {
            let Some(command) = convert::command(&applied.state, record, *seq, command) else {
                tracing::error!(agent_id = %agent, command_seq = seq, "a command names nothing");
                break;
            };
            commands.push(command);
        }
        for commands in commands.chunks(COMMANDS_MAX) {
            let last = commands.last().map_or(*sent, |c| c.command_seq);
            let commands = wire::Commands {
                commands: commands.to_vec(),
            };
            self.outbox.send(ToAgent::Commands(commands)).await?;
            *sent = last;
        }
        Ok(())
    }
}

/// Counts what agents tell of tasks that are known, and of others.
fn count_updates(reports: &[TaskReport], state: &State) {
    counters::count_n(Count::MessagesStatusUpdate, reports.len() as u64);
    for report in reports {
        let known = state.task(&report.task).is_some();
        count_either(known, Count::ValidUpdates, Count::InvalidUpdates);
    }
}

fn wire_reason(reason: attachment::Reason) -> Reason {
    match reason {
        attachment::Reason::NotLeader => Reason::NotLeader,
        attachment::Reason::WrongCluster => Reason::WrongCluster,
        attachment::Reason::WrongEpoch => Reason::WrongEpoch,
        attachment::Reason::Gone => Reason::Gone,
        attachment::Reason::Retry => Reason::Retry,
    }
}
