//! Opening a data directory and starting everything that replicates.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use regency_rpc::{Listener, serve};
use regency_runtime::{Clock, IdMint, RandomIds};
use regency_state::MasterInfo;
use regency_types::NodeId;
use tokio::sync::{Semaphore, watch};

use super::propose::PERMIT_BYTES;
use super::{Consensus, Inner};
use crate::audit::Audit;
use crate::bootstrap::Bootstrap;
use crate::conditions::{Conditions, Survey};
use crate::config::{Config, ConfigError, LogConfig};
use crate::disk::STOP_FACTOR;
use crate::effects::EffectSink;
use crate::engine::{self, EngineError, LogEngine, Recovered};
use crate::entries::EntrySink;
use crate::fast_election::{Evidence, FastElection};
use crate::foreign;
use crate::gauges::{self, Gauges};
use crate::identity::{Identity, IdentityError};
use crate::leadership::{LeaderContact, Leadership};
use crate::level::{self, BeyondLevel, Program};
use crate::log::{Again, LogBounds, LogStore};
use crate::log_dir;
use crate::machine::Machine;
use crate::metrics;
use crate::network::{Gate, PeerNetworks, Peers, RaftService, Slot};
use crate::priority;
use crate::reader::StateReader;
use crate::roll_call::{Disagreements, RollCall};
use crate::snapshot::{Loaded, Outgoing, SnapshotError, SnapshotFile, SnapshotStore};
use crate::space::Space;
use crate::term::TermTask;
use crate::timing::Timing;
use crate::types::{MemberInfo, Raft};
use crate::vitals::{self, ServingGate, Vitals};
use crate::watchdog::Watchdog;

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
    /// The cluster uses what this program does not know.
    #[error(transparent)]
    FeatureLevel(#[from] BeyondLevel),
    /// Threads could not be made.
    #[error("cannot start threads for replication")]
    Threads(#[source] std::io::Error),
    /// The consensus core refused what it found.
    #[error("replication cannot start: {0}")]
    Core(String),
}

/// What was opened on disk.
struct Opened {
    identity: Identity,
    log_place: PathBuf,
    engine: Box<dyn LogEngine>,
    recovered: Recovered,
    snapshots: SnapshotStore,
    newest: Option<(Loaded, SnapshotFile)>,
}

fn open_log(place: &Path, log: &LogConfig) -> Result<(Box<dyn LogEngine>, Recovered), EngineError> {
    let options = engine::Options {
        rebuild: engine::RebuildWhen {
            factor: log.rebuild_factor,
            bytes_min: log.rebuild_bytes_min,
        },
        ..engine::Options::default()
    };
    engine::open_with(log.engine, place, &options)
}

fn open(
    dir: &Path,
    node: NodeId,
    log: &LogConfig,
    version: &str,
    mint: &dyn IdMint,
) -> Result<Opened, StartError> {
    let identity = Identity::open(dir, node, log.engine, mint)?;
    let place =
        log_dir::settle(dir, log.engine).map_err(EngineError::io("settle the log in", dir))?;
    let (engine, recovered) = open_log(&place, log)?;
    if let Some(purged) = recovered.purged {
        identity.forget_skips(purged.index)?;
    }
    let snapshots =
        SnapshotStore::open(&dir.join("snapshots"), version)?.keeping(log.snapshots_kept);
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
    if let Some((loaded, _)) = &newest {
        level::fits(loaded.state.feature_level(), log.feature_level_max)?;
    }
    Ok(Opened {
        identity,
        log_place: place,
        engine,
        recovered,
        snapshots,
        newest,
    })
}

fn library_config(timing: &Timing, log: &LogConfig) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    openraft::Config {
        cluster_name: "regency".to_owned(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        max_payload_entries: 1024,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(log.snapshot_every_entries),
        max_in_snapshot_log_to_keep: log.keep_entries,
        // Tests that die while they purge want to do so often.
        purge_batch_size: if cfg!(feature = "failpoints") {
            16
        } else {
            256
        },
        quorum_loss_probe_interval: Some(ms(timing.quorum_loss_probe())),
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
        let runtime = priority::runtime(config.threads, config.limits.raft_nice)
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
            promote: false,
        };
        let bounds = LogBounds {
            cache_bytes_max: config.log.cache_bytes_max,
            append_bytes_max: config.log.append_bytes_max,
        };
        let space = Space::new(&config.data_dir, config.log.disk_reserve_bytes);
        tokio::spawn(Arc::clone(&space).run());
        let again = {
            let (log, place) = (config.log, opened.log_place);
            Again {
                open: Box::new(move || open_log(&place, &log)),
                space: Arc::clone(&space),
            }
        };
        let (log, writer) = LogStore::new(opened.engine, &opened.recovered, bounds, Some(again))
            .map_err(StartError::Threads)?;
        let snapshots = opened.snapshots.with_space(Arc::clone(&space));
        let vitals = Arc::new(Vitals::new(
            config.timing.support_max(),
            config.limits.disk_stall_max * STOP_FACTOR,
            log.watch(),
        ));
        let (gate_open, gate_rx) = watch::channel(false);
        let permits =
            (config.limits.in_flight_bytes_max / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let in_flight = Arc::new(Semaphore::new(permits));
        gauges::limits(&config.limits, &config.log);
        let effects = EffectSink::new(config.limits.effect_batches_max);
        tokio::spawn(
            Gauges {
                log: log.gauge(),
                effects: effects.clone(),
                in_flight: Arc::clone(&in_flight),
                permits,
                permit_bytes: PERMIT_BYTES,
            }
            .run(),
        );
        let entries = EntrySink::default();
        let audit = Audit::new(config.log.state_hash_every_entries);
        let purged = log.purged();
        let outgoing = Outgoing::new(move || purged.index());
        let machine = Machine::new(
            snapshots.clone(),
            opened.newest,
            Arc::clone(&identity),
            effects.clone(),
            Arc::clone(&audit),
            Arc::clone(&outgoing),
        )
        .with_feature_level_max(config.log.feature_level_max)
        .with_entries(entries.clone());
        let states = machine.states();
        let gate = Arc::new(Gate::new(Arc::clone(&identity), states.clone()));
        let peers = Arc::new(Peers::new(&config.peers));
        foreign::check(&identity, &peers).await?;
        let networks = PeerNetworks {
            gate: Arc::clone(&gate),
            peers: Arc::clone(&peers),
            append_patience: config.timing.append_patience(),
            outgoing: Arc::clone(&outgoing),
        };
        let raft = Raft::build(config.node.0, library, networks.clone(), log, machine)
            .await
            .map_err(|error| StartError::Core(error.to_string()))?;
        raft.run();

        let contact = Arc::new(LeaderContact::new());
        let evidence = Arc::new(Evidence::new(Arc::clone(&contact), &config.timing));
        let slot: Slot = Arc::new(OnceLock::new());
        let _ = slot.set(raft.clone());
        if config.timing.fast_election {
            tokio::spawn(
                FastElection {
                    raft: raft.clone(),
                    own: identity.member(),
                    networks: networks.clone(),
                    evidence: Arc::clone(&evidence),
                    timing: config.timing,
                }
                .run(),
            );
        }
        let disagreements = Arc::new(Disagreements::default());
        tokio::spawn(
            RollCall {
                raft: raft.clone(),
                own: identity.member(),
                networks: networks.clone(),
                timing: config.timing,
                disagreements: Arc::clone(&disagreements),
            }
            .run(),
        );
        let program = Program {
            version: config.version.clone(),
            feature_level_max: config.log.feature_level_max,
        };
        let conditions = Conditions::new(config.node, program, Arc::clone(&space));
        tokio::spawn(
            Survey {
                raft: raft.clone(),
                own: identity.member(),
                networks: networks.clone(),
                conditions: Arc::clone(&conditions),
            }
            .run(),
        );
        let (stop_server, stopping) = watch::channel(false);
        let service = RaftService {
            gate,
            raft: slot,
            snapshots: snapshots.clone(),
            contact: Arc::clone(&contact),
            evidence,
            audit: Arc::clone(&audit),
            space: Arc::clone(&space),
            level_max: config.log.feature_level_max,
            stopping: stopping.clone(),
            own: own_info.clone(),
            timing: config.timing,
            version: config.version.clone(),
            process: config.process,
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
                vitals: Arc::clone(&vitals),
                disk_stall_max: config.limits.disk_stall_max,
                gate: gate_open.clone(),
                conditions: Arc::clone(&conditions),
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
                timing: config.timing,
                leadership,
                session,
                halted,
            }
            .run(),
        );
        tokio::spawn(vitals::pulse(
            raft.clone(),
            config.node,
            Arc::clone(&vitals),
            config.timing.look_every(),
        ));
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
        // Last: what takes long above is no stall.
        vitals.core_answered();
        let watchdog = Watchdog::start(
            Arc::clone(&vitals),
            gate_open,
            config.timing.look_every() / 2,
            config.limits.stall_abort_after,
        )
        .map_err(StartError::Threads)?;
        Ok(Inner {
            raft,
            identity,
            peers,
            networks,
            clock,
            timing: config.timing,
            limits: config.limits,
            in_flight,
            leadership: leadership_rx,
            session: session_rx,
            halted: halted_rx,
            states: StateReader::new(states),
            effects,
            entries,
            contact,
            audit,
            autopilot: config.autopilot,
            record: Mutex::default(),
            disagreements,
            conditions,
            outgoing,
            snapshots,
            space,
            writer: Arc::new(writer),
            stop_server,
            gate: ServingGate::new(vitals, gate_rx),
            watchdog: Mutex::new(Some(watchdog)),
            runtime: Mutex::new(None),
        })
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
