//! The handle that the rest of the program uses.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_rpc::{Listener, serve};
use regency_runtime::{Clock, IdMint, RandomIds};
use regency_state::{Command, MasterInfo, Proposal, Verdict};
use regency_types::{ClusterId, ClusterTime, Incarnation, NodeId};
use tokio::sync::{Semaphore, watch};

use crate::audit::Audit;
use crate::bootstrap::Bootstrap;
use crate::config::{Config, ConfigError, Limits, LogConfig, Timing};
use crate::effects::{EffectReceiver, EffectSink};
use crate::engine::{self, EngineError, LogEngine, Recovered};
use crate::fast_election::FastElection;
use crate::foreign;
use crate::identity::{Identity, IdentityError};
use crate::leadership::{LeaderContact, Leadership};
use crate::log::{LogBounds, LogStore, WriterEnd};
use crate::machine::Machine;
use crate::metrics;
use crate::network::{Gate, PeerNetworks, Peers, RaftService, Slot, read_index};
use crate::propose::ProposeError;
use crate::reader::{StateReader, WaitError};
use crate::snapshot::{Loaded, SnapshotError, SnapshotFile, SnapshotStore};
use crate::status::{MemberStatus, Status};
use crate::term::{self, Session, TermTask, WriteError};
use crate::types::{Member, MemberInfo, Raft};

/// Bytes that one permit of the in-flight bound stands for.
const PERMIT_BYTES: usize = 256;
/// How long a shutdown waits for calls in progress.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// This master's part in the cluster. Cheap to clone; all clones are the same master. When the
/// last one is dropped, this master leaves at once, as if it had crashed; see [`Self::shutdown`]
/// for the polite way.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    identity: Arc<Identity>,
    peers: Arc<Peers>,
    networks: PeerNetworks,
    clock: Arc<dyn Clock>,
    timing: Timing,
    limits: Limits,
    in_flight: Semaphore,
    leadership: watch::Receiver<Leadership>,
    session: watch::Receiver<Option<Session>>,
    halted: watch::Receiver<Option<String>>,
    states: StateReader,
    effects: EffectSink,
    contact: Arc<LeaderContact>,
    audit: Arc<Audit>,
    writer: Arc<WriterEnd>,
    stop_server: watch::Sender<bool>,
    /// Everything of replication runs here, on threads of its own, so that no load of the rest of
    /// the program delays a heartbeat.
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(|e| e.into_inner());
        if let Some(runtime) = runtime.take() {
            // May be called on a runtime's thread, where waiting is forbidden.
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Consensus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consensus")
            .field("member", &self.inner.identity.member())
            .finish_non_exhaustive()
    }
}

/// Why a master could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error("the configuration cannot work")]
    Config(#[from] ConfigError),
    /// The data directory is not usable by this master.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log is not usable.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The snapshots are not usable.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Entries were removed from the log, and no snapshot that holds them can be read.
    #[error(
        "the log begins after entry {purged}, but the newest readable snapshot ends at \
         {snapshot:?}: this master lost part of its state; remove it from the cluster, move its \
         data directory aside, and add it as a new master under a node id never used before"
    )]
    StateLost {
        /// Last entry that was removed from the log.
        purged: u64,
        /// Last entry in the newest readable snapshot.
        snapshot: Option<u64>,
    },
    /// Threads could not be made.
    #[error("cannot start threads for replication")]
    Threads(#[source] std::io::Error),
    /// The consensus core refused what it found.
    #[error("replication cannot start: {0}")]
    Core(String),
}

/// Why a read cannot be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader answered with the support of a majority in time.
    #[error("no leader confirmed the read")]
    NoLeader,
    /// The leader's entries did not arrive here in time.
    #[error("this master is behind")]
    Behind(#[source] WaitError),
    /// This master stopped taking part because of a failure.
    #[error("this master halted: {0}")]
    Halted(String),
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This master does not lead.
    #[error("this master does not lead")]
    NotLeader,
    /// The target has no vote in this cluster.
    #[error("node {0} is no voter of this cluster")]
    NotAVoter(NodeId),
    /// The target did not take over in time. It may still do so.
    #[error("node {0} did not take over in time")]
    Timeout(NodeId),
    /// This master stopped taking part because of a failure.
    #[error("this master halted: {0}")]
    Halted(String),
}

/// What was opened on disk.
struct Opened {
    identity: Identity,
    engine: Box<dyn LogEngine>,
    recovered: Recovered,
    snapshots: SnapshotStore,
    newest: Option<(Loaded, SnapshotFile)>,
}

fn open(
    dir: &Path,
    node: NodeId,
    log: &LogConfig,
    version: &str,
    mint: &dyn IdMint,
) -> Result<Opened, StartError> {
    let identity = Identity::open(dir, node, log.engine, mint)?;
    let (engine, recovered) = engine::open(log.engine, &dir.join("log"))?;
    let snapshots = SnapshotStore::open(&dir.join("snapshots"), version)?;
    let newest = snapshots.load_newest(identity.cluster())?;
    let snapshot = newest
        .as_ref()
        .and_then(|(loaded, _)| loaded.meta.last_log_id)
        .map(|at| at.index);
    if let Some(purged) = recovered.purged
        && snapshot.is_none_or(|snapshot| snapshot < purged.index)
    {
        return Err(StartError::StateLost {
            purged: purged.index,
            snapshot,
        });
    }
    Ok(Opened {
        identity,
        engine,
        recovered,
        snapshots,
        newest,
    })
}

fn library_config(timing: &Timing, log: &LogConfig) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election_max = ms(timing.election_max);
    openraft::Config {
        cluster_name: "regency".to_owned(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: election_max,
        max_payload_entries: 1024,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(log.snapshot_every_entries),
        max_in_snapshot_log_to_keep: log.keep_entries,
        purge_batch_size: 256,
        // How long a leader without a majority goes on calling itself one to those it reaches: a
        // bridge between two halves would otherwise hear it for ever and elect nobody.
        quorum_loss_probe_interval: Some(election_max.saturating_mul(2)),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        backoff: "20ms 40ms ..500ms".to_owned(),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| StartError::Core(error.to_string()))
}

impl Consensus {
    /// Starts this master's part: opens its data directory, serves other masters, and founds or
    /// finds its cluster. Returns before there is a leader.
    ///
    /// # Errors
    /// When the directory cannot be used; nothing is left running then.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_with(config, clock, Arc::new(RandomIds)).await
    }

    /// As [`Self::start`], with ids from `mint`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        config: Config,
        clock: Arc<dyn Clock>,
        mint: Arc<dyn IdMint>,
    ) -> Result<Self, StartError> {
        config.check()?;
        metrics::describe();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads)
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(StartError::Threads)?;
        let started = runtime.spawn(Self::set_up(config, clock, mint)).await;
        match started {
            Ok(Ok(mut inner)) => {
                inner.runtime = Mutex::new(Some(runtime));
                Ok(Self {
                    inner: Arc::new(inner),
                })
            }
            Ok(Err(error)) => {
                runtime.shutdown_background();
                Err(error)
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(StartError::Core(error.to_string()))
            }
        }
    }

    /// Everything of [`Self::start_with`] that happens on replication's own runtime.
    async fn set_up(
        config: Config,
        clock: Arc<dyn Clock>,
        mint: Arc<dyn IdMint>,
    ) -> Result<Inner, StartError> {
        let library = Arc::new(library_config(&config.timing, &config.log)?);
        let opened = {
            let (dir, node, log) = (config.data_dir.clone(), config.node, config.log);
            let (version, mint) = (config.version.clone(), Arc::clone(&mint));
            tokio::task::spawn_blocking(move || open(&dir, node, &log, &version, mint.as_ref()))
                .await
                .map_err(|error| StartError::Core(error.to_string()))??
        };
        let own = config
            .own()
            .ok_or(ConfigError::SelfMissing(config.node))?
            .clone();
        let identity = Arc::new(opened.identity);
        let own_info = MemberInfo {
            incarnation: identity.member().incarnation,
            raft: own.raft.clone(),
            http: own.http.clone(),
            agent: own.agent.clone(),
            hostname: config.hostname.clone(),
        };
        let bounds = LogBounds {
            cache_bytes_max: config.log.cache_bytes_max,
            append_bytes_max: config.log.append_bytes_max,
        };
        let (log, writer) =
            LogStore::new(opened.engine, &opened.recovered, bounds).map_err(StartError::Threads)?;
        let disk = log.watch();
        let effects = EffectSink::new(config.limits.effect_batches_max);
        let audit = Audit::new(config.log.state_hash_every_entries);
        let machine = Machine::new(
            opened.snapshots.clone(),
            opened.newest,
            Arc::clone(&identity),
            effects.clone(),
            Arc::clone(&audit),
        );
        let states = machine.states();
        let gate = Arc::new(Gate::new(Arc::clone(&identity)));
        let peers = Arc::new(Peers::new(&config.peers));
        foreign::check(&identity, &peers).await?;
        let networks = PeerNetworks {
            gate: Arc::clone(&gate),
            peers: Arc::clone(&peers),
        };
        let raft = Raft::build(config.node.0, library, networks.clone(), log, machine)
            .await
            .map_err(|error| StartError::Core(error.to_string()))?;
        raft.run();

        let contact = Arc::new(LeaderContact::new());
        let slot: Slot = Arc::new(OnceLock::new());
        let _ = slot.set(raft.clone());
        if config.timing.fast_election {
            tokio::spawn(
                FastElection {
                    raft: raft.clone(),
                    own: config.node,
                    networks: networks.clone(),
                    contact: Arc::clone(&contact),
                }
                .run(),
            );
        }
        let (stop_server, stopping) = watch::channel(false);
        let service = RaftService {
            gate,
            raft: slot,
            snapshots: opened.snapshots,
            contact: Arc::clone(&contact),
            audit: Arc::clone(&audit),
            stopping: stopping.clone(),
            own: own_info.clone(),
            version: config.version.clone(),
        };
        spawn_server(config.listener, service, stopping);

        let (leadership, leadership_rx) = watch::channel(Leadership::nobody());
        let (session, session_rx) = watch::channel(None);
        let (halted, halted_rx) = watch::channel(None);
        tokio::spawn(
            TermTask {
                raft: raft.clone(),
                identity: Arc::clone(&identity),
                peers: Arc::clone(&peers),
                clock: Arc::clone(&clock),
                contact: Arc::clone(&contact),
                disk,
                states: states.clone(),
                master: MasterInfo {
                    node: config.node,
                    incarnation: identity.member().incarnation,
                    process: config.process,
                    hostname: config.hostname,
                    http: own.http,
                    agent: own.agent,
                    version: config.version,
                },
                election_max: config.timing.election_max,
                // Nobody else is elected by silence before: a follower campaigns no sooner.
                support_max: config.timing.election_max + config.timing.election_min,
                leadership,
                session,
                halted,
            }
            .run(),
        );
        tokio::spawn(
            Bootstrap {
                identity: Arc::clone(&identity),
                raft: raft.clone(),
                peers: Arc::clone(&peers),
                own: own_info,
                mint,
                enabled: config.bootstrap,
            }
            .run(),
        );
        Ok(Inner {
            raft,
            identity,
            peers,
            networks,
            clock,
            timing: config.timing,
            limits: config.limits,
            in_flight: Semaphore::new(
                (config.limits.in_flight_bytes_max / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS),
            ),
            leadership: leadership_rx,
            session: session_rx,
            halted: halted_rx,
            states: StateReader::new(states),
            effects,
            contact,
            audit,
            writer: Arc::new(writer),
            stop_server,
            runtime: Mutex::new(None),
        })
    }

    /// Asks the cluster to apply a command, and waits for its verdict. Only a serving leader does;
    /// a master that was just elected is given a moment to begin.
    ///
    /// Dropping the future does not withdraw the proposal.
    ///
    /// # Errors
    /// See [`ProposeError`]; every variant but [`ProposeError::Unknown`] says that the command was
    /// not and will not be applied.
    pub async fn propose(&self, command: Command) -> Result<Verdict, ProposeError> {
        let begun = Instant::now();
        let result = self.propose_unmeasured(command).await;
        let outcome = match &result {
            Ok(Ok(_)) => "accepted",
            Ok(Err(_)) => "refused",
            Err(error) => error.label(),
        };
        metrics::proposal(outcome, begun.elapsed());
        result
    }

    async fn propose_unmeasured(&self, command: Command) -> Result<Verdict, ProposeError> {
        let inner = &*self.inner;
        let patience = tokio::time::Instant::now() + inner.limits.lease_wait;
        let mut permits = None;
        let mut command = command;
        loop {
            let session = self.serving(patience).await?;
            let proposal = Proposal {
                proposed_at: session.now(inner.clock.as_ref()),
                wall: inner.clock.wall(),
                command,
            };
            let bytes = Bytes::from(regency_stored::encode_proposal(&proposal));
            command = proposal.command;
            let bytes_max = inner.limits.proposal_bytes_max;
            if bytes.len() > bytes_max {
                return Err(ProposeError::TooLarge {
                    bytes: bytes.len(),
                    bytes_max,
                });
            }
            if permits.is_none() {
                permits = Some(self.acquire(bytes.len()).await?);
            }
            match self.write(bytes, &session).await {
                Ok(verdict) => return Ok(verdict),
                Err(WriteError::NoLease) if tokio::time::Instant::now() < patience => {
                    // Not appended: it is safe to try again.
                    tokio::time::sleep(inner.timing.heartbeat / 10).await;
                }
                Err(WriteError::NoLease | WriteError::NotLeader) => {
                    return Err(self.not_leader());
                }
                Err(
                    WriteError::Unknown
                    | WriteError::Stopped {
                        maybe_written: true,
                    },
                ) => {
                    return Err(ProposeError::Unknown);
                }
                Err(WriteError::Stopped {
                    maybe_written: false,
                }) => {
                    return Err(ProposeError::Halted(self.why_halted()));
                }
            }
        }
    }

    async fn acquire(
        &self,
        bytes: usize,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, ProposeError> {
        let all = self.inner.limits.in_flight_bytes_max / PERMIT_BYTES;
        let permits = (bytes / PERMIT_BYTES + 1).min(all.max(1));
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let waiting = self.inner.in_flight.acquire_many(permits);
        match tokio::time::timeout(self.inner.limits.lease_wait, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Busy),
        }
    }

    /// The present session, or that of a master that is about to begin one.
    async fn serving(&self, patience: tokio::time::Instant) -> Result<Session, ProposeError> {
        let inner = &*self.inner;
        if let Some(session) = *inner.session.borrow() {
            return Ok(session);
        }
        let mut sessions = inner.session.clone();
        loop {
            if inner.halted.borrow().is_some() {
                return Err(ProposeError::Halted(self.why_halted()));
            }
            let own = inner.identity.member().node.0;
            let elected = {
                let server = inner.raft.server_metrics();
                let server = server.borrow_watched();
                server.vote.leader_id.voted_for == own && server.current_leader == Some(own)
            };
            if !elected || tokio::time::Instant::now() >= patience {
                return Err(self.not_leader());
            }
            // Elected and not yet serving: look again soon, or when the session begins.
            let look_again = (tokio::time::Instant::now() + inner.timing.heartbeat).min(patience);
            match tokio::time::timeout_at(look_again, sessions.wait_for(Option::is_some)).await {
                Ok(Ok(session)) => {
                    if let Some(session) = *session {
                        return Ok(session);
                    }
                }
                Ok(Err(_)) => return Err(ProposeError::Halted(self.why_halted())),
                Err(_) => {}
            }
        }
    }

    async fn write(&self, bytes: Bytes, session: &Session) -> Result<Verdict, WriteError> {
        let inner = &*self.inner;
        let mut written = term::write(&inner.raft, bytes, session.term).await?;
        let mut sessions = inner.session.clone();
        let number = session.number;
        // Its value is dropped at once: a guard may not be held across an await.
        let over = async {
            sessions
                .wait_for(|now| now.is_none_or(|now| now.number != number))
                .await
                .map(drop)
        };
        tokio::select! {
            biased;
            result = &mut written => term::outcome(result),
            _ = over => {
                // The entry may still be committed, or be discarded for all to see: both soon.
                let last_chance = tokio::time::timeout(inner.timing.election_max, written);
                last_chance.await.map_or(Err(WriteError::Unknown), term::outcome)
            }
            () = tokio::time::sleep(inner.limits.propose_timeout) => Err(WriteError::Unknown),
        }
    }

    fn not_leader(&self) -> ProposeError {
        let leadership = self.inner.leadership.borrow();
        let own = self.inner.identity.member().node;
        ProposeError::NotLeader {
            leader: leadership
                .leader
                .clone()
                .filter(|leader| leader.node != own),
        }
    }

    fn why_halted(&self) -> String {
        let halted = self.inner.halted.borrow();
        halted
            .clone()
            .unwrap_or_else(|| "it was shut down".to_owned())
    }

    /// Waits until this master has applied everything that was committed anywhere before the call,
    /// and returns the index up to which that is. Works on every master: the leader confirms
    /// itself with a majority, a follower asks it to.
    ///
    /// # Errors
    /// When no leader can confirm, or this master is too far behind.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        let inner = &*self.inner;
        let deadline = tokio::time::Instant::now() + inner.limits.read_timeout;
        let index = loop {
            if inner.halted.borrow().is_some() {
                return Err(ReadError::Halted(self.why_halted()));
            }
            if let Some(index) = self.confirmed_index(deadline).await {
                break index;
            }
            if tokio::time::Instant::now() + inner.timing.heartbeat >= deadline {
                return Err(ReadError::NoLeader);
            }
            tokio::time::sleep(inner.timing.heartbeat).await;
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        inner
            .states
            .wait_for(index, left)
            .await
            .map_err(ReadError::Behind)?;
        Ok(index)
    }

    async fn confirmed_index(&self, deadline: tokio::time::Instant) -> Option<u64> {
        let inner = &*self.inner;
        let own = inner.identity.member().node.0;
        let (leader, info) = {
            let server = inner.raft.server_metrics();
            let server = server.borrow_watched();
            let leader = server.current_leader?;
            let membership = server.membership_config.membership();
            (leader, membership.get_node(&leader).cloned()?)
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if leader == own {
            let confirming = inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
            let linearizer = tokio::time::timeout(left, confirming).await.ok()?.ok()?;
            return Some(linearizer.read_log_id().index());
        }
        let patience = inner.timing.election_max.min(left);
        match read_index(&inner.networks, leader, &info, patience).await {
            Ok(index) => index,
            Err(error) => {
                tracing::debug!(leader, error, "the leader did not confirm a read");
                None
            }
        }
    }

    /// Who leads, and every change of it.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// The applied state.
    #[must_use]
    pub fn state(&self) -> StateReader {
        self.inner.states.clone()
    }

    /// Effects of entries that are applied from now on. To be taken when a session begins, before
    /// the sweep over the state.
    #[must_use]
    pub fn effects(&self) -> EffectReceiver {
        self.inner.effects.subscribe()
    }

    /// This master's number.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.identity.member().node
    }

    /// The identity of this master's data directory.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.inner.identity.member().incarnation
    }

    /// The cluster this master belongs to, once it does.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.inner.identity.cluster()
    }

    /// As serving leader: the time a proposal would be stamped with now.
    #[must_use]
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        let session = *self.inner.session.borrow();
        session.map(|session| session.now(self.inner.clock.as_ref()))
    }

    /// As leader: how long ago a majority last answered something that was sent before. `None` on
    /// others, and before the first answer. Grows without bound on a leader that is cut off.
    #[must_use]
    pub fn last_quorum_ack(&self) -> Option<Duration> {
        term::last_quorum_ack(&self.inner.raft, self.node())
    }

    /// How long ago a leader was last heard. `None` when never since this process started.
    #[must_use]
    pub fn last_leader_contact(&self) -> Option<Duration> {
        self.inner.contact.age()
    }

    /// Waits until this master halts because of a failure, and says why. Pending for ever when it
    /// never does.
    pub async fn halted(&self) -> String {
        let mut halted = self.inner.halted.clone();
        match halted.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // Shut down, not halted.
            Err(_) => std::future::pending().await,
        }
    }

    /// A picture for operators.
    #[must_use]
    pub fn status(&self) -> Status {
        let inner = &*self.inner;
        let leadership = inner.leadership.borrow().clone();
        let metrics = inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: std::collections::BTreeSet<u64> = membership.voter_ids().collect();
        let index = |at: Option<crate::types::LogId>| at.map(|at| at.index);
        let members = membership
            .nodes()
            .map(|(node, info)| {
                let matched = metrics
                    .replication
                    .as_ref()
                    .and_then(|replication| replication.get(node));
                let matched_index = matched.and_then(|at| index(*at));
                MemberStatus {
                    node: NodeId(*node),
                    incarnation: info.incarnation,
                    hostname: info.hostname.clone(),
                    raft: inner.peers.raft_address(NodeId(*node), info),
                    http: info.http.clone(),
                    agent: info.agent.clone(),
                    voter: voters.contains(node),
                    matched_index,
                    lag_entries: matched.map(|_| {
                        let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
                        next(metrics.last_log_index).saturating_sub(next(matched_index))
                    }),
                }
            })
            .collect();
        Status {
            node: self.node(),
            incarnation: self.incarnation(),
            cluster: self.cluster_id(),
            term: leadership.term,
            role: leadership.role,
            leader: leadership.leader.map(|leader| leader.node),
            voted_for: NodeId(metrics.vote.leader_id.voted_for),
            last_log_index: metrics.last_log_index,
            committed_index: index(metrics.cluster_committed),
            applied_index: index(metrics.last_applied),
            snapshot_index: index(metrics.snapshot),
            purged_index: index(metrics.purged),
            last_quorum_ack: self.last_quorum_ack(),
            last_leader_contact: self.last_leader_contact(),
            halted: inner.halted.borrow().clone(),
            members,
        }
    }

    /// Writes a snapshot now, whatever the policy says. Returns at once.
    pub async fn snapshot(&self) {
        // An error says that the core stopped, which `halted` tells.
        let _ = self.inner.raft.trigger().snapshot().await;
    }

    /// Hands leadership to `to` and waits until somebody else leads.
    ///
    /// # Errors
    /// When this master does not lead or `to` cannot or did not take over.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), TransferError> {
        let inner = &*self.inner;
        let own = self.node();
        let is_voter = {
            let server = inner.raft.server_metrics();
            let server = server.borrow_watched();
            if server.current_leader != Some(own.0) {
                return Err(TransferError::NotLeader);
            }
            let mut voters = server.membership_config.membership().voter_ids();
            voters.any(|voter| voter == to.0)
        };
        if !is_voter {
            return Err(TransferError::NotAVoter(to));
        }
        if to == own {
            return Ok(());
        }
        let mut leadership = inner.leadership.clone();
        let halted = |_| TransferError::Halted(self.why_halted());
        inner
            .raft
            .trigger()
            .transfer_leader(to.0)
            .await
            .map_err(halted)?;
        let taken_over =
            leadership.wait_for(|now| now.leader.as_ref().is_some_and(|leader| leader.node != own));
        match tokio::time::timeout(inner.timing.election_max * 3, taken_over).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(TransferError::Halted(self.why_halted())),
            Err(_) => Err(TransferError::Timeout(to)),
        }
    }

    /// Leaves politely: hands leadership to the follower that has most of the log, stops taking
    /// part, and closes the disk. The other clones of this handle are useless afterwards. Safe to
    /// call more than once.
    pub async fn shutdown(&self) {
        let inner = &*self.inner;
        if inner.session.borrow().is_some()
            && let Some(heir) = term::heir(&inner.raft, self.node())
            && let Err(error) = self.transfer_leader(heir).await
        {
            tracing::warn!(%error, "leaving without handing leadership over");
        }
        if let Err(error) = inner.raft.shutdown().await {
            tracing::warn!(%error, "the consensus core ended badly");
        }
        inner.stop_server.send_replace(true);
        let runtime = inner
            .runtime
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take();
        let writer = Arc::clone(&inner.writer);
        let closed = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(CLOSE_TIMEOUT);
            }
            writer.join();
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "replication did not close cleanly");
        }
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    pub(crate) fn networks(&self) -> &PeerNetworks {
        &self.inner.networks
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.inner.peers
    }

    pub(crate) fn member(&self) -> Member {
        self.inner.identity.member()
    }

    pub(crate) fn election_max(&self) -> Duration {
        self.inner.timing.election_max
    }
}

/// Serves other masters until `stopping` says so.
fn spawn_server(listener: Listener, service: RaftService, mut stopping: watch::Receiver<bool>) {
    let routes = tonic::service::Routes::new(service.into_server());
    tokio::spawn(async move {
        let stopped = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        if let Err(error) = serve(listener, routes, stopped).await {
            tracing::error!(%error, "the server for other masters failed");
        }
    });
}
