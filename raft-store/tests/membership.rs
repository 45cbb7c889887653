//! Who is let in: strangers, wiped members and masters of another cluster are not.

mod common;

use std::collections::BTreeSet;

use common::{Cluster, eventually, leadership};
use regency_raft_store::members::decide::{Change, Objection};
use regency_raft_store::{Consensus, IdentityError, MemberError, Removed, Role, StartError};
use regency_types::NodeId;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_founded_while_a_listed_master_is_missing() {
    let mut cluster = Cluster::new(3);
    cluster.start(0).await;
    cluster.start(1).await;
    // They answer each other for a while; the third is still missing.
    eventually("both have asked around", || {
        let asked = std::time::Duration::from_millis(500);
        (cluster.master(0).leadership().borrow().role == Role::Candidate).then_some(asked)
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(cluster.master(0).cluster_id(), None);
    assert_eq!(cluster.master(1).cluster_id(), None);
    cluster.start(2).await;
    cluster.write(1).await;
    cluster.sees(2, [1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_no_cluster_is_founded() {
    let mut cluster = Cluster::new(1);
    cluster.bootstrap = false;
    cluster.start(0).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(cluster.master(0).cluster_id(), None);
    assert!(!cluster.master(0).leadership().borrow().is_leader());
    assert!(
        cluster
            .master(0)
            .propose(common::register(1))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_member_is_a_stranger_and_the_rest_goes_on() {
    let mut cluster = Cluster::started(3).await;
    cluster.write(1).await;
    for i in 0..3 {
        cluster.sees(i, [1]).await;
    }
    // The lowest id, which is the one that could found a cluster.
    let wiped = 0;
    let known = cluster.master(wiped).incarnation();
    let id = cluster.master(1).cluster_id();
    cluster.kill(wiped);
    eventually("the directory is free", || {
        let free = std::fs::File::open(cluster.dir(wiped).join("lock")).ok()?;
        free.try_lock().ok()
    })
    .await;
    cluster.wipe(wiped);
    cluster.start(wiped).await;
    assert_ne!(cluster.master(wiped).incarnation(), known);
    for epoch in 2..=30 {
        cluster.write(epoch).await;
    }
    for i in [1, 2] {
        cluster.sees(i, 1..=30).await;
        assert_eq!(cluster.master(i).cluster_id(), id);
    }
    // It was called all the time, and let nobody in: no cluster, no entry, no vote.
    assert_eq!(cluster.master(wiped).cluster_id(), None);
    assert_eq!(cluster.master(wiped).status().last_log_index, None);
    assert_eq!(cluster.master(wiped).state().get().index, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_of_two_clusters_do_not_mix() {
    let mut first = Cluster::started(1).await;
    first.write(1).await;
    let mut second = Cluster::started(2).await;
    second.write(2).await;
    for i in 0..2 {
        second.sees(i, [2]).await;
    }
    // Node 2 of the second cluster is told that node 1 is the one of the first cluster. Node 1 of
    // the second is gone, so node 2 can only ask the wrong one.
    let mut peers = vec![first.peer(0).clone(), second.peer(1).clone()];
    peers[0].id = NodeId(1);
    second.kill(0);
    second.kill(1);
    second.set_peers(peers);
    second.start(1).await;
    let lonely = second.master(1);
    leadership(lonely, "it finds no leader", |l| l.leader.is_none()).await;
    first.write(3).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(!lonely.leadership().borrow().is_leader());
    assert_ne!(lonely.cluster_id(), first.master(0).cluster_id());
    assert!(!common::has(&first.master(0).state().get().state, 2));
    assert!(!common::has(&lonely.state().get().state, 3));
    // The first one is not disturbed by the stranger's campaigns.
    assert!(first.master(0).leadership().borrow().is_leader());
    assert_eq!(first.master(0).leadership().borrow().session, 1);
    first.kill(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_cannot_be_used_twice_or_by_another_node() {
    let mut cluster = Cluster::started(1).await;
    let mut config = {
        let mut other = Cluster::new(1);
        other.config(0)
    };
    config.data_dir = cluster.dir(0);
    let clock = std::sync::Arc::new(regency_runtime::SystemClock::default());
    let error = regency_raft_store::Consensus::start(config, clock.clone())
        .await
        .expect_err("in use");
    assert!(
        matches!(error, StartError::Identity(IdentityError::Locked(_))),
        "{error}"
    );
    cluster.master(0).shutdown().await;
    cluster.kill(0);

    let mut other = Cluster::new(2);
    let mut config = other.config(1);
    config.data_dir = cluster.dir(0);
    let error = regency_raft_store::Consensus::start(config, clock)
        .await
        .expect_err("another node's");
    assert!(
        matches!(error, StartError::Identity(IdentityError::OtherNode { .. })),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_master_is_replaced_by_one_with_a_new_number() {
    let mut cluster = Cluster::new(4);
    let all: Vec<_> = (0..4).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..3].to_vec());
    for i in 0..3 {
        cluster.start(i).await;
    }
    for epoch in 1..=10 {
        cluster.write(epoch).await;
    }
    let leader = cluster.leader().await;
    let lost = (leader + 1) % 3;
    cluster.sees(lost, 1..=10).await;
    cluster.kill(lost);

    // The new one waits, whatever it is told to bootstrap: the others belong to a cluster.
    cluster.set_peers(all.clone());
    cluster.start(3).await;
    let master = cluster.master(leader);
    master.add_learner(&all[3]).await.expect("added");
    let replace = change([4], [all[lost].id.0]);
    eventually_async(
        "the new one has caught up and the lost one is replaced",
        || change_members(master, &replace),
    )
    .await;
    cluster.sees(3, 1..=10).await;
    let status = cluster.master(leader).status();
    let voters: Vec<_> = status
        .members
        .iter()
        .filter(|m| m.voter)
        .map(|m| m.node)
        .collect();
    assert!(
        voters.contains(&NodeId(4)) && !voters.contains(&all[lost].id),
        "{voters:?}"
    );
    assert_eq!(voters.len(), 3);

    // With the third one gone the new one's vote is needed.
    let third = 3 - leader - lost;
    cluster.kill(third);
    cluster.write(11).await;
    cluster.sees(3, [11]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_used_cannot_be_given_to_another_directory() {
    let mut cluster = Cluster::started(3).await;
    cluster.write(1).await;
    let leader = cluster.leader().await;
    let wiped = (leader + 1) % 3;
    cluster.sees(wiped, [1]).await;
    cluster.kill(wiped);
    eventually("the directory is free", || {
        let free = std::fs::File::open(cluster.dir(wiped).join("lock")).ok()?;
        free.try_lock().ok()
    })
    .await;
    cluster.wipe(wiped);
    cluster.start(wiped).await;
    let spec = cluster.peer(wiped).clone();
    let error = cluster
        .master(leader)
        .add_learner(&spec)
        .await
        .expect_err("taken");
    assert!(matches!(error, MemberError::IdTaken { .. }), "{error}");
    let follower = cluster.master(3 - leader - wiped);
    let none = BTreeSet::new();
    assert_eq!(
        follower
            .change_members(&change([], [spec.id.0]), &none)
            .await,
        Err(MemberError::NotLeader)
    );
    let leader = cluster.master(leader);
    assert_eq!(
        leader.change_members(&change([], [9]), &none).await,
        Err(Objection::Unknown(NodeId(9)).into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_and_then_learns_it() {
    let mut cluster = Cluster::new(4);
    let all: Vec<_> = (0..4).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..3].to_vec());
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    cluster.set_peers(all.clone());
    cluster.start(3).await;
    let old = cluster.leader().await;
    let leader = cluster.master(old).clone();
    leader.add_learner(&all[3]).await.expect("added");
    cluster.sees(3, [1]).await;
    let replace = change([4], [all[old].id.0]);
    let none = BTreeSet::new();
    assert_eq!(
        leader.change_members(&replace, &none).await,
        Err(MemberError::NotLeader)
    );
    let new = cluster.leader().await;
    assert_ne!(new, old, "leadership was handed over");
    let next = cluster.master(new);
    assert_eq!(next.members().seats().len(), 4, "nothing was changed yet");
    eventually_async("the next leader carries it out", || {
        change_members(next, &replace)
    })
    .await;
    let index = tokio::time::timeout(common::DEADLINE, leader.removed()).await;
    let removal = next.members().index.map(|index| Removed::Left { index });
    assert_eq!(index.ok(), removal, "it learns which entry removed it");
    let seats = next.members().seats();
    assert_eq!(seats.iter().filter(|seat| seat.voter).count(), 3);
    assert!(
        seats.iter().all(|seat| seat.node != all[old].id),
        "{seats:?}"
    );
    // Doing it again changes nothing more than saying that there is nobody to remove.
    assert_eq!(
        next.change_members(&replace, &none).await,
        Err(Objection::Unknown(all[old].id).into())
    );
    let removed = next.removed();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(1), removed).await;
    assert!(waited.is_err(), "a member stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_left_half_way_is_completed_when_it_is_repeated() {
    repeat_half_way(|lost| change([4], [lost]), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promotions_left_half_way_are_completed_when_they_are_repeated() {
    repeat_half_way(|_| change([4, 5], []), true).await;
}

/// Makes a change of three voters and two learners, of which only the first of its two steps gets
/// committed, and then makes it again. `stays`: whether the voter that is lost stays a member.
async fn repeat_half_way(change: impl Fn(u64) -> Change, stays: bool) {
    let mut cluster = Cluster::new(5);
    let all: Vec<_> = (0..5).map(|i| cluster.peer(i).clone()).collect();
    cluster.set_peers(all[..3].to_vec());
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(1).await;
    cluster.set_peers(all.clone());
    cluster.start(3).await;
    cluster.start(4).await;
    let leader = cluster.leader().await;
    let (lost, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let master = cluster.master(leader).clone();
    for i in [3, 4] {
        master.add_learner(&all[i]).await.expect("added");
        cluster.sees(i, [1]).await;
    }
    let change = change(all[lost].id.0);

    // The step into the joint membership is written at the leader and cannot be committed; whoever
    // asked for it goes away, so that nobody takes the step out of it.
    cluster.kill(lost);
    cluster.kill(other);
    let asked = tokio::time::timeout(
        std::time::Duration::from_millis(200),
        master.change_members(&change, &BTreeSet::new()),
    )
    .await;
    assert!(asked.is_err(), "nothing can be committed: {asked:?}");
    assert!(master.members().joint);

    // The other one makes a majority of both. Only the one with the entry can win.
    cluster.start(other).await;
    cluster.write(2).await;
    assert!(master.members().joint, "nobody completes it unasked");
    eventually_async("it is completed", || change_members(&master, &change)).await;
    let members = master.members();
    assert!(!members.joint);
    let seats = members.seats();
    let voters: BTreeSet<_> = seats.iter().filter(|s| s.voter).map(|s| s.node).collect();
    let mut expected: BTreeSet<_> = all[..3].iter().map(|peer| peer.id).collect();
    expected.extend(&change.promote);
    expected.retain(|node| !change.remove.contains(node));
    assert_eq!(voters, expected);
    assert_eq!(seats.iter().any(|s| s.node == all[lost].id), stays);
    cluster.write(3).await;
    cluster.sees(3, [2, 3]).await;
}

fn change<const N: usize, const M: usize>(promote: [u64; N], remove: [u64; M]) -> Change {
    Change {
        promote: promote.into_iter().map(NodeId).collect(),
        remove: remove.into_iter().map(NodeId).collect(),
    }
}

/// Carries a change out, or `None` while somebody has not caught up.
async fn change_members(master: &Consensus, change: &Change) -> Option<()> {
    match master.change_members(change, &BTreeSet::new()).await {
        Ok(()) => Some(()),
        Err(MemberError::Objection(Objection::Behind { .. } | Objection::Silent(_))) => None,
        Err(error) => panic!("not changed: {error}"),
    }
}

async fn eventually_async<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let all = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(common::DEADLINE, all).await;
    found.unwrap_or_else(|_| panic!("timed out: {what}"))
}
