//! Messages between their wire form and that of `regency-agent-core`.
//!
//! What a master says is checked here: a message that makes no sense ends the attachment, a task
//! that this agent cannot run becomes a launch with a defect, which ends in TASK_ERROR.

use bytes::Bytes;
use prost::Message;
use regency_agent_core::message::Report;
use regency_agent_core::{
    Adoption, AgentMessage, CheckStatus, Command, Drain, Exit, Fence, InstanceId, LaunchId,
    MasterMessage, Member, Numbered, Reason, Refusal, Source, Update,
};
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterId, DurationMs, ExecutorId, FrameworkId, Generation,
    IdError, NodeId, TaskId, TaskKey, Term, UpdateUuid, WallTime,
};
use regency_wire::v1;
use regency_wire::v1::framework_info::capability::Type as Capability;
use regency_wire::validate::task as validate;

use crate::checks::Plans;
use crate::directory::container_name;
use crate::tasks::shared;

/// Why a message of a master makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field that should hold a 16-byte id holds something else.
    #[error("{0} is not 16 bytes long")]
    Uuid(&'static str),
    /// A field that should hold an id holds something else.
    #[error("{field} is not an id")]
    Id {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: IdError,
    },
}

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub(crate) struct Constants {
    pub(crate) epoch: AgentEpoch,
    pub(crate) boot: BootId,
    pub(crate) info: v1::AgentInfo,
    /// "ip:port" of the agent's HTTP listener.
    pub(crate) address: std::net::SocketAddr,
}

/// Reads what a master says.
///
/// # Errors
/// When it makes no sense.
pub(crate) fn from_master(
    message: rpc::MasterMessage,
) -> Result<(Fence, MasterMessage), MessageError> {
    use rpc::master_message::Message as Wire;
    let message_of = message.message.ok_or(MessageError::Missing("message"))?;
    let cluster = match (ClusterId::from_bytes(&message.cluster_id), &message_of) {
        (Some(cluster), _) => cluster,
        // A master that was never part of a cluster has no id to tell. Nothing is acted on in
        // its name: it can only say that it is not the one to ask.
        (None, Wire::Refused(_)) if message.cluster_id.is_empty() => ClusterId(0),
        (None, _) => return Err(MessageError::Uuid("cluster_id")),
    };
    let fence = Fence {
        cluster,
        term: Term(message.term),
        leader: NodeId(message.leader),
    };
    let message = match message_of {
        Wire::Attached(attached) => MasterMessage::Attached {
            agent_id: id("agent_id", AgentId::new(&attached.agent_id))?,
            applied_report_seq: attached.applied_report_seq,
            ping_interval: DurationMs(attached.ping_interval_ms),
            ping_timeout: DurationMs(attached.ping_timeout_ms),
            adoption: attached.adoption.map(adoption).transpose()?,
        },
        Wire::Refused(refused) => MasterMessage::Refused {
            refusal: refusal(refused.reason()),
            message: refused.message,
            leader_address: Some(refused.leader_address).filter(|address| !address.is_empty()),
        },
        Wire::Commands(commands) => {
            let commands = commands.commands.into_iter().map(command);
            MasterMessage::Commands(commands.collect::<Result<_, _>>()?)
        }
        Wire::ReportsCommitted(committed) => MasterMessage::ReportsCommitted(committed.report_seq),
        Wire::Ping(ping) => MasterMessage::Ping {
            quorum_ack_age: DurationMs(ping.quorum_ack_age_ms),
        },
        Wire::ResyncRequest(request) => MasterMessage::ResyncRequest {
            inventory: request.inventory,
        },
        Wire::Shutdown(shutdown) => MasterMessage::Shutdown(shutdown.reason),
        Wire::DrainNotice(notice) => MasterMessage::DrainNotice(notice.drain.map(|drain| Drain {
            max_grace: drain.max_grace_ms.map(DurationMs),
            mark_gone: drain.mark_gone,
            since: WallTime(drain.since_wall_ms),
        })),
        Wire::ExecutorMessage(message) => MasterMessage::ExecutorMessage {
            framework: id("framework_id", FrameworkId::new(&message.framework_id))?,
            executor: id("executor_id", ExecutorId::new(&message.executor_id))?,
            data: message.data,
        },
    };
    Ok((fence, message))
}

fn id<T>(field: &'static str, parsed: Result<T, IdError>) -> Result<T, MessageError> {
    parsed.map_err(|source| MessageError::Id { field, source })
}

fn adoption(adoption: rpc::Adoption) -> Result<Adoption, MessageError> {
    let former = ClusterId::from_bytes(&adoption.former_cluster_id);
    Ok(Adoption {
        former: former.ok_or(MessageError::Uuid("former_cluster_id"))?,
        command_seq: adoption.command_seq,
    })
}

fn refusal(reason: rpc::refused::Reason) -> Refusal {
    use rpc::refused::Reason as Wire;
    match reason {
        Wire::NotLeader => Refusal::NotLeader,
        Wire::WrongCluster => Refusal::WrongCluster,
        Wire::WrongEpoch => Refusal::WrongEpoch,
        Wire::Superseded => Refusal::Superseded,
        Wire::BadInfo => Refusal::BadInfo,
        Wire::Gone => Refusal::Gone,
        // A reason of a later version cannot be worse than trying again.
        Wire::Unspecified | Wire::Retry => Refusal::Retry,
    }
}

fn launch_id(framework: &str, task: &str, generation: u64) -> Result<LaunchId, MessageError> {
    Ok(LaunchId {
        key: TaskKey {
            framework: id("framework_id", FrameworkId::new(framework))?,
            task: id("task_id", TaskId::new(task))?,
        },
        generation: Generation(generation),
    })
}

fn command(command: rpc::Command) -> Result<Numbered, MessageError> {
    use rpc::command::Command as Wire;
    let seq = command.command_seq;
    let command = match command.command.ok_or(MessageError::Missing("command"))? {
        Wire::Launch(launch) => self::launch(launch)?,
        Wire::LaunchGroup(group) => launch_group(group)?,
        Wire::Kill(kill) => Command::Kill {
            id: launch_id(&kill.framework_id, &kill.task_id, kill.generation)?,
            grace: kill.grace_ms.map(DurationMs),
        },
        Wire::DrainTask(drain) => Command::DrainTask {
            id: launch_id(&drain.framework_id, &drain.task_id, drain.generation)?,
            max_grace: drain.max_grace_ms.map(DurationMs),
            gone: drain.gone,
        },
        Wire::Acknowledge(acknowledge) => Command::Acknowledge {
            id: launch_id(
                &acknowledge.framework_id,
                &acknowledge.task_id,
                acknowledge.generation,
            )?,
            uuid: UpdateUuid::from_bytes(&acknowledge.uuid).ok_or(MessageError::Uuid("uuid"))?,
        },
        Wire::ShutdownFramework(shutdown) => {
            let framework = FrameworkId::new(&shutdown.framework_id);
            Command::ShutdownFramework(id("framework_id", framework)?)
        }
        Wire::DestroyVolume(destroy) => Command::DestroyVolume(destroy.volume),
        Wire::DropLaunch(drop) => Command::DropLaunch(dropped(&drop)?),
        Wire::DropGroup(group) => {
            let tasks = group.tasks.iter().map(dropped);
            Command::DropGroup(tasks.collect::<Result<_, _>>()?)
        }
        Wire::LaunchExecutor(launch) => Command::LaunchExecutor {
            id: instance(launch.executor)?,
            built_in: is_built_in(&launch.executor_info),
            shutdown_grace: shutdown_grace(&launch.executor_info),
            framework_info: launch.framework_info,
            executor_info: launch.executor_info,
        },
        Wire::ShutdownExecutor(shutdown) => Command::ShutdownExecutor(instance(shutdown.executor)?),
    };
    Ok(Numbered { seq, command })
}

fn dropped(drop: &rpc::DropLaunch) -> Result<LaunchId, MessageError> {
    launch_id(&drop.framework_id, &drop.task_id, drop.generation)
}

/// Whether the agent itself plays an executor.
fn is_built_in(info: &Bytes) -> bool {
    let info = v1::ExecutorInfo::decode(info.clone()).unwrap_or_default();
    info.r#type() == v1::executor_info::Type::Default
}

fn instance(executor: Option<rpc::ExecutorInstance>) -> Result<InstanceId, MessageError> {
    let executor = executor.ok_or(MessageError::Missing("executor"))?;
    // The executor's id takes the place of a task's; ids of both kinds follow the same rules.
    launch_id(
        &executor.framework_id,
        &executor.executor_id,
        executor.instance,
    )
}

/// How long an executor may take to end, when its description says so.
fn shutdown_grace(info: &Bytes) -> Option<DurationMs> {
    let info = v1::ExecutorInfo::decode(info.clone()).ok()?;
    let nanoseconds = info.shutdown_grace_period?.nanoseconds;
    Some(DurationMs(u64::try_from(nanoseconds).ok()? / 1_000_000))
}

fn launch(launch: rpc::Launch) -> Result<Command, MessageError> {
    let (killing_state, unreadable) = framework_of(&launch.framework_info);
    let member = member(
        &launch.framework_id,
        launch.generation,
        launch.task_info,
        defect,
    )?;
    Ok(Command::Launch {
        id: member.id,
        kill_grace: member.kill_grace,
        framework_info: launch.framework_info,
        task_info: member.task_info,
        killing_state,
        health: member.health,
        check: member.check,
        max_completion: member.max_completion,
        executor: launch.executor.map(|one| instance(Some(one))).transpose()?,
        defect: unreadable.or(member.defect),
    })
}

fn launch_group(group: rpc::LaunchGroup) -> Result<Command, MessageError> {
    let (killing_state, unreadable) = framework_of(&group.framework_info);
    let members = group.tasks.into_iter().map(|task| {
        let member = member(
            &group.framework_id,
            task.generation,
            task.task_info,
            defect_in_group,
        )?;
        Ok(Member {
            defect: unreadable.clone().or(member.defect),
            ..member
        })
    });
    Ok(Command::LaunchGroup {
        members: members.collect::<Result<_, MessageError>>()?,
        executor: instance(group.executor)?,
        framework_info: group.framework_info,
        killing_state,
    })
}

/// Whether a framework wants to hear TASK_KILLING, and why nothing of it can be run.
fn framework_of(info: &Bytes) -> (bool, Option<String>) {
    match v1::FrameworkInfo::decode(info.clone()) {
        Ok(framework) => {
            let mut capabilities = framework.capabilities.iter();
            let wanted = Some(Capability::TaskKillingState as i32);
            (
                capabilities.any(|capability| capability.r#type == wanted),
                None,
            )
        }
        Err(error) => {
            let text = format!("The framework's description cannot be read: {error}");
            (false, Some(text))
        }
    }
}

/// A task to launch; `defect` tells why this agent cannot run it.
fn member(
    framework: &str,
    generation: u64,
    task_info: Bytes,
    defect: fn(&v1::TaskInfo) -> Option<String>,
) -> Result<Member, MessageError> {
    // Without a task id nobody could be told that the rest is bad.
    let task = v1::TaskInfo::decode(task_info.clone())
        .map_err(|_| MessageError::Missing("a readable task_info"))?;
    let plans = Plans::of_task(&task);
    let defect = defect(&task).or_else(|| plans.as_ref().err().cloned());
    let plans = plans.unwrap_or_default();
    Ok(Member {
        id: launch_id(framework, &task.task_id.value, generation)?,
        kill_grace: kill_grace(&task),
        task_info,
        health: plans.health.map(|(_, rule)| rule),
        check: plans.check.map(|(_, status)| status),
        max_completion: span(task.max_completion_time.as_ref()),
        defect,
    })
}

fn kill_grace(task: &v1::TaskInfo) -> Option<DurationMs> {
    span(task.kill_policy.as_ref()?.grace_period.as_ref())
}

/// Below zero is no span; the default serves.
fn span(duration: Option<&v1::DurationInfo>) -> Option<DurationMs> {
    let nanoseconds = u64::try_from(duration?.nanoseconds).ok()?;
    Some(DurationMs(nanoseconds / 1_000_000))
}

/// Why this agent cannot run a task.
fn defect(task: &v1::TaskInfo) -> Option<String> {
    if task.executor.is_some() {
        // How it is run is for the executor to know.
        return None;
    }
    let volumes = |container: &v1::ContainerInfo| {
        (!container.volumes.is_empty()).then(|| "This agent does not mount volumes yet".to_owned())
    };
    defect_of(task, volumes)
}

/// Why this agent cannot run a task of a group.
fn defect_in_group(task: &v1::TaskInfo) -> Option<String> {
    let own = v1::executor_info::Type::Default;
    if task.executor.as_ref().is_some_and(|e| e.r#type() != own) {
        return None;
    }
    defect_of(task, |container| shared::of_task(container).err())
}

fn defect_of(
    task: &v1::TaskInfo,
    volumes: impl Fn(&v1::ContainerInfo) -> Option<String>,
) -> Option<String> {
    use v1::container_info::Type as Container;
    let Some(command) = &task.command else {
        return Some("Task has no command".to_owned());
    };
    if let Err(error) = validate::command(command) {
        return Some(error);
    }
    let container = task.container.as_ref()?;
    if container.r#type == Container::Docker as i32 {
        return Some("This agent does not run Docker containers yet".to_owned());
    }
    let image = container
        .mesos
        .as_ref()
        .and_then(|mesos| mesos.image.as_ref());
    if image.is_some() {
        return Some("This agent does not run container images yet".to_owned());
    }
    volumes(container)
}

/// Writes what the agent says. `agent_id` is its id, which every status names.
pub(crate) fn to_master(
    message: AgentMessage,
    constants: &Constants,
    agent_id: Option<&AgentId>,
) -> rpc::AgentMessage {
    use rpc::agent_message::Message as Wire;
    let message = match message {
        AgentMessage::Attach {
            cluster,
            agent_id,
            highest_term,
            report_seq,
            command_seq,
            digest,
        } => Wire::Attach(rpc::Attach {
            cluster_id: cluster.map_or_else(Bytes::new, |id| bytes_of(id.to_bytes())),
            agent_id: agent_id.map_or_else(String::new, |id| id.to_string()),
            epoch: bytes_of(constants.epoch.to_bytes()),
            boot_id: bytes_of(constants.boot.to_bytes()),
            highest_term: highest_term.0,
            agent_info: constants.info.encode_to_vec().into(),
            address: constants.address.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            report_seq,
            command_seq,
            digest: bytes_of(digest.0.to_be_bytes()),
        }),
        AgentMessage::Reports {
            reports,
            command_seq,
        } => Wire::Reports(rpc::Reports {
            reports: reports_of(reports, constants, agent_id),
            command_seq,
        }),
        AgentMessage::ExecutorExit {
            report_seq,
            executor,
            exit,
            command_seq,
        } => Wire::ExecutorExits(rpc::ExecutorExits {
            exits: vec![rpc::executor_exits::Exit {
                report_seq,
                executor: Some(instance_of(&executor)),
                status: wait_status(exit),
            }],
            command_seq,
        }),
        AgentMessage::ExecutorMessage { executor, data } => {
            Wire::ExecutorMessage(rpc::ExecutorMessage {
                framework_id: executor.key.framework.to_string(),
                executor_id: executor.key.task.to_string(),
                data,
            })
        }
        AgentMessage::Pong { command_seq } => Wire::Pong(rpc::Pong { command_seq }),
        AgentMessage::Resync {
            report_seq,
            command_seq,
            tasks,
            inventory,
            executors,
        } => Wire::Resync(rpc::Resync {
            report_seq,
            command_seq,
            tasks: reports_of(tasks, constants, agent_id),
            inventory,
            executors: executors
                .into_iter()
                .map(|(id, executor_info)| rpc::ReportedExecutor {
                    executor: Some(instance_of(&id)),
                    executor_info,
                })
                .collect(),
        }),
    };
    rpc::AgentMessage {
        message: Some(message),
    }
}

fn instance_of(id: &InstanceId) -> rpc::ExecutorInstance {
    rpc::ExecutorInstance {
        framework_id: id.key.framework.to_string(),
        executor_id: id.key.task.to_string(),
        instance: id.generation.0,
    }
}

/// The end of a process as `wait(2)` tells it; `None` when nobody saw it.
pub(crate) fn wait_status(exit: Exit) -> Option<i32> {
    match exit {
        Exit::Exited(status) => Some((status & 0xff) << 8),
        Exit::Signaled(signal) => Some(signal & 0x7f),
        Exit::NotStarted | Exit::Lost => None,
    }
}

fn bytes_of(bytes: [u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

fn reports_of(
    reports: Vec<Report>,
    constants: &Constants,
    agent_id: Option<&AgentId>,
) -> Vec<rpc::Report> {
    let reports = reports.into_iter();
    reports
        .map(|report| report_of(report, constants, agent_id))
        .collect()
}

fn report_of(report: Report, constants: &Constants, agent_id: Option<&AgentId>) -> rpc::Report {
    let head = report.head.as_ref();
    let status = head.map(|head| match head.status.is_empty() {
        true => status(head, &report, constants, agent_id)
            .encode_to_vec()
            .into(),
        // As its executor made it, unless the agent knows better why.
        false => by_executor(head),
    });
    rpc::Report {
        report_seq: report.report_seq,
        task_seq: head.map_or(0, |head| head.task_seq),
        status: status.unwrap_or_default(),
        latest_state: report.latest_state.number(),
        framework_id: report.id.key.framework.to_string(),
        task_id: report.id.key.task.to_string(),
        generation: report.id.generation.0,
        task_info: report.task_info,
    }
}

/// The status that an executor made, with what the agent has to say to it.
fn by_executor(head: &Update) -> Bytes {
    let Some(reason) = head.reason else {
        return head.status.clone();
    };
    match v1::TaskStatus::decode(head.status.clone()) {
        Ok(status) => v1::TaskStatus {
            state: head.state.number(),
            reason: Some(reason_of(reason) as i32),
            ..status
        }
        .encode_to_vec()
        .into(),
        // It was read when it came.
        Err(_) => head.status.clone(),
    }
}

/// An update as frameworks see it; which fields are set follows what a command task of Mesos
/// sends.
fn status(
    update: &Update,
    report: &Report,
    constants: &Constants,
    agent_id: Option<&AgentId>,
) -> v1::TaskStatus {
    use v1::task_status::Source as WireSource;
    let by_executor = update.source == Source::Executor;
    let source = match update.source {
        Source::Agent => WireSource::Agent,
        Source::Executor => WireSource::Executor,
    };
    let task_id = report.id.key.task.to_string();
    let executor_id = match &report.executor {
        Some(executor) => Some(executor.key.task.to_string()),
        // A command task is its own executor.
        None => by_executor.then(|| task_id.clone()),
    };
    v1::TaskStatus {
        task_id: v1::TaskId { value: task_id },
        state: update.state.number(),
        message: update.message.clone(),
        source: Some(source as i32),
        reason: update.reason.map(|reason| reason_of(reason) as i32),
        agent_id: agent_id.map(|id| v1::AgentId {
            value: id.to_string(),
        }),
        executor_id: executor_id.map(|value| v1::ExecutorId { value }),
        timestamp: Some(update.timestamp.as_secs_f64()),
        uuid: Some(bytes_of(update.uuid.to_bytes())),
        container_status: by_executor.then(|| container_status(report, constants)),
        healthy: update.healthy,
        check_status: update.check_status.map(check_status),
        ..v1::TaskStatus::default()
    }
}

fn check_status(status: CheckStatus) -> v1::CheckStatusInfo {
    use v1::check_info::Type;
    use v1::check_status_info::{Command, Http, Tcp};
    let mut wire = v1::CheckStatusInfo::default();
    let kind = match status {
        CheckStatus::Command(exit_code) => {
            wire.command = Some(Command { exit_code });
            Type::Command
        }
        CheckStatus::Http(status_code) => {
            wire.http = Some(Http { status_code });
            Type::Http
        }
        CheckStatus::Tcp(succeeded) => {
            wire.tcp = Some(Tcp { succeeded });
            Type::Tcp
        }
    };
    wire.r#type = Some(kind as i32);
    wire
}

fn container_status(report: &Report, constants: &Constants) -> v1::ContainerStatus {
    v1::ContainerStatus {
        container_id: Some(v1::ContainerId {
            value: container_name(report.container),
            parent: report.parent.map(|parent| {
                Box::new(v1::ContainerId {
                    value: container_name(parent),
                    parent: None,
                })
            }),
        }),
        network_infos: vec![network_info(constants.address.ip())],
        cgroup_info: None,
        executor_pid: report.executor_pid,
    }
}

/// An update of a task as whoever looks at the agent sees it.
pub(crate) fn told(
    update: &Update,
    task: &regency_agent_core::Task,
    constants: &Constants,
    agent_id: Option<&AgentId>,
) -> v1::TaskStatus {
    if let Ok(status) = v1::TaskStatus::decode(&update.status[..])
        && !update.status.is_empty()
    {
        return status;
    }
    let report = Report {
        report_seq: task.report_seq,
        id: task.launch.id.clone(),
        container: task.launch.container,
        parent: task.launch.parent,
        executor_pid: task.executor_pid,
        executor: task.launch.executor.clone(),
        head: None,
        latest_state: task.latest_state,
        task_info: Bytes::new(),
    };
    status(update, &report, constants, agent_id)
}

/// The agent's own network, which everything here runs in.
pub(crate) fn network_info(ip: std::net::IpAddr) -> v1::NetworkInfo {
    use v1::network_info::{IpAddress, Protocol};
    let protocol = if ip.is_ipv4() {
        Protocol::IPv4
    } else {
        Protocol::IPv6
    };
    v1::NetworkInfo {
        ip_addresses: vec![IpAddress {
            protocol: Some(protocol as i32),
            ip_address: Some(ip.to_string()),
        }],
        ..v1::NetworkInfo::default()
    }
}

fn reason_of(reason: Reason) -> v1::task_status::Reason {
    use v1::task_status::Reason as Wire;
    match reason {
        Reason::AgentDraining => Wire::AgentDraining,
        Reason::AgentRestarted => Wire::AgentRestarted,
        Reason::ContainerLaunchFailed => Wire::ContainerLaunchFailed,
        Reason::ExecutorRegistrationTimeout => Wire::ExecutorRegistrationTimeout,
        Reason::ExecutorReregistrationTimeout => Wire::ExecutorReregistrationTimeout,
        Reason::ExecutorTerminated => Wire::ExecutorTerminated,
        Reason::Reconciliation => Wire::Reconciliation,
        Reason::TaskInvalid => Wire::TaskInvalid,
        Reason::TaskGroupInvalid => Wire::TaskGroupInvalid,
        Reason::TaskKilledDuringLaunch => Wire::TaskKilledDuringLaunch,
        Reason::TaskHealthCheckStatusUpdated => Wire::TaskHealthCheckStatusUpdated,
        Reason::TaskCheckStatusUpdated => Wire::TaskCheckStatusUpdated,
        Reason::MaxCompletionTimeReached => Wire::MaxCompletionTimeReached,
    }
}

#[cfg(test)]
mod tests {
    use regency_agent_core::ContainerId;
    use regency_types::{TaskState, WallTime};

    use super::*;

    fn constants() -> Constants {
        Constants {
            epoch: AgentEpoch(1),
            boot: BootId(2),
            info: v1::AgentInfo::default(),
            address: ([127, 0, 0, 1], 5051).into(),
        }
    }

    fn update(source: Source) -> Update {
        Update {
            uuid: UpdateUuid(5),
            task_seq: 3,
            state: TaskState::Finished,
            source,
            reason: None,
            message: Some("Command exited with status 0".to_owned()),
            healthy: None,
            check_status: None,
            timestamp: WallTime(1_500),
            status: Bytes::new(),
        }
    }

    fn report(head: Option<Update>) -> Report {
        Report {
            report_seq: 9,
            id: launch_id("f", "t", 4).expect("ids"),
            container: ContainerId(6),
            parent: None,
            executor_pid: Some(77),
            executor: None,
            head,
            latest_state: TaskState::Finished,
            task_info: Bytes::new(),
        }
    }

    /// The one report of a message with `head`.
    fn written(head: Option<Update>) -> rpc::Report {
        let message = AgentMessage::Reports {
            reports: vec![report(head)],
            command_seq: 8,
        };
        let agent = AgentId::new("a-S0").expect("an id");
        match to_master(message, &constants(), Some(&agent)).message {
            Some(rpc::agent_message::Message::Reports(mut reports)) => reports.reports.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_status_has_the_fields_of_a_command_task() {
        let report = written(Some(update(Source::Executor)));
        assert_eq!(
            (report.task_seq, report.generation, report.report_seq),
            (3, 4, 9)
        );
        let status = v1::TaskStatus::decode(report.status).expect("a status");
        assert_eq!(status.task_id.value, "t");
        assert_eq!(status.executor_id.expect("an executor").value, "t");
        assert_eq!(status.agent_id.expect("an agent").value, "a-S0");
        assert_eq!(status.timestamp, Some(1.5));
        assert_eq!(
            status.uuid.expect("a uuid").as_ref(),
            UpdateUuid(5).to_bytes()
        );
        let container = status.container_status.expect("a container");
        assert_eq!(container.executor_pid, Some(77));
        assert_eq!(
            container.network_infos[0].ip_addresses[0]
                .ip_address
                .as_deref(),
            Some("127.0.0.1")
        );
    }

    #[test]
    fn the_agent_speaks_without_an_executor_and_a_report_without_head_has_no_status() {
        let report = written(Some(update(Source::Agent)));
        let status = v1::TaskStatus::decode(report.status).expect("a status");
        assert_eq!((status.executor_id, status.container_status), (None, None));
        let report = written(None);
        assert_eq!((report.task_seq, report.status.is_empty()), (0, true));
    }

    fn task() -> v1::TaskInfo {
        v1::TaskInfo {
            task_id: v1::TaskId { value: "t".into() },
            command: Some(v1::CommandInfo {
                value: Some("true".into()),
                ..v1::CommandInfo::default()
            }),
            ..v1::TaskInfo::default()
        }
    }

    fn read(task: &v1::TaskInfo) -> Command {
        let launch = rpc::Launch {
            framework_id: "f".into(),
            generation: 4,
            framework_info: v1::FrameworkInfo::default().encode_to_vec().into(),
            task_info: task.encode_to_vec().into(),
            executor: None,
        };
        self::launch(launch).expect("a launch")
    }

    #[test]
    fn a_task_that_cannot_run_here_is_a_defect_and_no_error() {
        let mut no_command = task();
        no_command.command = None;
        let mut docker = task();
        docker.container = Some(v1::ContainerInfo {
            r#type: v1::container_info::Type::Docker as i32,
            ..v1::ContainerInfo::default()
        });
        let mut empty = task();
        empty.command = Some(v1::CommandInfo::default());
        for bad in [no_command, docker, empty] {
            let command = read(&bad);
            assert!(
                matches!(
                    command,
                    Command::Launch {
                        defect: Some(_),
                        ..
                    }
                ),
                "{command:?}"
            );
        }
        let command = read(&task());
        assert!(
            matches!(command, Command::Launch { defect: None, .. }),
            "{command:?}"
        );
    }

    #[test]
    fn the_kill_policy_is_read() {
        let mut task = task();
        let grace_period = Some(v1::DurationInfo {
            nanoseconds: 1_500_000_000,
        });
        task.kill_policy = Some(v1::KillPolicy { grace_period });
        let command = read(&task);
        let Command::Launch { kill_grace, .. } = command else {
            panic!("{command:?}");
        };
        assert_eq!(kill_grace, Some(DurationMs(1_500)));
    }

    #[test]
    fn a_message_without_sense_is_an_error() {
        let message = |cluster: &[u8], message| rpc::MasterMessage {
            cluster_id: Bytes::copy_from_slice(cluster),
            term: 1,
            leader: 1,
            message,
        };
        let ping = rpc::master_message::Message::Ping(rpc::Ping::default());
        assert!(from_master(message(&[0; 16], Some(ping.clone()))).is_ok());
        assert!(from_master(message(&[0; 15], Some(ping))).is_err());
        assert!(from_master(message(&[0; 16], None)).is_err());
        // A master without a cluster may still say that it does not lead.
        let refused = rpc::master_message::Message::Refused(rpc::Refused::default());
        assert!(from_master(message(&[], Some(refused.clone()))).is_ok());
        assert!(from_master(message(&[1], Some(refused))).is_err());
        let nameless = rpc::master_message::Message::Attached(rpc::Attached::default());
        assert!(from_master(message(&[0; 16], Some(nameless))).is_err());
    }
}
