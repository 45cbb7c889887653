//! What an agent of a former cluster runs.

use regency_state::{InventoryTask, TakeInventory, TaskReport, TaskSpec};
use regency_types::AgentEpoch;

use crate::StoredError;
use crate::field::{Stored, id, load_all, load_u128, required, store_all, store_u128};
use crate::proto;

impl Stored for TakeInventory {
    type Message = proto::TakeInventory;

    fn store(&self) -> proto::TakeInventory {
        proto::TakeInventory {
            agent: self.agent.as_str().to_owned(),
            epoch: store_u128(self.epoch.0),
            report_seq: self.report_seq,
            tasks: store_all(&self.tasks),
        }
    }

    fn load(message: proto::TakeInventory) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "TakeInventory.agent")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "TakeInventory.epoch")?),
            report_seq: message.report_seq,
            tasks: load_all(message.tasks)?,
        })
    }
}

impl Stored for InventoryTask {
    type Message = proto::InventoryTask;

    fn store(&self) -> proto::InventoryTask {
        proto::InventoryTask {
            report: Some(self.report.store()),
            spec: self.spec.as_ref().map(Stored::store),
            role: self.role.clone(),
        }
    }

    fn load(message: proto::InventoryTask) -> Result<Self, StoredError> {
        Ok(Self {
            report: TaskReport::load(required(message.report, "InventoryTask.report")?)?,
            spec: message.spec.map(TaskSpec::load).transpose()?,
            role: message.role,
        })
    }
}
