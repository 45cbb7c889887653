//! Executors.

use std::sync::Arc;

use imbl::OrdMap;
use regency_resources::Resources;
use regency_state::model::{Executor, ExecutorKey, TaskExecutor};
use regency_types::{ClusterTime, Generation};

use crate::StoredError;
use crate::field::{Stored, id, required};
use crate::proto;

impl Stored for ExecutorKey {
    type Message = proto::ExecutorKey;

    fn store(&self) -> proto::ExecutorKey {
        proto::ExecutorKey {
            framework: self.framework.as_str().to_owned(),
            executor: self.executor.as_str().to_owned(),
        }
    }

    fn load(message: proto::ExecutorKey) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "ExecutorKey.framework")?,
            executor: id(message.executor, "ExecutorKey.executor")?,
        })
    }
}

impl Stored for TaskExecutor {
    type Message = proto::task::Executor;

    fn store(&self) -> proto::task::Executor {
        proto::task::Executor {
            executor: self.executor.as_str().to_owned(),
            instance: self.instance.0,
        }
    }

    fn load(message: proto::task::Executor) -> Result<Self, StoredError> {
        Ok(Self {
            executor: id(message.executor, "Task.Executor.executor")?,
            instance: Generation(message.instance),
        })
    }
}

impl Stored for Executor {
    type Message = proto::Executor;

    fn store(&self) -> proto::Executor {
        let Self {
            key,
            instance,
            role,
            info,
            resources,
            launch_seq,
            shutdown,
            launched,
        } = self;
        proto::Executor {
            key: Some(key.store()),
            instance: instance.0,
            role: role.clone(),
            info: info.clone(),
            resources: Some(resources.store()),
            launch_seq: *launch_seq,
            shutdown: *shutdown,
            launched_ms: launched.0,
        }
    }

    fn load(message: proto::Executor) -> Result<Self, StoredError> {
        Ok(Self {
            key: ExecutorKey::load(required(message.key, "Executor.key")?)?,
            instance: Generation(message.instance),
            role: message.role,
            info: message.info,
            resources: Resources::load(required(message.resources, "Executor.resources")?)?,
            launch_seq: message.launch_seq,
            shutdown: message.shutdown,
            launched: ClusterTime(message.launched_ms),
        })
    }
}

/// The executors of an agent, in strictly ascending order so that none takes another's place.
pub(crate) fn load_executors(
    messages: Vec<proto::Executor>,
) -> Result<OrdMap<ExecutorKey, Arc<Executor>>, StoredError> {
    let mut executors: OrdMap<ExecutorKey, Arc<Executor>> = OrdMap::new();
    for message in messages {
        let executor = Executor::load(message)?;
        if executors
            .get_max()
            .is_some_and(|(last, _)| *last >= executor.key)
        {
            return Err(StoredError::malformed(
                "Agent.executors",
                "they are not in ascending order",
            ));
        }
        executors.insert(executor.key.clone(), Arc::new(executor));
    }
    Ok(executors)
}
