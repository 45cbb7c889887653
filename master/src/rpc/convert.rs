//! Between the agents' messages and the state's words.

use prost::Message;
use regency_leader_core::attachment::Attach;
use regency_rpc::proto::regency::agent::v1 as wire;
use regency_state::model::{Agent, AgentCommand, AgentSpec};
use regency_state::{InventoryTask, ReportedUpdate, State, TaskReport, TaskSpec};
use regency_types::digest::Digest;
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterId, FrameworkId, Generation, TaskId, TaskKey, TaskState,
    Term, UpdateUuid,
};
use regency_wire::v1;
use regency_wire::{ContentType, resources};

use super::executor::instance;

/// Why an agent's message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// A field is not what it must be.
    #[error("{field}: {reason}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

pub(super) fn wrong(field: &'static str, reason: impl ToString) -> MessageError {
    MessageError::Field {
        field,
        reason: reason.to_string(),
    }
}

/// Reads an Attach.
///
/// # Errors
/// When a field is not what it must be.
pub(crate) fn attach(message: wire::Attach) -> Result<Attach, MessageError> {
    let info: v1::AgentInfo = regency_wire::decode(ContentType::Protobuf, &message.agent_info)
        .map_err(|error| wrong("agent_info", error))?;
    let total = resources::from_wire(&info.resources)
        .map_err(|error| wrong("agent_info.resources", error))?
        .resources;
    if !total.checkpointed().is_empty() {
        return Err(wrong(
            "agent_info.resources",
            "dynamic reservations and persistent volumes are made by operations, not by --resources",
        ));
    }
    if message.address.parse::<std::net::SocketAddr>().is_err() {
        return Err(wrong(
            "address",
            format!("'{}' is not of the form ip:port", message.address),
        ));
    }
    Ok(Attach {
        cluster: optional(&message.cluster_id)
            .map(|bytes| {
                ClusterId::from_bytes(bytes).ok_or_else(|| wrong("cluster_id", "not 16 bytes"))
            })
            .transpose()?,
        agent: optional(&message.agent_id)
            .map(|id| AgentId::new(id).map_err(|error| wrong("agent_id", error)))
            .transpose()?,
        epoch: AgentEpoch::from_bytes(&message.epoch)
            .ok_or_else(|| wrong("epoch", "not 16 bytes"))?,
        boot: BootId::from_bytes(&message.boot_id)
            .ok_or_else(|| wrong("boot_id", "not 16 bytes"))?,
        highest_term: Term(message.highest_term),
        spec: AgentSpec {
            hostname: info.hostname.clone(),
            address: message.address,
            total,
            version: message.version,
            info: message.agent_info,
        },
        has_domain: info.domain.is_some(),
        report_seq: message.report_seq,
        command_seq: message.command_seq,
        digest: <[u8; 16]>::try_from(message.digest.as_ref())
            .ok()
            .map(|bytes| Digest(u128::from_be_bytes(bytes))),
    })
}

fn optional<T: AsRef<[u8]> + ?Sized>(value: &T) -> Option<&T> {
    (!value.as_ref().is_empty()).then_some(value)
}

/// Reads a report.
///
/// # Errors
/// When a field is not what it must be.
pub(crate) fn report(message: wire::Report) -> Result<TaskReport, MessageError> {
    let framework =
        FrameworkId::new(&message.framework_id).map_err(|error| wrong("framework_id", error))?;
    let task = TaskId::new(&message.task_id).map_err(|error| wrong("task_id", error))?;
    let latest_state = TaskState::from_number(message.latest_state).ok_or_else(|| {
        wrong(
            "latest_state",
            format!("no state has number {}", message.latest_state),
        )
    })?;
    let head = if message.status.is_empty() {
        None
    } else {
        let status: v1::TaskStatus = regency_wire::decode(ContentType::Protobuf, &message.status)
            .map_err(|error| wrong("status", error))?;
        let uuid = status.uuid.as_deref().and_then(UpdateUuid::from_bytes);
        Some(ReportedUpdate {
            uuid: uuid.ok_or_else(|| wrong("status.uuid", "not 16 bytes"))?,
            state: TaskState::from_number(status.state).ok_or_else(|| {
                wrong(
                    "status.state",
                    format!("no state has number {}", status.state),
                )
            })?,
            status: message.status,
        })
    };
    Ok(TaskReport {
        report_seq: message.report_seq,
        task: TaskKey { framework, task },
        generation: Generation(message.generation),
        task_seq: message.task_seq,
        head,
        latest_state,
    })
}

/// Reads a task of an inventory. What was launched is read only where `state` does not know it: all
/// of it would not fit into an entry.
///
/// # Errors
/// When a field of the report is not what it must be.
pub(crate) fn inventory_task(
    message: wire::Report,
    agent: &AgentId,
    state: &State,
) -> Result<InventoryTask, MessageError> {
    let info = message.task_info.clone();
    let report = report(message)?;
    let is_known = state
        .task(&report.task)
        .is_some_and(|task| task.generation == report.generation);
    let spec = (!is_known)
        .then(|| launched(&info, &report, agent))
        .flatten();
    let (spec, role) = spec.unzip();
    Ok(InventoryTask {
        report,
        spec,
        role: role.flatten(),
    })
}

/// What was launched, and the role it says its resources are of.
fn launched(
    info: &[u8],
    report: &TaskReport,
    agent: &AgentId,
) -> Option<(TaskSpec, Option<String>)> {
    let task: v1::TaskInfo = regency_wire::decode(ContentType::Protobuf, info).ok()?;
    let allocated = resources::from_wire(&task.resources).ok()?;
    let spec = TaskSpec {
        task: report.task.task.clone(),
        agent: agent.clone(),
        name: task.name,
        resources: allocated.resources,
        info: info.to_vec().into(),
        executor: task.executor.as_ref().and_then(super::executor::spec),
    };
    Some((spec, allocated.role))
}

/// A command of the agent's stream, with everything the agent needs for it. `None` when the state
/// does not hold what it names, which an invariant excludes.
pub(crate) fn command(
    state: &State,
    agent: &Agent,
    seq: u64,
    command: &AgentCommand,
) -> Option<wire::Command> {
    use wire::command::Command;
    let command = match command {
        AgentCommand::Launch { task, generation } => {
            let record = state.task(task).filter(|t| t.generation == *generation)?;
            let framework = state.framework(&task.framework)?;
            Command::Launch(wire::Launch {
                framework_id: task.framework.to_string(),
                generation: generation.0,
                framework_info: framework.spec.info.clone(),
                task_info: record.info.clone(),
                executor: record
                    .executor
                    .as_ref()
                    .map(|runs| instance(&task.framework, &runs.executor, runs.instance)),
            })
        }
        AgentCommand::LaunchGroup { tasks } => {
            Command::LaunchGroup(super::group::launch(state, tasks)?)
        }
        AgentCommand::DropLaunch { task, generation } => {
            Command::DropLaunch(super::group::drop_launch(task, *generation))
        }
        AgentCommand::DropGroup { tasks } => Command::DropGroup(wire::DropGroup {
            tasks: tasks
                .iter()
                .map(|(task, generation)| super::group::drop_launch(task, *generation))
                .collect(),
        }),
        AgentCommand::Kill {
            task,
            generation,
            grace,
        } => Command::Kill(wire::Kill {
            framework_id: task.framework.to_string(),
            task_id: task.task.to_string(),
            generation: generation.0,
            grace_ms: grace.map(|g| g.0),
        }),
        AgentCommand::DrainTask {
            task,
            generation,
            max_grace,
            gone,
        } => Command::DrainTask(wire::DrainTask {
            framework_id: task.framework.to_string(),
            task_id: task.task.to_string(),
            generation: generation.0,
            max_grace_ms: max_grace.map(|g| g.0),
            gone: *gone,
        }),
        AgentCommand::Acknowledge {
            task,
            generation,
            uuid,
        } => Command::Acknowledge(wire::Acknowledge {
            framework_id: task.framework.to_string(),
            task_id: task.task.to_string(),
            generation: generation.0,
            uuid: uuid.to_bytes().to_vec().into(),
        }),
        AgentCommand::ShutdownFramework { framework } => {
            Command::ShutdownFramework(wire::ShutdownFramework {
                framework_id: framework.to_string(),
            })
        }
        AgentCommand::DestroyVolume { volume } => {
            let format = resources::ResourceFormat::PostReservationRefinement;
            let volume = resources::to_wire(volume, format, None)
                .into_iter()
                .next()?;
            Command::DestroyVolume(wire::DestroyVolume {
                volume: volume.encode_to_vec().into(),
            })
        }
        AgentCommand::LaunchExecutor {
            executor,
            instance: n,
        } => {
            let there = agent.executors.get(executor);
            let name = instance(&executor.framework, &executor.executor, *n);
            match there.filter(|there| there.instance == *n) {
                Some(there) => Command::LaunchExecutor(wire::LaunchExecutor {
                    executor: Some(name),
                    framework_info: state.framework(&executor.framework)?.spec.info.clone(),
                    executor_info: there.info.clone(),
                }),
                // It went with its framework. The agent shuts down what it does not know of without
                // more ado.
                None => Command::ShutdownExecutor(wire::ShutdownExecutor {
                    executor: Some(name),
                }),
            }
        }
        AgentCommand::ShutdownExecutor {
            executor,
            instance: n,
        } => Command::ShutdownExecutor(wire::ShutdownExecutor {
            executor: Some(instance(&executor.framework, &executor.executor, *n)),
        }),
    };
    Some(wire::Command {
        command_seq: seq,
        command: Some(command),
    })
}
