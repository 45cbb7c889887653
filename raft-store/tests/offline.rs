//! Reading the directory of a master that does not run.

mod common;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{Cluster, DEADLINE};
use regency_raft_store::offline::{DataDir, LogContent, OfflineError};
use regency_raft_store::{EngineKind, IdentityError};

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).expect("listed") {
            let path = entry.expect("listed").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// Opens the directory once its last user let go of it.
async fn open(dir: &Path) -> DataDir {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match DataDir::open(dir) {
            Err(OfflineError::Identity(IdentityError::Locked(_))) if Instant::now() < deadline => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => return other.expect("opens"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_stopped_master_is_read_and_nothing_is_changed() {
    for engine in [EngineKind::Sled, EngineKind::Segment] {
        let mut cluster = Cluster::new(1);
        cluster.log.engine = engine;
        cluster.start(0).await;
        for epoch in 1..=5 {
            cluster.write(epoch).await;
        }
        let dir = cluster.dir(0);
        assert!(matches!(
            DataDir::open(&dir),
            Err(OfflineError::Identity(IdentityError::Locked(_)))
        ));
        let id = cluster.master(0).cluster_id();
        cluster.master(0).shutdown().await;
        cluster.kill(0);
        drop(open(&dir).await);

        let before = files(&dir);
        let data = open(&dir).await;
        let facts = data.facts().clone();
        assert_eq!(facts.engine, engine);
        assert_eq!(facts.cluster, id);
        assert!(facts.vote.is_some_and(|vote| vote.node == 1), "{facts:?}");
        let mut entries = Vec::new();
        data.entries(|entry| {
            entries.push(entry);
            Ok::<_, io::Error>(())
        })
        .expect("read");
        assert_eq!(
            entries.last().map(|entry| (entry.term, entry.index)),
            facts.last
        );
        let registered = entries.iter().filter(|entry| {
            matches!(entry.content, LogContent::Proposal { command, .. } if command == "register_agent")
        });
        assert_eq!(registered.count(), 5, "{entries:?}");
        assert!(entries.iter().any(|entry| {
            entry.content
                == LogContent::Membership {
                    voters: vec![vec![1]],
                }
        }));
        drop(data);
        assert!(before == files(&dir), "{engine}: something was changed");
    }
}
