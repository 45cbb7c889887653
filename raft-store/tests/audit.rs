//! Masters compare their states.

mod common;

use common::{Cluster, eventually};
use regency_state::{Command, RaiseFeatureLevel};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_report_the_same_state_and_agree_on_it() {
    let mut cluster = Cluster::new(3);
    cluster.log.state_hash_every_entries = 5;
    for i in 0..3 {
        cluster.start(i).await;
    }
    for epoch in 1..=8 {
        cluster.write(epoch).await;
    }
    let leader = cluster.leader().await;
    let leader = cluster.master(leader);
    // Not before all masters know the command.
    let level = eventually("all members told", || leader.feature_level_to_raise()).await;
    let raise = Command::RaiseFeatureLevel(RaiseFeatureLevel { level });
    leader
        .propose(raise)
        .await
        .expect("committed")
        .expect("raised");
    let collecting = leader.state_hashes(None);
    let (index, reports) = tokio::time::timeout(common::DEADLINE, collecting)
        .await
        .expect("in time");
    assert!(index >= 5 && index.is_multiple_of(5), "{index}");
    let nodes: Vec<u64> = reports.iter().map(|report| report.node.0).collect();
    assert_eq!(nodes, [1, 2, 3]);
    let digest = reports[0].digest;
    for report in reports {
        assert_eq!((report.index, report.digest), (index, digest));
        let verdict = leader.propose(Command::ReportStateHash(report)).await;
        verdict.expect("committed").expect("noted");
    }
    for (i, master) in cluster.masters() {
        let audited = eventually("it has compared", || {
            master.audited().filter(|audited| audited.n_agree == 3)
        })
        .await;
        assert_eq!((audited.index, audited.digest), (index, digest), "{i}");
    }
    // Nobody stopped for it.
    cluster.write(100).await;
    for i in 0..3 {
        cluster.sees(i, [100]).await;
    }
}
