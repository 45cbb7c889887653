//! A cluster grows, changes every one of its masters, and shrinks, while it is written to.

use std::path::Path;

use regency_chaos_tests::binary;
use regency_chaos_tests::cluster::{Cluster, Member, is_running};
use regency_chaos_tests::masters::{Master, Places};
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::wait::{until, until_true};
use regency_chaos_tests::writes::{Writes, known_to};

const WRITERS: usize = 3;
const N_MASTERS: u16 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_three_five_three_masters_all_replaced_under_writes_lose_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(&["--masters", "1", "--agents", "0"]).await;
    let all = Places::beside(&cluster);
    let addresses: Vec<String> = (1..=N_MASTERS).map(|id| all.http(id)).collect();
    let operator = Operator::of(addresses.clone());
    let writes = Writes::start(WRITERS, &addresses);
    // By number, from 2 on; the first one is the cluster's own.
    let mut masters: Vec<Master> = Vec::new();
    let mut leaders_removed = 0;

    // 1 -> 3 -> 5.
    for pair in [[2, 3], [4, 5]] {
        for id in pair {
            masters.push(all.start(id, &[1], dir.path(), &[]));
            all.answers(id).await;
            operator.done(&["add", &all.spec(id)]).await;
        }
        let [a, b] = pair.map(|id| id.to_string());
        operator.done(&["promote", &a, &b]).await;
    }
    assert_eq!(operator.voters().await, [1, 2, 3, 4, 5]);

    // Every one is replaced, the leader first.
    let first = u16::try_from(operator.leader().await).expect("a small number");
    let others = (1..=5).filter(|id| *id != first);
    for (i, old) in [first].into_iter().chain(others).enumerate() {
        let new = 6 + u16::try_from(i).expect("a small number");
        leaders_removed += u32::from(operator.leader().await == u64::from(old));
        masters.push(all.start(new, &[new - 1, new - 2], dir.path(), &[]));
        all.answers(new).await;
        let replace = ["replace", &old.to_string(), &all.spec(new)];
        operator.done(&replace).await;
        assert_eq!(operator.voters().await.len(), 5);
        ended(&cluster, &mut masters, old).await;
    }
    assert_eq!(operator.voters().await, [6, 7, 8, 9, 10]);

    // 5 -> 3: the leader goes, and one more.
    let leader = operator.leader().await;
    leaders_removed += 1;
    let other = if leader == 6 { 7 } else { 6 };
    let leaving = [leader.to_string(), other.to_string()];
    operator.done(&["remove", &leaving[0], &leaving[1]]).await;
    for id in [leader, other] {
        let id = u16::try_from(id).expect("a small number");
        ended(&cluster, &mut masters, id).await;
    }
    let voters = operator.voters().await;
    assert_eq!(voters.len(), 3, "{voters:?}");
    assert!(leaders_removed >= 2, "{leaders_removed}");
    operator.healthy().await;

    // Every writer got every answer, none of them was untrue, and all masters agree.
    let written = writes.stop().await;
    assert!(written.len() > 50, "{}", written.len());
    let places: Vec<String> = (6..=N_MASTERS)
        .filter(|id| voters.contains(&u64::from(*id)))
        .map(|id| all.http(id))
        .collect();
    for place in &places {
        let known = known_to(place).await;
        let lost: Vec<_> = written.difference(&known).collect();
        assert!(lost.is_empty(), "lost by {place}: {lost:?}");
    }
    states_agree(&places, dir.path()).await;

    // Its only master ended, so it takes itself for failed and keeps everything.
    let kept = cluster.dir().to_owned();
    drop(cluster);
    if kept.exists() {
        std::fs::remove_dir_all(kept).expect("a directory to remove");
    }
}

/// Waits until a removed master has ended by itself, in order.
async fn ended(cluster: &Cluster, masters: &mut [Master], id: u16) {
    if id == 1 {
        let pid = cluster.info(Member::Master(1)).pid;
        until_true("the first master ends", || !is_running(pid)).await;
        return;
    }
    let master = &mut masters[usize::from(id) - 2];
    assert_eq!(master.ended().await, Some(0), "{}", master.log());
    let said = master.log().matches("was removed from the cluster").count();
    assert_eq!(said, 1, "{}", master.log());
}

/// Waits until all have applied the same entries, and compares the digests of their states.
async fn states_agree(places: &[String], dir: &Path) {
    let mut n_saved = 0;
    let mut saved = Vec::new();
    // Little is written any more, and one may be some entries ahead of another.
    let digests = loop {
        saved.clear();
        for place in places {
            let path = dir.join(format!("{n_saved}.snapshot"));
            n_saved += 1;
            saved.push(facts(place, &path.to_string_lossy()).await);
        }
        if saved.windows(2).all(|two| two[0].0 == two[1].0) {
            break saved;
        }
        assert!(n_saved < 100, "never at the same entry: {saved:?}");
    };
    let (index, first) = &digests[0];
    for (_, digest) in &digests {
        assert_eq!(digest, first, "after entry {index}: {digests:?}");
    }
}

/// The index and the digest of the state of a master.
async fn facts(place: &str, path: &str) -> (u64, String) {
    let operator = Operator::of([place.to_owned()]);
    until("a snapshot", || async {
        let saved = operator
            .regency("snapshot", &["save", "--consistent", path])
            .await;
        saved.status.success().then_some(())
    })
    .await;
    let mut inspect = tokio::process::Command::new(binary::regency());
    inspect.args(["snapshot", "inspect", "--json", path]);
    let output = inspect.output().await.expect("the binary runs");
    let facts: serde_json::Value =
        serde_json::from_str(&text(&output.stdout)).expect("facts of a snapshot");
    let digest = facts["state_digest"].as_str().expect("a digest");
    let index = facts["index"].as_u64().expect("an index");
    (index, digest.to_owned())
}
