//! What can be asked of the state.
//!
//! Adding one: see the list in this crate's README.

use bytes::Bytes;
use regency_resources::{Milli, Quantities, Resources};
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterId, ClusterTime, DurationMs, ExecutorId, FrameworkId,
    Generation, Incarnation, NodeId, OfferId, OperationKey, StreamId, TaskId, TaskKey, TaskState,
    Term, UpdateUuid, WallTime,
};

use crate::model::{AgentSpec, ExecutorKey, FrameworkSpec, MachineId, MaintenanceWindow, Quota};

/// One entry of the log: what is asked, and the leader's clocks when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Cluster time: time at the term's beginning plus the leader's monotonic elapsed time.
    pub proposed_at: ClusterTime,
    /// The leader's wall clock, for display only.
    pub wall: WallTime,
    /// What is asked.
    pub command: Command,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "each variant is documented at the struct it holds"
)]
pub enum Command {
    BeginTerm(BeginTerm),
    RegisterAgent(RegisterAgent),
    ReregisterAgent(ReregisterAgent),
    SuspectAgents(SuspectAgents),
    ClearSuspicion(ClearSuspicion),
    MarkAgentUnreachable(MarkAgentUnreachable),
    UpdateMaintenance(UpdateMaintenance),
    StartMaintenance(StartMaintenance),
    StopMaintenance(StopMaintenance),
    IssueInverseOffers(IssueInverseOffers),
    AnswerInverseOffers(AnswerInverseOffers),
    DrainAgent(DrainAgent),
    AgentDrained(AgentDrained),
    DeactivateAgent(DeactivateAgent),
    ReactivateAgent(ReactivateAgent),
    MarkAgentGone(MarkAgentGone),
    /// See [`ForgetAgents`].
    ForgetAgents(ForgetAgents),
    ApplyReports(ApplyReports),
    ResyncAgent(ResyncAgent),
    SubscribeFramework(SubscribeFramework),
    UpdateFramework(UpdateFramework),
    FrameworkDisconnected(FrameworkDisconnected),
    ExpireFramework(ExpireFramework),
    TeardownFramework(TeardownFramework),
    IssueOffers(IssueOffers),
    AcceptOffers(AcceptOffers),
    DeclineOffers(DeclineOffers),
    RescindOffers(RescindOffers),
    ExpireOffers(ExpireOffers),
    ExpireFilters(ExpireFilters),
    ReviveOffers(ReviveOffers),
    SuppressOffers(SuppressOffers),
    KillTask(KillTask),
    AcknowledgeUpdate(AcknowledgeUpdate),
    ReportStateHash(ReportStateHash),
    ChangeCluster(ChangeCluster),
    TakeInventory(TakeInventory),
    RaiseFeatureLevel(RaiseFeatureLevel),
    ApplyOperation(ApplyOperation),
    AcknowledgeOperation(AcknowledgeOperation),
    UpdateQuota(UpdateQuota),
    SetQuota(SetQuota),
    RemoveQuota(RemoveQuota),
    UpdateWeights(UpdateWeights),
    EndExecutors(EndExecutors),
    ResyncExecutors(ResyncExecutors),
    ShutdownExecutor(ShutdownExecutor),
}

impl Command {
    /// Name for logs and metric labels.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BeginTerm(_) => "begin_term",
            Self::RegisterAgent(_) => "register_agent",
            Self::ReregisterAgent(_) => "reregister_agent",
            Self::SuspectAgents(_) => "suspect_agents",
            Self::ClearSuspicion(_) => "clear_suspicion",
            Self::MarkAgentUnreachable(_) => "mark_agent_unreachable",
            Self::UpdateMaintenance(_) => "update_maintenance",
            Self::StartMaintenance(_) => "start_maintenance",
            Self::StopMaintenance(_) => "stop_maintenance",
            Self::IssueInverseOffers(_) => "issue_inverse_offers",
            Self::AnswerInverseOffers(_) => "answer_inverse_offers",
            Self::DrainAgent(_) => "drain_agent",
            Self::AgentDrained(_) => "agent_drained",
            Self::DeactivateAgent(_) => "deactivate_agent",
            Self::ReactivateAgent(_) => "reactivate_agent",
            Self::MarkAgentGone(_) => "mark_agent_gone",
            Self::ForgetAgents(_) => "forget_agents",
            Self::ApplyReports(_) => "apply_reports",
            Self::ResyncAgent(_) => "resync_agent",
            Self::SubscribeFramework(_) => "subscribe_framework",
            Self::UpdateFramework(_) => "update_framework",
            Self::FrameworkDisconnected(_) => "framework_disconnected",
            Self::ExpireFramework(_) => "expire_framework",
            Self::TeardownFramework(_) => "teardown_framework",
            Self::IssueOffers(_) => "issue_offers",
            Self::AcceptOffers(_) => "accept_offers",
            Self::DeclineOffers(_) => "decline_offers",
            Self::RescindOffers(_) => "rescind_offers",
            Self::ExpireOffers(_) => "expire_offers",
            Self::ExpireFilters(_) => "expire_filters",
            Self::ReviveOffers(_) => "revive_offers",
            Self::SuppressOffers(_) => "suppress_offers",
            Self::KillTask(_) => "kill_task",
            Self::AcknowledgeUpdate(_) => "acknowledge_update",
            Self::ReportStateHash(_) => "report_state_hash",
            Self::ChangeCluster(_) => "change_cluster",
            Self::TakeInventory(_) => "take_inventory",
            Self::RaiseFeatureLevel(_) => "raise_feature_level",
            Self::ApplyOperation(_) => "apply_operation",
            Self::AcknowledgeOperation(_) => "acknowledge_operation",
            Self::UpdateQuota(_) => "update_quota",
            Self::SetQuota(_) => "set_quota",
            Self::RemoveQuota(_) => "remove_quota",
            Self::UpdateWeights(_) => "update_weights",
            Self::EndExecutors(_) => "end_executors",
            Self::ResyncExecutors(_) => "resync_executors",
            Self::ShutdownExecutor(_) => "shutdown_executor",
        }
    }

    /// The framework whose call this is, when only a framework that knows its id can make it.
    pub(crate) fn caller(&self) -> Option<&FrameworkId> {
        match self {
            Self::AcceptOffers(c) => Some(&c.framework),
            Self::DeclineOffers(c) => Some(&c.framework),
            Self::UpdateFramework(c) => Some(&c.framework),
            Self::AnswerInverseOffers(c) => Some(&c.framework),
            Self::ReviveOffers(c) => Some(&c.framework),
            Self::SuppressOffers(c) => Some(&c.framework),
            Self::KillTask(c) => Some(&c.task.framework),
            Self::AcknowledgeUpdate(c) => Some(&c.task.framework),
            Self::AcknowledgeOperation(c) => Some(&c.operation.framework),
            Self::ShutdownExecutor(c) => Some(&c.executor.framework),
            _ => None,
        }
    }
}

/// Who leads: enough for anyone to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterInfo {
    /// Its number in the membership.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Identity of this run of its process, minted at every start.
    pub process: u128,
    /// Advertised host name.
    pub hostname: String,
    /// Advertised `host:port` for clients.
    pub http: String,
    /// Advertised `host:port` for agents.
    pub agent: String,
    /// Version of its program.
    pub version: String,
}

/// The first entry of a leader. Sets the cluster's identity when the log is new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginTerm {
    /// The cluster this entry is for.
    pub cluster: ClusterId,
    /// The term that begins.
    pub term: Term,
    /// Who leads.
    pub master: MasterInfo,
}

/// What the state of one master was at an entry, so that masters find out when they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportStateHash {
    /// Whose state it was.
    pub node: NodeId,
    /// Log index of the last entry in it.
    pub index: u64,
    /// Version of the form that was digested; digests of different ones cannot be compared.
    pub schema: u32,
    /// Digest of the state.
    pub digest: u128,
}

/// An agent without an id asks for one. Asking again with the same epoch gives the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterAgent {
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Its machine's boot.
    pub boot: BootId,
    /// What it says of itself.
    pub spec: AgentSpec,
}

/// An agent attaches whose description or boot changed, or that was unreachable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReregisterAgent {
    /// Its id.
    pub agent: AgentId,
    /// Its checkpoint directory; must be the registered one.
    pub epoch: AgentEpoch,
    /// Its machine's boot.
    pub boot: BootId,
    /// What it says of itself now.
    pub spec: AgentSpec,
}

/// Notes since when agents are silent, so that a change of leader does not forget it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspectAgents {
    /// Which, and since when.
    pub agents: Vec<(AgentId, ClusterTime)>,
}

/// Notes that suspected agents were heard again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearSuspicion {
    /// Which.
    pub agents: Vec<AgentId>,
}

/// An agent was silent for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkAgentUnreachable {
    /// Which.
    pub agent: AgentId,
}

/// Takes the place of the whole maintenance schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateMaintenance {
    /// All windows that are planned from now on.
    pub windows: Vec<MaintenanceWindow>,
}

/// Machines of the schedule go down: agents on them count no more, and what they run has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartMaintenance {
    /// Which; all or none.
    pub machines: Vec<MachineId>,
}

/// Machines that are down are there again, and leave the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopMaintenance {
    /// Which; all or none.
    pub machines: Vec<MachineId>,
}

/// The leader asks frameworks to leave agents whose machines are going to be unavailable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueInverseOffers {
    /// Whom to ask to leave which agent; what no longer fits is left out.
    pub plans: Vec<(FrameworkId, AgentId)>,
    /// Life of the inverse offers; `None`: until answered or rescinded.
    pub timeout: Option<DurationMs>,
}

/// A framework says whether it will leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerInverseOffers {
    /// Who.
    pub framework: FrameworkId,
    /// Which inverse offers; unknown ones are ignored.
    pub offers: Vec<OfferId>,
    /// Whether it will.
    pub accepted: bool,
    /// How long it shall not be asked again.
    pub refuse: DurationMs,
}

/// An operator wants an agent emptied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainAgent {
    /// Which.
    pub agent: AgentId,
    /// The longest grace of a task; `None`: the task's own.
    pub max_grace: Option<DurationMs>,
    /// Whether the agent is marked gone once it is empty.
    pub mark_gone: bool,
}

/// Nothing is left on an agent that is drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentDrained {
    /// Which.
    pub agent: AgentId,
}

/// An operator wants nothing offered on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeactivateAgent {
    /// Which.
    pub agent: AgentId,
}

/// An operator gives an agent back to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReactivateAgent {
    /// Which.
    pub agent: AgentId,
}

/// An operator knows that an agent will never come back. It never may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkAgentGone {
    /// Which.
    pub agent: AgentId,
}

/// Agents that were marked gone, or are unreachable, for too long, or are too many. Which of them are
/// is the leader's to judge, by its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgetAgents {
    /// Which.
    pub agents: Vec<AgentId>,
}

/// News of one task as an agent reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    /// Number in the agent's report stream; 0 within a resync.
    pub report_seq: u64,
    /// Which task.
    pub task: TaskKey,
    /// Which launch of it.
    pub generation: Generation,
    /// Number of the head within the task's stream, from 1; 0 when there is no head.
    pub task_seq: u64,
    /// The oldest update that is not acknowledged, when there is one.
    pub head: Option<ReportedUpdate>,
    /// The newest state.
    pub latest_state: TaskState,
}

/// An update within a [`TaskReport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedUpdate {
    /// Its identity.
    pub uuid: UpdateUuid,
    /// The state it tells.
    pub state: TaskState,
    /// The encoded `mesos.v1.TaskStatus`.
    pub status: Bytes,
}

/// Reports of an agent, with how far it noted its commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyReports {
    /// Whose.
    pub agent: AgentId,
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Highest command number it durably noted.
    pub command_seq: u64,
    /// In ascending report number; may be empty (then only the cursor moves).
    pub reports: Vec<TaskReport>,
}

/// Everything an agent runs, when the pictures differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResyncAgent {
    /// Whose.
    pub agent: AgentId,
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Highest command number it durably noted.
    pub command_seq: u64,
    /// Highest report number it assigned.
    pub report_seq: u64,
    /// All its tasks.
    pub tasks: Vec<TaskReport>,
}

/// All members of the cluster support this level: what needs it may be proposed from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaiseFeatureLevel {
    /// From 1 on.
    pub level: u32,
}

/// The state goes on as that of another cluster: it was restored from a snapshot, or its masters
/// lost their majority for good and one was made to go on alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCluster {
    /// Whose state it was.
    pub from: ClusterId,
    /// Whose it is from now on.
    pub to: ClusterId,
    /// The last entry that was made under the old id, as far as the proposer knows.
    pub index: u64,
}

/// Everything an agent of a former cluster runs, with what the masters need to take over what they
/// do not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeInventory {
    /// Whose.
    pub agent: AgentId,
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Highest report number it assigned.
    pub report_seq: u64,
    /// All its tasks.
    pub tasks: Vec<InventoryTask>,
}

/// A task within a [`TakeInventory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryTask {
    /// How it is.
    pub report: TaskReport,
    /// What was launched; absent when that cannot be read. Such a task is not taken over.
    pub spec: Option<TaskSpec>,
    /// The role its resources were allocated to, when its description says so.
    pub role: Option<String>,
}

/// A framework subscribes, for the first time or again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeFramework {
    /// Its id when it has one.
    pub framework: Option<FrameworkId>,
    /// What it says of itself.
    pub spec: FrameworkSpec,
    /// Roles for which it wants no offers.
    pub suppressed: Vec<String>,
    /// Identity of this subscription.
    pub stream: StreamId,
    /// When the framework describes itself anew: those of its outstanding offers that fit what it
    /// says now, as the leader sees it. All others are taken back.
    pub kept: Option<Vec<OfferId>>,
}

/// A subscribed framework describes itself anew (UPDATE_FRAMEWORK).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateFramework {
    /// Which.
    pub framework: FrameworkId,
    /// What it says of itself now. User, principal and checkpointing must be as they were.
    pub spec: FrameworkSpec,
    /// Roles for which it wants no offers.
    pub suppressed: Vec<String>,
    /// Those of its outstanding offers that fit, as the leader sees it. All others are taken back.
    pub kept: Vec<OfferId>,
}

/// A leader with a quorum saw the framework's stream end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkDisconnected {
    /// Which.
    pub framework: FrameworkId,
    /// The subscription that ended.
    pub stream: StreamId,
}

/// The failover timeout of a disconnected framework ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpireFramework {
    /// Which.
    pub framework: FrameworkId,
}

/// The framework, or an operator, ends the framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeardownFramework {
    /// Which.
    pub framework: FrameworkId,
}

/// One offer that an allocation planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferPlan {
    /// To whom.
    pub framework: FrameworkId,
    /// For which role.
    pub role: String,
    /// On which agent.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// [`Framework::described`](crate::model::Framework::described) as the allocator saw it.
    pub described: u64,
}

/// Part of an allocation round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueOffers {
    /// Plans; those that no longer fit are left out.
    pub plans: Vec<OfferPlan>,
    /// Life of the offers; `None`: until used or rescinded.
    pub timeout: Option<DurationMs>,
}

/// One task of an ACCEPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchSpec {
    /// Syntactically fine.
    Valid(TaskSpec),
    /// Refused at the edge already: told as TASK_ERROR.
    Invalid {
        /// The id as it was given.
        task_id: String,
        /// The agent as it was given, when it could be one.
        agent: Option<AgentId>,
        /// What is wrong.
        message: String,
    },
}

/// A task to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// Its id.
    pub task: TaskId,
    /// The agent it names.
    pub agent: AgentId,
    /// Name for people.
    pub name: String,
    /// What it needs.
    pub resources: Resources,
    /// The encoded `mesos.v1.TaskInfo`.
    pub info: Bytes,
    /// The executor that shall run it; `None` for a task with a command.
    pub executor: Option<ExecutorSpec>,
}

/// The executor of a task to launch. It is started when there is none of that id on the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorSpec {
    /// Its id.
    pub executor: ExecutorId,
    /// What it needs besides its tasks.
    pub resources: Resources,
    /// The encoded `mesos.v1.ExecutorInfo`.
    pub info: Bytes,
}

/// One operation of an ACCEPT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Launch each of these.
    Launch(Vec<LaunchSpec>),
    /// Launch all of these in the one executor they name, or none. Where one is invalid, all are.
    LaunchGroup(Vec<LaunchSpec>),
    /// Turn resources into others.
    Convert(ConversionSpec),
}

/// An operation of an ACCEPT that turns resources into others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionSpec {
    /// Set when the framework wants to hear what becomes of it.
    pub feedback: Option<Feedback>,
    /// What to do; or what is wrong, when the edge refused it already.
    pub operation: Result<ResourceOperation, String>,
}

/// How the framework wants to hear of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The operation's id as the framework gave it.
    pub id: String,
    /// Identity of the status that tells that it was carried out.
    pub uuid: UpdateUuid,
    /// The encoded `mesos.v1.Offer.Operation`.
    pub info: Bytes,
}

/// What can be done to resources. The names are those of `mesos.v1.Offer.Operation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceOperation {
    /// Reserve; the resources as they are afterwards, innermost reservation included.
    Reserve(Resources),
    /// Change reservations in one step: back to what both have in common, and on from there. For
    /// operators only, as in Mesos.
    ReserveAnew {
        /// The resources as they are before.
        source: Resources,
        /// The same as they are afterwards.
        resources: Resources,
    },
    /// Take the innermost reservation away; the resources as they are before.
    Unreserve(Resources),
    /// Make persistent volumes; as they are afterwards.
    Create(Resources),
    /// Destroy persistent volumes and their data.
    Destroy(Resources),
    /// Add disk to a volume.
    GrowVolume {
        /// The volume as it is.
        volume: Resources,
        /// What is added.
        addition: Resources,
    },
    /// Take disk from a volume.
    ShrinkVolume {
        /// The volume as it is.
        volume: Resources,
        /// How much is taken.
        subtract: Milli,
    },
}

/// An operator changes the resources of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOperation {
    /// Whose resources.
    pub agent: AgentId,
    /// What to do.
    pub operation: ResourceOperation,
    /// Who asks, when that is known.
    pub principal: Option<String>,
}

/// A framework has heard that its operation was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeOperation {
    /// Which operation.
    pub operation: OperationKey,
    /// Which status.
    pub uuid: UpdateUuid,
}

/// The quota that an operator wants a role to have; an empty one takes it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaConfig {
    /// Whose.
    pub role: String,
    /// What.
    pub quota: Quota,
}

/// An operator decides the quotas of roles: all that are named, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateQuota {
    /// Each role at most once.
    pub configs: Vec<QuotaConfig>,
    /// Whether neither the cluster's capacity nor what roles have is looked at.
    pub force: bool,
}

/// An operator gives a role that has no quota one, in the older form of Mesos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetQuota {
    /// Whose.
    pub role: String,
    /// What is kept for it, and the most it may have.
    pub guarantee: Quantities,
    /// Whether the cluster's capacity is not looked at.
    pub force: bool,
}

/// An operator takes the quota of a role away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveQuota {
    /// Whose.
    pub role: String,
}

/// An operator gives roles weights, or a leader gives a cluster in which none was given those that
/// it was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateWeights {
    /// Roles and their weights; of a role named twice, the last counts.
    pub weights: Vec<(String, Milli)>,
    /// Whether they are only for a cluster in which no weight was ever given.
    pub initial: bool,
}

/// A framework uses offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptOffers {
    /// Whose.
    pub framework: FrameworkId,
    /// Which; `None` stands for an id that is not one of this cluster.
    pub offers: Vec<Option<OfferId>>,
    /// What for, in order.
    pub operations: Vec<Operation>,
    /// How long what is left shall not be offered again.
    pub refuse: DurationMs,
    /// Digest of the call's content, to know a repetition by.
    pub content: u64,
}

/// A framework gives offers back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclineOffers {
    /// Whose.
    pub framework: FrameworkId,
    /// Which; unknown ones are ignored.
    pub offers: Vec<OfferId>,
    /// How long the same shall not be offered again.
    pub refuse: DurationMs,
}

/// The leader takes offers back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescindOffers {
    /// Which; unknown ones are ignored.
    pub offers: Vec<OfferId>,
}

/// Offers whose deadline came are taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpireOffers {
    /// Which; those whose deadline has not come are left alone.
    pub offers: Vec<OfferId>,
}

/// Filters whose time is over are forgotten, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpireFilters;

/// A framework wants offers again: its filters go, its roles are no longer suppressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviveOffers {
    /// Whose.
    pub framework: FrameworkId,
    /// Which roles; empty: all of its.
    pub roles: Vec<String>,
}

/// A framework wants no offers for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressOffers {
    /// Whose.
    pub framework: FrameworkId,
    /// Which roles; empty: all of its.
    pub roles: Vec<String>,
}

/// A framework wants a task killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillTask {
    /// Which.
    pub task: TaskKey,
    /// Where the framework believes it is; a wrong belief makes the kill void, as in Mesos.
    pub agent: Option<AgentId>,
    /// Grace asked for.
    pub grace: Option<DurationMs>,
}

/// A framework has an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeUpdate {
    /// Of which task.
    pub task: TaskKey,
    /// From which agent, as the framework says.
    pub agent: AgentId,
    /// Which update.
    pub uuid: UpdateUuid,
}

/// Executors of an agent are gone: what they used is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndExecutors {
    /// Whose.
    pub agent: AgentId,
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Highest command number it durably noted.
    pub command_seq: u64,
    /// In ascending report number.
    pub exits: Vec<ExecutorExit>,
}

/// The end of an executor as its agent tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorExit {
    /// Number in the agent's report stream.
    pub report_seq: u64,
    /// Which executor.
    pub executor: ExecutorKey,
    /// Which instance of it.
    pub instance: Generation,
    /// How its process ended, as `wait` tells it; `None` when nobody saw it.
    pub status: Option<i32>,
}

/// All executors of an agent, when the pictures differ or it comes from another cluster. Goes before
/// the picture of its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResyncExecutors {
    /// Whose.
    pub agent: AgentId,
    /// Its checkpoint directory.
    pub epoch: AgentEpoch,
    /// Highest command number it durably noted.
    pub command_seq: u64,
    /// Those that have not ended.
    pub executors: Vec<ReportedExecutor>,
}

/// An executor within a [`ResyncExecutors`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedExecutor {
    /// Which executor.
    pub key: ExecutorKey,
    /// Which instance of it.
    pub instance: Generation,
    /// What was launched, to take it over where it is not known; absent when that cannot be read.
    pub spec: Option<ExecutorSpec>,
    /// The role its resources were allocated to, when its description says so.
    pub role: Option<String>,
}

/// A framework wants an executor to end, with all its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownExecutor {
    /// Which.
    pub executor: ExecutorKey,
    /// Where.
    pub agent: AgentId,
}
