//! A simulated master: the replication of the program as it is, and clients on the same host.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use regency_raft_store::{
    AutopilotConfig, Config, Consensus, EngineKind, Limits, LogConfig, PeerSpec, ProposeError,
    Timing,
};
use regency_rpc::Listener;
use regency_runtime::{RandomIds, SystemClock};
use regency_state::model::AgentSpec;
use regency_state::{Command, RegisterAgent};
use regency_testkit::Rng;
use regency_types::{AgentEpoch, BootId, NodeId};
use tokio::sync::mpsc;

use crate::coverage::Event;
use crate::fault::MASTERS;
use crate::record::Record;

const RAFT_PORT: u16 = 5060;
/// States are compared after each entry whose index is a multiple of this.
const COMPARE_EVERY: u64 = 4;
/// Writers on each host.
const WRITERS: u64 = 2;

/// Something that a master is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Elect,
    Transfer(usize),
    Snapshot,
}

/// What the simulator and everything in it share. There is one thread.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) record: RefCell<Record>,
    pub(crate) masters: RefCell<[Option<Running>; MASTERS]>,
    /// Whether writers have ended.
    pub(crate) quiet: RefCell<bool>,
}

/// A master that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) consensus: Consensus,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
}

impl Shared {
    pub(crate) fn running(&self, who: usize) -> Option<Running> {
        self.masters.borrow()[who].clone()
    }
}

/// What a master is started with.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) who: usize,
    pub(crate) dir: PathBuf,
    /// Of what its clients do.
    pub(crate) seed: u64,
}

pub(crate) fn host(who: usize) -> String {
    format!("m{}", who + 1)
}

fn peers() -> Vec<PeerSpec> {
    let peer = |who: usize| PeerSpec {
        id: NodeId(who as u64 + 1),
        raft: format!("{}:{RAFT_PORT}", host(who)),
        http: format!("{}:5050", host(who)),
        agent: format!("{}:5061", host(who)),
    };
    (0..MASTERS).map(peer).collect()
}

fn config(place: &Place, process: u128) -> Config {
    Config {
        autopilot: AutopilotConfig::default(),
        node: NodeId(place.who as u64 + 1),
        data_dir: place.dir.clone(),
        listener: Listener::simulated(SocketAddr::from(([0, 0, 0, 0], RAFT_PORT))),
        hostname: host(place.who),
        peers: peers(),
        bootstrap: true,
        process,
        version: "simulated".to_owned(),
        timing: Timing::default(),
        log: LogConfig {
            engine: EngineKind::Segment,
            // Little, so that logs are read from the disk, purged, and followers need snapshots.
            cache_bytes_max: 8 * 1024,
            snapshot_every_entries: 60,
            keep_entries: 20,
            state_hash_every_entries: 50,
            disk_reserve_bytes: 0,
            ..LogConfig::default()
        },
        limits: Limits {
            propose_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(1),
            stall_abort_after: None,
            start_abort_after: None,
            ..Limits::default()
        },
        threads: 1,
    }
}

/// Runs a master until its host is stopped.
pub(crate) async fn run(place: Place, shared: Rc<Shared>) {
    let who = place.who;
    let mut rng = Rng::new(place.seed ^ u64::from(shared.record.borrow().now_ms as u32));
    let config = config(&place, rng.wide_number());
    let started = Consensus::start_with(
        config,
        Arc::new(SystemClock::default()),
        Arc::new(RandomIds),
    )
    .await;
    let consensus = match started {
        Ok(consensus) => consensus,
        Err(error) => {
            let mut why = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(inner) = source {
                why = format!("{why}: {inner}");
                source = inner.source();
            }
            let what = format!("{} does not start: {why}", host(who));
            return shared.record.borrow_mut().violated("starts", what);
        }
    };
    let (orders, mut todo) = mpsc::unbounded_channel();
    shared.masters.borrow_mut()[who] = Some(Running {
        consensus: consensus.clone(),
        orders,
    });
    shared
        .record
        .borrow_mut()
        .say(format!("{} runs", host(who)));
    for _ in 0..WRITERS {
        let rng = Rng::new(rng.number());
        tokio::task::spawn_local(write(consensus.clone(), rng, Rc::clone(&shared)));
    }
    let reads = read(consensus.clone(), rng, Rc::clone(&shared), who);
    tokio::task::spawn_local(reads);
    tokio::task::spawn_local(follow(consensus.clone(), Rc::clone(&shared), who));
    tokio::task::spawn_local(halt(consensus.clone(), Rc::clone(&shared), who));
    while let Some(order) = todo.recv().await {
        match order {
            Order::Elect => consensus.campaign().await,
            Order::Snapshot => consensus.snapshot().await,
            Order::Transfer(to) => {
                let handed = consensus.transfer_leader(NodeId(to as u64 + 1)).await;
                let mut record = shared.record.borrow_mut();
                match handed {
                    Ok(()) => record.coverage.struck(Event::Transferred),
                    Err(error) => record.say(format!("not transferred: {error}")),
                }
            }
        }
    }
}

/// A client that writes, mostly where the leader is.
async fn write(consensus: Consensus, mut rng: Rng, shared: Rc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_millis(2 + rng.below(40))).await;
        if *shared.quiet.borrow() {
            return;
        }
        // Now and then somebody asks who does not lead, too.
        if !consensus.leadership().borrow().is_leader() && !rng.chance(5) {
            continue;
        }
        let epoch = shared.record.borrow_mut().next_epoch();
        let written = consensus.propose(register(epoch)).await;
        let mut record = shared.record.borrow_mut();
        match written {
            Ok(Ok(_)) => record.answered(epoch),
            Ok(Err(refused)) => {
                record.violated("accepted", format!("{epoch} was refused: {refused:?}"));
            }
            Err(ProposeError::Unknown) => record.coverage.struck(Event::Unknown),
            Err(_) => record.turned_away(epoch),
        }
    }
}

/// A client that reads what was confirmed, anywhere.
async fn read(consensus: Consensus, mut rng: Rng, shared: Rc<Shared>, who: usize) {
    loop {
        tokio::time::sleep(Duration::from_millis(10 + rng.below(60))).await;
        let n = shared.record.borrow().answered.len();
        let confirmed = consensus.read_barrier().await;
        let state = consensus.state().get();
        let mut record = shared.record.borrow_mut();
        match confirmed {
            Ok(index) => {
                record.coverage.struck(Event::Read);
                if state.index < index {
                    record.violated("I10", format!("{} is not at entry {index}", host(who)));
                }
                record.must_have("I10", who, &state.state, n);
            }
            Err(_) => record.coverage.struck(Event::ReadFailed),
        }
    }
}

/// Compares the states of all masters.
async fn follow(consensus: Consensus, shared: Rc<Shared>, who: usize) {
    let mut entries = consensus.entries(4096);
    while let Some(entry) = entries.recv().await {
        let compare = entry.index.is_multiple_of(COMPARE_EVERY)
            || !entry.follows
            || shared.record.borrow().is_compared(entry.index);
        if compare {
            let digest = regency_stored::state_digest(&entry.state);
            let mut record = shared.record.borrow_mut();
            record.state_after(who, entry.index, digest);
        }
    }
}

/// No master may give up by itself.
async fn halt(consensus: Consensus, shared: Rc<Shared>, who: usize) {
    let why = consensus.halted().await;
    let what = format!("{} halted: {why}", host(who));
    shared.record.borrow_mut().violated("goes on", what);
}

fn register(epoch: u128) -> Command {
    Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(epoch),
        boot: BootId(epoch),
        spec: AgentSpec {
            info: Default::default(),
            hostname: "agent".into(),
            address: format!("agent{epoch}:5051"),
            total: Default::default(),
            version: "simulated".into(),
        },
    })
}
