//! Executors: what agents tell of them, and their shutdown.

use regency_resources::Resources;
use regency_state::model::ExecutorKey;
use regency_state::{
    EndExecutors, ExecutorExit, ExecutorSpec, ReportedExecutor, ResyncExecutors, ShutdownExecutor,
};
use regency_types::{AgentEpoch, Generation};

use crate::StoredError;
use crate::field::{Stored, id, load_all, load_u128, required, store_all, store_u128};
use crate::proto;

impl Stored for ExecutorSpec {
    type Message = proto::ExecutorSpec;

    fn store(&self) -> proto::ExecutorSpec {
        proto::ExecutorSpec {
            executor: self.executor.as_str().to_owned(),
            resources: Some(self.resources.store()),
            info: self.info.clone(),
        }
    }

    fn load(message: proto::ExecutorSpec) -> Result<Self, StoredError> {
        Ok(Self {
            executor: id(message.executor, "ExecutorSpec.executor")?,
            resources: Resources::load(required(message.resources, "ExecutorSpec.resources")?)?,
            info: message.info,
        })
    }
}

impl Stored for ExecutorExit {
    type Message = proto::end_executors::Exit;

    fn store(&self) -> proto::end_executors::Exit {
        proto::end_executors::Exit {
            report_seq: self.report_seq,
            executor: Some(self.executor.store()),
            instance: self.instance.0,
            status: self.status,
        }
    }

    fn load(message: proto::end_executors::Exit) -> Result<Self, StoredError> {
        Ok(Self {
            report_seq: message.report_seq,
            executor: ExecutorKey::load(required(message.executor, "EndExecutors.Exit.executor")?)?,
            instance: Generation(message.instance),
            status: message.status,
        })
    }
}

impl Stored for EndExecutors {
    type Message = proto::EndExecutors;

    fn store(&self) -> proto::EndExecutors {
        proto::EndExecutors {
            agent: self.agent.as_str().to_owned(),
            epoch: store_u128(self.epoch.0),
            command_seq: self.command_seq,
            exits: store_all(&self.exits),
        }
    }

    fn load(message: proto::EndExecutors) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "EndExecutors.agent")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "EndExecutors.epoch")?),
            command_seq: message.command_seq,
            exits: load_all(message.exits)?,
        })
    }
}

impl Stored for ReportedExecutor {
    type Message = proto::resync_executors::Reported;

    fn store(&self) -> proto::resync_executors::Reported {
        proto::resync_executors::Reported {
            key: Some(self.key.store()),
            instance: self.instance.0,
            spec: self.spec.as_ref().map(Stored::store),
            role: self.role.clone(),
        }
    }

    fn load(message: proto::resync_executors::Reported) -> Result<Self, StoredError> {
        Ok(Self {
            key: ExecutorKey::load(required(message.key, "ResyncExecutors.Reported.key")?)?,
            instance: Generation(message.instance),
            spec: message.spec.map(ExecutorSpec::load).transpose()?,
            role: message.role,
        })
    }
}

impl Stored for ResyncExecutors {
    type Message = proto::ResyncExecutors;

    fn store(&self) -> proto::ResyncExecutors {
        proto::ResyncExecutors {
            agent: self.agent.as_str().to_owned(),
            epoch: store_u128(self.epoch.0),
            command_seq: self.command_seq,
            executors: store_all(&self.executors),
        }
    }

    fn load(message: proto::ResyncExecutors) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "ResyncExecutors.agent")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "ResyncExecutors.epoch")?),
            command_seq: message.command_seq,
            executors: load_all(message.executors)?,
        })
    }
}

impl Stored for ShutdownExecutor {
    type Message = proto::ShutdownExecutor;

    fn store(&self) -> proto::ShutdownExecutor {
        proto::ShutdownExecutor {
            executor: Some(self.executor.store()),
            agent: self.agent.as_str().to_owned(),
        }
    }

    fn load(message: proto::ShutdownExecutor) -> Result<Self, StoredError> {
        Ok(Self {
            executor: ExecutorKey::load(required(message.executor, "ShutdownExecutor.executor")?)?,
            agent: id(message.agent, "ShutdownExecutor.agent")?,
        })
    }
}
