//! The leader is frozen: its connections stay open, and nothing comes over them.

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::until;
use regency_client::v1::TaskState;

#[tokio::test]
async fn a_frozen_leader_is_replaced_and_harms_nobody_when_it_wakes_up() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&[]).await;
    let mut scheduler = Scheduler::start("frozen", &cluster.masters()).await;
    let offer = scheduler.take_offer().await;
    scheduler
        .launch(
            offer.id.clone(),
            vec![ledger.waiting_task("before").on(&offer)],
        )
        .await;
    scheduler
        .until_all_are(TaskState::TaskRunning, &["before"])
        .await;
    scheduler
        .until("another offer", |s| !s.offers.is_empty())
        .await;
    let offers: Vec<String> = scheduler.offers.keys().cloned().collect();
    let old = cluster.leader().await;
    let old_address = cluster.info(Member::Master(old.node_id)).http.clone();

    cluster.freeze(Member::Master(old.node_id));

    scheduler
        .until(
            "a subscription at another master, with the same offers",
            |s| {
                s.masters.last() != Some(&old_address)
                    && offers.iter().all(|id| s.offers.contains_key(id))
            },
        )
        .await;
    let offer = scheduler.take_offer().await;
    scheduler
        .launch(
            offer.id.clone(),
            vec![ledger.short_task("meanwhile").on(&offer)],
        )
        .await;
    ledger.release("before");
    scheduler
        .until_all_are(TaskState::TaskFinished, &["before", "meanwhile"])
        .await;

    cluster.thaw(Member::Master(old.node_id));

    let leader = cluster.agreed_leader().await;
    assert!(leader.term > old.term, "{leader:?}");
    until("the old leader has applied what it missed", || async {
        let status = cluster.status(old.node_id).await?;
        (status.applied_index >= leader.applied_index).then_some(())
    })
    .await;
    // Nothing that it still had in hand undoes what its successor did.
    let offer = scheduler.take_offer().await;
    scheduler
        .launch(
            offer.id.clone(),
            vec![ledger.short_task("after").on(&offer)],
        )
        .await;
    scheduler
        .until_all_are(TaskState::TaskFinished, &["before", "meanwhile", "after"])
        .await;
    ledger.assert_ran_once(["before", "meanwhile", "after"]);
}

#[tokio::test]
async fn two_of_five_masters_may_die_the_leader_among_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--masters", "5", "--agents", "1"]).await;
    let mut scheduler = Scheduler::start("five", &cluster.masters()).await;
    let old = cluster.leader().await;
    let other = old.node_id % 5 + 1;

    cluster
        .kill_all(&[Member::Master(old.node_id), Member::Master(other)])
        .await;

    scheduler
        .until("a subscription at a survivor", |s| s.masters.len() >= 2)
        .await;
    let offer = scheduler.take_offer().await;
    scheduler
        .launch(offer.id.clone(), vec![ledger.short_task("t").on(&offer)])
        .await;
    scheduler
        .until_all_are(TaskState::TaskFinished, &["t"])
        .await;
    for member in [Member::Master(old.node_id), Member::Master(other)] {
        cluster.restart(member);
    }
    assert!(cluster.agreed_leader().await.term > old.term);
    ledger.assert_ran_once(["t"]);
}
