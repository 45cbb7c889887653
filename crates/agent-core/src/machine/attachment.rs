//! Which master the agent listens to, and what it tells it.

use bytes::Bytes;
use regency_mutants::{Mutant, on};
use regency_types::{AgentId, DurationMs};

use crate::durable::{Record, Task};
use crate::executor::{Executor, ExecutorPhase};
use crate::launch::LaunchId;
use crate::message::{Adoption, AgentMessage, Fence, MasterMessage, Refusal, Report};
use crate::step::{Action, Cx, StopReason, StreamNo};

use super::{Core, commands, executors, processes};

/// Most reports in one message; the rest goes into the next one.
pub(super) const REPORTS_PER_MESSAGE_MAX: usize = 256;

/// A leader that shows no proof of a majority for this many ping intervals is left.
const PROOF_INTERVALS_MAX: u64 = 2;

/// Shortest age of a proof at which a leader is left, however short the ping interval: below it
/// an ordinary election would make every agent leave.
const PROOF_AGE_MIN: DurationMs = DurationMs(1_000);

/// How far the agent got with a master.
#[derive(Debug)]
pub(super) enum Connection {
    /// No stream.
    Closed,
    /// Asked to attach on this stream.
    Asked(StreamNo),
    /// Attached.
    Attached(Attached),
}

/// An attachment that stands.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) stream: StreamNo,
    pub(super) fence: Fence,
    ping_interval: DurationMs,
    ping_timeout: DurationMs,
    heard_ms: u64,
    /// Reports at or below were sent on this stream.
    sent_report_seq: u64,
}

impl Attached {
    pub(super) fn silence_deadline_ms(&self) -> u64 {
        self.heard_ms.saturating_add(self.ping_timeout.0)
    }

    fn proof_age_max(&self) -> DurationMs {
        let span = DurationMs(self.ping_interval.0.saturating_mul(PROOF_INTERVALS_MAX));
        span.max(PROOF_AGE_MIN)
    }
}

impl Connection {
    pub(super) fn attached(&self) -> Option<&Attached> {
        match self {
            Self::Attached(attached) => Some(attached),
            Self::Closed | Self::Asked(_) => None,
        }
    }

    fn attached_mut(&mut self) -> Option<&mut Attached> {
        match self {
            Self::Attached(attached) => Some(attached),
            Self::Closed | Self::Asked(_) => None,
        }
    }

    fn stream(&self) -> Option<StreamNo> {
        match self {
            Self::Closed => None,
            Self::Asked(stream) => Some(*stream),
            Self::Attached(attached) => Some(attached.stream),
        }
    }
}

/// Leaves the present stream.
pub(super) fn leave(
    core: &mut Core,
    why: impl Into<String>,
    hint: Option<String>,
    cx: &mut Cx<'_>,
) {
    if let Some(stream) = core.connection.stream() {
        core.connection = Connection::Closed;
        let why = why.into();
        cx.act(Action::Reattach { stream, why, hint });
    }
}

pub(super) fn opened(core: &mut Core, stream: StreamNo, cx: &mut Cx<'_>) {
    core.connection = Connection::Asked(stream);
    let durable = &core.durable;
    let attach = AgentMessage::Attach {
        cluster: durable.cluster,
        agent_id: durable.agent_id.clone(),
        highest_term: durable.highest_term,
        report_seq: durable.report_seq,
        command_seq: durable.command_seq,
        digest: durable.digest(),
    };
    cx.act(Action::Send(stream, attach));
}

pub(super) fn closed(core: &mut Core, stream: StreamNo) {
    if core.connection.stream() == Some(stream) {
        core.connection = Connection::Closed;
    }
}

pub(super) fn received(
    core: &mut Core,
    stream: StreamNo,
    fence: Fence,
    message: MasterMessage,
    cx: &mut Cx<'_>,
) {
    if core.connection.stream() != Some(stream) && !on(Mutant::HearLeftStreams) {
        return;
    }
    if let MasterMessage::Refused {
        refusal,
        message,
        leader_address,
    } = message
    {
        return refused(core, fence, refusal, message, leader_address, cx);
    }
    if let MasterMessage::Attached {
        agent_id,
        applied_report_seq,
        ping_interval,
        ping_timeout,
        adoption,
    } = message
    {
        let attached = Attached {
            stream,
            fence,
            ping_interval,
            ping_timeout,
            heard_ms: cx.now_ms,
            sent_report_seq: applied_report_seq,
        };
        return attach(core, attached, agent_id, adoption, cx);
    }
    let Some(attached) = core.connection.attached_mut() else {
        return leave(
            core,
            "the master spoke before it answered the attachment",
            None,
            cx,
        );
    };
    if attached.fence != fence {
        let why = format!(
            "attached to {:?}, but the stream speaks for {fence:?}",
            attached.fence
        );
        return leave(core, why, None, cx);
    }
    attached.heard_ms = cx.now_ms;
    match message {
        MasterMessage::Commands(batch) => commands::follow(core, batch, cx),
        // Kept nowhere: the next attachment names the committed number again.
        MasterMessage::ReportsCommitted(seq) => executors::forget_committed(core, seq, cx),
        MasterMessage::Ping { quorum_ack_age } => ping(core, quorum_ack_age, cx),
        MasterMessage::ResyncRequest { inventory } => resync(core, stream, inventory, cx),
        MasterMessage::Shutdown(why) => removed(core, why, cx),
        MasterMessage::DrainNotice(drain) => core.drain = drain,
        MasterMessage::ExecutorMessage {
            framework,
            executor,
            data,
        } => executors::message(core, &framework, &executor, data, cx),
        MasterMessage::Attached { .. } | MasterMessage::Refused { .. } => {}
    }
}

fn attach(
    core: &mut Core,
    attached: Attached,
    agent_id: AgentId,
    adoption: Option<Adoption>,
    cx: &mut Cx<'_>,
) {
    let Fence { cluster, term, .. } = attached.fence;
    let durable = &core.durable;
    let former = durable.cluster.filter(|known| *known != cluster);
    if let (Some(former), Some(adoption)) = (former, adoption)
        && adoption.former == former
    {
        adopt(
            core,
            attached.fence,
            agent_id.clone(),
            adoption.command_seq,
            cx,
        );
    } else if former.is_some() {
        let why = format!("the master belongs to cluster {cluster}, this agent to another one");
        return leave(core, why, None, cx);
    }
    let durable = &core.durable;
    if term < durable.highest_term && !on(Mutant::FollowLowerTerm) {
        let why = format!(
            "the master leads term {term}, lower than {}",
            durable.highest_term
        );
        return leave(core, why, None, cx);
    }
    if durable
        .agent_id
        .as_ref()
        .is_some_and(|known| *known != agent_id)
    {
        let why = format!("the master takes this agent for {agent_id}");
        return leave(core, why, None, cx);
    }
    note_term(core, attached.fence, agent_id, cx);
    let applied = attached.sent_report_seq;
    core.connection = Connection::Attached(attached);
    // The master says so next if it is drained.
    core.drain = None;
    if applied > core.durable.report_seq {
        renumber(core, applied, cx);
    } else {
        executors::forget_committed(core, applied, cx);
    }
}

/// Leaves its cluster for the one that goes on with its state, which is durable before anything is
/// done for that. There is no way back: masters of the former cluster do not descend from this one.
fn adopt(core: &mut Core, fence: Fence, agent_id: AgentId, command_seq: u64, cx: &mut Cx<'_>) {
    core.record(
        Record::Adopted {
            cluster: fence.cluster,
            agent_id,
            term: fence.term,
            command_seq,
        },
        cx,
    );
}

/// The masters applied a report number that this agent never assigned, so numbers up to it would
/// be taken for old news: everything is told again above it.
fn renumber(core: &mut Core, applied: u64, cx: &mut Cx<'_>) {
    core.record(Record::ReportSeq(applied), cx);
    let ids: Vec<LaunchId> = core.reports.values().cloned().collect();
    for id in ids {
        let report_seq = core.next_report_seq(&id);
        core.record(Record::Renumbered(id, report_seq), cx);
    }
}

fn refused(
    core: &mut Core,
    fence: Fence,
    refusal: Refusal,
    message: String,
    leader: Option<String>,
    cx: &mut Cx<'_>,
) {
    match refusal {
        Refusal::NotLeader => leave(core, "the master does not lead", leader, cx),
        Refusal::WrongCluster => {
            let why = format!("the master belongs to another cluster: {message}");
            leave(core, why, None, cx);
        }
        Refusal::Superseded => leave(core, "a newer attachment took over", None, cx),
        Refusal::Retry => {
            let why = format!("the master asks to retry: {message}");
            leave(core, why, None, cx);
        }
        // The others end this agent; that takes a master that could also lead it.
        _ if !may_follow(core, fence) => {
            leave(
                core,
                format!("a strange or stale master refuses: {message}"),
                None,
                cx,
            );
        }
        Refusal::WrongEpoch => stop(core, StopReason::WrongEpoch(message), cx),
        Refusal::BadInfo => stop(core, StopReason::BadInfo(message), cx),
        Refusal::Gone => {
            if let Some(agent_id) = core.durable.agent_id.clone() {
                note_term(core, fence, agent_id, cx);
            }
            leave(core, "this agent was removed", None, cx);
            removed(core, message, cx);
        }
    }
}

/// Whether the master belongs to this agent's cluster and is not behind a term it attached under.
fn may_follow(core: &Core, fence: Fence) -> bool {
    let durable = &core.durable;
    durable.cluster.is_none_or(|known| known == fence.cluster) && fence.term >= durable.highest_term
}

/// Makes durable under whom the agent acts from now on.
fn note_term(core: &mut Core, fence: Fence, agent_id: AgentId, cx: &mut Cx<'_>) {
    let Fence { cluster, term, .. } = fence;
    let durable = &core.durable;
    let is_known = durable.cluster.is_some() && durable.agent_id.is_some();
    if !is_known || term > durable.highest_term && !on(Mutant::ForgetTerm) {
        core.record(
            Record::Attached {
                cluster,
                agent_id,
                term,
            },
            cx,
        );
    }
}

fn stop(core: &mut Core, reason: StopReason, cx: &mut Cx<'_>) {
    core.stopped = true;
    cx.act(Action::Stop(reason));
}

/// Kills everything; the agent ends when nothing runs any more.
fn removed(core: &mut Core, why: String, cx: &mut Cx<'_>) {
    if core.removed.is_none() {
        core.removed = Some(why);
        processes::kill_everything(core, cx);
    }
    stop_when_empty(core, cx);
}

/// Ends a removed agent once nothing of it runs.
pub(super) fn stop_when_empty(core: &mut Core, cx: &mut Cx<'_>) {
    let Some(why) = &core.removed else {
        return;
    };
    let durable = &core.durable;
    let runs = durable.tasks.values().any(Task::is_started)
        || durable.executors.values().any(Executor::is_started);
    if !core.stopped && !runs {
        let reason = StopReason::Removed(why.clone());
        stop(core, reason, cx);
    }
}

fn ping(core: &mut Core, quorum_ack_age: DurationMs, cx: &mut Cx<'_>) {
    let command_seq = core.durable.command_seq;
    let Some(attached) = core.connection.attached() else {
        return;
    };
    if quorum_ack_age > attached.proof_age_max() {
        let why = format!("the leader showed no proof of a majority for {quorum_ack_age}");
        return leave(core, why, None, cx);
    }
    let stream = attached.stream;
    cx.act(Action::Send(stream, AgentMessage::Pong { command_seq }));
}

fn resync(core: &mut Core, stream: StreamNo, inventory: bool, cx: &mut Cx<'_>) {
    let durable = &core.durable;
    let tasks = durable
        .tasks
        .iter()
        .filter(|(_, task)| !task.silent)
        .filter_map(|(id, task)| {
            let mut report = report(core, id, 0)?;
            if inventory {
                report.task_info = task.launch.task_info.clone();
            }
            Some(report)
        })
        .collect();
    let executors = durable
        .executors
        .iter()
        .filter(|(_, executor)| !executor.silent && !executor.is_ended())
        .map(|(id, executor)| (id.clone(), executor.info.clone()))
        .collect();
    let resync = AgentMessage::Resync {
        executors,
        report_seq: durable.report_seq,
        command_seq: durable.command_seq,
        tasks,
        inventory,
    };
    let report_seq = durable.report_seq;
    if let Some(attached) = core.connection.attached_mut() {
        // The picture holds all of it.
        attached.sent_report_seq = report_seq;
    }
    cx.act(Action::Send(stream, resync));
}

fn report(core: &Core, id: &LaunchId, report_seq: u64) -> Option<Report> {
    let task = core.durable.tasks.get(id)?;
    Some(Report {
        report_seq,
        id: id.clone(),
        container: task.launch.container,
        parent: task.launch.parent,
        executor_pid: task.executor_pid,
        executor: task.launch.executor.clone(),
        head: task.updates.front().cloned(),
        latest_state: task.latest_state,
        task_info: Bytes::new(),
    })
}

pub(super) fn tick(core: &mut Core, cx: &mut Cx<'_>) {
    let Some(attached) = core.connection.attached() else {
        return;
    };
    if cx.now_ms >= attached.silence_deadline_ms() {
        let why = format!("the leader was silent for {}", attached.ping_timeout);
        leave(core, why, None, cx);
    }
}

pub(super) fn flush(core: &mut Core, cx: &mut Cx<'_>) {
    let Some(attached) = core.connection.attached() else {
        return;
    };
    let stream = attached.stream;
    let command_seq = core.durable.command_seq;
    let mut messages = Vec::new();
    let mut reports = Vec::new();
    for (report_seq, id) in core
        .reports
        .range(attached.sent_report_seq.saturating_add(1)..)
    {
        // In the order of the numbers, or the masters would take the lower ones for old news.
        if let Some(exit) = executor_exit(core, id, *report_seq) {
            messages.extend(reports_message(&mut reports, command_seq));
            messages.push(exit);
            continue;
        }
        // Everything acknowledged: the masters know more of it than a report could say.
        let report = report(core, id, *report_seq);
        reports.extend(report.filter(|report| report.head.is_some()));
        if reports.len() == REPORTS_PER_MESSAGE_MAX {
            messages.extend(reports_message(&mut reports, command_seq));
        }
    }
    messages.extend(reports_message(&mut reports, command_seq));
    let report_seq = core.durable.report_seq;
    if let Some(attached) = core.connection.attached_mut() {
        attached.sent_report_seq = attached.sent_report_seq.max(report_seq);
    }
    for message in messages {
        cx.act(Action::Send(stream, message));
    }
}

/// A message with these reports, when there are any.
fn reports_message(reports: &mut Vec<Report>, command_seq: u64) -> Option<AgentMessage> {
    let reports = std::mem::take(reports);
    (!reports.is_empty()).then_some(AgentMessage::Reports {
        reports,
        command_seq,
    })
}

fn executor_exit(core: &Core, id: &LaunchId, report_seq: u64) -> Option<AgentMessage> {
    match core.durable.executors.get(id)?.phase {
        ExecutorPhase::Ended(exit) => Some(AgentMessage::ExecutorExit {
            report_seq,
            executor: id.clone(),
            exit,
            command_seq: core.durable.command_seq,
        }),
        ExecutorPhase::Intended | ExecutorPhase::Ready | ExecutorPhase::Started(_) => None,
    }
}
