//! Crashes of the agent and changes of leader: what ran goes on, and nothing is lost or told
//! twice.

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use common::agent::Agent;
use common::master::{Master, Memory};
use common::{eventually, lives};
use regency_rpc::proto::regency::agent::v1 as rpc;

fn pair() -> (Master, Agent) {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    (master, agent)
}

/// A task that runs until the file `go` appears in its sandbox.
const WAITS: &str = "echo $$; while ! [ -e go ]; do sleep 0.02; done; exit 7";

fn let_go(agent: &Agent, task: &str) {
    std::fs::write(agent.sandbox(task).join("go"), "").expect("a sandbox");
}

#[tokio::test]
async fn a_task_runs_on_while_the_agent_is_down_and_is_watched_again() {
    let (master, mut agent) = pair();
    let generation = master.launch("on", WAITS);
    let pid: u32 = agent.first_line("on").await.parse().expect("a number");
    master.wait_for("on", generation, "TASK_RUNNING").await;
    agent.crash().await;
    assert!(lives(pid));
    agent.start();
    eventually("a second attachment", || async {
        master.with(|memory| (memory.attaches.len() == 2).then_some(()))
    })
    .await;
    let (first, second) = master.with(|m| (m.attaches[0].clone(), m.attaches[1].clone()));
    assert_eq!(first.epoch, second.epoch);
    assert_eq!(
        (first.agent_id.as_str(), second.agent_id.as_str()),
        ("", "agent-S0")
    );
    assert_eq!(second.highest_term, 1);
    assert!(lives(pid));
    let_go(&agent, "on");
    let updates = master.wait_for("on", generation, "TASK_FAILED").await;
    assert_eq!(updates.len(), 3);
    assert_eq!(
        updates[2].message.as_deref(),
        Some("Command exited with status 7")
    );
    assert_eq!(
        agent.stdout("on").await.lines().count(),
        1,
        "it started once"
    );
}

#[tokio::test]
async fn an_end_while_the_agent_is_down_is_told_afterwards() {
    let (master, mut agent) = pair();
    let generation = master.launch("meanwhile", WAITS);
    let pid: u32 = agent
        .first_line("meanwhile")
        .await
        .parse()
        .expect("a number");
    master
        .wait_for("meanwhile", generation, "TASK_RUNNING")
        .await;
    agent.stop().await;
    let_go(&agent, "meanwhile");
    eventually("the task ended", || async { (!lives(pid)).then_some(()) }).await;
    agent.start();
    let updates = master
        .wait_for("meanwhile", generation, "TASK_FAILED")
        .await;
    assert_eq!(
        updates[2].message.as_deref(),
        Some("Command exited with status 7")
    );
}

#[tokio::test]
async fn a_kill_goes_on_after_a_crash_in_the_middle_of_it() {
    let (master, mut agent) = pair();
    let script = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let generation = master.launch("stubborn", script);
    agent.first_line("stubborn").await;
    master
        .wait_for("stubborn", generation, "TASK_RUNNING")
        .await;
    master.kill("stubborn", generation, Some(500));
    master
        .wait_for("stubborn", generation, "TASK_KILLING")
        .await;
    agent.crash().await;
    agent.start();
    let updates = master.wait_for("stubborn", generation, "TASK_KILLED").await;
    assert_eq!(updates.len(), 4, "TASK_KILLING is told once");
}

#[tokio::test]
async fn a_launch_that_was_noted_and_not_started_is_dropped() {
    let (master, mut agent) = pair();
    eventually("attached", || async {
        master.with(|memory| (!memory.attaches.is_empty()).then_some(()))
    })
    .await;
    agent.stop().await;
    // A shim that never says that it is ready.
    let mute = agent.folder.path().join("mute");
    std::fs::write(&mute, "#!/bin/sh\nexec sleep 1000\n").expect("a writable disk");
    std::fs::set_permissions(&mute, std::fs::Permissions::from_mode(0o755)).expect("a file");
    agent.use_shim(&mute);
    agent.start();
    let generation = master.launch("never", "echo ran");
    master.wait_until_noted().await;
    agent.crash().await;
    agent.use_real_shim();
    agent.start();
    let updates = master.wait_for("never", generation, "TASK_DROPPED").await;
    assert_eq!(updates.len(), 1);
    assert_eq!(agent.stdout("never").await, "");
}

#[tokio::test]
async fn updates_wait_for_a_leader_and_for_their_acknowledgement() {
    let (master, mut agent) = pair();
    master.with(|memory| memory.acknowledges = false);
    let generation = master.launch("patient", "exit 0");
    master
        .wait_for("patient", generation, "TASK_STARTING")
        .await;
    let key = ("patient".to_owned(), generation);
    // Only the head is sent, with the newest state beside it.
    let finished = regency_wire::v1::TaskState::TaskFinished as i32;
    eventually("the newest state", || async {
        master.with(|memory| (memory.latest.get(&key) == Some(&finished)).then_some(()))
    })
    .await;
    assert_eq!(master.states("patient", generation), ["TASK_STARTING"]);
    agent.crash().await;
    agent.start();
    for state in ["TASK_RUNNING", "TASK_FINISHED"] {
        let uuid = master.with(|m| m.updates[&key].last().and_then(|s| s.uuid.clone()));
        master.command(rpc::command::Command::Acknowledge(rpc::Acknowledge {
            framework_id: common::master::FRAMEWORK.to_owned(),
            task_id: "patient".to_owned(),
            generation,
            uuid: uuid.expect("a uuid"),
        }));
        master.wait_for("patient", generation, state).await;
    }
}

#[tokio::test]
async fn a_torn_checkpoint_is_repaired_and_a_damaged_one_refused() {
    let (master, mut agent) = pair();
    let generation = master.launch("kept", WAITS);
    agent.first_line("kept").await;
    master.wait_for("kept", generation, "TASK_RUNNING").await;
    agent.crash().await;
    let log = agent.checkpoint_log();
    let sound = std::fs::read(&log).expect("the log");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&log)
        .expect("the log");
    file.write_all(b"half a record").expect("a writable disk");
    agent.start();
    let_go(&agent, "kept");
    master.wait_for("kept", generation, "TASK_FAILED").await;
    agent.stop().await;

    let mut damaged = sound;
    damaged[40] ^= 0x10;
    std::fs::write(&log, damaged).expect("a writable disk");
    agent.start();
    let error = agent.end().await.expect_err("a damaged log");
    let text = format!("{error:#}");
    assert!(
        text.contains("damaged at byte 28") && text.contains("checkpoint.log"),
        "{text}"
    );
}

#[tokio::test]
async fn an_agent_that_lost_its_checkpoints_kills_what_it_ran_before_it_comes_back() {
    let (master, mut agent) = pair();
    let generation = master.launch("stray", "setsid sleep 1000 & echo $!; wait");
    let pid: u32 = agent.first_line("stray").await.parse().expect("a number");
    master.wait_for("stray", generation, "TASK_RUNNING").await;
    agent.crash().await;
    std::fs::remove_dir_all(agent.work_dir().join("meta")).expect("a folder");
    assert!(lives(pid));
    // The agent is new to the masters, and so is the command stream.
    master.with(|memory| {
        memory.commands.clear();
        memory.applied_report_seq = 0;
    });
    agent.start();
    let attach = eventually("a new attachment", || async {
        master.with(|memory| memory.attaches.get(1).cloned())
    })
    .await;
    assert!(!lives(pid), "it lived when the agent came back");
    assert_eq!(attach.agent_id, "");
    assert_ne!(
        attach.epoch,
        master.with(|memory| memory.attaches[0].epoch.clone())
    );
}

#[tokio::test]
async fn a_follower_names_the_leader_and_a_change_of_leader_loses_nothing() {
    let memory = Arc::new(Mutex::new(Memory {
        acknowledges: true,
        ..Memory::default()
    }));
    let one = Master::start(1, Arc::clone(&memory), None);
    let two = Master::start(2, memory, Some(one.address.to_string()));
    // It knows only the follower.
    let mut agent = Agent::new(&[two.address.to_string()]);
    agent.start();
    let generation = one.launch("carried", WAITS);
    agent.first_line("carried").await;
    one.wait_for("carried", generation, "TASK_RUNNING").await;
    // The other one leads from now on, in a higher term.
    one.change(|manner| manner.leader = Some(two.address.to_string()));
    two.change(|manner| {
        manner.leader = None;
        manner.term = 2;
    });
    let_go(&agent, "carried");
    let updates = two.wait_for("carried", generation, "TASK_FAILED").await;
    assert_eq!(updates.len(), 3);
    let last = two
        .with(|memory| memory.attaches.last().cloned())
        .expect("an attachment");
    assert_eq!(last.agent_id, "agent-S0");

    // The old leader wakes up and believes in its old term: nobody follows it.
    two.change(|manner| manner.leader = Some(one.address.to_string()));
    one.change(|manner| manner.leader = None);
    let n_attaches = one.with(|memory| memory.attaches.len());
    eventually("it asked the old leader", || async {
        one.with(|memory| (memory.attaches.len() > n_attaches).then_some(()))
    })
    .await;
    let stale = one.launch("stale", "echo ran");
    two.change(|manner| {
        manner.leader = None;
        manner.term = 3;
    });
    one.change(|manner| manner.leader = Some(two.address.to_string()));
    two.wait_for("stale", stale, "TASK_FINISHED").await;
    let terms = two.with(|memory| memory.attaches.last().expect("one").highest_term);
    assert_eq!(terms, 2, "the old leader's term was never entered");
}

#[tokio::test]
async fn a_silent_leader_is_left() {
    let (master, _agent) = pair();
    master.change(|manner| {
        manner.pings = false;
        manner.cut += 1;
    });
    let n_attaches = master.with(|memory| memory.attaches.len());
    eventually("it looked for a leader twice more", || async {
        master.with(|memory| (memory.attaches.len() >= n_attaches + 2).then_some(()))
    })
    .await;
}

#[tokio::test]
async fn the_whole_picture_is_sent_when_asked_for() {
    let (master, agent) = pair();
    let generation = master.launch("pictured", WAITS);
    agent.first_line("pictured").await;
    master
        .wait_for("pictured", generation, "TASK_RUNNING")
        .await;
    master.wait_until_noted().await;
    master.change(|manner| manner.resync += 1);
    let resync = eventually("the picture", || async {
        master.with(|memory| memory.resyncs.last().cloned())
    })
    .await;
    assert_eq!(resync.tasks.len(), 1);
    assert_eq!(resync.tasks[0].task_id, "pictured");
    assert_eq!(resync.tasks[0].report_seq, 0);
    assert_eq!(
        resync.command_seq,
        master.with(|memory| memory.commands.len() as u64)
    );
}

#[tokio::test]
async fn an_agent_whose_description_is_refused_ends_and_says_why() {
    let master = Master::leader();
    master.change(|manner| manner.refuses = Some(rpc::refused::Reason::BadInfo));
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    let error = agent.end().await.expect_err("a refused agent");
    assert!(
        error.to_string().contains("as the test wants it"),
        "{error}"
    );
}
