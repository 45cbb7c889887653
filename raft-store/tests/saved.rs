//! Snapshots that operators take from running masters.

mod common;

use common::{Cluster, DEADLINE};
use regency_raft_store::{SaveError, SavedSnapshot, inspect_snapshot, verify_snapshot};

async fn download(saved: &SavedSnapshot, path: &std::path::Path) {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < saved.bytes() {
        let piece = saved.read_at(bytes.len() as u64, 100).await;
        bytes.extend_from_slice(&piece.expect("readable"));
    }
    std::fs::write(path, bytes).expect("writable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_master_gives_a_snapshot_with_all_that_was_committed_before() {
    let cluster = Cluster::started(3).await;
    let dir = tempfile::tempdir().expect("temporary directory");
    let leader = cluster.leader().await;
    for (i, master) in cluster.masters() {
        let epoch = i as u128 + 1;
        cluster.write(epoch).await;
        let written = cluster.master(leader).state().get().index;
        let saving = tokio::time::timeout(DEADLINE, master.saved_snapshot(true));
        let saved = saving.await.expect("in time").expect("a majority runs");
        assert!(saved.index() >= written, "{} < {written}", saved.index());

        let path = dir.path().join(format!("{i}.snapshot"));
        download(&saved, &path).await;
        let facts = verify_snapshot(&path).expect("whole");
        assert_eq!(Some(facts.cluster), master.cluster_id());
        assert_eq!((facts.index, facts.term), (saved.index(), saved.term()));
        assert_eq!(facts.agents, i + 1);
        assert_eq!(facts.members.iter().filter(|m| m.voter).count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_alone_gives_what_it_has_and_confirms_nothing() {
    let mut cluster = Cluster::started(3).await;
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let left = (leader + 1) % 3;
    cluster.sees(left, [1]).await;
    cluster.kill(leader);
    cluster.kill((leader + 2) % 3);
    let master = cluster.master(left);
    let error = master.saved_snapshot(true).await.expect_err("no majority");
    assert!(matches!(error, SaveError::NotConfirmed(_)), "{error}");

    let saved = master.saved_snapshot(false).await.expect("what it has");
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("alone");
    download(&saved, &path).await;
    assert_eq!(inspect_snapshot(&path).expect("whole").agents, 1);
    // Nothing was applied since, so there is nothing to write either.
    let again = master.saved_snapshot(false).await.expect("the same");
    assert_eq!(again.index(), saved.index());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_without_a_cluster_has_nothing_to_save() {
    let mut cluster = Cluster::new(1);
    cluster.bootstrap = false;
    cluster.start(0).await;
    assert_eq!(
        cluster.master(0).saved_snapshot(false).await.err(),
        Some(SaveError::Empty)
    );
}
