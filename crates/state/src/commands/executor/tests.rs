use bytes::Bytes;
use regency_types::{AgentEpoch, ClusterId, ExecutorId, TaskKey, TaskState};

use super::*;
use crate::command::{
    ChangeCluster, Command, ExecutorExit, ExecutorSpec, LaunchSpec, TeardownFramework,
};
use crate::commands::fixture::{Given, resources, statuses};

fn with_executor(task: LaunchSpec, executor: &str, info: &'static str) -> LaunchSpec {
    let LaunchSpec::Valid(mut spec) = task else {
        panic!("a valid task");
    };
    spec.executor = Some(ExecutorSpec {
        executor: ExecutorId::new(executor).expect("a valid id"),
        resources: resources("cpus:0.5;mem:64"),
        info: Bytes::from_static(info.as_bytes()),
    });
    LaunchSpec::Valid(spec)
}

fn key(framework: &FrameworkId, executor: &str) -> ExecutorKey {
    ExecutorKey {
        framework: framework.clone(),
        executor: ExecutorId::new(executor).expect("a valid id"),
    }
}

/// Two tasks of one executor `e`, launched.
fn given() -> (Given, AgentId, FrameworkId, Generation) {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4;mem:1024");
    let framework = given.subscribe(None, 1);
    let offer = given.offer(&framework, &agent, "cpus:4;mem:1024");
    let task = |id| with_executor(Given::task(id, &agent, "cpus:1;mem:32"), "e", "info");
    let (outcome, _) = given.ok(Given::accept(
        &framework,
        &[offer],
        vec![task("t1"), task("t2")],
    ));
    assert_eq!(
        outcome,
        Outcome::Accepted {
            n_launched: 2,
            n_refused: 0
        }
    );
    let instance =
        given.state.agent(&agent).expect("known").executors[&key(&framework, "e")].instance;
    (given, agent, framework, instance)
}

fn allocated(given: &Given, agent: &AgentId) -> Resources {
    given.state.agent(agent).expect("known").allocated.clone()
}

fn exit(given: &mut Given, agent: &AgentId, report_seq: u64, key: &ExecutorKey, n: u64) -> Applied {
    let command_seq = given.state.agent(agent).map_or(0, |a| a.command_seq);
    given.apply(Command::EndExecutors(EndExecutors {
        agent: agent.clone(),
        epoch: AgentEpoch(1),
        command_seq,
        exits: vec![ExecutorExit {
            report_seq,
            executor: key.clone(),
            instance: Generation(n),
            status: Some(9),
        }],
    }))
}

fn launch_more(
    given: &mut Given,
    agent: &AgentId,
    framework: &FrameworkId,
    task: LaunchSpec,
) -> Vec<Effect> {
    let offer = given.offer(framework, agent, "cpus:1;mem:100");
    given.ok(Given::accept(framework, &[offer], vec![task])).1
}

#[test]
fn an_executor_is_started_before_its_first_task_and_charged_once() {
    let (given, agent, framework, instance) = given();
    assert_eq!(allocated(&given, &agent), resources("cpus:2.5;mem:128"));
    let launch = |id: &str| {
        let task = Given::key(&framework, id);
        let generation = given.state.task(&task).expect("launched").generation;
        AgentCommand::Launch { task, generation }
    };
    let executor = key(&framework, "e");
    let started = AgentCommand::LaunchExecutor { executor, instance };
    assert_eq!(given.outbox(&agent), [started, launch("t1"), launch("t2")]);
    let task = given
        .state
        .task(&Given::key(&framework, "t2"))
        .expect("launched");
    let runs = task.executor.as_ref().expect("an executor");
    assert_eq!(runs.instance, instance);
    // What is stored says all of it.
    let again = State::from_parts(given.state.to_parts()).expect("whole");
    assert_eq!(again, given.state);
}

#[test]
fn another_executor_of_the_same_id_is_refused() {
    let (mut given, agent, framework, _) = given();
    let other = with_executor(Given::task("t3", &agent, "cpus:0.1"), "e", "other info");
    let effects = launch_more(&mut given, &agent, &framework, other);
    assert_eq!(statuses(&effects), [("t3", TaskState::Error)]);
}

#[test]
fn an_offer_must_hold_the_task_and_a_new_executor() {
    let (mut given, agent, framework, _) = given();
    let task =
        |id, executor| with_executor(Given::task(id, &agent, "cpus:1;mem:50"), executor, "info");
    let (new, known) = (task("t3", "e2"), task("t4", "e"));
    let effects = launch_more(&mut given, &agent, &framework, new);
    assert_eq!(statuses(&effects), [("t3", TaskState::Error)]);
    let effects = launch_more(&mut given, &agent, &framework, known);
    assert_eq!(statuses(&effects), []);
}

#[test]
fn an_exit_frees_the_executor_once_and_its_tasks_tell_their_own_end() {
    let (mut given, agent, framework, instance) = given();
    let executor = key(&framework, "e");
    let applied = exit(&mut given, &agent, 5, &executor, instance.0);
    assert_eq!(
        applied.effects[0],
        Effect::SendExecutorExit {
            executor: executor.clone(),
            agent: agent.clone(),
            status: Some(9),
        }
    );
    assert_eq!(allocated(&given, &agent), resources("cpus:2;mem:64"));
    // The next executor of that id is another instance, which no old news concern.
    let task = with_executor(Given::task("t3", &agent, "cpus:0.1"), "e", "new info");
    assert_eq!(
        statuses(&launch_more(&mut given, &agent, &framework, task)),
        []
    );
    for (report_seq, instance) in [(5, instance.0 + 3), (6, instance.0)] {
        let applied = exit(&mut given, &agent, report_seq, &executor, instance);
        assert_eq!(applied.effects, []);
    }
    let record = given.state.agent(&agent).expect("known");
    assert!(record.executors.contains_key(&executor) && record.report_seq == 6);
}

#[test]
fn a_shutdown_is_sent_once() {
    let (mut given, agent, framework, instance) = given();
    let executor = key(&framework, "e");
    let shutdown = Command::ShutdownExecutor(ShutdownExecutor {
        executor: executor.clone(),
        agent: agent.clone(),
    });
    given.ok(shutdown.clone());
    let after = given.outbox(&agent);
    let sent = AgentCommand::ShutdownExecutor { executor, instance };
    assert_eq!(after.last(), Some(&sent));
    given.ok(shutdown);
    assert_eq!(given.outbox(&agent), after);
    // One that is not there is no error, as in Mesos; a framework that is not there is.
    given.ok(Command::ShutdownExecutor(ShutdownExecutor {
        executor: key(&framework, "nobody"),
        agent: agent.clone(),
    }));
    let nobody = FrameworkId::new("nobody").expect("a valid id");
    let refusal = given.refused(Command::ShutdownExecutor(ShutdownExecutor {
        executor: key(&nobody, "e"),
        agent,
    }));
    assert_eq!(refusal, Refusal::FrameworkUnknown(nobody));
}

#[test]
fn a_framework_takes_its_executors_with_it() {
    let (mut given, agent, framework, _) = given();
    for task in ["t1", "t2"] {
        let key = Given::key(&framework, task);
        let seq = if task == "t1" { 1 } else { 2 };
        given.report(&agent, &key, seq, TaskState::Finished);
        given.acknowledge(&agent, &key, u128::from(seq));
    }
    // Idle, but there.
    assert_eq!(allocated(&given, &agent), resources("cpus:0.5;mem:64"));
    given.ok(Command::TeardownFramework(TeardownFramework {
        framework: framework.clone(),
    }));
    assert!(allocated(&given, &agent).is_empty());
    let ended = AgentCommand::ShutdownFramework { framework };
    assert_eq!(given.outbox(&agent).last(), Some(&ended));
}

fn picture(
    given: &mut Given,
    agent: &AgentId,
    noted: u64,
    executors: Vec<ReportedExecutor>,
) -> Vec<Effect> {
    let (_, effects) = given.ok(Command::ResyncExecutors(ResyncExecutors {
        agent: agent.clone(),
        epoch: AgentEpoch(1),
        command_seq: noted,
        executors,
    }));
    effects
}

#[test]
fn a_picture_without_an_executor_ends_it_only_when_its_launch_was_noted() {
    let (mut given, agent, framework, instance) = given();
    let executor = key(&framework, "e");
    assert_eq!(picture(&mut given, &agent, 0, Vec::new()), []);
    let reported = |n| ReportedExecutor {
        key: executor.clone(),
        instance: Generation(n),
        spec: None,
        role: None,
    };
    assert_eq!(
        picture(&mut given, &agent, 1, vec![reported(instance.0)]),
        []
    );
    let effects = picture(&mut given, &agent, 1, Vec::new());
    assert!(matches!(
        effects[0],
        Effect::SendExecutorExit { status: None, .. }
    ));
    // One that nobody knows is ended there.
    picture(&mut given, &agent, 1, vec![reported(77)]);
    let sent = AgentCommand::ShutdownExecutor {
        executor,
        instance: Generation(77),
    };
    assert_eq!(given.outbox(&agent).last(), Some(&sent));
}

#[test]
fn executors_of_a_former_cluster_are_taken_over_where_they_fit() {
    let (mut given, agent, framework, instance) = given();
    given.ok(Command::ChangeCluster(ChangeCluster {
        from: ClusterId(7),
        to: ClusterId(8),
        index: 9,
    }));
    let reported = |id: &str, n, what: &str| ReportedExecutor {
        key: key(&framework, id),
        instance: Generation(n),
        spec: Some(crate::command::ExecutorSpec {
            executor: ExecutorId::new(id).expect("a valid id"),
            resources: resources(what),
            info: Bytes::new(),
        }),
        role: None,
    };
    picture(
        &mut given,
        &agent,
        0,
        vec![
            reported("e", instance.0, "cpus:9"),
            reported("later", 77, "cpus:1"),
            reported("big", 78, "cpus:100"),
        ],
    );
    assert_eq!(
        allocated(&given, &agent),
        resources("cpus:3.5;mem:128"),
        "the known one as it was charged, and the new one"
    );
    let big = AgentCommand::ShutdownExecutor {
        executor: key(&framework, "big"),
        instance: Generation(78),
    };
    assert_eq!(given.outbox(&agent), [big]);
    let task: TaskKey = Given::key(&framework, "t1");
    assert!(given.state.task(&task).is_some());
}
