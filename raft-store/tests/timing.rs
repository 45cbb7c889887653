//! Masters with different times: said, not refused, so that they can be changed one by one.

mod common;

use std::time::Duration;

use common::{Cluster, eventually};
use regency_raft_store::{MemberError, Profile, Timing};
use regency_types::NodeId;

/// Not the default's, and safe beside it.
fn slower() -> Timing {
    Timing {
        heartbeat: Duration::from_millis(60),
        ..Timing::default()
    }
}

#[tokio::test]
async fn a_rolling_change_of_the_timing_is_said_until_it_is_done() {
    let mut cluster = Cluster::started(3).await;
    cluster.write(1).await;
    let all_agree = |cluster: &Cluster| {
        let mut masters = cluster.masters();
        let agree = masters.all(|(_, master)| master.timing_disagreements().is_empty());
        agree.then_some(())
    };
    cluster.timing = slower();
    cluster.kill(2);
    cluster.start(2).await;
    eventually("the first two see the third's new times", || {
        let said = |i: usize| {
            let said = cluster.master(i).timing_disagreements();
            said.get(&NodeId(3)) == Some(&slower()) && said.len() == 1
        };
        (said(0) && said(1)).then_some(())
    })
    .await;
    let seen = cluster.master(2).timing_disagreements();
    assert!(seen.values().all(|theirs| *theirs == Timing::default()));
    cluster.write(2).await;
    for i in [0, 1] {
        cluster.kill(i);
        cluster.start(i).await;
    }
    cluster.write(3).await;
    eventually("all have the same times again", || all_agree(&cluster)).await;
}

#[tokio::test]
async fn a_master_with_other_times_is_not_added() {
    let mut cluster = Cluster::new(4);
    let all: Vec<_> = (0..4).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..3].to_vec());
    for i in 0..3 {
        cluster.start(i).await;
    }
    let leader = cluster.leader().await;
    cluster.set_peers(all.clone());
    cluster.bootstrap = false;
    cluster.timing = Profile::Wan.timing();
    cluster.start(3).await;
    let refused = cluster.master(leader).add_learner(&all[3]).await;
    let Err(error @ MemberError::OtherTiming { .. }) = refused else {
        panic!("{refused:?}");
    };
    let text = error.to_string();
    assert!(text.contains("250ms") && text.contains("50ms"), "{text}");
    cluster.timing = Timing::default();
    cluster.kill(3);
    cluster.start(3).await;
    let leader = cluster.leader().await;
    cluster
        .master(leader)
        .add_learner(&all[3])
        .await
        .expect("added");
}
