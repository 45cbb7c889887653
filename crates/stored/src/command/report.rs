//! What agents report of their tasks.

use regency_state::{ApplyReports, ReportedUpdate, ResyncAgent, TaskReport};
use regency_types::{AgentEpoch, Generation, TaskKey, UpdateUuid};

use crate::StoredError;
use crate::field::{
    Stored, id, load_all, load_task_state, load_u128, required, store_all, store_task_state,
    store_u128,
};
use crate::proto;

impl Stored for ReportedUpdate {
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

impl Stored for TaskReport {
    type Message = proto::TaskReport;

    fn store(&self) -> proto::TaskReport {
        proto::TaskReport {
            report_seq: self.report_seq,
            task: Some(self.task.store()),
            generation: self.generation.0,
            task_seq: self.task_seq,
            head: self.head.as_ref().map(Stored::store),
            latest_state: store_task_state(self.latest_state),
        }
    }

    fn load(message: proto::TaskReport) -> Result<Self, StoredError> {
        Ok(Self {
            report_seq: message.report_seq,
            task: TaskKey::load(required(message.task, "TaskReport.task")?)?,
            generation: Generation(message.generation),
            task_seq: message.task_seq,
            head: message.head.map(ReportedUpdate::load).transpose()?,
            latest_state: load_task_state(message.latest_state, "TaskReport.latest_state")?,
        })
    }
}

impl Stored for ApplyReports {
    type Message = proto::ApplyReports;

    fn store(&self) -> proto::ApplyReports {
        proto::ApplyReports {
            agent: self.agent.as_str().to_owned(),
            epoch: store_u128(self.epoch.0),
            command_seq: self.command_seq,
            reports: store_all(&self.reports),
        }
    }

    fn load(message: proto::ApplyReports) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "ApplyReports.agent")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "ApplyReports.epoch")?),
            command_seq: message.command_seq,
            reports: load_all(message.reports)?,
        })
    }
}

impl Stored for ResyncAgent {
    type Message = proto::ResyncAgent;

    fn store(&self) -> proto::ResyncAgent {
        proto::ResyncAgent {
            agent: self.agent.as_str().to_owned(),
            epoch: store_u128(self.epoch.0),
            command_seq: self.command_seq,
            report_seq: self.report_seq,
            tasks: store_all(&self.tasks),
        }
    }

    fn load(message: proto::ResyncAgent) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "ResyncAgent.agent")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "ResyncAgent.epoch")?),
            command_seq: message.command_seq,
            report_seq: message.report_seq,
            tasks: load_all(message.tasks)?,
        })
    }
}
