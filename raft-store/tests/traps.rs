//! What the consensus library lets one do wrong: one test for each, named after the trap.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Cluster, eventually, leadership, register};
use regency_raft_store::{ProposeError, Timing};
use regency_types::{AgentEpoch, Term};

/// Long enough for an election or two, were there any.
const WATCH: Duration = Duration::from_secs(3);

/// Leases that are long for what a test does meanwhile.
const SLOW: Timing = Timing {
    heartbeat: Duration::from_millis(50),
    election_min: Duration::from_millis(2000),
    election_max: Duration::from_millis(2200),
    fast_election: true,
};

async fn linked(n: usize) -> Cluster {
    let mut cluster = Cluster::linked(n);
    for i in 0..n {
        cluster.start(i).await;
    }
    cluster
}

fn black_hole(cluster: &Cluster, a: usize, b: usize) {
    for link in cluster.links().both(a, b) {
        link.black_hole();
    }
}

fn term(cluster: &Cluster, i: usize) -> Term {
    cluster.master(i).status().term
}

/// Looks at something again and again for a while; it must hold each time.
async fn all_the_time(mut holds: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while begun.elapsed() < WATCH {
        assert!(holds(), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A follower that restarts has forgotten the lease it gave and votes at once; a leader that still
/// trusted it would answer from the past.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_reads_would_be_stale_after_a_follower_restarts() {
    let mut cluster = Cluster::linked(3);
    // A's lease outlives all that follows, unless the machine is very busy.
    cluster.timing = SLOW;
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let a = cluster.leader().await;
    let (b, c) = ((a + 1) % 3, (a + 2) % 3);
    cluster.sees(c, [1]).await;
    // C takes A for dead, and asks B for its vote again and again.
    for link in cluster.links().both(a, c) {
        link.refuse();
    }
    // The last thing that B acknowledges to A.
    cluster.write(2).await;
    cluster.sees(b, [2]).await;
    cluster.kill(b);
    black_hole(&cluster, a, b);
    let old = cluster.master(a).clone();
    let over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn({
        let over = Arc::clone(&over);
        async move {
            // Each answer with the moment it was asked for.
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let patience = Duration::from_millis(50);
                if let Ok(Ok(index)) = tokio::time::timeout(patience, old.read_barrier()).await {
                    answers.push((asked, index));
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            answers
        }
    });
    cluster.start(b).await;
    let new = eventually("B or C serves", || {
        [b, c]
            .into_iter()
            .find(|i| cluster.master(*i).leadership().borrow().is_leader())
    })
    .await;
    let written = cluster.master(new).propose(register(3)).await;
    written.expect("written").expect("accepted");
    let (written_at, index) = (Instant::now(), cluster.master(new).state().get().index);
    // A is asked all the while, and has not heard of any of this.
    let patience = Duration::from_millis(500);
    let answer = tokio::time::timeout(patience, cluster.master(a).read_barrier()).await;
    assert!(!matches!(answer, Ok(Ok(_))), "A answers: {answer:?}");
    cluster.links().of(a).for_each(|link| link.heal());
    cluster.sees(a, [3]).await;
    over.store(true, Ordering::Relaxed);
    let answers = asking.await.expect("no panic");
    let stale = answers
        .iter()
        .find(|(asked, at)| *asked > written_at && *at < index);
    assert_eq!(stale, None, "asked after entry {index} was acknowledged");
    cluster.master(a).read_barrier().await.expect("confirmed");
}

/// A leader that was just elected, or has not heard of a majority for a lease, answers writes with
/// "somebody else leads, nobody knows who". It is still the one to ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_meets_an_expired_lease_is_tried_again_here() {
    let mut cluster = Cluster::linked(3);
    // A lease that is over long before anybody else campaigns, or the leader stops serving. A leader
    // whose lease is over sends no heartbeats for a while. The answer to the last one renews it, which
    // is given up as late as the next one would be due: so they are far between.
    cluster.timing = Timing {
        heartbeat: Duration::from_millis(600),
        fast_election: false,
        ..SLOW
    };
    cluster.limits.lease_wait = Duration::from_secs(5);
    let lease = cluster.timing.election_max;
    for i in 0..3 {
        cluster.start(i).await;
    }
    // On a busy machine that can be too late, and somebody else campaigns: then it is tried again.
    for epoch in 1..=5 {
        cluster.write(2 * epoch - 1).await;
        let leader = cluster.leader().await;
        let term_before = term(&cluster, leader);
        let master = cluster.master(leader).clone();
        cluster
            .links()
            .of(leader)
            .for_each(|link| link.black_hole());
        eventually("the lease is over", || {
            master.last_quorum_ack().filter(|age| *age > lease)
        })
        .await;
        let led = master.leadership().borrow().is_leader();
        let last = master.status().last_log_index;
        let writing = master.propose(register(2 * epoch));
        tokio::pin!(writing);
        let early = tokio::time::timeout(Duration::from_millis(20), &mut writing).await;
        let waited = early.is_err();
        let appended = master.status().last_log_index != last;
        cluster.links().of(leader).for_each(|link| link.heal());
        let written = match early {
            Ok(written) => written,
            Err(_) => writing.as_mut().await,
        };
        if term(&cluster, leader) != term_before {
            continue;
        }
        assert!(led && waited, "it waits: {led} {waited} {written:?}");
        assert!(!appended, "nothing is appended");
        written.expect("written here").expect("accepted");
        return;
    }
    panic!("somebody else campaigned in each round");
}

/// See above: an heir is asked before it serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_leader_takes_the_first_write_it_is_asked_for() {
    let mut cluster = Cluster::linked(3);
    cluster.timing = SLOW;
    cluster.limits.lease_wait = Duration::from_secs(5);
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let mut fresh = false;
    for epoch in 2..12 {
        let leader = cluster.leader().await;
        let (heir, third) = ((leader + 1) % 3, (leader + 2) % 3);
        cluster.sees(heir, [epoch - 1]).await;
        // Between its election and its first commit lies the time of a message there and back.
        for i in 0..3 {
            cluster
                .links()
                .of(i)
                .for_each(|link| link.delay(Duration::from_millis(60)));
        }
        let node = cluster.peer(heir).id;
        let old = cluster.master(leader).clone();
        let handed_over = tokio::spawn(async move { old.transfer_leader(node).await });
        // The third hears of it first; its answer to the heir is under way for a while.
        leadership(cluster.master(third), "the heir is elected", |l| {
            l.leader.as_ref().is_some_and(|leader| leader.node == node)
        })
        .await;
        let heir = cluster.master(heir).clone();
        fresh |= !heir.leadership().borrow().is_leader();
        let written = heir.propose(register(epoch)).await;
        written.expect("written here").expect("accepted");
        handed_over.await.expect("no panic").expect("handed over");
        for i in 0..3 {
            cluster
                .links()
                .of(i)
                .for_each(|link| link.delay(Duration::ZERO));
        }
        if fresh {
            return;
        }
    }
    panic!("each heir served before it was asked");
}

/// Who won an election is heard before it serves: between the two lies its first commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_when_the_heir_serves_and_no_sooner() {
    let mut cluster = Cluster::linked(3);
    cluster.timing = SLOW;
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let heir = (leader + 1) % 3;
    cluster.sees(heir, [1]).await;
    for i in 0..3 {
        let links = cluster.links().of(i);
        links.for_each(|link| link.delay(Duration::from_millis(60)));
    }
    let to = cluster.peer(heir).id;
    let handed_over = cluster.master(leader).transfer_leader(to).await;
    handed_over.expect("handed over");
    let now = cluster.master(heir).leadership().borrow().clone();
    assert!(now.is_leader(), "{now:?}");
}

/// A leader without a majority, whose heartbeats still reach the one master that connects the two
/// halves, would keep that master from voting for anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_hears_a_leader_without_quorum_elects_another_one() {
    let mut cluster = linked(5).await;
    cluster.write(1).await;
    let a = cluster.leader().await;
    let [bridge, c, d, gone] = [1, 2, 3, 4].map(|n| (a + n) % 5);
    for i in [bridge, c, d] {
        cluster.sees(i, [1]).await;
    }
    let old = term(&cluster, a);
    cluster.kill(gone);
    black_hole(&cluster, a, c);
    black_hole(&cluster, a, d);
    // Three of five reach each other, and one of them hears A.
    let new = eventually("one of the three serves", || {
        let serves = |i: &usize| cluster.master(*i).leadership().borrow().is_leader();
        [bridge, c, d].into_iter().find(serves)
    })
    .await;
    assert!(term(&cluster, new) > old);
    let written = cluster.master(new).propose(register(2)).await;
    written.expect("written").expect("accepted");
    // The bridge tells A.
    leadership(cluster.master(a), "A gives up", |l| !l.is_leader()).await;
}

/// The library's default answer to a pre-vote is a grant; a transport that does not carry it turns
/// pre-votes off without a word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pre_votes_are_asked_so_a_partitioned_follower_deposes_nobody() {
    let mut cluster = Cluster::linked(3);
    // The follower that hears the leader must not miss it, on a busy machine either.
    cluster.timing = Timing {
        heartbeat: Duration::from_millis(50),
        election_min: Duration::from_millis(700),
        election_max: Duration::from_millis(900),
        fast_election: false,
    };
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.sees(far, [1]).await;
    let before = cluster.master(leader).leadership().borrow().clone();
    let same_term = |what| all_the_time(|| term(&cluster, far) == before.term, what);

    // It hears nothing of the leader, and the other follower does: that one must refuse.
    black_hole(&cluster, leader, far);
    leadership(cluster.master(far), "it misses the leader", |l| {
        !l.is_leader() && l.leader.is_none()
    })
    .await;
    same_term("nobody grants a pre-vote while it hears the leader").await;
    // It hears nobody.
    black_hole(&cluster, near, far);
    same_term("without a grant there is no new term").await;

    cluster.links().of(far).for_each(|link| link.heal());
    cluster.write(2).await;
    cluster.sees(far, [2]).await;
    assert_eq!(*cluster.master(leader).leadership().borrow(), before);
}

/// The library lets a leader that restarts go on leading its term, with a log that may lack what it
/// had sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_restore_is_off_so_a_restarted_leader_is_elected_anew() {
    for n in [1, 3] {
        let mut cluster = Cluster::started(n).await;
        for epoch in 1..4 {
            cluster.write(epoch).await;
            let leader = cluster.leader().await;
            let old = term(&cluster, leader);
            cluster.kill(leader);
            cluster.start(leader).await;
            let watch = cluster.master(leader).leadership();
            let again = eventually("somebody serves", || {
                let now = watch.borrow().clone();
                assert!(
                    !now.is_leader() || now.term > old,
                    "it leads term {old:?} again"
                );
                let mut masters = cluster.masters();
                masters
                    .any(|(_, m)| m.leadership().borrow().is_leader())
                    .then_some(())
            });
            again.await;
            // Its state machine is in memory: what is read is not older than before either.
            cluster
                .master(leader)
                .read_barrier()
                .await
                .expect("confirmed");
            let state = cluster.master(leader).state().get();
            assert!(state.state.agent_of_epoch(AgentEpoch(epoch)).is_some());
        }
    }
}

/// A proposal that was appended and not answered in time may still be committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_means_an_unknown_outcome_and_may_be_repeated_with_the_same_key() {
    let cluster = linked(3).await;
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let master = cluster.master(leader).clone();
    let last = master.status().last_log_index;
    cluster
        .links()
        .of(leader)
        .for_each(|link| link.black_hole());
    let outcome = master.propose(register(2)).await;
    assert_eq!(outcome, Err(ProposeError::Unknown));
    assert!(master.status().last_log_index > last, "it was appended");
    cluster.links().of(leader).for_each(|link| link.heal());
    // Whether or not the first one got through: there is one agent in the end.
    cluster.write(2).await;
    for i in 0..3 {
        cluster.sees(i, [1, 2]).await;
        let state = cluster.master(i).state().get();
        assert_eq!(state.state.agents().count(), 2);
    }
}
