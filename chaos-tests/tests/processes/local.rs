//! `regency local` itself: it leaves nothing behind.

use nix::sys::signal::{Signal, kill};
use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::until_true;
use regency_client::v1::TaskState;
use serde_json::Value;

#[tokio::test]
async fn ctrl_c_leaves_no_process_and_no_directory_behind() {
    let mut cluster = Cluster::start_local(&[]).await;
    until_true("tasks of the demonstration run", || {
        let started = |event: &Value| event["running"].as_u64().is_some_and(|n| n > 0);
        cluster.events().iter().any(started)
    })
    .await;
    assert!(cluster.processes().len() > 5, "{:#?}", cluster.processes());

    let status = cluster.interrupt().await;

    assert!(status.success(), "{status}: {:#?}", cluster.events().last());
    let left = cluster.processes();
    assert!(left.is_empty(), "{left:#?}");
    assert!(
        !cluster.dir().exists(),
        "{} is left",
        cluster.dir().display()
    );
    let events = cluster.events();
    let summary = events.last().expect("events");
    assert_eq!(summary["event"], "summary");
    assert_eq!(summary["ok"], true, "{summary:#}");
    assert_eq!(summary["demo"]["tasks_lost"], 0, "{summary:#}");
}

#[tokio::test]
async fn masters_agents_and_their_tasks_end_when_regency_local_is_killed() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let mut scheduler = Scheduler::start("orphan", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    scheduler
        .launch(offer.id.clone(), vec![ledger.waiting_task("t").on(&offer)])
        .await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["t"])
        .await;

    kill(cluster.local_pid(), Signal::SIGKILL).expect("it runs");
    assert!(!cluster.ended().await.success());

    until_true("every process is gone", || cluster.processes().is_empty()).await;
    std::fs::remove_dir_all(cluster.dir()).expect("the directory of a killed run is left");
}

#[tokio::test]
async fn leaders_are_killed_and_nothing_is_lost() {
    let flags = ["--kill-leader-every", "4s", "--for", "14s"];
    let mut cluster = Cluster::start_local(&flags).await;
    let status = cluster.ended().await;
    let events = cluster.events();
    let summary = events.last().expect("events");
    assert!(status.success(), "{status}: {summary:#}");
    let failovers = summary["failovers"].as_array().expect("a list");
    assert!(failovers.len() >= 2, "{summary:#}");
    for failover in failovers {
        for step in [
            "detection_ms",
            "election_ms",
            "first_commit_ms",
            "first_offer_ms",
        ] {
            assert!(failover[step].is_u64(), "{step} of {failover:#}");
        }
    }
    let demo = &summary["demo"];
    assert!(demo["launched"].as_u64() > Some(10), "{demo:#}");
    assert_eq!(demo["launched"], demo["finished"], "{demo:#}");
    assert_eq!(demo["run_twice"], 0, "{demo:#}");
}

#[tokio::test]
async fn a_member_started_again_by_hand_ends_with_the_cluster() {
    let mut cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    for member in [Member::Master(1), Member::Agent(1)] {
        cluster.kill(member).await;
        cluster.restart(member);
    }
    cluster.agreed_leader().await;
    let status = cluster.interrupt().await;
    assert!(status.success(), "{status}");
    // Our own children stay zombies until they are collected.
    until_true("all are gone", || cluster.processes().is_empty()).await;
}
