//! Between the words of the state and those of an agent. In the program this goes through protobuf,
//! which is tested there.

use bytes::Bytes;
use regency_agent_core as agent;
use regency_agent_core::message::Report;
use regency_state::model::{AgentCommand, ExecutorKey};
use regency_state::{ExecutorExit, ReportedExecutor, ReportedUpdate, State, TaskReport};
use regency_types::{ExecutorId, FrameworkId, Generation, TaskId, TaskKey};

/// The name an executor's instance has at its agent.
pub(super) fn instance(
    framework: &FrameworkId,
    executor: &ExecutorId,
    n: Generation,
) -> agent::InstanceId {
    agent::InstanceId {
        key: TaskKey {
            framework: framework.clone(),
            task: TaskId::new(executor.as_str()).expect("ids of both kinds follow the same rules"),
        },
        generation: n,
    }
}

fn executor_key(id: &agent::InstanceId) -> ExecutorKey {
    ExecutorKey {
        framework: id.key.framework.clone(),
        executor: ExecutorId::new(id.key.task.as_str())
            .expect("ids of both kinds follow the same rules"),
    }
}

fn launch_id(key: &TaskKey, generation: Generation) -> agent::LaunchId {
    agent::LaunchId {
        key: key.clone(),
        generation,
    }
}

/// A command of an agent's stream as the agent reads it.
///
/// # Errors
/// When the state does not hold what it names, or the model does not know it.
pub(super) fn command(
    state: &State,
    record: &regency_state::model::Agent,
    command: &AgentCommand,
) -> Result<agent::Command, String> {
    Ok(match command {
        AgentCommand::Launch { task, generation } => {
            let there = state.task(task).filter(|t| t.generation == *generation);
            let there =
                there.ok_or_else(|| format!("the launch of {task}#{generation} names nothing"))?;
            let executor = there.executor.as_ref();
            agent::Command::Launch {
                id: launch_id(task, *generation),
                framework_info: Bytes::from_static(b"f"),
                task_info: there.info.clone(),
                kill_grace: None,
                // Of half of the frameworks.
                killing_state: task.framework.as_str().ends_with(['1', '3', '5']),
                health: None,
                check: None,
                max_completion: None,
                executor: executor.map(|e| instance(&task.framework, &e.executor, e.instance)),
                defect: None,
            }
        }
        AgentCommand::DropLaunch { task, generation } => {
            agent::Command::DropLaunch(launch_id(task, *generation))
        }
        AgentCommand::Kill {
            task,
            generation,
            grace,
        } => agent::Command::Kill {
            id: launch_id(task, *generation),
            grace: *grace,
        },
        AgentCommand::DrainTask {
            task,
            generation,
            max_grace,
            gone,
        } => agent::Command::DrainTask {
            id: launch_id(task, *generation),
            max_grace: *max_grace,
            gone: *gone,
        },
        AgentCommand::Acknowledge {
            task,
            generation,
            uuid,
        } => agent::Command::Acknowledge {
            id: launch_id(task, *generation),
            uuid: *uuid,
        },
        AgentCommand::ShutdownFramework { framework } => {
            agent::Command::ShutdownFramework(framework.clone())
        }
        AgentCommand::DestroyVolume { .. } => agent::Command::DestroyVolume(Bytes::new()),
        AgentCommand::LaunchExecutor {
            executor,
            instance: n,
        } => {
            let id = instance(&executor.framework, &executor.executor, *n);
            let there = record.executors.get(executor);
            match there.filter(|there| there.instance == *n) {
                Some(there) => agent::Command::LaunchExecutor {
                    id,
                    built_in: false,
                    framework_info: Bytes::from_static(b"f"),
                    executor_info: there.info.clone(),
                    shutdown_grace: None,
                },
                None => agent::Command::ShutdownExecutor(id),
            }
        }
        AgentCommand::ShutdownExecutor {
            executor,
            instance: n,
        } => {
            agent::Command::ShutdownExecutor(instance(&executor.framework, &executor.executor, *n))
        }
        #[allow(
            unreachable_patterns,
            reason = "commands that the model does not use yet"
        )]
        other => return Err(format!("the model does not know {other:?}")),
    })
}

/// A report of an agent as the state reads it.
pub(super) fn report(report: &Report) -> TaskReport {
    TaskReport {
        report_seq: report.report_seq,
        task: report.id.key.clone(),
        generation: report.id.generation,
        task_seq: report.head.as_ref().map_or(0, |head| head.task_seq),
        head: report.head.as_ref().map(|head| ReportedUpdate {
            uuid: head.uuid,
            state: head.state,
            status: Bytes::from_static(b"status"),
        }),
        latest_state: report.latest_state,
    }
}

/// The end of an executor as the state reads it.
pub(super) fn exit(report_seq: u64, id: &agent::InstanceId, exit: agent::Exit) -> ExecutorExit {
    ExecutorExit {
        report_seq,
        executor: executor_key(id),
        instance: id.generation,
        status: match exit {
            agent::Exit::Exited(status) => Some(status),
            _ => None,
        },
    }
}

/// An executor of an agent's picture as the state reads it.
pub(super) fn reported(id: &agent::InstanceId) -> ReportedExecutor {
    ReportedExecutor {
        key: executor_key(id),
        instance: id.generation,
        spec: None,
        role: None,
    }
}
