//! Masters whose log lies in segment files.

mod common;

use common::{Cluster, eventually};
use regency_raft_store::{EngineError, EngineKind, IdentityError, StartError};

fn with_segments(n: usize) -> Cluster {
    let mut cluster = Cluster::new(n);
    cluster.log.engine = EngineKind::Segment;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_masters_come_back_with_everything_also_behind_snapshots_and_purges() {
    let mut cluster = with_segments(3);
    cluster.log.snapshot_every_entries = 50;
    cluster.log.keep_entries = 10;
    for i in 0..3 {
        cluster.start(i).await;
    }
    let away = (cluster.leader().await + 1) % 3;
    cluster.kill(away);
    for epoch in 1..=500 {
        cluster.write(epoch).await;
    }
    let leader = cluster.leader().await;
    let purged = eventually("the leader purged its log", || {
        let status = cluster.master(leader).status();
        status.purged_index.filter(|at| *at > 200)
    })
    .await;
    // It needs a snapshot, and its log goes on behind a gap.
    cluster.start(away).await;
    cluster.sees(away, 1..=500).await;
    let status = cluster.master(away).status();
    assert!(status.snapshot_index >= Some(purged), "{status:?}");
    for i in 0..3 {
        cluster.kill(i);
    }
    for i in 0..3 {
        cluster.start(i).await;
    }
    cluster.write(501).await;
    for i in 0..3 {
        cluster.sees(i, 1..=501).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_with_a_damaged_log_or_another_engine_does_not_start_and_says_why() {
    let mut cluster = with_segments(1);
    cluster.start(0).await;
    for epoch in 1..=20 {
        cluster.write(epoch).await;
    }
    cluster.kill(0);
    cluster.log.engine = EngineKind::Sled;
    let error = cluster.try_start(0).await.expect_err("another engine");
    assert!(
        matches!(
            error,
            StartError::Identity(IdentityError::OtherEngine {
                found: EngineKind::Segment,
                expected: EngineKind::Sled,
                ..
            })
        ),
        "{error}"
    );

    cluster.log.engine = EngineKind::Segment;
    let dir = cluster.dir(0).join("log");
    let segment = eventually("there is a segment", || {
        let mut paths = std::fs::read_dir(&dir).ok()?.flatten().map(|e| e.path());
        paths.find(|path| path.extension().is_some_and(|ext| ext == "segment"))
    })
    .await;
    let mut bytes = std::fs::read(&segment).expect("readable");
    bytes[200] ^= 1;
    std::fs::write(&segment, bytes).expect("writable");
    let error = cluster.try_start(0).await.expect_err("damaged");
    let StartError::Engine(EngineError::DamagedAt { file, .. }) = &error else {
        panic!("another error: {error}");
    };
    assert_eq!(*file, segment);
    assert!(
        error.to_string().contains("add it as a new master"),
        "{error}"
    );
}
