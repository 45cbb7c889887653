//! Kills and acknowledgements.

use regency_state::{AcknowledgeUpdate, KillTask};
use regency_types::{DurationMs, TaskKey, UpdateUuid};

use crate::StoredError;
use crate::field::{Stored, id, load_u128, optional_id, required, store_u128};
use crate::proto;

impl Stored for KillTask {
    type Message = proto::KillTask;

    fn store(&self) -> proto::KillTask {
        proto::KillTask {
            task: Some(self.task.store()),
            agent: self.agent.as_ref().map(|a| a.as_str().to_owned()),
            grace_ms: self.grace.map(|g| g.0),
        }
    }

    fn load(message: proto::KillTask) -> Result<Self, StoredError> {
        Ok(Self {
            task: TaskKey::load(required(message.task, "KillTask.task")?)?,
            agent: optional_id(message.agent, "KillTask.agent")?,
            grace: message.grace_ms.map(DurationMs),
        })
    }
}

impl Stored for AcknowledgeUpdate {
    type Message = proto::AcknowledgeUpdate;

    fn store(&self) -> proto::AcknowledgeUpdate {
        proto::AcknowledgeUpdate {
            task: Some(self.task.store()),
            agent: self.agent.as_str().to_owned(),
            uuid: store_u128(self.uuid.0),
        }
    }

    fn load(message: proto::AcknowledgeUpdate) -> Result<Self, StoredError> {
        Ok(Self {
            task: TaskKey::load(required(message.task, "AcknowledgeUpdate.task")?)?,
            agent: id(message.agent, "AcknowledgeUpdate.agent")?,
            uuid: UpdateUuid(load_u128(&message.uuid, "AcknowledgeUpdate.uuid")?),
        })
    }
}
