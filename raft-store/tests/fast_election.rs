//! Elections because connections broke, against a world that breaks connections of a leader that
//! lives. What must hold: a healthy leader is not deposed by a minority, seldom by a majority, and
//! nothing that was acknowledged is lost.

mod common;

use std::time::{Duration, Instant};

use common::{Cluster, DEADLINE, eventually};
use regency_raft_store::Profile;
use regency_types::Term;

/// `n` linked masters that would wait for many seconds before they campaign out of silence, so that
/// every sooner election is one because of connections.
async fn patient(n: usize) -> Cluster {
    let mut cluster = Cluster::linked(n);
    cluster.timing.election_min = Duration::from_secs(5);
    cluster.timing.election_max = Duration::from_secs(8);
    for i in 0..n {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    for i in 0..n {
        cluster.sees(i, [1]).await;
    }
    // A round between all masters, after which each attends the leader.
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster
}

fn term(cluster: &Cluster, i: usize) -> Term {
    cluster.master(i).leadership().borrow().term
}

fn others(n: usize, leader: usize) -> Vec<usize> {
    (0..n).filter(|i| *i != leader).collect()
}

/// Writes for a while, and tells how many writes there were.
async fn write_for(cluster: &Cluster, begin: u128, time: Duration) -> u128 {
    let end = Instant::now() + time;
    let mut epoch = begin;
    while Instant::now() < end {
        epoch += 1;
        cluster.write(epoch).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_fooled_follower_deposes_nobody_and_its_promise_is_not_void_afterwards() {
    let cluster = patient(3).await;
    let leader = cluster.leader().await;
    let before = term(&cluster, leader);
    let [first, second] = others(3, leader)[..] else {
        panic!("two followers");
    };
    // Entries and heartbeats come over the leader's own connections: it is heard all the time.
    cluster.links().link(first, leader).refuse();
    let written = write_for(&cluster, 1, Duration::from_millis(1200)).await;
    cluster.links().link(first, leader).heal();
    // The first one's promise holds again, so the second one alone is no majority with it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.links().link(second, leader).refuse();
    let written = write_for(&cluster, written, Duration::from_millis(1200)).await;
    cluster.links().link(second, leader).heal();
    for i in 0..3 {
        cluster.sees(i, 1..=written).await;
        assert_eq!(term(&cluster, i), before);
    }
    assert_eq!(cluster.leader().await, leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_fooled_followers_of_five_masters_depose_nobody() {
    let cluster = patient(5).await;
    let leader = cluster.leader().await;
    let before = term(&cluster, leader);
    for fooled in &others(5, leader)[..2] {
        cluster.links().link(*fooled, leader).refuse();
    }
    let written = write_for(&cluster, 1, Duration::from_secs(2)).await;
    for i in 0..5 {
        cluster.sees(i, 1..=written).await;
        assert_eq!(term(&cluster, i), before);
    }
    assert_eq!(cluster.leader().await, leader);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_follower_is_not_elected() {
    let mut cluster = patient(3).await;
    let leader = cluster.leader().await;
    let before = term(&cluster, leader);
    let [lagging, current] = others(3, leader)[..] else {
        panic!("two followers");
    };
    // What the leader sends does not reach it, what it attends stays open.
    cluster.links().link(leader, lagging).black_hole();
    let written = write_for(&cluster, 1, Duration::from_millis(300)).await;
    cluster.sees(current, 1..=written).await;
    cluster.kill(leader);
    for from in [lagging, current] {
        cluster.links().link(from, leader).refuse();
    }
    let elected = cluster.leader().await;
    assert_eq!(elected, current, "only it has everything");
    assert!(term(&cluster, elected) > before);
    cluster.sees(lagging, 1..=written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_reset_again_and_again_depose_a_leader_no_more_than_the_lock_allows() {
    let cluster = patient(3).await;
    let before = term(&cluster, cluster.leader().await);
    let begun = Instant::now();
    let stormy = Duration::from_secs(4);
    let storm = async {
        while begun.elapsed() < stormy {
            for from in 0..3 {
                for to in others(3, from) {
                    cluster.links().link(from, to).refuse();
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            for from in 0..3 {
                for to in others(3, from) {
                    cluster.links().link(from, to).heal();
                }
            }
            tokio::time::sleep(Duration::from_millis(180)).await;
        }
    };
    let (written, ()) = tokio::join!(write_for(&cluster, 1, stormy), storm);
    for i in 0..3 {
        cluster.sees(i, 1..=written).await;
    }
    let after = term(&cluster, cluster.leader().await);
    // Locked for 1, 2 and 4 s: at 0, 1 and 3 s a master may be fooled again. There are three, and
    // one whose first alarm came later may be fooled a moment later than the others.
    let deposed = after.0 - before.0;
    assert!(deposed <= 6, "{deposed} elections in {stormy:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switched_off_a_dead_leader_is_found_by_its_silence_only() {
    let mut cluster = Cluster::new(3);
    cluster.timing = Profile::Wan.timing();
    cluster.timing.heartbeat = Duration::from_millis(50);
    cluster.timing.fast_election = false;
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let dead = cluster.leader().await;
    for i in 0..3 {
        cluster.sees(i, [1]).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.kill(dead);
    let killed = Instant::now();
    eventually("somebody else leads", || {
        let mut leaders = cluster
            .masters()
            .filter(|(_, master)| master.leadership().borrow().is_leader());
        leaders.next().map(drop)
    })
    .await;
    // Its lease, less what passed since the last heartbeat.
    let least = cluster.timing.election_max - cluster.timing.heartbeat;
    assert!(killed.elapsed() >= least, "{:?}", killed.elapsed());
    assert!(killed.elapsed() < DEADLINE);
}
