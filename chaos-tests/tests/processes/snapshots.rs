//! Snapshots taken from running masters by the command.

use std::process::{Command, Output};

use regency_chaos_tests::binary;
use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_client::v1::TaskState;

async fn regency(args: Vec<String>) -> Output {
    let run = move || Command::new(binary::regency()).args(args).output();
    let ran = tokio::task::spawn_blocking(run).await;
    ran.expect("no panic").expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_follower_gives_the_whole_state_of_a_busy_cluster_and_so_does_a_survivor() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&[]).await;
    let mut scheduler = Scheduler::start("saved", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let task = ledger.waiting_task("a").on(&offer);
    scheduler.launch(offer.id, vec![task]).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["a"])
        .await;

    let leader = cluster.leader().await;
    let masters = cluster.masters();
    let own = usize::try_from(leader.node_id - 1).expect("a small number");
    let follower = masters[(own + 1) % masters.len()].clone();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let save = |from: String, file: &str, more: &[&str]| {
        let mut args: Vec<String> = ["snapshot", "save", "--masters"].map(String::from).into();
        args.push(from);
        args.extend(more.iter().map(|flag| (*flag).to_owned()));
        args.push(path(file));
        args
    };

    let saved = regency(save(follower, "one", &["--consistent"])).await;
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let inspected = regency(vec![
        "snapshot".into(),
        "inspect".into(),
        "--json".into(),
        path("one"),
    ])
    .await;
    assert!(inspected.status.success(), "{}", text(&inspected.stderr));
    let facts: serde_json::Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert_eq!(facts["agents"], 2);
    assert_eq!(facts["frameworks"], 1);
    assert_eq!(facts["tasks_active"], 1);
    assert_eq!(facts["members"].as_array().map(Vec::len), Some(3));
    assert_eq!(facts["compression"], "zstd");

    // The first of the list is dead: the next one is asked.
    cluster.kill(Member::Master(leader.node_id)).await;
    let saved = regency(save(masters.join(","), "two", &[])).await;
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    let verified = regency(vec!["snapshot".into(), "verify".into(), path("two")]).await;
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains("is whole"));
}
