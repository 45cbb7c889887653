//! Tasks and statuses.

use regency_resources::Resources;
use regency_state::model::{
    MasterStatus, PendingKill, StatusReason, StatusRecord, Task, TaskExecutor, UnackedUpdate,
};
use regency_types::{ClusterTime, DurationMs, Generation, TaskKey, UpdateUuid, WallTime};

use crate::StoredError;
use crate::field::{
    Stored, id, load_all, load_task_state, load_u128, optional_id, optional_task_state, required,
    store_all, store_task_state, store_u128,
};
use crate::proto;

impl Stored for TaskKey {
    type Message = proto::TaskKey;

    fn store(&self) -> proto::TaskKey {
        proto::TaskKey {
            framework: self.framework.as_str().to_owned(),
            task: self.task.as_str().to_owned(),
        }
    }

    fn load(message: proto::TaskKey) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "TaskKey.framework")?,
            task: id(message.task, "TaskKey.task")?,
        })
    }
}

impl Stored for UnackedUpdate {
    type Message = proto::Update;

    fn store(&self) -> proto::Update {
        proto::Update {
            uuid: store_u128(self.uuid.0),
            state: store_task_state(self.state),
            status: self.status.clone(),
        }
    }

    fn load(message: proto::Update) -> Result<Self, StoredError> {
        Ok(Self {
            uuid: UpdateUuid(load_u128(&message.uuid, "Update.uuid")?),
            state: load_task_state(message.state, "Update.state")?,
            status: message.status,
        })
    }
}

impl Stored for StatusRecord {
    type Message = proto::task::Status;

    fn store(&self) -> proto::task::Status {
        proto::task::Status {
            state: store_task_state(self.state),
            wall_ms: self.wall.0,
        }
    }

    fn load(message: proto::task::Status) -> Result<Self, StoredError> {
        Ok(Self {
            state: load_task_state(message.state, "Task.Status.state")?,
            wall: WallTime(message.wall_ms),
        })
    }
}

impl Stored for Task {
    type Message = proto::Task;

    fn store(&self) -> proto::Task {
        let Self {
            key,
            generation,
            agent,
            role,
            name,
            info,
            resources,
            executor,
            launch_seq,
            state,
            state_before_unreachable,
            unreachable,
            status,
            task_seq,
            unacked,
            lost,
            kill,
            statuses,
            launched,
        } = self;
        proto::Task {
            framework: key.framework.as_str().to_owned(),
            task: key.task.as_str().to_owned(),
            generation: generation.0,
            agent: agent.as_str().to_owned(),
            role: role.clone(),
            name: name.clone(),
            info: info.clone(),
            resources: Some(resources.store()),
            launch_seq: *launch_seq,
            state: store_task_state(*state),
            state_before_unreachable: state_before_unreachable.map_or(0, store_task_state),
            unreachable_wall_ms: unreachable.map(|w| w.0),
            status: status.clone(),
            task_seq: *task_seq,
            unacked: unacked.as_ref().map(Stored::store),
            kill: kill.as_ref().map(|k| proto::task::Kill {
                grace_ms: k.grace.map(|g| g.0),
                command_seq: k.command_seq,
            }),
            statuses: store_all(statuses),
            launched_ms: launched.0,
            lost: *lost,
            executor: executor.as_ref().map(Stored::store),
        }
    }

    fn load(message: proto::Task) -> Result<Self, StoredError> {
        Ok(Self {
            key: TaskKey {
                framework: id(message.framework, "Task.framework")?,
                task: id(message.task, "Task.task")?,
            },
            generation: Generation(message.generation),
            agent: id(message.agent, "Task.agent")?,
            role: message.role,
            name: message.name,
            info: message.info,
            resources: Resources::load(required(message.resources, "Task.resources")?)?,
            executor: message.executor.map(TaskExecutor::load).transpose()?,
            launch_seq: message.launch_seq,
            state: load_task_state(message.state, "Task.state")?,
            state_before_unreachable: optional_task_state(
                message.state_before_unreachable,
                "Task.state_before_unreachable",
            )?,
            unreachable: message.unreachable_wall_ms.map(WallTime),
            status: message.status,
            task_seq: message.task_seq,
            unacked: message.unacked.map(UnackedUpdate::load).transpose()?,
            lost: message.lost,
            kill: message.kill.map(|k| PendingKill {
                grace: k.grace_ms.map(DurationMs),
                command_seq: k.command_seq,
            }),
            statuses: load_all(message.statuses)?,
            launched: ClusterTime(message.launched_ms),
        })
    }
}

fn store_reason(reason: StatusReason) -> proto::StatusReason {
    match reason {
        StatusReason::InvalidOffers => proto::StatusReason::InvalidOffers,
        StatusReason::TaskInvalid => proto::StatusReason::TaskInvalid,
        StatusReason::TaskGroupInvalid => proto::StatusReason::TaskGroupInvalid,
        StatusReason::AgentRemoved => proto::StatusReason::AgentRemoved,
        StatusReason::AgentRemovedByOperator => proto::StatusReason::AgentRemovedByOperator,
        StatusReason::AgentReregistered => proto::StatusReason::AgentReregistered,
        StatusReason::FrameworkRemoved => proto::StatusReason::FrameworkRemoved,
        StatusReason::Reconciliation => proto::StatusReason::Reconciliation,
    }
}

fn load_reason(reason: proto::StatusReason) -> Result<StatusReason, StoredError> {
    Ok(match reason {
        proto::StatusReason::InvalidOffers => StatusReason::InvalidOffers,
        proto::StatusReason::TaskInvalid => StatusReason::TaskInvalid,
        proto::StatusReason::TaskGroupInvalid => StatusReason::TaskGroupInvalid,
        proto::StatusReason::AgentRemoved => StatusReason::AgentRemoved,
        proto::StatusReason::AgentRemovedByOperator => StatusReason::AgentRemovedByOperator,
        proto::StatusReason::AgentReregistered => StatusReason::AgentReregistered,
        proto::StatusReason::FrameworkRemoved => StatusReason::FrameworkRemoved,
        proto::StatusReason::Reconciliation => StatusReason::Reconciliation,
        proto::StatusReason::Unspecified => {
            return Err(StoredError::Unknown {
                what: "MasterStatus.reason",
            });
        }
    })
}

impl Stored for MasterStatus {
    type Message = proto::MasterStatus;

    fn store(&self) -> proto::MasterStatus {
        proto::MasterStatus {
            task_id: self.task_id.clone(),
            agent: self.agent.as_ref().map(|a| a.as_str().to_owned()),
            state: store_task_state(self.state),
            reason: store_reason(self.reason).into(),
            message: self.message.clone(),
            unreachable_wall_ms: self.unreachable.map(|w| w.0),
        }
    }

    fn load(message: proto::MasterStatus) -> Result<Self, StoredError> {
        Ok(Self {
            reason: load_reason(message.reason())?,
            task_id: message.task_id,
            agent: optional_id(message.agent, "MasterStatus.agent")?,
            state: load_task_state(message.state, "MasterStatus.state")?,
            message: message.message,
            unreachable: message.unreachable_wall_ms.map(WallTime),
        })
    }
}
