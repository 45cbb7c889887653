//! Masters in one process, over real loopback sockets and real directories.
#![allow(dead_code, reason = "not every test file uses every part")]
#![allow(unreachable_pub, reason = "shared by several test programs")]

mod links;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regency_raft_store::{
    AutopilotConfig, Config, Consensus, Leadership, Limits, LogConfig, PeerSpec, ProposeError,
    StartError, Timing,
};
use regency_rpc::Listener;
use regency_runtime::SystemClock;
use regency_state::model::AgentSpec;
use regency_state::{Command, RegisterAgent, State};
use regency_types::{AgentEpoch, BootId, NodeId};

pub use links::Links;

/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Some masters, some of which run.
pub struct Cluster {
    root: tempfile::TempDir,
    peers: Vec<PeerSpec>,
    ports: Vec<SocketAddr>,
    spare: Vec<Option<Listener>>,
    running: Vec<Option<Consensus>>,
    links: Links,
    pub log: LogConfig,
    pub timing: Timing,
    pub limits: Limits,
    pub bootstrap: bool,
    pub autopilot: AutopilotConfig,
}

impl Cluster {
    /// Directories and ports for `n` masters with the ids from 1 on; none runs yet.
    pub fn new(n: usize) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let mut cluster = Self {
            root: tempfile::tempdir().expect("temporary directory"),
            peers: Vec::new(),
            ports: Vec::new(),
            spare: Vec::new(),
            running: Vec::new(),
            links: Links::default(),
            log: LogConfig::default(),
            timing: Timing::default(),
            limits: Limits {
                propose_timeout: Duration::from_secs(3),
                ..Limits::default()
            },
            bootstrap: true,
            autopilot: AutopilotConfig::default(),
        };
        for id in 1..=n as u64 {
            let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("loopback");
            let port = listener.local_addr().expect("bound");
            cluster.peers.push(PeerSpec {
                id: NodeId(id),
                raft: port.to_string(),
                http: format!("master{id}:5050"),
                agent: format!("master{id}:5061"),
            });
            cluster.ports.push(port);
            cluster.spare.push(Some(listener));
            cluster.running.push(None);
        }
        cluster
    }

    /// As [`Self::new`], with a link for each master to each other one.
    pub fn linked(n: usize) -> Self {
        let mut cluster = Self::new(n);
        cluster.links = Links::between(&cluster.ports);
        cluster
    }

    /// What [`Self::linked`] made.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// `n` running masters.
    pub async fn started(n: usize) -> Self {
        let mut cluster = Self::new(n);
        for i in 0..n {
            cluster.start(i).await;
        }
        cluster
    }

    pub fn dir(&self, i: usize) -> PathBuf {
        self.root.path().join(format!("master{}", i + 1))
    }

    pub fn peer(&self, i: usize) -> &PeerSpec {
        &self.peers[i]
    }

    /// Replaces the addresses that masters started from now on are told.
    pub fn set_peers(&mut self, peers: Vec<PeerSpec>) {
        self.peers = peers;
    }

    pub fn config(&mut self, i: usize) -> Config {
        let listener = match self.spare[i].take() {
            Some(listener) => listener,
            // Its former user may not have let go of it yet.
            None => eventually_sync("the port is free", || Listener::bind(self.ports[i]).ok()),
        };
        Config {
            node: NodeId(i as u64 + 1),
            data_dir: self.dir(i),
            listener,
            hostname: format!("master{}", i + 1),
            peers: self.links.seen_from(i, &self.peers),
            bootstrap: self.bootstrap,
            process: uuid::Uuid::new_v4().as_u128(),
            version: "test".into(),
            timing: self.timing,
            log: self.log,
            limits: self.limits,
            autopilot: self.autopilot,
            threads: 2,
        }
    }

    pub async fn try_start(&mut self, i: usize) -> Result<(), StartError> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let config = self.config(i);
            match Consensus::start(config, Arc::new(SystemClock::default())).await {
                Ok(consensus) => {
                    self.running[i] = Some(consensus);
                    return Ok(());
                }
                // A killed master lets go of its directory a little later.
                Err(StartError::Identity(regency_raft_store::IdentityError::Locked(_)))
                    if Instant::now() < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub async fn start(&mut self, i: usize) {
        self.try_start(i).await.expect("starts");
    }

    /// Ends a master without any farewell.
    pub fn kill(&mut self, i: usize) {
        self.running[i] = None;
    }

    pub fn wipe(&mut self, i: usize) {
        std::fs::remove_dir_all(self.dir(i)).expect("removed");
    }

    pub fn master(&self, i: usize) -> &Consensus {
        self.running[i].as_ref().expect("runs")
    }

    pub fn masters(&self) -> impl Iterator<Item = (usize, &Consensus)> {
        self.running
            .iter()
            .enumerate()
            .filter_map(|(i, master)| Some((i, master.as_ref()?)))
    }

    /// Waits until one of the running masters leads and serves.
    pub async fn leader(&self) -> usize {
        eventually("somebody leads", || {
            let mut leaders = self
                .masters()
                .filter(|(_, master)| master.leadership().borrow().is_leader());
            leaders.next().map(|(i, _)| i)
        })
        .await
    }

    /// Registers an agent through whoever leads; again and again until a verdict is known.
    pub async fn write(&self, epoch: u128) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let leader = self.leader().await;
            match self.master(leader).propose(register(epoch)).await {
                Ok(verdict) => {
                    verdict.expect("accepted");
                    return;
                }
                // Registering is idempotent: it may be repeated even when the outcome is unknown.
                Err(ProposeError::NotLeader { .. } | ProposeError::Unknown)
                    if Instant::now() < deadline => {}
                Err(error) => panic!("not written: {error}"),
            }
        }
    }

    /// Waits until master `i` has applied the registration of these agents.
    pub async fn sees(&self, i: usize, epochs: impl IntoIterator<Item = u128> + Clone) {
        let reader = self.master(i).state();
        eventually("all writes are applied", || {
            let state = reader.get();
            let mut epochs = epochs.clone().into_iter();
            epochs.all(|epoch| has(&state.state, epoch)).then_some(())
        })
        .await;
    }
}

pub fn has(state: &State, epoch: u128) -> bool {
    state.agent_of_epoch(AgentEpoch(epoch)).is_some()
}

pub fn register(epoch: u128) -> Command {
    register_with(epoch, Bytes::new())
}

pub fn register_with(epoch: u128, info: Bytes) -> Command {
    Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(epoch),
        boot: BootId(epoch),
        spec: AgentSpec {
            info,
            hostname: "agent".into(),
            address: format!("agent{epoch}:5051"),
            total: Default::default(),
            version: "test".into(),
        },
    })
}

/// Polls until there is something, and fails the test when there is nothing for too long.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn eventually_sync<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `master` sees a leadership that fits.
pub async fn leadership(
    master: &Consensus,
    what: &str,
    fits: impl FnMut(&Leadership) -> bool,
) -> Leadership {
    let mut watch = master.leadership();
    let found = tokio::time::timeout(DEADLINE, watch.wait_for(fits)).await;
    found
        .unwrap_or_else(|_| panic!("timed out: {what}"))
        .expect("runs")
        .clone()
}
