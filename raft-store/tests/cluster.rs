//! Clusters of real masters over loopback: founding, committing, failing over, coming back.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Cluster, eventually, has, leadership, register, register_with};
use regency_raft_store::{ProposeError, Role};
use regency_types::NodeId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_masters_found_one_cluster_and_commit() {
    let cluster = Cluster::started(3).await;
    cluster.write(1).await;
    for i in 0..3 {
        cluster.sees(i, [1]).await;
    }
    let id = cluster.master(0).cluster_id().expect("founded");
    for (_, master) in cluster.masters() {
        assert_eq!(master.cluster_id(), Some(id));
        assert_eq!(master.state().get().state.cluster(), Some(id));
        let status = master.status();
        assert_eq!(status.members.len(), 3);
        assert!(status.members.iter().all(|member| member.voter));
    }
    let incarnations: std::collections::BTreeSet<_> =
        cluster.masters().map(|(_, m)| m.incarnation()).collect();
    assert_eq!(incarnations.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_refuses_proposals_and_names_the_leader() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    let known = leadership(cluster.master(follower), "the leader is known", |l| {
        l.role == Role::Follower
    })
    .await;
    let address = known.leader.expect("known");
    assert_eq!(address.node, NodeId(leader as u64 + 1));
    assert_eq!(address.http, format!("master{}:5050", leader + 1));
    let error = cluster
        .master(follower)
        .propose(register(1))
        .await
        .expect_err("refused");
    assert_eq!(
        error,
        ProposeError::NotLeader {
            leader: Some(address)
        }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_above_the_limit_is_refused_before_it_is_written() {
    let cluster = Cluster::started(1).await;
    let leader = cluster.leader().await;
    let before = cluster.master(leader).status().last_log_index;
    let huge = register_with(1, Bytes::from(vec![0; 1024 * 1024]));
    let error = cluster
        .master(leader)
        .propose(huge)
        .await
        .expect_err("too large");
    assert!(
        matches!(error, ProposeError::TooLarge { bytes, bytes_max } if bytes > bytes_max),
        "{error}"
    );
    assert_eq!(cluster.master(leader).status().last_log_index, before);
    // Just below the limit is fine, though its record is larger than one step of the engine.
    let large = register_with(2, Bytes::from(vec![0; 1000 * 1024]));
    cluster
        .master(leader)
        .propose(large)
        .await
        .expect("written")
        .expect("accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_survive_the_loss_of_every_leader_and_a_restart_from_disk() {
    let mut cluster = Cluster::started(3).await;
    let mut epoch = 0;
    for _ in 0..3 {
        for _ in 0..20 {
            epoch += 1;
            cluster.write(epoch).await;
        }
        let leader = cluster.leader().await;
        cluster.kill(leader);
        // The other two go on without it.
        for _ in 0..5 {
            epoch += 1;
            cluster.write(epoch).await;
        }
        cluster.start(leader).await;
        cluster.sees(leader, 1..=epoch).await;
    }
    for i in 0..3 {
        cluster.sees(i, 1..=epoch).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_masters_at_once_come_back_with_everything() {
    let mut cluster = Cluster::started(3).await;
    for epoch in 1..=30 {
        cluster.write(epoch).await;
    }
    let id = cluster.master(0).cluster_id();
    let term = cluster.master(0).leadership().borrow().term;
    for i in 0..3 {
        cluster.kill(i);
    }
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(31).await;
    for i in 0..3 {
        cluster.sees(i, 1..=31).await;
        assert_eq!(cluster.master(i).cluster_id(), id);
        assert!(cluster.master(i).leadership().borrow().term > term);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_master_serves_alone_and_cluster_time_never_goes_back() {
    let mut cluster = Cluster::started(1).await;
    cluster.write(1).await;
    let first = leadership(cluster.master(0), "leads", |l| l.is_leader()).await;
    assert_eq!(first.session, 1);
    let time = cluster.master(0).cluster_time().expect("leads");
    assert_eq!(cluster.master(0).last_quorum_ack(), Some(Duration::ZERO));
    cluster.master(0).shutdown().await;
    assert!(cluster.master(0).cluster_time().is_none());
    cluster.kill(0);
    cluster.start(0).await;
    cluster.leader().await;
    assert!(has(&cluster.master(0).state().get().state, 1));
    assert!(cluster.master(0).state().get().state.now() <= time);
    let later = cluster.master(0).cluster_time().expect("leads");
    cluster.write(2).await;
    assert!(cluster.master(0).state().get().state.now() >= later);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_request_and_on_shutdown() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    cluster.write(1).await;
    let heir = (leader + 1) % 3;
    cluster
        .master(leader)
        .transfer_leader(NodeId(heir as u64 + 1))
        .await
        .expect("handed over");
    leadership(cluster.master(heir), "the heir leads", |l| l.is_leader()).await;
    cluster.write(2).await;

    // Whoever shuts down as leader returns only when another one leads.
    cluster.master(heir).shutdown().await;
    cluster.kill(heir);
    let successor = cluster.leader().await;
    assert_ne!(successor, heir);
    cluster.write(3).await;
    cluster.start(heir).await;
    cluster.sees(heir, 1..=3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_barrier_on_any_master_sees_every_answered_write() {
    let cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    for i in 0..3 {
        leadership(cluster.master(i), "a leader is known", |l| {
            l.leader.is_some()
        })
        .await;
    }
    for epoch in 1..=30u128 {
        cluster.write(epoch).await;
        let i = (epoch % 3) as usize;
        let index = cluster.master(i).read_barrier().await.expect("confirmed");
        let applied = cluster.master(i).state().get();
        assert!(applied.index >= index);
        assert!(has(&applied.state, epoch), "epoch {epoch} on master {i}");
    }
    assert_eq!(cluster.leader().await, leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_majority_stops_serving_and_says_unknown() {
    let mut cluster = Cluster::started(3).await;
    let leader = cluster.leader().await;
    cluster.write(1).await;
    for i in (0..3).filter(|i| *i != leader) {
        cluster.kill(i);
    }
    let master = cluster.master(leader).clone();
    // Proposed while the master still believes in its majority.
    let result = master.propose(register(2)).await;
    assert!(
        matches!(
            result,
            Err(ProposeError::Unknown | ProposeError::NotLeader { .. })
        ),
        "{result:?}"
    );
    let lost = leadership(&master, "it stops serving", |l| !l.is_leader()).await;
    assert_eq!(lost.role, Role::Candidate);
    assert_eq!(lost.leader, None);
    let refused = master.propose(register(3)).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: None }));
    assert!(master.read_barrier().await.is_err());

    // With the others back, somebody leads in a new session and nothing that was answered is gone.
    for i in (0..3).filter(|i| *i != leader) {
        cluster.start(i).await;
    }
    cluster.write(4).await;
    for i in 0..3 {
        cluster.sees(i, [1, 4]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn effects_reach_only_who_listens_and_in_log_order() {
    let cluster = Cluster::started(1).await;
    cluster.leader().await;
    cluster.write(1).await;
    let mut effects = cluster.master(0).effects();
    for epoch in 2..=10 {
        cluster.write(epoch).await;
    }
    let after = cluster.master(0).state().get().index;
    let mut last = 0;
    while last < after {
        let batch = tokio::time::timeout(common::DEADLINE, effects.recv())
            .await
            .expect("in time")
            .expect("not lost");
        assert!(batch.index > last, "{} after {last}", batch.index);
        assert!(!batch.effects.is_empty());
        last = batch.index;
    }
    assert_eq!(last, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_for_too_long_takes_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.log.snapshot_every_entries = 50;
    cluster.log.keep_entries = 10;
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let away = (cluster.leader().await + 1) % 3;
    cluster.sees(away, [1]).await;
    cluster.kill(away);
    for epoch in 2..=700 {
        cluster.write(epoch).await;
    }
    let leader = cluster.leader().await;
    let purged = eventually("the leader purged its log", || {
        cluster
            .master(leader)
            .status()
            .purged_index
            .filter(|at| *at > 200)
    })
    .await;
    cluster.start(away).await;
    cluster.sees(away, 1..=700).await;
    let status = cluster.master(away).status();
    assert!(status.snapshot_index >= Some(purged), "{status:?}");

    // It can also start again from what it received.
    cluster.kill(away);
    cluster.start(away).await;
    cluster.sees(away, 1..=700).await;
    cluster.write(701).await;
    cluster.sees(away, [701]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_long_before_its_lease_ends() {
    let mut cluster = Cluster::new(3);
    // By silence alone nobody would campaign for thirty seconds.
    cluster.timing.election_min = Duration::from_secs(20);
    cluster.timing.election_max = Duration::from_secs(30);
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let mut epoch = 1;
    for _ in 0..3 {
        let dead = cluster.leader().await;
        for i in 0..3 {
            cluster.sees(i, [epoch]).await;
        }
        cluster.kill(dead);
        // `leader` waits for less than the lease.
        let next = cluster.leader().await;
        assert_ne!(next, dead);
        epoch += 1;
        cluster.write(epoch).await;
        cluster.start(dead).await;
    }
}
