use bytes::Bytes;
use regency_types::{AgentId, DurationMs, ExecutorId, Generation, OfferId, TaskKey};

use super::*;
use crate::command::{AcceptOffers, Command, ExecutorSpec, Operation, TeardownFramework};
use crate::commands::fixture::{Given, resources, statuses};
use crate::effect::Effect;
use crate::model::ExecutorKey;
use crate::outcome::Outcome;

/// A task of the executor `e`, which needs half a processor.
fn member(id: &str, agent: &AgentId, what: &str) -> LaunchSpec {
    let LaunchSpec::Valid(mut spec) = Given::task(id, agent, what) else {
        panic!("a valid task");
    };
    spec.executor = Some(ExecutorSpec {
        executor: ExecutorId::new("e").expect("a valid id"),
        resources: resources("cpus:0.5;mem:32;disk:8"),
        info: Bytes::from_static(b"info"),
    });
    LaunchSpec::Valid(spec)
}

fn accept(framework: &FrameworkId, offer: OfferId, tasks: Vec<LaunchSpec>) -> Command {
    Command::AcceptOffers(AcceptOffers {
        framework: framework.clone(),
        offers: vec![Some(offer)],
        operations: vec![Operation::LaunchGroup(tasks)],
        refuse: DurationMs(0),
        content: 42,
    })
}

fn given() -> (Given, AgentId, FrameworkId) {
    let mut given = Given::new();
    let agent = given.agent(1, "cpus:4;mem:1024;disk:64;ports:[1-9]");
    let framework = given.subscribe(None, 1);
    (given, agent, framework)
}

fn launch(
    given: &mut Given,
    framework: &FrameworkId,
    agent: &AgentId,
    what: &str,
    tasks: Vec<LaunchSpec>,
) -> (Outcome, Vec<Effect>) {
    let offer = given.offer(framework, agent, what);
    given.ok(accept(framework, offer, tasks))
}

/// The tasks as the agent's stream names them.
fn named(given: &Given, framework: &FrameworkId, ids: &[&str]) -> Vec<(TaskKey, Generation)> {
    let of = |id: &&str| {
        let key = Given::key(framework, id);
        let generation = given.state.task(&key).expect("launched").generation;
        (key, generation)
    };
    ids.iter().map(of).collect()
}

#[test]
fn a_group_is_one_launch_behind_its_executor_which_is_charged_once() {
    let (mut given, agent, framework) = given();
    let group = |a, b| {
        vec![
            member(a, &agent, "cpus:1;mem:32"),
            member(b, &agent, "cpus:0.5;ports:[1-2]"),
        ]
    };
    let all = "cpus:2;mem:64;disk:8;ports:[1-2]";
    let (outcome, effects) = launch(&mut given, &framework, &agent, all, group("b", "a"));
    let both = Outcome::Accepted {
        n_launched: 2,
        n_refused: 0,
    };
    assert_eq!(outcome, both);
    assert_eq!(statuses(&effects), []);
    let executor = ExecutorKey {
        framework: framework.clone(),
        executor: ExecutorId::new("e").expect("a valid id"),
    };
    let record = given.state.agent(&agent).expect("known");
    assert_eq!(record.allocated, resources(all));
    let instance = record.executors[&executor].instance;
    let tasks = named(&given, &framework, &["b", "a"]);
    let outbox = given.outbox(&agent);
    let started = AgentCommand::LaunchExecutor { executor, instance };
    assert_eq!(outbox, [started, AgentCommand::LaunchGroup { tasks }]);
    for id in ["a", "b"] {
        let task = given.state.task(&Given::key(&framework, id));
        let task = task.expect("launched");
        assert_eq!(task.launch_seq, 2);
        let runs = task.executor.as_ref().expect("an executor");
        assert_eq!(runs.instance, instance);
    }
    given.state.check_invariants().expect("all hold");

    // A second group of the executor needs nothing for it.
    let rest = "cpus:1.5;mem:32;ports:[3-4]";
    let tasks = vec![
        member("c", &agent, "cpus:1;mem:32"),
        member("d", &agent, "cpus:0.5;ports:[3-4]"),
    ];
    let (outcome, _) = launch(&mut given, &framework, &agent, rest, tasks);
    assert_eq!(outcome, both);
    let tasks = named(&given, &framework, &["c", "d"]);
    assert_eq!(
        given.outbox(&agent)[2..],
        [AgentCommand::LaunchGroup { tasks }]
    );
}

#[test]
fn one_bad_task_is_told_for_all_and_nothing_is_launched() {
    let (mut given, agent, framework) = given();
    let alone = given.offer(&framework, &agent, "cpus:0.5");
    let task = Given::task("used", &agent, "cpus:0.5");
    given.ok(Given::accept(&framework, &[alone], vec![task]));
    let good = |id| member(id, &agent, "cpus:0.5");
    let changed = |change: fn(&mut TaskSpec)| {
        let LaunchSpec::Valid(mut spec) = good("bad") else {
            panic!("a valid task");
        };
        change(&mut spec);
        LaunchSpec::Valid(spec)
    };
    let unreadable = LaunchSpec::Invalid {
        task_id: "a/b".into(),
        agent: None,
        message: "'a/b' is no id".into(),
    };
    let other = |spec: &mut TaskSpec| {
        if let Some(executor) = &mut spec.executor {
            executor.info = Bytes::from_static(b"other");
        }
    };
    for (bad, named) in [
        (unreadable, "'a/b'"),
        (good("t"), "duplicate ID: t"),
        (good("used"), "duplicate ID: used"),
        (changed(|spec| spec.executor = None), "another executor"),
        (changed(other), "another executor"),
        (member("bad", &agent, "cpus:2"), "'bad' of the group uses"),
        // Each port is one task's.
        (member("bad", &agent, "cpus:0.1;ports:[1-1]"), "'bad'"),
    ] {
        let what = "cpus:2;mem:64;disk:8;ports:[1-2]";
        let tasks = vec![member("t", &agent, "cpus:0.5;ports:[1-2]"), bad];
        let before = given.outbox(&agent);
        let (outcome, effects) = launch(&mut given, &framework, &agent, what, tasks);
        let none = Outcome::Accepted {
            n_launched: 0,
            n_refused: 2,
        };
        assert_eq!(outcome, none, "{named}");
        assert_eq!(given.outbox(&agent), before);
        let told = effects.iter().filter_map(|effect| match effect {
            Effect::SendStatus { status, .. } => Some(status),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        assert!(!told.is_empty());
        for status in told {
            assert_eq!(status.state, TaskState::Error);
            assert_eq!(status.reason, StatusReason::TaskGroupInvalid);
            assert!(status.message.contains(named), "{}", status.message);
        }
    }
}

#[test]
fn an_offer_must_hold_the_executor_too() {
    let (mut given, agent, framework) = given();
    let tasks = || vec![member("a", &agent, "cpus:1"), member("b", &agent, "cpus:1")];
    let (_, effects) = launch(&mut given, &framework, &agent, "cpus:2", tasks());
    let both = [("a", TaskState::Error), ("b", TaskState::Error)];
    assert_eq!(statuses(&effects), both);
    let enough = "cpus:2.5;mem:32;disk:8";
    let (_, effects) = launch(&mut given, &framework, &agent, enough, tasks());
    assert_eq!(statuses(&effects), []);
}

#[test]
fn invalid_offers_are_told_for_each_task() {
    let (mut given, agent, framework) = given();
    let tasks = vec![member("a", &agent, "cpus:1"), member("b", &agent, "cpus:1")];
    let applied = given.apply(accept(&framework, OfferId(99), tasks));
    assert!(applied.verdict.is_err());
    let both = [("a", TaskState::Dropped), ("b", TaskState::Dropped)];
    assert_eq!(statuses(&applied.effects), both);
}

#[test]
fn a_group_that_was_not_confirmed_is_withdrawn_as_a_whole() {
    let (mut given, agent, framework) = given();
    let tasks = vec![member("a", &agent, "cpus:1"), member("b", &agent, "cpus:1")];
    let what = "cpus:2.5;mem:32;disk:8";
    launch(&mut given, &framework, &agent, what, tasks);
    let tasks = named(&given, &framework, &["a", "b"]);
    given.give_up(&agent);
    assert_eq!(
        given.outbox(&agent)[1..],
        [AgentCommand::DropGroup {
            tasks: tasks.clone()
        }]
    );
    given.state.check_invariants().expect("all hold");
    given.ok(Command::TeardownFramework(TeardownFramework { framework }));
    assert_eq!(
        given.outbox(&agent)[1],
        AgentCommand::DropGroup { tasks },
        "and stays so"
    );
}

#[test]
fn a_group_of_a_framework_that_ended_is_withdrawn() {
    let (mut given, agent, framework) = given();
    let tasks = vec![member("a", &agent, "cpus:1"), member("b", &agent, "cpus:1")];
    let what = "cpus:2.5;mem:32;disk:8";
    launch(&mut given, &framework, &agent, what, tasks);
    let tasks = named(&given, &framework, &["a", "b"]);
    given.ok(Command::TeardownFramework(TeardownFramework { framework }));
    assert_eq!(given.outbox(&agent)[1], AgentCommand::DropGroup { tasks });
    given.state.check_invariants().expect("all hold");
}
