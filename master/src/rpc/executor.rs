//! Executors between the agents' messages and the state's words.

use prost::Message;
use regency_rpc::proto::regency::agent::v1 as wire;
use regency_state::model::ExecutorKey;
use regency_state::{ExecutorExit, ExecutorSpec, ReportedExecutor};
use regency_types::{ExecutorId, FrameworkId, Generation};
use regency_wire::{resources, v1};

use super::convert::{MessageError, wrong};

/// The name of an instance as agents are told it.
pub(super) fn instance(
    framework: &FrameworkId,
    executor: &ExecutorId,
    instance: Generation,
) -> wire::ExecutorInstance {
    wire::ExecutorInstance {
        framework_id: framework.to_string(),
        executor_id: executor.to_string(),
        instance: instance.0,
    }
}

fn key(framework: &str, executor: &str) -> Result<ExecutorKey, MessageError> {
    Ok(ExecutorKey {
        framework: FrameworkId::new(framework).map_err(|error| wrong("framework_id", error))?,
        executor: ExecutorId::new(executor).map_err(|error| wrong("executor_id", error))?,
    })
}

fn named(name: Option<wire::ExecutorInstance>) -> Result<(ExecutorKey, Generation), MessageError> {
    let name = name.ok_or_else(|| wrong("executor", "it is missing"))?;
    let key = key(&name.framework_id, &name.executor_id)?;
    Ok((key, Generation(name.instance)))
}

/// Reads the end of an executor.
///
/// # Errors
/// When a field is not what it must be.
pub(super) fn exit(message: wire::executor_exits::Exit) -> Result<ExecutorExit, MessageError> {
    let (executor, instance) = named(message.executor)?;
    Ok(ExecutorExit {
        report_seq: message.report_seq,
        executor,
        instance,
        status: message.status,
    })
}

/// Reads an executor of an agent's picture. What was launched is read only for an inventory, to take
/// it over.
///
/// # Errors
/// When a field is not what it must be.
pub(super) fn reported(
    message: wire::ReportedExecutor,
    inventory: bool,
) -> Result<ReportedExecutor, MessageError> {
    let (key, instance) = named(message.executor)?;
    let info = v1::ExecutorInfo::decode(message.executor_info).ok();
    let info = info.filter(|_| inventory);
    let role = info.as_ref().and_then(|info| {
        let allocated = resources::from_wire(&info.resources).ok()?;
        allocated.role
    });
    Ok(ReportedExecutor {
        key,
        instance,
        spec: info.as_ref().and_then(spec),
        role,
    })
}

/// What an executor's description says of it; `None` when it cannot be read.
pub(super) fn spec(info: &v1::ExecutorInfo) -> Option<ExecutorSpec> {
    Some(ExecutorSpec {
        executor: ExecutorId::new(&info.executor_id.value).ok()?,
        resources: resources::from_wire(&info.resources).ok()?.resources,
        info: info.encode_to_vec().into(),
    })
}

/// Reads who speaks in a message of an executor.
///
/// # Errors
/// When a field is not what it must be.
pub(super) fn speaker(message: &wire::ExecutorMessage) -> Result<ExecutorKey, MessageError> {
    key(&message.framework_id, &message.executor_id)
}

#[cfg(test)]
mod tests {
    use regency_state::model::Capabilities;
    use regency_state::{Command, TeardownFramework};
    use wire::command::Command as Wire;

    use super::*;
    use crate::query::fixture::Cluster;
    use crate::rpc::convert;

    /// What the agent would be sent.
    fn commands(cluster: &Cluster, agent: &regency_types::AgentId) -> Vec<Wire> {
        let record = cluster.state.agent(agent).expect("there");
        let outbox = record.outbox.iter();
        let commands = outbox.map(|(seq, command)| {
            let command = convert::command(&cluster.state, record, *seq, command);
            command.and_then(|c| c.command).expect("it names something")
        });
        commands.collect()
    }

    #[test]
    fn an_executor_is_sent_before_its_task_and_not_started_when_it_is_gone() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:4;mem:64");
        let framework = cluster.subscribe("eng", Capabilities::default());
        cluster.launch_in_executor(&framework, &agent, "t", "cpus:1", "e");
        let sent = commands(&cluster, &agent);
        let [Wire::LaunchExecutor(launch), Wire::Launch(task)] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert_eq!(launch.executor, task.executor);
        let info = v1::ExecutorInfo::decode(launch.executor_info.clone()).expect("a description");
        assert_eq!(info.executor_id.value, "e");

        cluster.ok(Command::TeardownFramework(TeardownFramework { framework }));
        let sent = commands(&cluster, &agent);
        let [Wire::ShutdownExecutor(shutdown), Wire::DropLaunch(_), ..] = &sent[..] else {
            panic!("{sent:?}");
        };
        assert_eq!(shutdown.executor, launch.executor);
    }

    #[test]
    fn only_an_inventory_says_what_was_launched() {
        let info = v1::ExecutorInfo {
            executor_id: v1::ExecutorId { value: "e".into() },
            ..v1::ExecutorInfo::default()
        };
        let message = |bytes: Vec<u8>| wire::ReportedExecutor {
            executor: Some(wire::ExecutorInstance {
                framework_id: "f".into(),
                executor_id: "e".into(),
                instance: 3,
            }),
            executor_info: bytes.into(),
        };
        let whole = message(info.encode_to_vec());
        let read = |message, inventory| reported(message, inventory).expect("it can be read");
        assert_eq!(read(whole.clone(), false).spec, None);
        assert_eq!(read(whole, true).spec, spec(&info));
        assert_eq!(read(message(vec![1, 2, 3]), true).spec, None);
        let nameless = wire::ReportedExecutor::default();
        assert!(reported(nameless, true).is_err());
    }
}
