//! Executors of frameworks: real processes that the agent starts, watches and ends, and the API
//! they speak, across crashes of the agent.

mod common;

use common::agent::Agent;
use common::master::{FRAMEWORK, Master};
use common::mouth::{call, post, status, subscribe, task, update};
use common::{eventually, lives};
use prost::Message as _;
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_wire::v1::executor::call::{Subscribe, Type as CallType, Update};
use regency_wire::v1::executor::event::Type;
use regency_wire::{ContentType, v1};
use v1::TaskState::{TaskFinished, TaskRunning};

const JSON: ContentType = ContentType::Json;
const SLEEPS: &str = "echo $$; exec sleep 1000";

fn pair() -> (Master, Agent) {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    (master, agent)
}

fn instance(id: &str, instance: u64) -> rpc::ExecutorInstance {
    rpc::ExecutorInstance {
        framework_id: FRAMEWORK.to_owned(),
        executor_id: id.to_owned(),
        instance,
    }
}

/// Launches an executor that runs `script`; gives its instance.
fn launch_executor(master: &Master, id: &str, script: &str) -> u64 {
    let n = master.with(|memory| {
        memory.next_generation += 1;
        memory.next_generation
    });
    let info = v1::ExecutorInfo {
        executor_id: v1::ExecutorId {
            value: id.to_owned(),
        },
        command: Some(v1::CommandInfo {
            value: Some(script.to_owned()),
            ..v1::CommandInfo::default()
        }),
        ..v1::ExecutorInfo::default()
    };
    let command = rpc::command::Command::LaunchExecutor(rpc::LaunchExecutor {
        executor: Some(instance(id, n)),
        framework_info: v1::FrameworkInfo {
            name: "test".to_owned(),
            ..v1::FrameworkInfo::default()
        }
        .encode_to_vec()
        .into(),
        executor_info: info.encode_to_vec().into(),
    });
    master.command(command);
    n
}

/// Launches a task in that executor; gives the launch's generation.
fn launch_in(master: &Master, id: &str, executor: &str, n: u64) -> u64 {
    let generation = master.with(|memory| {
        memory.next_generation += 1;
        memory.next_generation
    });
    let mut info = task(id);
    info.executor = Some(v1::ExecutorInfo::default());
    let launch = rpc::Launch {
        framework_id: FRAMEWORK.to_owned(),
        generation,
        framework_info: v1::FrameworkInfo::default().encode_to_vec().into(),
        task_info: info.encode_to_vec().into(),
        executor: Some(instance(executor, n)),
    };
    master.command(rpc::command::Command::Launch(launch));
    generation
}

/// Launches a group in that executor; gives the launches' generations.
fn launch_group_in(master: &Master, ids: &[&str], executor: &str, n: u64) -> Vec<u64> {
    let tasks: Vec<_> = ids
        .iter()
        .map(|id| {
            let mut info = task(id);
            info.executor = Some(v1::ExecutorInfo::default());
            let generation = master.with(|memory| {
                memory.next_generation += 1;
                memory.next_generation
            });
            rpc::launch_group::Task {
                generation,
                task_info: info.encode_to_vec().into(),
            }
        })
        .collect();
    let generations = tasks.iter().map(|task| task.generation).collect();
    master.command(rpc::command::Command::LaunchGroup(rpc::LaunchGroup {
        framework_id: FRAMEWORK.to_owned(),
        framework_info: v1::FrameworkInfo::default().encode_to_vec().into(),
        executor: Some(instance(executor, n)),
        tasks,
    }));
    generations
}

async fn exits(master: &Master, n: usize) -> Vec<rpc::executor_exits::Exit> {
    eventually("the end of an executor", || async {
        master.with(|memory| (memory.exits.len() >= n).then(|| memory.exits.clone()))
    })
    .await
}

#[tokio::test]
async fn an_executor_runs_tasks_from_its_subscription_to_its_shutdown() {
    let (master, agent) = pair();
    let n = launch_executor(&master, "e", "env; echo; exec sleep 1000");
    let generation = launch_in(&master, "t", "e", n);
    let environment = eventually("the executor's environment", || async {
        let output = agent.stdout("e").await;
        output.ends_with("\n\n").then_some(output)
    })
    .await;
    let address = agent.address(&master).await;
    for variable in [
        format!("MESOS_AGENT_ENDPOINT={address}"),
        format!("MESOS_SLAVE_PID=slave(1)@{address}"),
        format!("MESOS_FRAMEWORK_ID={FRAMEWORK}"),
        "MESOS_EXECUTOR_ID=e".to_owned(),
        "MESOS_CHECKPOINT=1".to_owned(),
        "MESOS_RECOVERY_TIMEOUT=15mins".to_owned(),
        "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs".to_owned(),
        "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=300ms".to_owned(),
    ] {
        let there = environment.lines().any(|line| line == variable);
        assert!(there, "{variable} is not in {environment}");
    }
    let early = post(&agent, &master, &update("e", "t", 1, TaskRunning)).await;
    assert_eq!(early, (403, "Executor is not subscribed".to_owned()));

    let mut events = subscribe(&agent, &master, "e", JSON, Subscribe::default()).await;
    let subscribed = events.expect(Type::Subscribed).await;
    let subscribed = subscribed.subscribed.expect("its part");
    assert_eq!(subscribed.executor_info.executor_id.value, "e");
    assert_eq!(
        subscribed.framework_info.id.map(|id| id.value).as_deref(),
        Some(FRAMEWORK)
    );
    let launch = events.expect(Type::Launch).await.launch.expect("its part");
    assert_eq!(launch.task.task_id.value, "t");

    let answer = post(&agent, &master, &update("e", "t", 1, TaskRunning)).await;
    assert_eq!(answer.0, 202, "{}", answer.1);
    let acknowledged = events.expect(Type::Acknowledged).await;
    let acknowledged = acknowledged.acknowledged.expect("its part");
    assert_eq!(acknowledged.uuid.as_ref(), [1; 16]);
    let told = master.wait_for("t", generation, "TASK_RUNNING").await;
    assert_eq!(told[0].data.as_deref(), Some(&b"data of the executor"[..]));
    assert_eq!(
        told[0].executor_id.as_ref().map(|id| id.value.as_str()),
        Some("e")
    );

    let (code, state) = agent.get(&master, "/state").await;
    assert_eq!(code, 200);
    let state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    let shown = &state["frameworks"][0]["executors"][0];
    assert_eq!(
        (&shown["id"], &shown["tasks"][0]["id"]),
        (&"e".into(), &"t".into())
    );

    master.kill("t", generation, Some(1_500));
    let kill = events.expect(Type::Kill).await.kill.expect("its part");
    assert_eq!(kill.task_id.value, "t");
    let call = update("e", "t", 2, v1::TaskState::TaskKilled);
    assert_eq!(post(&agent, &master, &call).await.0, 202);
    events.expect(Type::Acknowledged).await;
    master.wait_for("t", generation, "TASK_KILLED").await;

    let name = instance("e", n);
    let shutdown = rpc::ShutdownExecutor {
        executor: Some(name.clone()),
    };
    master.command(rpc::command::Command::ShutdownExecutor(shutdown));
    events.expect(Type::Shutdown).await;
    // It does not listen, so it is killed after its grace.
    let exits = exits(&master, 1).await;
    assert_eq!(
        (exits[0].executor.clone(), exits[0].status),
        (Some(name), Some(9))
    );
    assert_eq!(events.next().await.map(|event| event.r#type()), None);
}

#[tokio::test]
async fn a_group_comes_to_an_executor_in_one_piece_and_it_decides_what_a_kill_ends() {
    let (master, mut agent) = pair();
    let n = launch_executor(&master, "e", SLEEPS);
    let generations = launch_group_in(&master, &["a", "b", "c"], "e", n);
    let pid: u32 = agent.first_line("e").await.parse().expect("a number");
    let mut events = subscribe(&agent, &master, "e", JSON, Subscribe::default()).await;
    events.expect(Type::Subscribed).await;
    let group = events.expect(Type::LaunchGroup).await.launch_group;
    let group = group.expect("its part").task_group.tasks;
    let ids: Vec<&str> = group.iter().map(|t| t.task_id.value.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    for (uuid, id) in (1..).zip(ids) {
        let running = update("e", id, uuid, TaskRunning);
        assert_eq!(post(&agent, &master, &running).await.0, 202);
        events.expect(Type::Acknowledged).await;
    }

    // It is told of one task, and of no other.
    master.kill("b", generations[1], None);
    let kill = events.expect(Type::Kill).await.kill.expect("its part");
    assert_eq!(kill.task_id.value, "b");
    let killed = update("e", "b", 4, v1::TaskState::TaskKilled);
    assert_eq!(post(&agent, &master, &killed).await.0, 202);
    events.expect(Type::Acknowledged).await;
    master.wait_for("b", generations[1], "TASK_KILLED").await;

    // The others are its own business, also when the agent was away.
    agent.crash().await;
    assert!(lives(pid));
    agent.start();
    eventually("a second attachment", || async {
        master.with(|memory| (memory.attaches.len() == 2).then_some(()))
    })
    .await;
    let mut again = Subscribe::default();
    again.unacknowledged_tasks.extend([task("a"), task("c")]);
    let mut events = subscribe(&agent, &master, "e", JSON, again).await;
    events.expect(Type::Subscribed).await;
    for (uuid, (id, generation)) in (5..).zip([("a", generations[0]), ("c", generations[2])]) {
        let finished = update("e", id, uuid, TaskFinished);
        assert_eq!(post(&agent, &master, &finished).await.0, 202);
        events.expect(Type::Acknowledged).await;
        master.wait_for(id, generation, "TASK_FINISHED").await;
        let states = master.states(id, generation);
        assert_eq!(states, ["TASK_RUNNING", "TASK_FINISHED"]);
    }
    assert!(lives(pid), "it runs until it is told otherwise");
}

#[tokio::test]
async fn a_group_dies_with_its_executor() {
    let (master, agent) = pair();
    let script = "echo up; while ! [ -e go ]; do sleep 0.02; done; exit 3";
    let n = launch_executor(&master, "e", script);
    let generations = launch_group_in(&master, &["a", "b"], "e", n);
    agent.first_line("e").await;
    let mut events = subscribe(&agent, &master, "e", JSON, Subscribe::default()).await;
    events.expect(Type::Subscribed).await;
    events.expect(Type::LaunchGroup).await;
    std::fs::write(agent.sandbox("e").join("go"), "").expect("a sandbox");
    for (id, generation) in [("a", generations[0]), ("b", generations[1])] {
        let told = master.wait_for(id, generation, "TASK_FAILED").await;
        let message = told[0].message.as_deref();
        assert_eq!(message, Some("Executor exited with status 3"));
    }
    assert_eq!(exits(&master, 1).await[0].status, Some(3 << 8));
}

#[tokio::test]
async fn a_crash_of_the_agent_loses_no_task_and_no_update_and_doubles_none() {
    let (master, mut agent) = pair();
    let n = launch_executor(&master, "e", SLEEPS);
    let generation = launch_in(&master, "t", "e", n);
    let pid: u32 = agent.first_line("e").await.parse().expect("a number");
    let protobuf = ContentType::Protobuf;
    let mut events = subscribe(&agent, &master, "e", protobuf, Subscribe::default()).await;
    events.expect(Type::Subscribed).await;
    events.expect(Type::Launch).await;
    assert_eq!(
        post(&agent, &master, &update("e", "t", 1, TaskRunning))
            .await
            .0,
        202
    );
    events.expect(Type::Acknowledged).await;
    agent.crash().await;
    assert!(lives(pid), "executors do not depend on the agent");
    // Launched while the agent is away.
    let second = launch_in(&master, "t2", "e", n);
    agent.start();
    eventually("a second attachment", || async {
        master.with(|memory| (memory.attaches.len() == 2).then_some(()))
    })
    .await;
    // For all the executor knows, the first update was not taken, and the second one it made while
    // there was no agent.
    let again = Subscribe {
        unacknowledged_tasks: vec![task("t")],
        unacknowledged_updates: vec![
            Update {
                status: status("t", 1, TaskRunning),
            },
            Update {
                status: status("t", 2, TaskFinished),
            },
        ],
    };
    let mut events = subscribe(&agent, &master, "e", JSON, again).await;
    events.expect(Type::Subscribed).await;
    events.expect(Type::Acknowledged).await;
    events.expect(Type::Acknowledged).await;
    let launch = events.expect(Type::Launch).await.launch.expect("its part");
    assert_eq!(launch.task.task_id.value, "t2");
    master.wait_for("t", generation, "TASK_FINISHED").await;
    assert_eq!(
        master.states("t", generation),
        ["TASK_RUNNING", "TASK_FINISHED"]
    );
    assert_eq!(
        post(&agent, &master, &update("e", "t2", 3, TaskFinished))
            .await
            .0,
        202
    );
    master.wait_for("t2", second, "TASK_FINISHED").await;
    assert_eq!(
        agent.stdout("e").await.lines().count(),
        1,
        "it started once"
    );
}

#[tokio::test]
async fn the_end_of_an_executor_ends_its_tasks_and_no_other_one_is_started_for_them() {
    let (master, agent) = pair();
    let n = launch_executor(
        &master,
        "e",
        "echo up; while ! [ -e go ]; do sleep 0.02; done; exit 3",
    );
    let generation = launch_in(&master, "t", "e", n);
    agent.first_line("e").await;
    let mut events = subscribe(&agent, &master, "e", JSON, Subscribe::default()).await;
    events.expect(Type::Subscribed).await;
    events.expect(Type::Launch).await;
    std::fs::write(agent.sandbox("e").join("go"), "").expect("a sandbox");
    let told = master.wait_for("t", generation, "TASK_FAILED").await;
    assert_eq!(
        told[0].message.as_deref(),
        Some("Executor exited with status 3")
    );
    assert_eq!(exits(&master, 1).await[0].status, Some(3 << 8));
    assert_eq!(events.next().await, None);
    let late = launch_in(&master, "late", "e", n);
    master.wait_for("late", late, "TASK_DROPPED").await;
    let gone = post(&agent, &master, &update("e", "t", 1, TaskRunning)).await;
    assert_eq!(gone.0, 400, "{}", gone.1);
}

#[tokio::test]
async fn an_executor_that_dies_while_the_agent_is_away_is_told_of_when_it_is_back() {
    let (master, mut agent) = pair();
    let n = launch_executor(&master, "e", SLEEPS);
    let generation = launch_in(&master, "t", "e", n);
    let pid: i32 = agent.first_line("e").await.parse().expect("a number");
    let mut events = subscribe(&agent, &master, "e", JSON, Subscribe::default()).await;
    events.expect(Type::Subscribed).await;
    events.expect(Type::Launch).await;
    agent.crash().await;
    let killed = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    );
    killed.expect("it lived");
    agent.start();
    master.wait_for("t", generation, "TASK_FAILED").await;
    assert_eq!(exits(&master, 1).await[0].status, Some(9));
}

#[tokio::test]
async fn messages_pass_between_an_executor_and_its_framework() {
    let (master, agent) = pair();
    let n = launch_executor(&master, "e", SLEEPS);
    launch_in(&master, "t", "e", n);
    agent.first_line("e").await;
    let mut events = subscribe(&agent, &master, "e", JSON, Subscribe::default()).await;
    events.expect(Type::Subscribed).await;
    events.expect(Type::Launch).await;
    let mut message = call("e", CallType::Message);
    message.message = Some(v1::executor::call::Message {
        data: vec![0, 1, 255].into(),
    });
    assert_eq!(post(&agent, &master, &message).await.0, 202);
    let heard = eventually("the message", || async {
        master.with(|memory| memory.messages.pop())
    })
    .await;
    assert_eq!(
        (heard.executor_id.as_str(), heard.data.as_ref()),
        ("e", &[0, 1, 255][..])
    );
}

#[tokio::test]
async fn calls_of_strangers_are_refused_as_mesos_refuses_them() {
    let (master, agent) = pair();
    let mut nobody = call("e", CallType::Subscribe);
    nobody.subscribe = Some(Subscribe::default());
    let refused = post(&agent, &master, &nobody).await;
    assert_eq!(refused, (400, "Framework cannot be found".to_owned()));
    let n = launch_executor(&master, "e", SLEEPS);
    launch_in(&master, "t", "e", n);
    agent.first_line("e").await;
    let mut other = call("other", CallType::Subscribe);
    other.subscribe = Some(Subscribe::default());
    let refused = post(&agent, &master, &other).await;
    assert_eq!(refused, (400, "Executor cannot be found".to_owned()));
    let mut bad = update("e", "t", 1, TaskRunning);
    if let Some(update) = &mut bad.update {
        update.status.uuid = None;
    }
    let (code, text) = post(&agent, &master, &bad).await;
    assert!(code == 400 && text.contains("uuid"), "{code} {text}");
    let beat = post(&agent, &master, &call("e", CallType::Heartbeat)).await;
    assert_eq!(beat.0, 202);
    let (code, _) = agent.get(&master, "/api/v1/executor").await;
    assert_eq!(code, 405);
}
