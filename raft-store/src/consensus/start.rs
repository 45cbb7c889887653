//! Opening a data directory and starting everything that replicates.

mod open;
mod raft;
mod storage;
mod tasks;

use std::sync::{Arc, Mutex};

use regency_runtime::{Clock, IdMint, RandomIds};
use tokio::sync::watch;

use self::storage::Storage;
use self::tasks::{Tasks, Terms};
use super::{Consensus, Inner};
use crate::conditions::Conditions;
use crate::config::{Config, ConfigError};
use crate::disk::STOP_FACTOR;
use crate::engine::EngineError;
use crate::fast_election::Evidence;
use crate::foreign;
use crate::gauges;
use crate::identity::{Identity, IdentityError};
use crate::leadership::LeaderContact;
use crate::level::{BeyondLevel, Program};
use crate::metrics;
use crate::priority;
use crate::reader::StateReader;
use crate::snapshot::SnapshotError;
use crate::types::MemberInfo;
use crate::vitals::{ServingGate, Vitals};
use crate::watchdog::start::{Progress, StartWatch, Step};

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
        let progress = Progress::new();
        if regency_runtime::simulated() {
            // There is but one thread, and who watches it is the simulator.
            let inner = Self::set_up(config, clock, mint, progress).await?;
            return Ok(Self {
                inner: Arc::new(inner),
            });
        }
        let watch = StartWatch::start(progress.clone(), config.limits.start_abort_after)
            .map_err(StartError::Threads)?;
        let runtime = priority::runtime(config.threads, config.limits.raft_nice)
            .map_err(StartError::Threads)?;
        let started = runtime
            .spawn(Self::set_up(config, clock, mint, progress))
            .await;
        drop(watch);
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
        progress: Progress,
    ) -> Result<Inner, StartError> {
        let library = raft::library_config(&config.timing, &config.log)?;
        let opened = open::open_aside(&config, &mint, &progress).await?;
        let stored = Storage::new(opened, &config, &progress)?;
        let vitals = Arc::new(Vitals::new(
            config.timing.support_max(),
            config.limits.disk_stall_max * STOP_FACTOR,
            stored.log.watch(),
        ));
        gauges::limits(&config.limits, &config.log);
        let in_flight = tasks::gauges(&config.limits, &stored.log, &stored.effects);
        let states = stored.machine.states();
        let identity = stored.identity;
        let networks = raft::networks(&config, &identity, states.clone(), &stored.outgoing);
        progress.begin(Step::Peers);
        foreign::check(&identity, &networks.peers).await?;
        progress.begin(Step::Core);
        let raft = raft::start(
            &config,
            library,
            networks.clone(),
            stored.log,
            stored.machine,
        )
        .await?;

        let contact = Arc::new(LeaderContact::new());
        let program = Program {
            version: config.version.clone(),
            feature_level_max: config.log.feature_level_max,
        };
        let tasks = Tasks {
            raft,
            networks,
            timing: config.timing,
            own: own_info(&config, &identity)?,
            identity,
            evidence: Arc::new(Evidence::new(Arc::clone(&contact), &config.timing)),
            contact,
            conditions: Conditions::new(config.node, program, Arc::clone(&stored.space)),
            vitals,
            states,
        };
        tasks.look_for_broken_connections();
        let disagreements = tasks.call_the_roll();
        let (gate, gate_rx) = watch::channel(false);
        let Terms {
            leadership,
            session,
            halted,
        } = tasks.follow_terms(
            Arc::clone(&clock),
            config.process,
            config.limits.disk_stall_max,
            gate.clone(),
        );
        let stop_server = tasks.serve(
            config.listener,
            config.process,
            stored.snapshots.clone(),
            Arc::clone(&stored.audit),
            Arc::clone(&stored.space),
            leadership.clone(),
        );
        tasks.bootstrap(mint, config.bootstrap);
        let watchdog = tasks.watch(gate, config.limits.stall_abort_after)?;
        Ok(Inner {
            raft: tasks.raft,
            identity: tasks.identity,
            peers: Arc::clone(&tasks.networks.peers),
            networks: tasks.networks,
            clock,
            timing: config.timing,
            limits: config.limits,
            in_flight,
            leadership,
            session,
            halted,
            states: StateReader::new(tasks.states),
            effects: stored.effects,
            entries: stored.entries,
            contact: tasks.contact,
            audit: stored.audit,
            autopilot: config.autopilot,
            record: Mutex::default(),
            disagreements,
            conditions: tasks.conditions,
            outgoing: stored.outgoing,
            snapshots: stored.snapshots,
            space: stored.space,
            writer: Arc::new(stored.writer),
            stop_server,
            gate: ServingGate::new(tasks.vitals, gate_rx),
            watchdog: Mutex::new(Some(watchdog)),
            runtime: Mutex::new(None),
        })
    }
}

/// How this master introduces itself.
fn own_info(config: &Config, identity: &Identity) -> Result<MemberInfo, StartError> {
    let own = config
        .own()
        .ok_or(ConfigError::SelfMissing(config.node))?
        .clone();
    Ok(MemberInfo {
        incarnation: identity.member().incarnation,
        raft: own.raft,
        http: own.http,
        agent: own.agent,
        hostname: config.hostname.clone(),
        promote: false,
    })
}
