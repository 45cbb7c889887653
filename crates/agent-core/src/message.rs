//! What the agent and the leading master say to each other, as plain data.

use bytes::Bytes;
use regency_types::digest::Digest;
use regency_types::{
    AgentId, ClusterId, DurationMs, ExecutorId, FrameworkId, NodeId, TaskState, Term, UpdateUuid,
    WallTime,
};

use crate::check::{CheckStatus, HealthRule};
use crate::executor::InstanceId;
use crate::exit::Exit;
use crate::launch::{ContainerId, LaunchId};
use crate::update::Update;

/// What every message of a master carries to tell stale masters and strange clusters apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// The cluster of the speaking master.
    pub cluster: ClusterId,
    /// The term it speaks under.
    pub term: Term,
    /// The speaking master.
    pub leader: NodeId,
}

/// What a master says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterMessage {
    /// The attachment stands.
    Attached {
        /// The id this agent has or got.
        agent_id: AgentId,
        /// Reports at or below are committed.
        applied_report_seq: u64,
        /// Expect a ping this often.
        ping_interval: DurationMs,
        /// Without one for this long, look for another leader.
        ping_timeout: DurationMs,
        /// Set when the masters went on from those of another cluster.
        adoption: Option<Adoption>,
    },
    /// The attachment does not stand.
    Refused {
        /// Why not.
        refusal: Refusal,
        /// For people.
        message: String,
        /// "host:port" of the leader's agent listener when known.
        leader_address: Option<String>,
    },
    /// Work, in ascending order.
    Commands(Vec<Numbered>),
    /// Reports at or below are committed.
    ReportsCommitted(u64),
    /// Sign of life.
    Ping {
        /// Age of the leader's last proof that a majority follows it.
        quorum_ack_age: DurationMs,
    },
    /// Asks for the whole picture.
    ResyncRequest {
        /// With what was launched.
        inventory: bool,
    },
    /// This agent was removed; the text says why.
    Shutdown(String),
    /// An operator has this agent drained, or not any more. Only to be shown: what is to be killed
    /// comes as commands.
    DrainNotice(Option<Drain>),
    /// A framework speaks to one of its executors.
    ExecutorMessage {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        executor: ExecutorId,
        /// What.
        data: Bytes,
    },
}

/// How an operator has this agent drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// The longest grace of a task; `None`: each task's own.
    pub max_grace: Option<DurationMs>,
    /// Whether the agent is marked gone once it is empty.
    pub mark_gone: bool,
    /// When it was asked for.
    pub since: WallTime,
}

/// An agent of a former cluster is taken over by the one that goes on with its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adoption {
    /// The cluster the agent must belong to.
    pub former: ClusterId,
    /// Commands up to this number count as noted from now on.
    pub command_seq: u64,
}

/// Why a master refuses an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Ask the leader instead.
    NotLeader,
    /// The checkpoints belong to another cluster.
    WrongCluster,
    /// The agent id belongs to another checkpoint directory.
    WrongEpoch,
    /// A newer attachment of this agent took over.
    Superseded,
    /// The agent's description is not acceptable.
    BadInfo,
    /// The agent was removed for good.
    Gone,
    /// Not now.
    Retry,
}

/// One command with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Number within the durable stream from the masters to this agent.
    pub seq: u64,
    /// What to do.
    pub command: Command,
}

/// One durable instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Start this task, at most once ever.
    Launch {
        /// Which launch.
        id: LaunchId,
        /// An encoded `mesos.v1.FrameworkInfo`.
        framework_info: Bytes,
        /// An encoded `mesos.v1.TaskInfo`.
        task_info: Bytes,
        /// The task's own kill policy, when it has one.
        kill_grace: Option<DurationMs>,
        /// Whether the framework wants to hear TASK_KILLING.
        killing_state: bool,
        /// When its health check ends it, if it has one.
        health: Option<HealthRule>,
        /// The status of its check before the first result, if it has one.
        check: Option<CheckStatus>,
        /// The longest it may run.
        max_completion: Option<DurationMs>,
        /// The executor that runs it; `None` for a task with a command.
        executor: Option<InstanceId>,
        /// Why this agent cannot run it, found when the bytes were decoded.
        defect: Option<String>,
    },
    /// Start these tasks in their executor, together, at most once ever.
    LaunchGroup {
        /// The executor that runs them.
        executor: InstanceId,
        /// An encoded `mesos.v1.FrameworkInfo`.
        framework_info: Bytes,
        /// Whether the framework wants to hear TASK_KILLING.
        killing_state: bool,
        /// The tasks.
        members: Vec<Member>,
    },
    /// Start this executor, at most once ever.
    LaunchExecutor {
        /// Which instance.
        id: InstanceId,
        /// Whether the agent itself shall play it.
        built_in: bool,
        /// An encoded `mesos.v1.FrameworkInfo`.
        framework_info: Bytes,
        /// An encoded `mesos.v1.ExecutorInfo`.
        executor_info: Bytes,
        /// How long it may take to end, when it says so itself.
        shutdown_grace: Option<DurationMs>,
    },
    /// Have this executor end.
    ShutdownExecutor(InstanceId),
    /// Kill that launch.
    Kill {
        /// Which launch.
        id: LaunchId,
        /// Time between SIGTERM and SIGKILL; absent: the launch's own.
        grace: Option<DurationMs>,
    },
    /// Kill that launch because this agent is drained.
    DrainTask {
        /// Which launch.
        id: LaunchId,
        /// The longest time between SIGTERM and SIGKILL; absent: the launch's own.
        max_grace: Option<DurationMs>,
        /// Whether its end is told as TASK_GONE_BY_OPERATOR.
        gone: bool,
    },
    /// The framework acknowledged an update.
    Acknowledge {
        /// Of which launch.
        id: LaunchId,
        /// Which update.
        uuid: UpdateUuid,
    },
    /// The framework is gone.
    ShutdownFramework(FrameworkId),
    /// A persistent volume was destroyed, given as an encoded `mesos.v1.Resource`: its data goes.
    DestroyVolume(Bytes),
    /// This launch was withdrawn and must never start.
    DropLaunch(LaunchId),
    /// The launch of this group was withdrawn and must never start.
    DropGroup(Vec<LaunchId>),
}

/// A task of a [`Command::LaunchGroup`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which launch.
    pub id: LaunchId,
    /// An encoded `mesos.v1.TaskInfo`.
    pub task_info: Bytes,
    /// The task's own kill policy, when it has one.
    pub kill_grace: Option<DurationMs>,
    /// When its health check ends it, if it has one.
    pub health: Option<HealthRule>,
    /// The status of its check before the first result, if it has one.
    pub check: Option<CheckStatus>,
    /// The longest it may run.
    pub max_completion: Option<DurationMs>,
    /// Why this agent cannot run it, found when the bytes were decoded.
    pub defect: Option<String>,
}

/// What an agent says. Its driver adds what does not change while it runs (address, description,
/// epoch).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentMessage {
    /// First message of a stream.
    Attach {
        /// The cluster it belongs to, once it attached to one.
        cluster: Option<ClusterId>,
        /// Its id, once it has one.
        agent_id: Option<AgentId>,
        /// Highest term it ever attached under.
        highest_term: Term,
        /// Highest report number assigned.
        report_seq: u64,
        /// Highest command number durably noted.
        command_seq: u64,
        /// Over its tasks.
        digest: Digest,
    },
    /// News of tasks, in ascending order of their number.
    Reports {
        /// The news.
        reports: Vec<Report>,
        /// Highest command number durably noted.
        command_seq: u64,
    },
    /// An executor is gone, after what its tasks had to tell.
    ExecutorExit {
        /// Number within the same stream as those of reports.
        report_seq: u64,
        /// Which instance.
        executor: InstanceId,
        /// How its process ended.
        exit: Exit,
        /// Highest command number durably noted.
        command_seq: u64,
    },
    /// An executor speaks to its framework.
    ExecutorMessage {
        /// Which instance.
        executor: InstanceId,
        /// What.
        data: Bytes,
    },
    /// Answer to a ping.
    Pong {
        /// Highest command number durably noted.
        command_seq: u64,
    },
    /// Everything the agent runs.
    Resync {
        /// Highest report number assigned.
        report_seq: u64,
        /// Highest command number durably noted.
        command_seq: u64,
        /// One per launch, each with number 0.
        tasks: Vec<Report>,
        /// Whether they come with what was launched.
        inventory: bool,
        /// Executors that have not ended, each with its encoded `mesos.v1.ExecutorInfo`.
        executors: Vec<(InstanceId, Bytes)>,
    },
}

/// The head of one launch's update stream and its newest state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Number within the durable stream from this agent to the masters.
    pub report_seq: u64,
    /// Which launch.
    pub id: LaunchId,
    /// Its container.
    pub container: ContainerId,
    /// The container that is nested in.
    pub parent: Option<ContainerId>,
    /// The process that watches it, once there is one.
    pub executor_pid: Option<u32>,
    /// The executor that runs it; `None` for a task with a command.
    pub executor: Option<InstanceId>,
    /// The oldest unacknowledged update; none only in a [`AgentMessage::Resync`].
    pub head: Option<Update>,
    /// State of the newest update.
    pub latest_state: TaskState,
    /// The encoded `mesos.v1.TaskInfo`; empty but in an inventory.
    pub task_info: Bytes,
}
