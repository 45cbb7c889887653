//! New clusters from a backup, and from the last master of an old one. Agents and frameworks go on.

use std::path::Path;
use std::process::Command;

use regency_chaos_tests::binary;
use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::masters::{Master, Places};
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_chaos_tests::writes::{Writes, known_to};
use regency_client::Http;
use regency_client::v1::TaskState;
use serde_json::Value;

/// Types a command: its exit status, what it printed, and what it complained about.
async fn regency(args: &[&str]) -> (Option<i32>, String, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || Command::new(binary::regency()).args(args).output();
    let ran = tokio::task::spawn_blocking(run).await;
    let output = ran.expect("no panic").expect("the binary runs");
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Types a command that must succeed, and gives what it printed.
async fn done(args: &[&str]) -> String {
    let (status, out, error) = regency(args).await;
    assert_eq!(status, Some(0), "{args:?}: {out}{error}");
    out
}

async fn json(args: &[&str]) -> Value {
    serde_json::from_str(&done(args).await).expect("JSON")
}

fn utf8(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Waits until master 1 leads, with the agent.
async fn leads_with_agent(cluster: &Cluster, n_tasks: u64) {
    until("it leads with the agent and its tasks", || async {
        let status = cluster.status(1).await?;
        (status.leads() && status.agents_attached == 1 && status.tasks_active == n_tasks)
            .then_some(())
    })
    .await;
}

/// Tasks that a master knows: those that have not ended, and those that have.
async fn tasks_at(master: &str) -> (Vec<String>, Vec<String>) {
    let answer = Http::default().get(master, "/state", PATIENCE).await;
    let state: Value = serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
    let named = |field: &str| {
        let frameworks = state["frameworks"].as_array().into_iter().flatten();
        let tasks = frameworks.flat_map(|framework| framework[field].as_array());
        let names = tasks.flatten().filter_map(|task| task["id"].as_str());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    (named("tasks"), named("completed_tasks"))
}

/// Makes masters of these numbers members with a vote.
async fn grow(operator: &Operator, all: &Places, ids: [u16; 2], dir: &Path) -> [Master; 2] {
    let new = ids.map(|id| all.start(id, &[1], dir, &[]));
    for id in ids {
        all.answers(id).await;
        operator.done(&["add", &all.spec(id)]).await;
    }
    let names = ids.map(|id| id.to_string());
    operator.done(&["promote", &names[0], &names[1]]).await;
    new
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_becomes_a_new_cluster_that_agents_and_frameworks_go_on_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let all = Places::beside(&cluster);
    let masters = cluster.masters();
    let mut scheduler = Scheduler::start("restored", &masters).await;
    let offer = scheduler.take_offer().await;
    let tasks = ["before", "ends"].map(|id| ledger.waiting_task(id).on(&offer));
    scheduler.launch(offer.id, tasks.to_vec()).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["before", "ends"])
        .await;

    let writes = Writes::start(2, &masters);
    until("the load is on", || async {
        (known_to(&masters[0]).await.len() > 5).then_some(())
    })
    .await;
    let before = known_to(&masters[0]).await;
    let backup = utf8(&dir.path().join("backup"));
    let from = masters.join(",");
    done(&[
        "snapshot",
        "save",
        "--consistent",
        "--masters",
        &from,
        &backup,
    ])
    .await;
    let later = writes.stop().await;
    let saved = json(&["snapshot", "inspect", "--json", &backup]).await;

    // What the backup does not know: a task that began, and one that ended.
    let offer = scheduler.take_offer().await;
    let task = ledger.waiting_task("after").on(&offer);
    scheduler.launch(offer.id, vec![task]).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["after"])
        .await;
    ledger.release("ends");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["ends"])
        .await;
    cluster.kill(Member::Master(1)).await;

    let data = utf8(&dir.path().join("master-1"));
    let member = all.spec(1);
    let restore = |flag| {
        let mut args = vec!["snapshot", "restore", &backup, "--data-dir", &data];
        args.extend(["--member", &member, flag]);
        args.retain(|arg| !arg.is_empty());
        args
    };
    let restored = json(&restore("--json")).await;
    assert_eq!(restored["snapshot"]["state_digest"], saved["state_digest"]);
    assert_ne!(restored["cluster_id"], saved["cluster_id"]);
    let (status, _, error) = regency(&restore("")).await;
    assert_eq!((status, error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains("is not empty"), "{error}");
    let files = std::fs::read_dir(dir.path().join("master-1/snapshots")).expect("made");
    for file in files {
        let path = utf8(&file.expect("listed").path());
        let inside = json(&["snapshot", "inspect", "--json", &path]).await;
        assert_eq!(inside["state_digest"], saved["state_digest"]);
        assert_eq!(inside["cluster_id"], restored["cluster_id"]);
    }

    let one = all.start(1, &[], dir.path(), &[]);
    leads_with_agent(&cluster, 2).await;
    // All that was acknowledged before the backup began is there.
    let known = known_to(&masters[0]).await;
    let lost: Vec<_> = before.difference(&known).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", later.len());
    // The agent told all it runs: one task that the backup did not know, and not the one that ended,
    // or its end, if it had not heard that this was acknowledged.
    let taken_over = until("the picture of the agent is taken over", || async {
        let (active, ended) = tasks_at(&masters[0]).await;
        (active == ["after", "before"] && ended == ["ends"]).then_some(())
    });
    tokio::select! {
        // It acknowledges what it hears, which ends a task for good.
        () = scheduler.until("the test goes on", |_| false) => {}
        () = taken_over => {}
    }
    for id in ["before", "after"] {
        ledger.release(id);
    }
    scheduler
        .until_all_are(TaskState::TaskFinished, &["before", "after"])
        .await;

    let operator = Operator::of([1, 2, 3].map(|id| all.http(id)));
    let two = grow(&operator, &all, [2, 3], dir.path()).await;
    assert_eq!(operator.voters().await, [1, 2, 3]);
    let offer = scheduler.take_offer().await;
    let task = ledger.short_task("new").on(&offer);
    scheduler.launch(offer.id, vec![task]).await;
    scheduler
        .until_all_are(TaskState::TaskFinished, &["new"])
        .await;
    ledger.assert_ran_once(["before", "ends", "after", "new"]);
    drop((one, two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_three_masters_goes_on_alone_with_its_agents_and_grows_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let all = Places::beside(&cluster);
    let operator = Operator::of([1, 2, 3, 4, 5].map(|id| all.http(id)));
    let mut others = grow(&operator, &all, [2, 3], dir.path()).await;
    let mut scheduler = Scheduler::start("survives", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let task = ledger.waiting_task("a").on(&offer);
    scheduler.launch(offer.id, vec![task]).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["a"])
        .await;
    let writes = Writes::start(1, &[all.http(1)]);
    until("some writes", || async {
        (known_to(&all.http(1)).await.len() > 5).then_some(())
    })
    .await;
    let written = writes.stop().await;

    // Two are destroyed; the third one alone can do nothing.
    for other in &mut others {
        other.kill();
        other.wipe();
    }
    cluster.kill(Member::Master(1)).await;
    let data = utf8(&cluster.info(Member::Master(1)).dir);
    let state = json(&["raft", "state", "--data-dir", &data]).await;
    let plan = done(&["recover", "--data-dir", &data]).await;
    assert!(plan.contains("Nothing is changed yet"), "{plan}");
    assert!(plan.contains("--drop 2,3"), "{plan}");
    assert_eq!(json(&["raft", "state", "--data-dir", &data]).await, state);
    let (status, _, error) = regency(&["recover", "--data-dir", &data, "--drop", "2"]).await;
    assert_eq!(status, Some(1), "{error}");
    assert!(error.contains("2,3"), "{error}");
    let recovered = json(&["recover", "--data-dir", &data, "--drop", "2,3", "--json"]).await;
    assert_eq!(recovered["cluster_id"], state["cluster_id"]);
    assert_ne!(recovered["new_cluster_id"], state["cluster_id"]);
    assert!(Path::new(recovered["kept"].as_str().expect("a path")).is_dir());

    cluster.restart(Member::Master(1));
    leads_with_agent(&cluster, 1).await;
    let known = known_to(&all.http(1)).await;
    let lost: Vec<_> = written.difference(&known).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    ledger.release("a");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["a"])
        .await;
    let refused = operator.refused(&["add", &all.spec(2)]).await;
    assert!(refused.contains('2'), "{refused}");
    let new = grow(&operator, &all, [4, 5], dir.path()).await;
    assert_eq!(operator.voters().await, [1, 4, 5]);
    ledger.assert_ran_once(["a"]);
    drop(new);
}
