//! New clusters from what is left of old ones.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use common::{Cluster, DEADLINE, eventually, has};
use regency_raft_store::members::decide::Change;
use regency_raft_store::offline::OfflineError;
use regency_raft_store::recover::{RecoverError, Recovery};
use regency_raft_store::{
    EngineKind, IdentityError, RestoreError, RestoreRequest, SnapshotFacts, StartError,
    inspect_snapshot, restore_snapshot, verify_snapshot,
};
use regency_runtime::RandomIds;

/// Saves what master `i` has.
async fn save(cluster: &Cluster, i: usize, path: &Path) -> SnapshotFacts {
    let saved = cluster.master(i).saved_snapshot(true).await;
    let saved = saved.expect("a majority runs");
    let bytes = saved.read_at(0, usize::MAX).await.expect("readable");
    std::fs::write(path, bytes).expect("writable");
    verify_snapshot(path).expect("whole")
}

fn request(snapshot: &Path, cluster: &Cluster, engine: EngineKind) -> RestoreRequest {
    RestoreRequest {
        snapshot: snapshot.to_path_buf(),
        data_dir: cluster.dir(0),
        member: cluster.peer(0).clone(),
        engine,
        version: "test".into(),
    }
}

/// Makes two more masters members with a vote.
async fn grow(cluster: &mut Cluster, new: [usize; 2]) {
    for i in new {
        cluster.start(i).await;
    }
    let peers = new.map(|i| cluster.peer(i).clone());
    let master = cluster.master(0);
    for peer in &peers {
        master.add_learner(peer).await.expect("added");
    }
    let change = Change {
        promote: peers.iter().map(|peer| peer.id).collect(),
        ..Change::default()
    };
    for i in new {
        cluster.sees(i, [1]).await;
    }
    let changed = master.change_members(&change, &BTreeSet::new()).await;
    changed.expect("promoted");
}

/// Looks at a directory once its last user let go of it.
async fn plan(dir: &Path) -> Recovery {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match Recovery::plan(dir) {
            Err(RecoverError::Offline(OfflineError::Identity(IdentityError::Locked(_))))
                if Instant::now() < deadline =>
            {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            other => return other.expect("can be recovered"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_state_goes_on_bit_by_bit_as_a_new_cluster_that_grows() {
    for engine in [EngineKind::Sled, EngineKind::Segment] {
        let old = Cluster::started(1).await;
        for epoch in 1..=5 {
            old.write(epoch).await;
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("saved");
        let saved = save(&old, 0, &path).await;
        drop(old);

        let mut new = Cluster::new(3);
        new.bootstrap = false;
        new.log.engine = engine;
        let request = request(&path, &new, engine);
        let restored = restore_snapshot(&request, &RandomIds).expect("restored");
        assert_ne!(restored.cluster, saved.cluster);
        let again = restore_snapshot(&request, &RandomIds);
        assert!(matches!(again, Err(RestoreError::Used { .. })), "{again:?}");
        let mut files = std::fs::read_dir(new.dir(0).join("snapshots")).expect("made");
        let file = files.next().expect("one").expect("listed").path();
        let written = inspect_snapshot(&file).expect("whole");
        verify_snapshot(&file).expect("keeps the rules");
        assert_eq!(written.state_digest, saved.state_digest);
        assert_eq!((written.index, written.term), (saved.index, saved.term));
        assert_eq!(written.cluster, restored.cluster);
        assert_eq!(written.ancestors, [saved.cluster]);
        assert_eq!(written.members.len(), 1);

        new.start(0).await;
        new.write(6).await;
        new.sees(0, 1..=6).await;
        let state = new.master(0).state().get();
        assert!(state.index > saved.index);
        assert_eq!(state.state.cluster(), Some(restored.cluster));
        let ancestors: Vec<_> = state.state.ancestors().map(|a| a.cluster).collect();
        assert_eq!(ancestors, [saved.cluster]);
        grow(&mut new, [1, 2]).await;
        new.write(7).await;
        for i in 0..3 {
            new.sees(i, 1..=7).await;
        }
        // It holds without the one it began with.
        new.kill(0);
        new.write(8).await;
    }
}

#[test]
fn a_damaged_snapshot_is_not_restored_and_nothing_is_made() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("saved");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/snapshot-v2.bin");
    let mut bytes = std::fs::read(fixture).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, bytes).expect("writable");
    let new = Cluster::new(1);
    let request = request(&path, &new, EngineKind::Segment);
    let error = restore_snapshot(&request, &RandomIds).expect_err("damaged");
    assert!(error.to_string().contains("damaged"), "{error}");
    assert!(!new.dir(0).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_three_goes_on_alone_with_all_it_had_and_grows_again() {
    for engine in [EngineKind::Sled, EngineKind::Segment] {
        let mut cluster = Cluster::new(5);
        let all: Vec<_> = (0..5).map(|i| cluster.peer(i).clone()).collect();
        cluster.set_peers(all[..3].to_vec());
        cluster.log.engine = engine;
        for i in 0..3 {
            cluster.start(i).await;
        }
        for epoch in 1..=5 {
            cluster.write(epoch).await;
        }
        cluster.sees(0, 1..=5).await;
        let old = cluster.master(0).cluster_id().expect("founded");
        if engine == EngineKind::Sled {
            // With a snapshot, and without one.
            save(&cluster, 0, &cluster.dir(0).join("../saved")).await;
        }
        cluster.write(6).await;
        cluster.sees(0, [6]).await;
        for i in 0..3 {
            cluster.kill(i);
        }
        let dir = cluster.dir(0);
        let recovery = plan(&dir).await;
        let facts = recovery.facts().clone();
        assert_eq!((facts.cluster, facts.voter), (old, true));
        let dropped: Vec<_> = facts.drops.iter().map(|m| m.node.0).collect();
        assert_eq!(dropped, [2, 3]);
        let last = facts.last.expect("entries").1;
        let recovered = recovery.run(&RandomIds, "test").expect("recovered");
        assert_ne!(recovered.cluster, old);
        assert!(recovered.kept.join("log").is_dir() && recovered.kept.join("identity").is_file());

        // The others come back from the dead: they are another cluster now, and go on as one.
        for i in [1, 2] {
            eventually("its directory is free", || {
                let lock = std::fs::File::open(cluster.dir(i).join("lock")).ok()?;
                lock.try_lock().ok()
            })
            .await;
            cluster.start(i).await;
        }
        eventually("the others found each other", || {
            let leads = |i| cluster.master(i).leadership().borrow().is_leader();
            [1, 2].into_iter().find(|i| leads(*i))
        })
        .await;
        let refused = cluster
            .try_start(0)
            .await
            .expect_err("most are of the old one");
        let other = matches!(
            refused,
            StartError::Identity(IdentityError::OtherCluster { .. })
        );
        assert!(other, "{refused}");
        for i in [1, 2] {
            cluster.kill(i);
        }
        cluster.set_peers(all[..1].to_vec());
        cluster.start(0).await;
        cluster.write(7).await;
        let state = cluster.master(0).state().get();
        assert!(state.index > last && (1..=7).all(|epoch| has(&state.state, epoch)));
        assert_eq!(state.state.cluster(), Some(recovered.cluster));

        // Whoever was left out is so for ever; others join.
        cluster.set_peers(all);
        cluster.bootstrap = false;
        grow(&mut cluster, [3, 4]).await;
        cluster.write(8).await;
        for i in [0, 3, 4] {
            cluster.sees(i, 1..=8).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_alone_already_or_has_no_cluster_is_not_recovered() {
    let mut cluster = Cluster::new(1);
    cluster.bootstrap = false;
    cluster.start(0).await;
    cluster.kill(0);
    let deadline = Instant::now() + DEADLINE;
    let check = |wanted: fn(&RecoverError) -> bool| loop {
        let error = Recovery::plan(&cluster.dir(0)).expect_err("nothing to recover");
        if wanted(&error) {
            break;
        }
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    check(|error| matches!(error, RecoverError::NoCluster(_)));
    cluster.bootstrap = true;
    cluster.start(0).await;
    cluster.write(1).await;
    cluster.kill(0);
    let check = |wanted: fn(&RecoverError) -> bool| loop {
        let error = Recovery::plan(&cluster.dir(0)).expect_err("nothing to recover");
        if wanted(&error) {
            break;
        }
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    check(|error| matches!(error, RecoverError::Alone { .. }));
}
