//! Agents and their command streams.

use imbl::{OrdMap, OrdSet};
use regency_resources::Resources;
use regency_state::model::{Agent, AgentCommand, AgentPhase, AgentSpec, Drain, ExecutorKey};
use regency_types::{
    AgentEpoch, BootId, ClusterTime, DurationMs, Generation, TaskKey, UpdateUuid, WallTime,
};

use crate::StoredError;
use crate::executor::load_executors;
use crate::field::{Stored, chosen, id, load_u128, required, store_u128};
use crate::maintenance::{load_answers, store_answers};
use crate::proto;

impl Stored for AgentSpec {
    type Message = proto::AgentSpec;

    fn store(&self) -> proto::AgentSpec {
        proto::AgentSpec {
            info: self.info.clone(),
            hostname: self.hostname.clone(),
            address: self.address.clone(),
            total: Some(self.total.store()),
            version: self.version.clone(),
        }
    }

    fn load(message: proto::AgentSpec) -> Result<Self, StoredError> {
        Ok(Self {
            info: message.info,
            hostname: message.hostname,
            address: message.address,
            total: Resources::load(required(message.total, "AgentSpec.total")?)?,
            version: message.version,
        })
    }
}

impl Stored for Agent {
    type Message = proto::Agent;

    fn store(&self) -> proto::Agent {
        // The sums and lists are derived from tasks and offers when the state is loaded.
        let Self {
            id,
            epoch,
            boot,
            spec,
            checkpointed,
            total: _,
            phase,
            suspect_since,
            inventory_due,
            deactivated,
            drain,
            answers,
            registered,
            reregistered,
            report_seq,
            command_seq,
            confirmed_seq,
            outbox,
            executors,
            allocated: _,
            offered: _,
            tasks: _,
            offers: _,
            inverse_offers: _,
        } = self;
        proto::Agent {
            id: id.as_str().to_owned(),
            epoch: store_u128(epoch.0),
            boot: store_u128(boot.0),
            spec: Some(spec.store()),
            phase: Some(match phase {
                AgentPhase::Registered => {
                    proto::agent::Phase::Registered(proto::agent::Registered {})
                }
                AgentPhase::Unreachable { since, wall } => {
                    proto::agent::Phase::Unreachable(proto::agent::Unreachable {
                        since_ms: since.0,
                        wall_ms: wall.0,
                    })
                }
                AgentPhase::Down { since } => {
                    proto::agent::Phase::Down(proto::agent::Down { since_ms: since.0 })
                }
            }),
            suspect_since_ms: suspect_since.map(|t| t.0),
            registered_wall_ms: registered.0,
            reregistered_wall_ms: reregistered.map(|t| t.0),
            report_seq: *report_seq,
            command_seq: *command_seq,
            confirmed_seq: *confirmed_seq,
            outbox: outbox
                .iter()
                .map(|(seq, command)| store_command(*seq, command))
                .collect(),
            inventory_due: *inventory_due,
            deactivated: *deactivated,
            drain: drain.as_ref().map(Stored::store),
            answers: store_answers(answers),
            checkpointed: (!checkpointed.is_empty()).then(|| checkpointed.store()),
            executors: executors.values().map(|e| e.store()).collect(),
        }
    }

    fn load(message: proto::Agent) -> Result<Self, StoredError> {
        let phase = match chosen(message.phase, "Agent.phase")? {
            proto::agent::Phase::Registered(_) => AgentPhase::Registered,
            proto::agent::Phase::Unreachable(p) => AgentPhase::Unreachable {
                since: ClusterTime(p.since_ms),
                wall: WallTime(p.wall_ms),
            },
            proto::agent::Phase::Down(p) => AgentPhase::Down {
                since: ClusterTime(p.since_ms),
            },
        };
        Ok(Self {
            id: id(message.id, "Agent.id")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "Agent.epoch")?),
            boot: BootId(load_u128(&message.boot, "Agent.boot")?),
            spec: AgentSpec::load(required(message.spec, "Agent.spec")?)?,
            checkpointed: message
                .checkpointed
                .map(Resources::load)
                .transpose()?
                .unwrap_or_default(),
            total: Resources::default(),
            phase,
            suspect_since: message.suspect_since_ms.map(ClusterTime),
            inventory_due: message.inventory_due,
            deactivated: message.deactivated,
            drain: message.drain.map(Drain::load).transpose()?,
            answers: load_answers(message.answers)?,
            registered: WallTime(message.registered_wall_ms),
            reregistered: message.reregistered_wall_ms.map(WallTime),
            report_seq: message.report_seq,
            command_seq: message.command_seq,
            confirmed_seq: message.confirmed_seq,
            outbox: load_outbox(message.confirmed_seq, message.command_seq, message.outbox)?,
            executors: load_executors(message.executors)?,
            allocated: Resources::default(),
            offered: Resources::default(),
            tasks: OrdSet::new(),
            offers: OrdSet::new(),
            inverse_offers: OrdSet::new(),
        })
    }
}

/// The commands waiting; exactly those above the cursor.
fn load_outbox(
    confirmed_seq: u64,
    command_seq: u64,
    messages: Vec<proto::AgentCommand>,
) -> Result<OrdMap<u64, AgentCommand>, StoredError> {
    const FIELD: &str = "Agent.outbox";
    let mut outbox = OrdMap::new();
    let mut last = confirmed_seq;
    for message in messages {
        let (seq, command) = load_command(message)?;
        if last.checked_add(1) != Some(seq) {
            return Err(StoredError::malformed(
                FIELD,
                format!("command {seq} follows {last}"),
            ));
        }
        last = seq;
        outbox.insert(seq, command);
    }
    if last != command_seq {
        return Err(StoredError::malformed(
            FIELD,
            format!("it ends at {last} instead of {command_seq}"),
        ));
    }
    Ok(outbox)
}

fn store_command(seq: u64, command: &AgentCommand) -> proto::AgentCommand {
    use proto::agent_command as stored;
    let launch = |task: &TaskKey, generation: &Generation| stored::Launch {
        task: Some(task.store()),
        generation: generation.0,
    };
    let group = |tasks: &[(TaskKey, Generation)]| stored::Group {
        tasks: tasks.iter().map(|(task, n)| launch(task, n)).collect(),
    };
    let command = match command {
        AgentCommand::Launch { task, generation } => {
            stored::Command::Launch(launch(task, generation))
        }
        AgentCommand::LaunchGroup { tasks } => stored::Command::LaunchGroup(group(tasks)),
        AgentCommand::DropLaunch { task, generation } => {
            stored::Command::DropLaunch(launch(task, generation))
        }
        AgentCommand::DropGroup { tasks } => stored::Command::DropGroup(group(tasks)),
        AgentCommand::Kill {
            task,
            generation,
            grace,
        } => stored::Command::Kill(stored::Kill {
            task: Some(task.store()),
            generation: generation.0,
            grace_ms: grace.map(|g| g.0),
        }),
        AgentCommand::DrainTask {
            task,
            generation,
            max_grace,
            gone,
        } => stored::Command::DrainTask(stored::DrainTask {
            task: Some(task.store()),
            generation: generation.0,
            max_grace_ms: max_grace.map(|g| g.0),
            gone: *gone,
        }),
        AgentCommand::Acknowledge {
            task,
            generation,
            uuid,
        } => stored::Command::Acknowledge(stored::Acknowledge {
            task: Some(task.store()),
            generation: generation.0,
            uuid: store_u128(uuid.0),
        }),
        AgentCommand::ShutdownFramework { framework } => {
            stored::Command::ShutdownFramework(stored::ShutdownFramework {
                framework: framework.as_str().to_owned(),
            })
        }
        AgentCommand::DestroyVolume { volume } => {
            stored::Command::DestroyVolume(stored::DestroyVolume {
                volume: Some(volume.store()),
            })
        }
        AgentCommand::LaunchExecutor { executor, instance } => {
            stored::Command::LaunchExecutor(of_executor(executor, *instance))
        }
        AgentCommand::ShutdownExecutor { executor, instance } => {
            stored::Command::ShutdownExecutor(of_executor(executor, *instance))
        }
    };
    proto::AgentCommand {
        seq,
        command: Some(command),
    }
}

fn of_executor(executor: &ExecutorKey, instance: Generation) -> proto::agent_command::Executor {
    proto::agent_command::Executor {
        executor: Some(executor.store()),
        instance: instance.0,
    }
}

fn load_launch(
    message: proto::agent_command::Launch,
) -> Result<(TaskKey, Generation), StoredError> {
    let task = required(message.task, "AgentCommand.Launch.task")?;
    Ok((TaskKey::load(task)?, Generation(message.generation)))
}

fn load_group(
    message: proto::agent_command::Group,
) -> Result<Vec<(TaskKey, Generation)>, StoredError> {
    message.tasks.into_iter().map(load_launch).collect()
}

fn load_command(message: proto::AgentCommand) -> Result<(u64, AgentCommand), StoredError> {
    use proto::agent_command as stored;
    let command = match chosen(message.command, "AgentCommand.command")? {
        stored::Command::Launch(m) => {
            let (task, generation) = load_launch(m)?;
            AgentCommand::Launch { task, generation }
        }
        stored::Command::LaunchGroup(m) => AgentCommand::LaunchGroup {
            tasks: load_group(m)?,
        },
        stored::Command::DropLaunch(m) => {
            let (task, generation) = load_launch(m)?;
            AgentCommand::DropLaunch { task, generation }
        }
        stored::Command::DropGroup(m) => AgentCommand::DropGroup {
            tasks: load_group(m)?,
        },
        stored::Command::Kill(m) => AgentCommand::Kill {
            task: TaskKey::load(required(m.task, "AgentCommand.Kill.task")?)?,
            generation: Generation(m.generation),
            grace: m.grace_ms.map(DurationMs),
        },
        stored::Command::DrainTask(m) => AgentCommand::DrainTask {
            task: TaskKey::load(required(m.task, "AgentCommand.DrainTask.task")?)?,
            generation: Generation(m.generation),
            max_grace: m.max_grace_ms.map(DurationMs),
            gone: m.gone,
        },
        stored::Command::Acknowledge(m) => AgentCommand::Acknowledge {
            task: TaskKey::load(required(m.task, "AgentCommand.Acknowledge.task")?)?,
            generation: Generation(m.generation),
            uuid: UpdateUuid(load_u128(&m.uuid, "AgentCommand.Acknowledge.uuid")?),
        },
        stored::Command::LaunchExecutor(m) => AgentCommand::LaunchExecutor {
            executor: ExecutorKey::load(required(m.executor, "AgentCommand.Executor.executor")?)?,
            instance: Generation(m.instance),
        },
        stored::Command::ShutdownExecutor(m) => AgentCommand::ShutdownExecutor {
            executor: ExecutorKey::load(required(m.executor, "AgentCommand.Executor.executor")?)?,
            instance: Generation(m.instance),
        },
        stored::Command::ShutdownFramework(m) => AgentCommand::ShutdownFramework {
            framework: id(m.framework, "AgentCommand.ShutdownFramework.framework")?,
        },
        stored::Command::DestroyVolume(m) => AgentCommand::DestroyVolume {
            volume: Resources::load(required(m.volume, "AgentCommand.DestroyVolume.volume")?)?,
        },
    };
    Ok((message.seq, command))
}
