//! Operators who watch events while the leader dies.

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::watcher::{Told, Watcher};
use regency_client::v1::TaskState;
use serde_json::Value;

fn updated(task: &str, state: &str) -> impl Fn(&Value) -> bool {
    let (task, state) = (task.to_owned(), state.to_owned());
    move |event| {
        let status = &event["task_updated"]["status"];
        status["task_id"]["value"] == *task && status["state"] == *state
    }
}

fn removed(event: &Value) -> bool {
    event["type"] == "FRAMEWORK_REMOVED"
}

/// The names of the events, with the states of tasks.
fn names(told: &[Told]) -> Vec<String> {
    told.iter()
        .map(|(_, event)| {
            let name = event["type"].as_str().unwrap_or("?");
            match event["task_updated"]["status"]["state"].as_str() {
                Some(state) => format!("{name} {state}"),
                None => name.to_owned(),
            }
        })
        .collect()
}

#[tokio::test]
async fn a_watcher_goes_on_at_another_master_and_all_masters_tell_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&[]).await;
    let leader = cluster.agreed_leader().await.node_id;
    let address = |id: u64| cluster.info(Member::Master(id)).http.clone();
    let others: Vec<u64> = (1..=3).filter(|id| *id != leader).collect();
    let addresses: Vec<String> = others.iter().map(|id| address(*id)).collect();
    let (dying, next) = (address(leader), addresses[0].clone());

    let mut traveller = Watcher::start(&dying, "0").await;
    let state = traveller.state.take().expect("it knows nothing yet");
    let agents = &state["get_agents"]["agents"];
    assert_eq!(agents.as_array().map(Vec::len), Some(2), "{state}");
    let start = traveller.position.clone();
    let mut resident = Vec::new();
    for address in &addresses {
        // What is behind this position is the same for all of them.
        let watcher = Watcher::start(address, &start).await;
        assert!(watcher.state.is_none(), "{address} knows what happened");
        resident.push(watcher);
    }

    let mut scheduler = Scheduler::start("watched", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let tasks = ["a", "b"].map(|id| ledger.waiting_task(id).on(&offer));
    scheduler.launch(offer.id, tasks.to_vec()).await;
    // It acknowledges what comes before.
    scheduler
        .until_all_are(TaskState::TaskRunning, &["a", "b"])
        .await;
    for task in ["a", "b"] {
        let runs = updated(task, "TASK_RUNNING");
        if !traveller.told.iter().any(|(_, event)| runs(event)) {
            let read = traveller.until("a task that runs", runs).await;
            read.expect("the leader lives");
        }
    }
    cluster.kill(Member::Master(leader)).await;
    traveller.to_the_end().await;
    ledger.release("a");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["a"])
        .await;

    let mut back = Watcher::start(&next, &traveller.position).await;
    assert!(back.state.is_none(), "it goes on where the stream broke");
    ledger.release("b");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["b"])
        .await;
    let framework = scheduler.framework.clone();
    framework.teardown().await.expect("an answer");
    back.until("the end of the framework", removed)
        .await
        .expect("the next leader lives");
    let mut journey = traveller.told;
    journey.append(&mut back.told);
    for (watcher, address) in resident.iter_mut().zip(&addresses) {
        watcher
            .until("the end of the framework", removed)
            .await
            .expect("the master lives");
        assert_eq!(
            watcher.told, journey,
            "told at {address}, and on the journey"
        );
    }
    let positions: Vec<&String> = journey.iter().map(|(position, _)| position).collect();
    let mut unique = positions.clone();
    unique.dedup();
    assert_eq!(positions, unique, "each is told once");

    let told = names(&journey);
    let count = |name: &str| told.iter().filter(|one| *one == name).count();
    assert_eq!(count("FRAMEWORK_ADDED"), 1, "{told:?}");
    assert!(count("FRAMEWORK_UPDATED") >= 1, "it came back: {told:?}");
    for once in [
        "TASK_ADDED",
        "TASK_UPDATED TASK_RUNNING",
        "TASK_UPDATED TASK_FINISHED",
    ] {
        assert_eq!(count(once), 2, "{once} of {told:?}");
    }

    // A master that was away tells the same of what it can still tell, or everything.
    cluster.restart(Member::Master(leader));
    let last = &journey[journey.len() - 1].0;
    let after_last = Watcher::start(&dying, last).await;
    if let Some(state) = &after_last.state {
        let frameworks = state["get_frameworks"]["frameworks"].as_array();
        assert!(frameworks.is_none_or(Vec::is_empty), "{state}");
    }
}
