//! Masters of different versions in one cluster.

mod common;

use common::{Cluster, eventually, leadership};
use regency_raft_store::{BeyondLevel, MemberError, ProposeError, StartError};
use regency_state::{Command, FEATURE_LEVEL, RaiseFeatureLevel, ReportStateHash};
use regency_types::NodeId;

fn raise(level: u32) -> Command {
    Command::RaiseFeatureLevel(RaiseFeatureLevel { level })
}

fn beyond_first() -> BeyondLevel {
    BeyondLevel {
        cluster: FEATURE_LEVEL,
        supported: 1,
    }
}

/// What the leader hears that its members support.
async fn heard(cluster: &Cluster, leader: usize) -> Vec<u32> {
    eventually("the leader knows what all run", || {
        let members = cluster.master(leader).status().members;
        let programs = members.into_iter().map(|member| member.program);
        programs
            .map(|program| Some(program?.feature_level_max))
            .collect()
    })
    .await
}

/// Waits until master `i` is the leader, or makes it that.
async fn lead(cluster: &Cluster, i: usize) {
    let leader = cluster.leader().await;
    if leader != i {
        let to = cluster.peer(i).id;
        let handed_over = cluster.master(leader).transfer_leader(to).await;
        handed_over.expect("handed over");
    }
    leadership(cluster.master(i), "it leads", |now| now.is_leader()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_waits_for_the_oldest_member() {
    let mut cluster = Cluster::new(3);
    cluster.log.state_hash_every_entries = 5;
    cluster.start(0).await;
    cluster.start(1).await;
    cluster.log.feature_level_max = 1;
    cluster.start(2).await;
    for epoch in 1..=8 {
        cluster.write(epoch).await;
    }
    lead(&cluster, 0).await;
    assert_eq!(heard(&cluster, 0).await, [FEATURE_LEVEL, FEATURE_LEVEL, 1]);
    let leader = cluster.master(0);
    assert_eq!(leader.feature_level_to_raise(), None);
    assert_eq!((leader.feature_level(), leader.feature_level_max()), (1, 2));

    // What needs a higher one does not get into the log.
    let last = leader.status().last_log_index;
    let report = ReportStateHash {
        node: NodeId(1),
        index: 5,
        schema: 1,
        digest: 0,
    };
    let refused = leader.propose(Command::ReportStateHash(report)).await;
    let too_early = ProposeError::FeatureLevel {
        needed: 2,
        level: 1,
    };
    assert_eq!(refused, Err(too_early));
    assert_eq!(leader.status().last_log_index, last);

    // Old and new masters make the same state of the same log.
    let collecting = leader.state_hashes(None);
    let (_, reports) = tokio::time::timeout(common::DEADLINE, collecting)
        .await
        .expect("in time");
    assert_eq!(reports.len(), 3);
    assert!(
        reports.iter().all(|r| r.digest == reports[0].digest),
        "{reports:?}"
    );

    // Upgraded, the last one lets it rise.
    cluster.kill(2);
    cluster.log.feature_level_max = FEATURE_LEVEL;
    cluster.start(2).await;
    lead(&cluster, 0).await;
    let level = eventually("all support it", || {
        cluster.master(0).feature_level_to_raise()
    })
    .await;
    assert_eq!(level, FEATURE_LEVEL);
    let verdict = cluster.master(0).propose(raise(level)).await;
    verdict.expect("committed").expect("raised");
    assert_eq!(cluster.master(0).feature_level_to_raise(), None);
    for (i, master) in cluster.masters() {
        eventually("it is raised everywhere", || {
            (master.feature_level() == FEATURE_LEVEL).then_some(i)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_master_stops_at_a_higher_level_and_does_not_start_again() {
    let mut cluster = Cluster::new(3);
    cluster.start(0).await;
    cluster.start(1).await;
    cluster.log.feature_level_max = 1;
    cluster.start(2).await;
    lead(&cluster, 0).await;
    // Nobody proposes this as things are; it stands for an old master that slipped in at the last
    // moment.
    let verdict = cluster.master(0).propose(raise(FEATURE_LEVEL)).await;
    verdict.expect("committed").expect("raised");
    let halted = tokio::time::timeout(common::DEADLINE, cluster.master(2).halted());
    let why = halted.await.expect("the old one stops");
    assert!(why.contains(&beyond_first().to_string()), "{why}");
    assert!(!why.contains('\n'), "{why}");
    assert!(why.contains("--feature-level-max"), "{why}");

    // Upgraded, it goes on where it stopped.
    cluster.kill(2);
    cluster.log.feature_level_max = FEATURE_LEVEL;
    cluster.start(2).await;
    cluster.write(2).await;
    cluster.sees(2, [2]).await;
    assert_eq!(cluster.master(2).feature_level(), FEATURE_LEVEL);

    // With the level in its log or in its snapshot, an older one does not even start.
    cluster.master(2).shutdown().await;
    cluster.kill(2);
    cluster.log.feature_level_max = 1;
    let refused = cluster.try_start(2).await.expect_err("too old");
    let why = refused.to_string();
    assert!(why.contains(&beyond_first().to_string()), "{why}");
    cluster.log.feature_level_max = FEATURE_LEVEL;
    cluster.start(2).await;
    cluster.write(3).await;
    cluster.sees(2, [2, 3]).await;
    cluster.master(2).snapshot().await;
    eventually("a snapshot", || cluster.master(2).status().snapshot_index).await;
    cluster.kill(2);
    cluster.log.feature_level_max = 1;
    let refused = cluster.try_start(2).await.expect_err("too old");
    let StartError::FeatureLevel(beyond) = refused else {
        panic!("{refused}");
    };
    assert_eq!(beyond, beyond_first());

    // Nor is one added.
    let mut stranger = Cluster::new(2);
    stranger.bootstrap = false;
    stranger.log.feature_level_max = 1;
    let mut spec = stranger.peer(0).clone();
    spec.id = NodeId(4);
    stranger.set_peers(vec![spec.clone()]);
    let config = {
        let mut config = stranger.config(0);
        config.node = spec.id;
        config
    };
    let clock = std::sync::Arc::new(regency_runtime::SystemClock::default());
    let old = regency_raft_store::Consensus::start(config, clock).await;
    let old = old.expect("starts");
    let leader = cluster.leader().await;
    let refused = cluster.master(leader).add_learner(&spec).await;
    let too_old = MemberError::TooOld {
        node: spec.id,
        supported: 1,
        level: FEATURE_LEVEL,
    };
    assert_eq!(refused, Err(too_old));
    old.shutdown().await;
    cluster.write(4).await;
}
