//! The handle that the rest of the program uses.

mod leave;
mod propose;
mod read;
mod start;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use regency_runtime::Clock;
use regency_types::{ClusterId, ClusterTime, Incarnation, NodeId};
use tokio::sync::{Semaphore, watch};

pub use self::leave::TransferError;
pub use self::read::ReadError;
pub use self::start::StartError;
use crate::audit::Audit;
use crate::conditions::Conditions;
use crate::config::Limits;
use crate::effects::{EffectReceiver, EffectSink};
use crate::entries::{EntryReceiver, EntrySink};
use crate::identity::Identity;
use crate::leadership::{LeaderContact, Leadership};
use crate::log::WriterEnd;
use crate::members::autopilot::{AutopilotConfig, Record};
use crate::network::{PeerNetworks, Peers};
use crate::reader::StateReader;
use crate::roll_call::Disagreements;
use crate::snapshot::{Outgoing, SnapshotProgress, SnapshotStore};
use crate::space::{Room, Space};
use crate::status::{MemberStatus, Status};
use crate::term::{self, Session};
use crate::timing::Timing;
use crate::types::{Member, Raft};
use crate::vitals::ServingGate;
use crate::watchdog::Watchdog;

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
    in_flight: Arc<Semaphore>,
    leadership: watch::Receiver<Leadership>,
    session: watch::Receiver<Option<Session>>,
    halted: watch::Receiver<Option<String>>,
    states: StateReader,
    effects: EffectSink,
    entries: EntrySink,
    contact: Arc<LeaderContact>,
    audit: Arc<Audit>,
    autopilot: AutopilotConfig,
    record: Mutex<Record>,
    disagreements: Arc<Disagreements>,
    conditions: Arc<Conditions>,
    outgoing: Arc<Outgoing>,
    snapshots: SnapshotStore,
    space: Arc<Space>,
    writer: Arc<WriterEnd>,
    stop_server: watch::Sender<bool>,
    gate: ServingGate,
    /// Dropped before the runtime, whose end it must not take for a failure.
    watchdog: Mutex<Option<Watchdog>>,
    /// Everything of replication runs here, on threads of its own, so that no load of the rest of
    /// the program delays a heartbeat.
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
}

impl Inner {
    fn take_watchdog(&self) -> Option<Watchdog> {
        self.watchdog
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.take_watchdog());
        self.space.close();
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

impl Consensus {
    fn why_halted(&self) -> String {
        let halted = self.inner.halted.borrow();
        halted
            .clone()
            .unwrap_or_else(|| "it was shut down".to_owned())
    }

    /// Who leads, and every change of it.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Whether this master may say anything in the leader's name, to be asked before each answer.
    #[must_use]
    pub fn gate(&self) -> ServingGate {
        self.inner.gate.clone()
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

    /// The state after each entry that is applied from now on, of which up to `waiting_max` wait to be
    /// taken. There is one receiver: a newer one takes the place of the older.
    #[must_use]
    pub fn entries(&self, waiting_max: usize) -> EntryReceiver {
        self.inner.entries.subscribe(waiting_max)
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
                    disk_room: inner.conditions.room(NodeId(*node)),
                    program: inner.conditions.program(NodeId(*node)),
                    snapshot_sending: inner.outgoing.progress(NodeId(*node)),
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
            disk_room: inner.space.room(),
            snapshot_receiving: inner.snapshots.receiving(),
            halted: inner.halted.borrow().clone(),
            members,
        }
    }

    /// The times this master runs with.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.inner.timing
    }

    /// Members that run with other times than this master, as they were heard last. All should
    /// have the same.
    #[must_use]
    pub fn timing_disagreements(&self) -> BTreeMap<NodeId, Timing> {
        self.inner.disagreements.get()
    }

    /// Writes a snapshot now, whatever the policy says. Returns at once.
    pub async fn snapshot(&self) {
        // An error says that the core stopped, which `halted` tells.
        let _ = self.inner.raft.trigger().snapshot().await;
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    /// The room on the disk of a member: on the leader of all that tell it, on others of this master.
    #[must_use]
    pub fn disk_room(&self, node: NodeId) -> Option<Room> {
        self.inner.conditions.room(node)
    }

    pub(crate) fn conditions(&self) -> &Conditions {
        &self.inner.conditions
    }

    /// As leader: how far the snapshot on its way to a member is.
    #[must_use]
    pub fn snapshot_sending(&self, node: NodeId) -> Option<SnapshotProgress> {
        self.inner.outgoing.progress(node)
    }

    pub(crate) fn outgoing(&self) -> &Outgoing {
        &self.inner.outgoing
    }

    pub(crate) fn audit(&self) -> &Audit {
        &self.inner.audit
    }

    pub(crate) fn autopilot_config(&self) -> &AutopilotConfig {
        &self.inner.autopilot
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.inner.record.lock().unwrap_or_else(|e| e.into_inner())
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
}
