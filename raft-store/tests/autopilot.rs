//! What a leader does about the members by itself.

mod common;

use std::time::Duration;

use common::{Cluster, eventually};
use regency_raft_store::{AutopilotConfig, Consensus};
use regency_types::NodeId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_that_were_added_for_it_get_votes_and_those_of_the_dead() {
    let mut cluster = Cluster::new(5);
    cluster.autopilot = AutopilotConfig {
        server_stabilization_time: Duration::from_millis(300),
        ..AutopilotConfig::default()
    };
    let all: Vec<_> = (0..5).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..1].to_vec());
    cluster.start(0).await;
    cluster.write(1).await;
    cluster.set_peers(all.clone());
    for i in 1..5 {
        cluster.start(i).await;
    }
    let leader = cluster.master(0).clone();
    let autopilot = {
        let leader = leader.clone();
        tokio::spawn(async move { leader.autopilot().await })
    };

    // With its vote there would be two, so it waits.
    leader.add_candidate(&all[1]).await.expect("added");
    leader.add_learner(&all[2]).await.expect("added");
    for node in [2, 3] {
        stable(&leader, node).await;
    }
    assert_eq!(voters(&leader), [1]);
    // The other one was not meant to have one at first.
    leader.add_candidate(&all[2]).await.expect("marked");
    votes(&leader, &[1, 2, 3]).await;

    // Nobody takes the vote of a dead one but a master that was added for that.
    cluster.kill(2);
    leader.add_learner(&all[3]).await.expect("added");
    stable(&leader, 4).await;
    eventually("the dead one counts as dead", || {
        let (_, health) = leader.health();
        let silent = |m: &&regency_raft_store::members::decide::MemberHealth| {
            m.node == NodeId(3) && m.reason.is_some() && m.lasting > Some(STABLE)
        };
        health.members.iter().find(silent).map(|_| ())
    })
    .await;
    assert_eq!(voters(&leader), [1, 2, 3]);
    assert_eq!(leader.health().1.tolerates, 0);
    leader.add_candidate(&all[4]).await.expect("added");
    votes(&leader, &[1, 2, 5]).await;
    eventually("it is healthy again and knows who left", || {
        let (members, health) = leader.health();
        let well = health.problems.is_empty() && health.tolerates == 1;
        (well && members.former == [NodeId(3)]).then_some(())
    })
    .await;
    cluster.write(2).await;
    cluster.sees(4, [1, 2]).await;
    autopilot.abort();
}

/// Longer than it takes to be stable here.
const STABLE: Duration = Duration::from_millis(1200);

/// Waits until the leader has seen a member healthy for longer than it takes.
async fn stable(leader: &Consensus, node: u64) {
    eventually("it is stable", || {
        let (_, health) = leader.health();
        let mut members = health.members.iter().filter(|m| m.node == NodeId(node));
        let member = members.next()?;
        (member.reason.is_none() && member.lasting > Some(STABLE)).then_some(())
    })
    .await;
}

async fn votes(leader: &Consensus, expected: &[u64]) {
    eventually("autopilot gave the votes", || {
        let joint = leader.members().joint;
        (!joint && voters(leader) == expected).then_some(())
    })
    .await;
}

fn voters(leader: &Consensus) -> Vec<u64> {
    let members = leader.members().members;
    let voters = members.iter().filter(|member| member.voter);
    voters.map(|member| member.node.0).collect()
}
