//! The tasks around the core.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use regency_rpc::{Listener, serve};
use regency_runtime::{Clock, IdMint};
use regency_state::MasterInfo;
use tokio::sync::{Semaphore, watch};

use super::StartError;
use crate::bootstrap::Bootstrap;
use crate::conditions::Conditions;
use crate::config::Limits;
use crate::consensus::propose::PERMIT_BYTES;
use crate::effects::EffectSink;
use crate::fast_election::{Evidence, FastElection};
use crate::gauges::Gauges;
use crate::identity::Identity;
use crate::leadership::{LeaderContact, Leadership};
use crate::log::LogStore;
use crate::network::{PeerNetworks, RaftService, Slot};
use crate::reader::AppliedState;
use crate::roll_call::{Disagreements, RollCall};
use crate::snapshot::SnapshotStore;
use crate::space::Space;
use crate::term::{Session, TermTask};
use crate::timing::Timing;
use crate::types::{MemberInfo, Raft};
use crate::vitals::{self, Vitals};
use crate::watchdog::Watchdog;

/// Tells how full everything bounded is; the semaphore is that of proposals in flight.
pub(super) fn gauges(limits: &Limits, log: &LogStore, effects: &EffectSink) -> Arc<Semaphore> {
    let permits = (limits.in_flight_bytes_max / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
    let in_flight = Arc::new(Semaphore::new(permits));
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
    in_flight
}

/// What the tasks of a master share.
pub(super) struct Tasks {
    pub(super) raft: Raft,
    pub(super) identity: Arc<Identity>,
    pub(super) networks: PeerNetworks,
    pub(super) timing: Timing,
    pub(super) own: MemberInfo,
    pub(super) contact: Arc<LeaderContact>,
    pub(super) evidence: Arc<Evidence>,
    pub(super) conditions: Arc<Conditions>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) states: watch::Receiver<Arc<AppliedState>>,
}

/// What a master tells of its terms.
pub(super) struct Terms {
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) session: watch::Receiver<Option<Session>>,
    pub(super) halted: watch::Receiver<Option<String>>,
}

impl Tasks {
    /// Sees that a leader is gone by its connections.
    pub(super) fn look_for_broken_connections(&self) {
        if !self.timing.fast_election {
            return;
        }
        tokio::spawn(
            FastElection {
                raft: self.raft.clone(),
                own: self.identity.member(),
                networks: self.networks.clone(),
                evidence: Arc::clone(&self.evidence),
                timing: self.timing,
            }
            .run(),
        );
    }

    /// Asks the other members again and again how they are.
    pub(super) fn call_the_roll(&self) -> Arc<Disagreements> {
        let disagreements = Arc::new(Disagreements::default());
        tokio::spawn(
            RollCall {
                raft: self.raft.clone(),
                own: self.identity.member(),
                networks: self.networks.clone(),
                timing: self.timing,
                disagreements: Arc::clone(&disagreements),
                conditions: Arc::clone(&self.conditions),
            }
            .run(),
        );
        disagreements
    }

    /// Serves other masters until it is told to stop through what it returns.
    pub(super) fn serve(
        &self,
        listener: Listener,
        process: u128,
        snapshots: SnapshotStore,
        audit: Arc<crate::audit::Audit>,
        space: Arc<Space>,
        leadership: watch::Receiver<Leadership>,
    ) -> watch::Sender<bool> {
        let (stop, mut stopping) = watch::channel(false);
        let slot: Slot = Arc::new(OnceLock::new());
        let _ = slot.set(self.raft.clone());
        let program = self.conditions.own_program();
        let service = RaftService {
            gate: Arc::clone(&self.networks.gate),
            raft: slot,
            snapshots,
            contact: Arc::clone(&self.contact),
            evidence: Arc::clone(&self.evidence),
            audit,
            space,
            vitals: Arc::clone(&self.vitals),
            leadership,
            level_max: program.feature_level_max,
            stopping: stopping.clone(),
            own: self.own.clone(),
            timing: self.timing,
            version: program.version.clone(),
            process,
        };
        let routes = tonic::service::Routes::new(service.into_server());
        tokio::spawn(async move {
            let stopped = async {
                let _ = stopping.wait_for(|stopping| *stopping).await;
            };
            if let Err(error) = serve(listener, routes, stopped).await {
                tracing::error!(%error, "the server for other masters failed");
            }
        });
        stop
    }

    /// Follows who leads, and leads.
    pub(super) fn follow_terms(
        &self,
        clock: Arc<dyn Clock>,
        process: u128,
        disk_stall_max: Duration,
        gate: watch::Sender<bool>,
    ) -> Terms {
        let (leadership, leadership_rx) = watch::channel(Leadership::nobody());
        let (session, session_rx) = watch::channel(None);
        let (halted, halted_rx) = watch::channel(None);
        let member = self.identity.member();
        tokio::spawn(
            TermTask {
                raft: self.raft.clone(),
                identity: Arc::clone(&self.identity),
                peers: Arc::clone(&self.networks.peers),
                clock,
                contact: Arc::clone(&self.contact),
                vitals: Arc::clone(&self.vitals),
                disk_stall_max,
                gate,
                conditions: Arc::clone(&self.conditions),
                states: self.states.clone(),
                master: MasterInfo {
                    node: member.node,
                    incarnation: member.incarnation,
                    process,
                    hostname: self.own.hostname.clone(),
                    http: self.own.http.clone(),
                    agent: self.own.agent.clone(),
                    version: self.conditions.own_program().version.clone(),
                },
                timing: self.timing,
                leadership,
                session,
                halted,
            }
            .run(),
        );
        Terms {
            leadership: leadership_rx,
            session: session_rx,
            halted: halted_rx,
        }
    }

    /// Founds a cluster or finds it.
    pub(super) fn bootstrap(&self, mint: Arc<dyn IdMint>, enabled: bool) {
        tokio::spawn(
            Bootstrap {
                identity: Arc::clone(&self.identity),
                raft: self.raft.clone(),
                peers: Arc::clone(&self.networks.peers),
                own: self.own.clone(),
                mint,
                enabled,
            }
            .run(),
        );
    }

    /// Watches whether the core and the disk stand still. Last: what takes long before is no stall.
    pub(super) fn watch(
        &self,
        gate: watch::Sender<bool>,
        abort_after: Option<Duration>,
    ) -> Result<Watchdog, StartError> {
        let every = self.timing.look_every();
        let own = self.identity.member().node;
        let vitals = &self.vitals;
        tokio::spawn(vitals::pulse(
            self.raft.clone(),
            own,
            Arc::clone(vitals),
            every,
        ));
        vitals.core_answered();
        Watchdog::start(Arc::clone(vitals), gate, every / 2, abort_after)
            .map_err(StartError::Threads)
    }
}
