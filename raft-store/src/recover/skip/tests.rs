use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regency_rpc::Listener;
use regency_runtime::SystemClock;
use regency_state::model::AgentSpec;
use regency_state::{Command, RegisterAgent};
use regency_types::{AgentEpoch, BootId, NodeId};

use super::*;
use crate::config::{Config, EngineKind, Limits, LogConfig, PeerSpec};
use crate::consensus::{Consensus, StartError};
use crate::engine;
use crate::identity::IdentityError;
use crate::offline::OfflineError;
use crate::record::{Position, Record};
use crate::timing::Timing;

const DEADLINE: Duration = Duration::from_secs(20);

/// A cluster of one.
async fn start(dir: &Path, engine: EngineKind) -> Consensus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("loopback");
        let config = Config {
            node: NodeId(1),
            data_dir: dir.to_path_buf(),
            peers: vec![PeerSpec {
                id: NodeId(1),
                raft: listener.local_addr().expect("bound").to_string(),
                http: "m:5050".into(),
                agent: "m:5061".into(),
            }],
            listener,
            hostname: "m".into(),
            bootstrap: true,
            process: 1,
            version: "test".into(),
            timing: Timing::default(),
            log: LogConfig {
                engine,
                ..LogConfig::default()
            },
            limits: Limits::default(),
            autopilot: Default::default(),
            threads: 1,
        };
        match Consensus::start(config, Arc::new(SystemClock::default())).await {
            Err(StartError::Identity(IdentityError::Locked(_))) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other.expect("starts"),
        }
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn register(master: &Consensus, epoch: u128) {
    until("it leads", || master.leadership().borrow().is_leader()).await;
    let command = Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(epoch),
        boot: BootId(1),
        spec: AgentSpec {
            info: Bytes::new(),
            hostname: "a".into(),
            address: format!("a{epoch}:1"),
            total: Default::default(),
            version: "test".into(),
        },
    });
    let verdict = master.propose(command).await.expect("committed");
    verdict.expect("accepted");
}

async fn stop(master: Consensus, dir: &Path) {
    master.shutdown().await;
    drop(master);
    until("the directory is free", || {
        identity::lock(dir, false).is_ok()
    })
    .await;
}

/// Puts bytes that no program reads behind the last entry, and good entries cannot follow before
/// they are dealt with.
fn poison(dir: &Path, engine: EngineKind, payload: &'static [u8]) -> u64 {
    let (mut engine, found) = engine::open(engine, &dir.join("log")).expect("opens");
    let last = found.last.expect("entries");
    let at = Position {
        index: last.index + 1,
        ..last
    };
    let record = Record {
        kind: Kind::Proposal,
        at,
        payload: Bytes::from_static(payload),
    };
    engine.append(&[record]).expect("appended");
    engine.sync().expect("synced");
    at.index
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_stops_a_master_is_left_out_and_it_goes_on() {
    for engine in [EngineKind::Sled, EngineKind::Segment] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = dir.path();
        let master = start(dir, engine).await;
        register(&master, 1).await;
        stop(master, dir).await;
        let index = poison(dir, engine, b"\xff\xff");

        let master = start(dir, engine).await;
        let why = tokio::time::timeout(DEADLINE, master.halted()).await;
        assert!(why.expect("it halts").contains(&format!("entry {index}")));
        stop(master, dir).await;

        let seen = plan(dir, index).expect("can be left out");
        assert!(
            matches!(seen.content, LogContent::Unreadable { .. }) && seen.command.is_none(),
            "{seen:?}"
        );
        assert_eq!((seen.index, seen.already), (index, false));
        // Looking changed nothing, and another entry is not meant.
        assert!(run(dir, index, seen.digest + 1).is_err());
        assert!(!plan(dir, index).expect("as before").already);
        run(dir, index, seen.digest).expect("noted");
        assert!(plan(dir, index).expect("again").already);
        let mut shown = Vec::new();
        let data = DataDir::open(dir).expect("opens");
        data.entries(|entry| {
            shown.extend(entry.skipped.then_some(entry.index));
            Ok::<_, std::io::Error>(())
        })
        .expect("read");
        assert_eq!(shown, [index]);
        drop(data);

        let master = start(dir, engine).await;
        register(&master, 2).await;
        let applied = master.state().get();
        let state = &applied.state;
        assert!(
            [1, 2]
                .iter()
                .all(|e| state.agent_of_epoch(AgentEpoch(*e)).is_some())
        );
        // With the entry in a snapshot there is nothing left to leave out.
        let saved = master.saved_snapshot(true).await.expect("saved");
        assert!(saved.index() > index);
        stop(master, dir).await;
        let error = plan(dir, index).expect_err("applied");
        assert!(error.to_string().contains("applied"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_command_that_is_there_can_be_left_out() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = dir.path();
    let master = start(dir, EngineKind::Segment).await;
    register(&master, 1).await;
    let locked = plan(dir, 1).expect_err("it runs");
    assert!(
        matches!(
            locked,
            RecoverError::Offline(OfflineError::Identity(IdentityError::Locked(_)))
        ),
        "{locked}"
    );
    stop(master, dir).await;
    let membership = plan(dir, 0).expect_err("the members").to_string();
    assert!(membership.contains("no command"), "{membership}");
    let missing = plan(dir, 999).expect_err("not there").to_string();
    assert!(
        missing.contains("999") && missing.contains("regency raft log"),
        "{missing}"
    );
    let data = DataDir::open(dir).expect("opens");
    let mut proposals = Vec::new();
    data.entries(|entry| {
        if matches!(entry.content, LogContent::Proposal { .. }) {
            proposals.push(entry.index);
        }
        Ok::<_, std::io::Error>(())
    })
    .expect("read");
    drop(data);
    let seen = plan(dir, *proposals.last().expect("one")).expect("a command");
    let command = seen.command.expect("readable");
    assert!(command.contains("RegisterAgent"), "{command}");
}
