//! Task groups in the agents' messages.

use regency_rpc::proto::regency::agent::v1 as wire;
use regency_state::State;
use regency_types::{Generation, TaskKey};

use super::executor::instance;

/// The launch of a group; `None` when the state does not hold all of it, which an invariant
/// excludes.
pub(super) fn launch(state: &State, tasks: &[(TaskKey, Generation)]) -> Option<wire::LaunchGroup> {
    let record = |(key, generation): &(TaskKey, Generation)| {
        state
            .task(key)
            .filter(|task| task.generation == *generation)
    };
    let first = record(tasks.first()?)?;
    let framework = &first.key.framework;
    let runs = first.executor.as_ref()?;
    let tasks = tasks.iter().map(|task| {
        let task = record(task)?;
        Some(wire::launch_group::Task {
            generation: task.generation.0,
            task_info: task.info.clone(),
        })
    });
    Some(wire::LaunchGroup {
        framework_id: framework.to_string(),
        framework_info: state.framework(framework)?.spec.info.clone(),
        executor: Some(instance(framework, &runs.executor, runs.instance)),
        tasks: tasks.collect::<Option<_>>()?,
    })
}

pub(super) fn drop_launch(task: &TaskKey, generation: Generation) -> wire::DropLaunch {
    wire::DropLaunch {
        framework_id: task.framework.to_string(),
        task_id: task.task.to_string(),
        generation: generation.0,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use regency_state::model::{AgentCommand, Capabilities};
    use regency_state::{
        AcceptOffers, Command, ExecutorSpec, LaunchSpec, Operation, TaskSpec, TeardownFramework,
    };
    use regency_types::{DurationMs, ExecutorId, TaskId};
    use regency_wire::v1;

    use crate::query::fixture::{Cluster, resources};
    use crate::rpc::convert;

    #[test]
    fn a_group_is_one_command_with_all_that_its_agent_needs() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:4;mem:64");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let offer = cluster.offer(&framework, "eng", &agent, "cpus:3");
        let task = |id: &str| {
            LaunchSpec::Valid(TaskSpec {
                task: TaskId::new(id).expect("a test's id is valid"),
                agent: agent.clone(),
                name: id.to_owned(),
                resources: resources("cpus:1"),
                info: Cluster::task_info(id).encode_to_vec().into(),
                executor: Some(ExecutorSpec {
                    executor: ExecutorId::new("pod").expect("a test's id is valid"),
                    resources: resources("cpus:0.5"),
                    info: bytes::Bytes::from_static(b"pod"),
                }),
            })
        };
        cluster.ok(Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: vec![Some(offer)],
            operations: vec![Operation::LaunchGroup(vec![task("b"), task("a")])],
            refuse: DurationMs(0),
            content: 44,
        }));
        let wire = |cluster: &Cluster| {
            let record = cluster.state.agent(&agent).expect("there");
            let (seq, command) = record
                .outbox
                .iter()
                .find(|(_, command)| {
                    matches!(
                        command,
                        AgentCommand::LaunchGroup { .. } | AgentCommand::DropGroup { .. }
                    )
                })
                .expect("it is on its way");
            let wire = convert::command(&cluster.state, record, *seq, command);
            wire.and_then(|wire| wire.command)
                .expect("it names something")
        };
        let super::wire::command::Command::LaunchGroup(group) = wire(&cluster) else {
            panic!("{:?}", wire(&cluster));
        };
        assert_eq!(group.executor.expect("its executor").executor_id, "pod");
        let ids = group.tasks.iter().map(|task| {
            let info = v1::TaskInfo::decode(task.task_info.clone()).expect("a task");
            (info.task_id.value, task.generation)
        });
        let ids: Vec<_> = ids.collect();
        assert_eq!([&ids[0].0, &ids[1].0], ["b", "a"]);

        cluster.ok(Command::TeardownFramework(TeardownFramework { framework }));
        let super::wire::command::Command::DropGroup(group) = wire(&cluster) else {
            panic!("{:?}", wire(&cluster));
        };
        let dropped = group.tasks.into_iter();
        let dropped: Vec<_> = dropped
            .map(|drop| (drop.task_id, drop.generation))
            .collect();
        assert_eq!(dropped, ids);
    }
}
