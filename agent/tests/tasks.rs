//! What becomes of tasks: their updates, their sandboxes, their ends.

mod common;

use common::agent::Agent;
use common::master::{FRAMEWORK, Master};
use common::{eventually, lives, marked};
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_wire::v1;

fn pair() -> (Master, Agent) {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    (master, agent)
}

fn states(updates: &[v1::TaskStatus]) -> Vec<&'static str> {
    updates
        .iter()
        .map(|update| update.state().as_str_name())
        .collect()
}

const RAN: [&str; 2] = ["TASK_STARTING", "TASK_RUNNING"];

#[tokio::test]
async fn a_command_runs_to_its_end_in_its_sandbox() {
    let (master, agent) = pair();
    let generation = master.launch(
        "hello",
        "echo $MESOS_TASK_ID in $MESOS_SANDBOX; pwd; echo oops >&2",
    );
    let updates = master.wait_for("hello", generation, "TASK_FINISHED").await;
    assert_eq!(states(&updates), [RAN[0], RAN[1], "TASK_FINISHED"]);
    let last = &updates[2];
    assert_eq!(
        last.message.as_deref(),
        Some("Command exited with status 0")
    );
    assert_eq!(last.agent_id.as_ref().expect("an agent").value, "agent-S0");
    assert_eq!(
        last.executor_id.as_ref().expect("an executor").value,
        "hello"
    );
    let container = last.container_status.as_ref().expect("a container");
    let name = &container
        .container_id
        .as_ref()
        .expect("a container id")
        .value;
    let sandbox = agent.sandbox("hello").canonicalize().expect("a sandbox");
    assert_eq!(
        sandbox.file_name().expect("a name").to_str(),
        Some(name.as_str())
    );
    let output = agent.stdout("hello").await;
    let sandbox = sandbox.display();
    assert_eq!(output, format!("hello in {sandbox}\n{sandbox}\n"));
    let complaint = std::fs::read_to_string(agent.sandbox("hello").join("stderr"));
    assert_eq!(complaint.expect("a file"), "oops\n");
    // With the acknowledgement of its end the task is forgotten, its sandbox stays.
    eventually("the task is forgotten", || async {
        let (status, body) = agent.get(&master, "/state").await;
        assert_eq!(status, 200);
        let state: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        (state["frameworks"] == serde_json::json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_failing_command_says_how_it_failed() {
    let (master, agent) = pair();
    let three = master.launch("three", "exit 3");
    let updates = master.wait_for("three", three, "TASK_FAILED").await;
    assert_eq!(states(&updates), [RAN[0], RAN[1], "TASK_FAILED"]);
    assert_eq!(
        updates[2].message.as_deref(),
        Some("Command exited with status 3")
    );

    let absent = master.launch_info(v1::TaskInfo {
        task_id: v1::TaskId {
            value: "absent".into(),
        },
        command: Some(v1::CommandInfo {
            shell: Some(false),
            value: Some("/no/such/binary".into()),
            ..v1::CommandInfo::default()
        }),
        ..v1::TaskInfo::default()
    });
    let updates = master.wait_for("absent", absent, "TASK_FAILED").await;
    assert_eq!(states(&updates), [RAN[0], RAN[1], "TASK_FAILED"]);
    assert_eq!(
        updates[2].message.as_deref(),
        Some("Command exited with status 1")
    );
    let why = std::fs::read_to_string(agent.sandbox("absent").join("stderr")).expect("a file");
    assert!(why.contains("/no/such/binary"), "{why}");
}

#[tokio::test]
async fn a_task_that_cannot_run_here_is_an_error() {
    let (master, _agent) = pair();
    let generation = master.launch_info(v1::TaskInfo {
        task_id: v1::TaskId {
            value: "nothing".into(),
        },
        ..v1::TaskInfo::default()
    });
    let updates = master.wait_for("nothing", generation, "TASK_ERROR").await;
    assert_eq!(states(&updates), ["TASK_ERROR"]);
    assert_eq!(updates[0].message.as_deref(), Some("Task has no command"));
}

#[tokio::test]
async fn a_polite_command_ends_by_sigterm_and_a_stubborn_one_by_sigkill() {
    let (master, agent) = pair();
    let polite = master.launch("polite", "echo $$; exec sleep 1000");
    let stubborn = master.launch(
        "stubborn",
        "trap '' TERM; echo $$; while :; do sleep 0.05; done",
    );
    let pids = [
        agent.first_line("polite").await,
        agent.first_line("stubborn").await,
    ];
    master.wait_for("polite", polite, "TASK_RUNNING").await;
    master.wait_for("stubborn", stubborn, "TASK_RUNNING").await;
    master.kill("polite", polite, None);
    master.kill("stubborn", stubborn, Some(200));
    let updates = master.wait_for("polite", polite, "TASK_KILLED").await;
    assert_eq!(
        states(&updates),
        [RAN[0], RAN[1], "TASK_KILLING", "TASK_KILLED"]
    );
    let message = updates[3].message.as_deref();
    assert_eq!(message, Some("Command terminated with signal Terminated"));
    let updates = master.wait_for("stubborn", stubborn, "TASK_KILLED").await;
    let message = updates[3].message.as_deref();
    assert_eq!(message, Some("Command terminated with signal Killed"));
    for pid in pids {
        assert!(!lives(pid.parse().expect("a number")));
    }
}

#[tokio::test]
async fn nothing_of_a_task_outlives_it() {
    let (master, agent) = pair();
    // One in its group, one in a session of its own, one that cleans its environment as well.
    let script = "sleep 1000 & setsid sleep 1000 & env -i setsid sleep 1000 & echo started; wait";
    let generation = master.launch("litter", script);
    agent.first_line("litter").await;
    let updates = master.wait_for("litter", generation, "TASK_RUNNING").await;
    let container = updates[1].container_status.as_ref().expect("a container");
    let shim = container.executor_pid.expect("a pid");
    let family = eventually("three sleepers", || async {
        let family = descendants(shim);
        // The shell and its three children.
        (family.len() == 4).then_some(family)
    })
    .await;
    master.kill("litter", generation, Some(100));
    master.wait_for("litter", generation, "TASK_KILLED").await;
    for pid in family {
        assert!(!lives(pid), "{pid} outlived its task");
    }
}

fn descendants(of: u32) -> Vec<u32> {
    let children = |parent: u32| {
        let path = format!("/proc/{parent}/task/{parent}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect::<Vec<u32>>()
    };
    let mut all = children(of);
    let mut at = 0;
    while at < all.len() {
        all.extend(children(all[at]));
        at += 1;
    }
    all
}

#[tokio::test]
async fn a_task_whose_shim_is_killed_has_failed_and_is_dead() {
    let (master, agent) = pair();
    let generation = master.launch("orphan", "echo $$; exec sleep 1000");
    let pid: u32 = agent.first_line("orphan").await.parse().expect("a number");
    let updates = master.wait_for("orphan", generation, "TASK_RUNNING").await;
    let container = updates[1].container_status.as_ref().expect("a container");
    let shim = i32::try_from(container.executor_pid.expect("a pid")).expect("a small number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::SIGKILL)
        .expect("the shim lives");
    let updates = master.wait_for("orphan", generation, "TASK_FAILED").await;
    assert_eq!(updates[2].message.as_deref(), Some("Executor terminated"));
    assert_eq!(
        updates[2].reason(),
        v1::task_status::Reason::ExecutorTerminated
    );
    assert!(!lives(pid));
}

#[tokio::test]
async fn a_kill_of_a_launch_that_never_came_is_answered() {
    let (master, _agent) = pair();
    master.kill("unseen", 77, None);
    let updates = master.wait_for("unseen", 77, "TASK_KILLED").await;
    assert_eq!(states(&updates), ["TASK_KILLED"]);
    assert_eq!(
        updates[0].reason(),
        v1::task_status::Reason::TaskKilledDuringLaunch
    );
    master.command(rpc::command::Command::DropLaunch(rpc::DropLaunch {
        framework_id: FRAMEWORK.to_owned(),
        task_id: "withdrawn".to_owned(),
        generation: 78,
    }));
    let updates = master.wait_for("withdrawn", 78, "TASK_DROPPED").await;
    assert_eq!(states(&updates), ["TASK_DROPPED"]);
}

#[tokio::test]
async fn a_framework_that_is_gone_leaves_nothing_running_and_is_not_told() {
    let (master, agent) = pair();
    let generation = master.launch(
        "service",
        "trap '' TERM; echo $$; while :; do sleep 0.05; done",
    );
    let pid: u32 = agent.first_line("service").await.parse().expect("a number");
    master.wait_for("service", generation, "TASK_RUNNING").await;
    master.command(rpc::command::Command::ShutdownFramework(
        rpc::ShutdownFramework {
            framework_id: FRAMEWORK.to_owned(),
        },
    ));
    eventually("the task is dead", || async { (!lives(pid)).then_some(()) }).await;
    master.wait_until_noted().await;
    assert_eq!(master.states("service", generation), RAN);
}

#[tokio::test]
async fn a_removed_agent_kills_its_tasks_and_ends() {
    let (master, mut agent) = pair();
    master.launch("last", "echo $$; exec sleep 1000");
    let pid: u32 = agent.first_line("last").await.parse().expect("a number");
    master.change(|manner| manner.shutdown += 1);
    let error = agent.end().await.expect_err("a removed agent");
    assert!(error.to_string().contains("the test removed it"), "{error}");
    assert!(!lives(pid));
    let mark = format!("REGENCY_AGENT_WORK_DIR={}\0", agent.work_dir().display());
    eventually("no process is left", || async {
        marked(&mark).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn others_may_ask_how_it_is() {
    let (master, agent) = pair();
    let generation = master.launch("shown", "exec sleep 1000");
    master.wait_for("shown", generation, "TASK_RUNNING").await;
    assert_eq!(agent.get(&master, "/health").await.0, 200);
    let (_, version) = agent.get(&master, "/version").await;
    let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
    assert_eq!(version["version"], "1.11.0");
    for path in ["/state", "/slave(1)/state", "/state.json"] {
        let (_, body) = agent.get(&master, path).await;
        let state: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(state["id"], "agent-S0");
        assert_eq!(state["resources"]["cpus"], 2.0);
        assert_eq!(state["resources"]["gpus"], 1.0);
        assert_eq!(state["resources"]["ports"], "[31000-31009]");
        assert_eq!(state["attributes"]["rack"], "r1");
        let executor = &state["frameworks"][0]["executors"][0];
        assert_eq!(executor["tasks"][0]["id"], "shown");
        assert_eq!(executor["tasks"][0]["state"], "TASK_RUNNING");
    }
    let (_, metrics) = agent.get(&master, "/metrics").await;
    assert!(
        metrics.contains("regency_agent_attachments_total"),
        "{metrics}"
    );
    assert!(metrics.contains("TASK_RUNNING"), "{metrics}");
}

#[tokio::test]
async fn many_launches_at_once_all_run_once() {
    const N_TASKS: usize = 100;
    let (master, agent) = pair();
    let ledger = agent.folder.path().join("ledger");
    let launched: Vec<(String, u64)> = (0..N_TASKS)
        .map(|n| {
            let task = format!("task-{n}");
            let script = format!("echo {task} >> {}", ledger.display());
            let generation = master.launch(&task, &script);
            (task, generation)
        })
        .collect();
    for (task, generation) in &launched {
        let updates = master.wait_for(task, *generation, "TASK_FINISHED").await;
        assert_eq!(states(&updates), [RAN[0], RAN[1], "TASK_FINISHED"]);
    }
    let ledger = std::fs::read_to_string(ledger).expect("a ledger");
    let mut lines: Vec<&str> = ledger.lines().collect();
    lines.sort_unstable();
    let mut tasks: Vec<&str> = launched.iter().map(|(task, _)| task.as_str()).collect();
    tasks.sort_unstable();
    assert_eq!(lines, tasks);
}
