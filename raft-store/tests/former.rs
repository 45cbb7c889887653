//! The number of a member that left is never used again.

mod common;

use std::collections::BTreeSet;

use common::{Cluster, eventually};
use regency_raft_store::members::decide::Change;
use regency_raft_store::{LogConfig, MemberError, Removed};
use regency_types::NodeId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_left_stays_out_also_after_snapshots_and_restarts() {
    let mut cluster = Cluster::new(5);
    cluster.log = LogConfig {
        snapshot_every_entries: 1_000_000,
        keep_entries: 0,
        ..LogConfig::default()
    };
    let all: Vec<_> = (0..5).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..3].to_vec());
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;

    // The fourth comes and goes.
    cluster.set_peers(all.clone());
    cluster.start(3).await;
    let leader = cluster.leader().await;
    let master = cluster.master(leader).clone();
    master.add_learner(&all[3]).await.expect("added");
    cluster.sees(3, [1]).await;
    let known = cluster.master(3).incarnation();
    let cluster_id = master.cluster_id().expect("it has a cluster");
    let remove = Change {
        remove: BTreeSet::from([NodeId(4)]),
        ..Change::default()
    };
    let none = BTreeSet::new();
    master.change_members(&remove, &none).await.expect("left");
    let refused = MemberError::IdUsed {
        node: NodeId(4),
        known,
    };
    // With the directory it had.
    let again = master.add_learner(&all[3]).await;
    assert_eq!(again, Err(refused.clone()));
    let told = tokio::time::timeout(common::DEADLINE, cluster.master(3).removed()).await;
    assert!(matches!(told, Ok(Removed::Left { .. })), "{told:?}");
    drop(master);

    // Every master forgets the entries that tell of it: only a snapshot does. The log is purged in
    // batches, so that it takes some more entries.
    let removed_at = cluster.master(leader).members().index.expect("members");
    for epoch in 2..=300 {
        cluster.write(epoch).await;
    }
    for i in 0..3 {
        cluster.sees(i, [300]).await;
        let master = cluster.master(i);
        master.snapshot().await;
        eventually("the log is purged beyond the removal", || {
            let purged = master.status().purged_index?;
            (purged >= removed_at).then_some(())
        })
        .await;
    }
    for i in 0..4 {
        cluster.kill(i);
    }
    for i in 0..3 {
        cluster.start(i).await;
    }
    let leader = cluster.leader().await;
    let master = cluster.master(leader);
    // Nobody has to run for this to be refused.
    assert_eq!(master.add_learner(&all[3]).await, Err(refused.clone()));

    // With an empty directory it is no better, and is told so.
    eventually("the directory is free", || {
        let free = std::fs::File::open(cluster.dir(3).join("lock")).ok()?;
        free.try_lock().ok()
    })
    .await;
    cluster.wipe(3);
    cluster.start(3).await;
    let wiped = cluster.master(3);
    assert_ne!(wiped.incarnation(), known);
    let master = cluster.master(leader);
    assert_eq!(master.add_learner(&all[3]).await, Err(refused.clone()));
    let told = tokio::time::timeout(common::DEADLINE, wiped.removed()).await;
    let used = Removed::IdUsed {
        cluster: cluster_id,
        known,
    };
    assert_eq!(told.ok(), Some(used));
    assert_eq!(wiped.cluster_id(), None, "nobody let it in");

    // One that is new knows it from the snapshot it was sent.
    cluster.start(4).await;
    let master = cluster.master(leader);
    master.add_learner(&all[4]).await.expect("a new number");
    cluster.sees(4, [1, 300]).await;
    assert_eq!(cluster.master(4).members().former, [NodeId(4)]);
}
