//! The leader dies.

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_client::v1::TaskState;

#[tokio::test]
async fn an_offer_made_by_a_killed_leader_is_accepted_by_the_next_and_its_task_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&[]).await;
    let mut scheduler = Scheduler::start("carried-over", &cluster.masters()).await;
    scheduler
        .until("offers of both agents", |s| s.offers.len() == 2)
        .await;
    let before: Vec<String> = scheduler.offers.keys().cloned().collect();

    let old = cluster.leader().await;
    cluster.kill(Member::Master(old.node_id)).await;

    scheduler
        .until("a subscription at the next leader", |s| {
            s.masters.len() >= 2
        })
        .await;
    scheduler
        .until("the same offers", |s| s.offers.len() == 2)
        .await;
    let new = cluster.leader().await;
    assert_ne!(new.node_id, old.node_id);
    assert!(new.term > old.term);
    let after: Vec<String> = scheduler.offers.keys().cloned().collect();
    assert_eq!(after, before, "outstanding offers keep their ids");

    let offer = scheduler.take_offer().await;
    let task = ledger.short_task("t").on(&offer);
    scheduler.launch(offer.id, vec![task]).await;
    scheduler
        .until_all_are(TaskState::TaskFinished, &["t"])
        .await;
    ledger.assert_ran_once(["t"]);
}

#[tokio::test]
async fn tasks_that_run_while_the_leader_dies_are_reported_to_the_next() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&[]).await;
    let mut scheduler = Scheduler::start("running", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    let tasks = ["a", "b"].map(|id| ledger.waiting_task(id).on(&offer));
    scheduler.launch(offer.id, tasks.to_vec()).await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["a", "b"])
        .await;

    let old = cluster.leader().await.node_id;
    cluster.kill(Member::Master(old)).await;
    // One ends while nobody leads, or just after; one after everything is in order again.
    ledger.release("a");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["a"])
        .await;
    cluster.restart(Member::Master(old));
    cluster.agreed_leader().await;
    ledger.release("b");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["b"])
        .await;
    ledger.assert_ran_once(["a", "b"]);
}
