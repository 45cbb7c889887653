//! Task groups in the default executor, which the agent itself plays: real processes across crashes
//! of the agent.

mod common;

use common::agent::Agent;
use common::master::{FRAMEWORK, Master};
use common::{eventually, lives};
use prost::Message as _;
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_wire::v1;
use serde_json::{Value, json};
use v1::task_status::{Reason, Source};

const POD: &str = "pod";

fn pair() -> (Master, Agent) {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    (master, agent)
}

fn read<M: serde::de::DeserializeOwned>(json: Value) -> M {
    serde_json::from_value(json).expect("a message")
}

/// A task that runs `script`, with `more` of a description.
fn task(id: &str, script: &str, more: &Value) -> v1::TaskInfo {
    let mut task = json!({
        "name": id, "task_id": {"value": id}, "agent_id": {"value": "agent-S0"},
        "command": {"value": script},
        "executor": {"type": "DEFAULT", "executor_id": {"value": POD}},
        "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1},
            "allocation_info": {"role": "eng"}}],
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        task[name] = value.clone();
    }
    read(task)
}

fn next(master: &Master) -> u64 {
    master.with(|memory| {
        memory.next_generation += 1;
        memory.next_generation
    })
}

/// Launches a group in a new executor; gives the generation of the first task.
fn launch(master: &Master, tasks: &[v1::TaskInfo]) -> u64 {
    let executor = rpc::ExecutorInstance {
        framework_id: FRAMEWORK.to_owned(),
        executor_id: POD.to_owned(),
        instance: next(master),
    };
    let framework = v1::FrameworkInfo {
        name: "test".to_owned(),
        ..v1::FrameworkInfo::default()
    };
    let framework_info: bytes::Bytes = framework.encode_to_vec().into();
    let info: v1::ExecutorInfo = read(json!({
        "type": "DEFAULT", "executor_id": {"value": POD},
        "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": 32}}],
    }));
    let command = rpc::command::Command::LaunchExecutor(rpc::LaunchExecutor {
        executor: Some(executor.clone()),
        framework_info: framework_info.clone(),
        executor_info: info.encode_to_vec().into(),
    });
    master.command(command);
    let tasks: Vec<_> = tasks
        .iter()
        .map(|task| rpc::launch_group::Task {
            generation: next(master),
            task_info: task.encode_to_vec().into(),
        })
        .collect();
    let first = tasks[0].generation;
    master.command(rpc::command::Command::LaunchGroup(rpc::LaunchGroup {
        framework_id: FRAMEWORK.to_owned(),
        framework_info,
        executor: Some(executor),
        tasks,
    }));
    first
}

async fn exit(master: &Master) -> rpc::executor_exits::Exit {
    eventually("the end of the executor", || async {
        master.with(|memory| memory.exits.first().cloned())
    })
    .await
}

/// The first line of what a task of the group wrote, by the link in the executor's sandbox.
async fn first_line(agent: &Agent, task: &str) -> String {
    let path = agent.sandbox(POD).join("tasks").join(task).join("stdout");
    eventually("the task's output", || async {
        let output = tokio::fs::read_to_string(&path).await.unwrap_or_default();
        output.split_once('\n').map(|(line, _)| line.to_owned())
    })
    .await
}

async fn pid(agent: &Agent, task: &str) -> u32 {
    first_line(agent, task).await.parse().expect("a number")
}

#[tokio::test]
async fn tasks_share_an_executor_and_what_they_want_to_share() {
    let (master, agent) = pair();
    let volume = json!({"container": {"type": "MESOS", "volumes": [{
        "mode": "RW", "container_path": "in/both", "source": {"type": "SANDBOX_PATH",
            "sandbox_path": {"type": "PARENT", "path": "both"}}}]}});
    let wait = "while ! [ -e in/both/word ]; do sleep 0.05; done; cat in/both/word; env";
    let tasks = [
        task("reads", wait, &volume),
        task("writes", "echo hello > in/both/word", &volume),
    ];
    let first = launch(&master, &tasks);
    for (id, n) in [("reads", first), ("writes", first + 1)] {
        let told = master.wait_for(id, n, "TASK_FINISHED").await;
        let states = master.states(id, n);
        assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]);
        for status in &told {
            let executor = status.executor_id.as_ref().map(|id| id.value.as_str());
            assert_eq!(executor, Some(POD));
            assert_eq!(status.source(), Source::Executor);
        }
    }
    assert_eq!(first_line(&agent, "reads").await, "hello");
    assert_eq!(exit(&master).await.status, Some(0));

    // Everything lies, and is called, where it is in Mesos.
    let status = master.wait_for("reads", first, "TASK_RUNNING").await;
    let container = status[0].container_status.clone().expect("a container");
    let container = container.container_id.expect("an id");
    let parent = container.parent.expect("it is nested").value;
    let sandbox = agent.sandbox(POD);
    let run = std::fs::read_link(&sandbox).expect("a link");
    assert_eq!(run.to_str(), Some(parent.as_str()));
    let nested = sandbox.join("containers").join(&container.value);
    let output = std::fs::read_to_string(nested.join("stdout")).expect("its output");
    let own = std::fs::canonicalize(&nested).expect("a sandbox");
    for variable in [
        "MESOS_TASK_ID=reads".to_owned(),
        format!("MESOS_EXECUTOR_ID={POD}"),
        format!("MESOS_CONTAINER_ID={}", container.value),
        format!("MESOS_SANDBOX={}", own.display()),
        "MESOS_ALLOCATION_ROLE=eng".to_owned(),
        "MESOS_CONTAINER_IP=127.0.0.1".to_owned(),
    ] {
        let there = output.lines().any(|line| line == variable);
        assert!(there, "{variable} is not in {output}");
    }
    assert!(sandbox.join("both/word").is_file());
}

#[tokio::test]
async fn a_health_check_that_fails_ends_the_group_and_the_executor() {
    let (master, agent) = pair();
    let unhealthy = json!({
        "health_check": {"type": "COMMAND", "command": {"value": "false"},
            "delay_seconds": 0, "interval_seconds": 0.02, "grace_period_seconds": 0,
            "consecutive_failures": 2},
    });
    let tasks = [
        task("sick", "echo $$; exec sleep 1000", &unhealthy),
        task("other", "echo $$; exec sleep 1000", &json!({})),
    ];
    let first = launch(&master, &tasks);
    let other = pid(&agent, "other").await;
    let (_, state) = agent.get(&master, "/state").await;
    let state: Value = serde_json::from_str(&state).expect("JSON");
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!(
        (&executor["type"], &executor["id"]),
        (&json!("DEFAULT"), &json!(POD))
    );
    assert_eq!(executor["tasks"].as_array().map(Vec::len), Some(2));

    let told = master.wait_for("sick", first, "TASK_KILLED").await;
    let last = told.last().expect("an end");
    assert_eq!(last.healthy, Some(false));
    let news = told
        .iter()
        .find(|status| status.healthy == Some(false))
        .expect("news of its health");
    assert_eq!(news.reason(), Reason::TaskHealthCheckStatusUpdated);
    let told = master.wait_for("other", first + 1, "TASK_KILLED").await;
    assert_eq!(told.last().and_then(|status| status.healthy), None);
    assert!(!lives(other));
    assert_eq!(exit(&master).await.status, Some(0));
}

#[tokio::test]
async fn a_group_goes_on_through_crashes_of_the_agent_and_ends_as_one() {
    let (master, mut agent) = pair();
    let script = "echo $$; while ! [ -e die ]; do sleep 0.05; done; exit 7";
    let tasks = [
        task("fails", script, &json!({})),
        task("other", "echo $$; exec sleep 1000", &json!({})),
    ];
    let first = launch(&master, &tasks);
    let other = pid(&agent, "other").await;
    master.wait_for("fails", first, "TASK_RUNNING").await;
    agent.crash().await;
    // It ends while nobody looks.
    let fails = pid(&agent, "fails").await;
    let die = agent.sandbox(POD).join("tasks/fails/die");
    std::fs::write(die, "").expect("written");
    eventually("its end", || async { (!lives(fails)).then_some(()) }).await;
    assert!(lives(other), "tasks live without the agent");
    agent.start();
    let told = master.wait_for("fails", first, "TASK_FAILED").await;
    let message = told.last().and_then(|status| status.message.clone());
    assert_eq!(message.as_deref(), Some("Command exited with status 7"));
    master.wait_for("other", first + 1, "TASK_KILLED").await;
    assert!(!lives(other));
    assert_eq!(exit(&master).await.status, Some(0));
    let lines = std::fs::read_to_string(agent.sandbox(POD).join("tasks/other/stdout"));
    assert_eq!(lines.expect("its output").lines().count(), 1, "it ran once");
}

#[tokio::test]
async fn a_group_that_is_still_being_made_when_the_agent_dies_never_starts() {
    let (master, mut agent) = pair();
    // Its second task waits for a file that does not come.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let url = format!("http://{}/never", listener.local_addr().expect("bound"));
    let waits = json!({"command": {"value": "true", "uris": [{"value": url}]}});
    let tasks = [
        task("ready", "echo started", &json!({})),
        task("waits", "true", &waits),
    ];
    let first = launch(&master, &tasks);
    master.wait_until_noted().await;
    tokio::task::spawn_blocking(move || listener.accept())
        .await
        .expect("no panic")
        .expect("a request");
    agent.crash().await;
    agent.start();
    for (id, n) in [("ready", first), ("waits", first + 1)] {
        let told = master.wait_for(id, n, "TASK_DROPPED").await;
        assert_eq!(told[0].reason(), Reason::AgentRestarted);
        assert_eq!(master.states(id, n), ["TASK_DROPPED"]);
    }
    assert_eq!(exit(&master).await.status, Some(0));
    let ready = agent.sandbox(POD).join("tasks/ready/stdout");
    let output = std::fs::read_to_string(ready).unwrap_or_default();
    assert_eq!(output, "", "it never started");
}

#[tokio::test]
async fn a_kill_of_one_ends_all_and_one_that_cannot_run_is_told_for_all() {
    let (master, agent) = pair();
    let sleeps = |id| task(id, "echo $$; exec sleep 1000", &json!({}));
    let first = launch(&master, &[sleeps("a"), sleeps("b")]);
    let b = pid(&agent, "b").await;
    master.wait_for("a", first, "TASK_RUNNING").await;
    master.kill("a", first, Some(0));
    master.wait_for("a", first, "TASK_KILLED").await;
    master.wait_for("b", first + 1, "TASK_KILLED").await;
    assert!(!lives(b));

    let image = json!({"container": {"type": "MESOS",
        "mesos": {"image": {"type": "DOCKER", "docker": {"name": "alpine"}}}}});
    let first = launch(&master, &[sleeps("c"), task("d", "true", &image)]);
    for (id, n) in [("c", first), ("d", first + 1)] {
        let told = master.wait_for(id, n, "TASK_ERROR").await;
        assert_eq!(told[0].reason(), Reason::TaskGroupInvalid);
        let message = told[0].message.clone().unwrap_or_default();
        assert!(message.contains("'d'"), "{message}");
    }
}
