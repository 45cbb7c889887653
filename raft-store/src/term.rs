//! The beginning and the end of a term of leadership.
//!
//! One task watches the consensus core. When this master is elected, it proposes `BeginTerm`; only
//! when that entry is applied here, and while a majority answers, is the master called leader. It
//! is no longer called so the moment the core says it was deposed, or when no majority answered for
//! the largest election timeout: by then somebody else may lead.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, Fatal, ForwardReason};
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use openraft::{Instant as _, ServerState};
use regency_runtime::Clock;
use regency_state::{BeginTerm, ChangeCluster, Command, MasterInfo, Proposal, Refusal, Verdict};
use regency_types::{ClusterId, ClusterTime, DurationMs, NodeId, Term};
use tokio::sync::{oneshot, watch};

use crate::conditions::Conditions;
use crate::identity::Identity;
use crate::leadership::{LeaderContact, Leadership, Role};
use crate::metrics;
use crate::network::Peers;
use crate::reader::AppliedState;
use crate::timing::Timing;
use crate::types::{EncodedProposal, Raft, StoredMembership, TypeConfig};
use crate::vitals::{self, Vitals};

/// How often a leader without room on its disk looks for one with room.
const ASK_FOR_ROOM_EVERY: Duration = Duration::from_secs(2);
/// Before a term's beginning that came too early is tried again.
const LEASE_RETRY: Duration = Duration::from_millis(2);

/// A time during which this master leads and serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) term: Term,
    /// Counts sessions of this process.
    pub(crate) number: u64,
    begun: Begun,
}

/// A term whose `BeginTerm` is applied here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begun {
    term: u64,
    /// Cluster time at its beginning.
    at: ClusterTime,
    /// The monotonic clock at its beginning.
    at_ms: u64,
}

impl Session {
    /// Cluster time now: it goes on only while somebody serves.
    pub(crate) fn now(&self, clock: &dyn Clock) -> ClusterTime {
        let elapsed_ms = clock.monotonic_ms().saturating_sub(self.begun.at_ms);
        self.begun.at + DurationMs(elapsed_ms)
    }
}

/// Why a proposal was not written, or not known to be.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Not appended here: this master has no valid lease, which may change in a moment.
    NoLease,
    /// Not appended here: another term, another leader, or leadership is being handed over.
    NotLeader,
    /// Appended here, but it may or may not be committed.
    Unknown,
    /// The core stopped. `true` when the proposal may have been appended.
    Stopped { maybe_written: bool },
}

pub(crate) type Written = oneshot::Receiver<ClientWriteResult<TypeConfig>>;

/// Hands an encoded proposal to the core, for this term only.
pub(crate) async fn write(raft: &Raft, bytes: Bytes, term: Term) -> Result<Written, WriteError> {
    let (answer, written) = ProgressResponder::complete_only();
    raft.write(EncodedProposal { bytes })
        .with_leader(term.0)
        .responder(answer)
        .await
        .map_err(|_: Fatal<TypeConfig>| WriteError::Stopped {
            maybe_written: false,
        })?;
    Ok(written)
}

/// What became of a written proposal.
pub(crate) fn outcome(
    result: Result<ClientWriteResult<TypeConfig>, oneshot::error::RecvError>,
) -> Result<Verdict, WriteError> {
    match result {
        Ok(Ok(response)) => response.data.verdict.ok_or(WriteError::Unknown),
        Ok(Err(ClientWriteError::ForwardToLeader(forward))) => Err(match forward.reason {
            ForwardReason::LeaseExpired => WriteError::NoLease,
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => WriteError::NotLeader,
        }),
        Ok(Err(ClientWriteError::LogEntryDiscarded(_))) => Err(WriteError::Unknown),
        // Only changes of the membership are answered so.
        Ok(Err(
            ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_),
        )) => Err(WriteError::NotLeader),
        Err(_) => Err(WriteError::Stopped {
            maybe_written: true,
        }),
    }
}

/// The task.
pub(crate) struct TermTask {
    pub(crate) raft: Raft,
    pub(crate) identity: Arc<Identity>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) contact: Arc<LeaderContact>,
    pub(crate) vitals: Arc<Vitals>,
    /// How long one group of writes may take before a successor is looked for.
    pub(crate) disk_stall_max: Duration,
    /// What clients' callers go by; closed before the end of a term is told to anybody.
    pub(crate) gate: watch::Sender<bool>,
    pub(crate) conditions: Arc<Conditions>,
    pub(crate) states: watch::Receiver<Arc<AppliedState>>,
    pub(crate) master: MasterInfo,
    pub(crate) timing: Timing,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) session: watch::Sender<Option<Session>>,
    pub(crate) halted: watch::Sender<Option<String>>,
}

/// What the core says at one moment.
struct View {
    term: u64,
    /// This master was elected in `term`, and nobody else since.
    elected: bool,
    /// It campaigns.
    campaigning: bool,
    /// A majority answered so recently that it cannot have elected somebody else out of silence,
    /// and the disk keeps up.
    supported: bool,
    leader: Option<u64>,
    membership: Arc<StoredMembership>,
}

type Beginning = Pin<Box<dyn Future<Output = Option<Begun>> + Send>>;

impl TermTask {
    /// Runs until the core stops.
    pub(crate) async fn run(self) {
        let mut server = self.raft.server_metrics();
        // Between changes, leases run out and failures happen.
        let mut tick = tokio::time::interval(self.timing.look_every());
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut beginning: Option<(u64, Beginning)> = None;
        let mut begun: Option<Begun> = None;
        let mut campaigned_in = 0;
        let mut relieved_in = 0;
        let mut next_try: Option<Instant> = None;
        loop {
            let view = self.view();
            if view.campaigning && view.term > campaigned_in {
                campaigned_in = view.term;
                metrics::campaigned();
            }
            if begun.is_some_and(|begun| !view.elected || begun.term != view.term) {
                begun = None;
            }
            if beginning
                .as_ref()
                .is_some_and(|(term, _)| !view.elected || *term != view.term)
            {
                beginning = None;
            }
            if view.elected && begun.is_none() && beginning.is_none() {
                beginning = Some((view.term, Box::pin(self.begin(view.term))));
            }
            self.publish(&view, begun);
            let stalled = view.elected && self.vitals.disk().busy_for() > self.disk_stall_max;
            let crowded = begun.is_some() && !self.conditions.has_room(self.master.node);
            if crowded && next_try.is_none_or(|at| Instant::now() >= at) {
                next_try = Some(Instant::now() + ASK_FOR_ROOM_EVERY);
                self.ask_for_room();
            }
            if stalled && relieved_in != view.term {
                relieved_in = view.term;
                self.ask_to_be_relieved();
            }

            tokio::select! {
                changed = server.changed() => if changed.is_err() { break },
                _ = tick.tick() => if let Some(why) = self.failure() {
                    self.halt(why);
                    break;
                },
                ended = wait(&mut beginning) => {
                    begun = ended;
                    if begun.is_some() {
                        beginning = None;
                    }
                }
            }
        }
        if let Some(why) = self.failure() {
            self.halt(why);
        }
        self.vitals.set_leading(false);
        self.gate.send_replace(false);
        self.session.send_replace(None);
        self.leadership.send_modify(|leadership| {
            leadership.role = Role::Candidate;
            leadership.leader = None;
        });
    }

    fn view(&self) -> View {
        let (term, elected, campaigning, leader, membership) = {
            let server = self.raft.server_metrics();
            let server = server.borrow_watched();
            let vote = server.vote;
            let own = self.master.node.0;
            (
                vote.leader_id.term,
                server.state == ServerState::Leader
                    && vote.committed
                    && vote.leader_id.voted_for == own,
                server.state == ServerState::Candidate,
                server.current_leader,
                Arc::clone(&server.membership_config),
            )
        };
        // This task runs, but whether the core does is for its own pulse to tell.
        self.vitals
            .quorum_answered(last_quorum_ack(&self.raft, self.master.node));
        let supported = self.vitals.ailment(vitals::now()).is_none();
        View {
            term,
            elected,
            campaigning,
            supported,
            leader,
            membership,
        }
    }

    fn publish(&self, view: &View, begun: Option<Begun>) {
        let own = self.master.node;
        let serving = begun.filter(|_| view.elected && view.supported);
        let node = view.leader.map(NodeId);
        let (role, leader) = match (serving, node) {
            (Some(_), _) => (Role::Leader, Some(own)),
            // A leader that was not heard for an election timeout may be none any more.
            (None, Some(node))
                if node != own
                    && self
                        .contact
                        .age()
                        .is_some_and(|age| age <= self.timing.leader_silence_max()) =>
            {
                (Role::Follower, Some(node))
            }
            (None, _) => (Role::Candidate, None),
        };
        let leader = leader.and_then(|node| {
            let known = view.membership.membership().get_node(&node.0);
            self.peers.master_address(node, known)
        });
        if self.vitals.is_leading() != serving.is_some() {
            self.vitals.set_leading(serving.is_some());
            self.gate.send_replace(serving.is_some());
        }
        let mut serve = None;
        self.leadership.send_if_modified(|now| {
            let term = Term(view.term);
            let starts = role == Role::Leader && (now.role != role || now.term != term);
            let next = Leadership {
                term,
                role,
                session: now.session + u64::from(starts),
                leader,
            };
            serve = serving.map(|begun| Session {
                term,
                number: next.session,
                begun,
            });
            if *now == next {
                return false;
            }
            let leader_changed =
                now.leader.as_ref().map(|l| l.node) != next.leader.as_ref().map(|l| l.node);
            if leader_changed && next.leader.is_some() {
                metrics::leader_changed();
            }
            tracing::info!(
                term = next.term.0,
                role = %next.role,
                leader = next.leader.as_ref().map_or(0, |leader| leader.node.0),
                session = next.session,
                "leadership changed"
            );
            metrics::leadership(next.term.0, next.is_leader());
            *now = next;
            true
        });
        self.session.send_if_modified(|now| {
            let changed = *now != serve;
            *now = serve;
            changed
        });
    }

    /// Proposes `BeginTerm` until it is applied or the term is over.
    fn begin(&self, term: u64) -> impl Future<Output = Option<Begun>> + Send + 'static {
        let raft = self.raft.clone();
        let states = self.states.clone();
        let clock = Arc::clone(&self.clock);
        let master = self.master.clone();
        let identity = Arc::clone(&self.identity);
        async move {
            // The library elects nobody without a membership, and there is none without a
            // cluster.
            let cluster = identity.cluster()?;
            let mut former = None;
            let mut data = raft.data_metrics();
            loop {
                let proposal = Proposal {
                    // Time stood still since the last entry: nobody served.
                    proposed_at: states.borrow().state.now(),
                    wall: clock.wall(),
                    command: match former.take() {
                        None => Command::BeginTerm(BeginTerm {
                            cluster,
                            term: Term(term),
                            master: master.clone(),
                        }),
                        Some((from, index)) => Command::ChangeCluster(ChangeCluster {
                            from,
                            to: cluster,
                            index,
                        }),
                    },
                };
                let changes = matches!(proposal.command, Command::ChangeCluster(_));
                let bytes = Bytes::from(regency_stored::encode_proposal(&proposal));
                let result = match write(&raft, bytes, Term(term)).await {
                    Ok(written) => outcome(written.await),
                    Err(error) => Err(error),
                };
                match result {
                    // Now the term can begin.
                    Ok(Ok(_)) if changes => {
                        tracing::warn!(
                            cluster_id = %cluster,
                            "the state goes on as that of a new cluster"
                        );
                    }
                    Ok(Ok(_)) => {
                        return Some(Begun {
                            term,
                            at: states.borrow().state.now(),
                            at_ms: clock.monotonic_ms(),
                        });
                    }
                    Ok(Err(Refusal::WrongCluster))
                        if !changes && former_cluster(&states, &identity).is_some() =>
                    {
                        former = former_cluster(&states, &identity);
                    }
                    Ok(Err(refusal)) => {
                        tracing::error!(term, ?refusal, "the state refuses this master as leader");
                        return std::future::pending().await;
                    }
                    Err(WriteError::NoLease) => {
                        // Until a majority answers, which is told with these figures.
                        let answered = tokio::time::timeout(LEASE_RETRY, data.changed());
                        let _ = answered.await;
                    }
                    // The term is over, or the answer was lost with it: the task sees which.
                    Err(
                        WriteError::NotLeader | WriteError::Unknown | WriteError::Stopped { .. },
                    ) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
    }

    /// Hands leadership over because the disk stands still.
    fn ask_to_be_relieved(&self) {
        let heir = heir(&self.raft, &self.conditions);
        tracing::error!(
            busy_ms = u64::try_from(self.vitals.disk().busy_for().as_millis()).unwrap_or(u64::MAX),
            heir = heir.map_or(0, |heir| heir.0),
            "the disk of this leader stands still; it looks for a successor"
        );
        if let Some(heir) = heir {
            self.hand_over(heir);
        }
    }

    /// Hands leadership to a voter with room on its disk, if there is one.
    fn ask_for_room(&self) {
        let heir = heir(&self.raft, &self.conditions);
        let Some(heir) = heir.filter(|heir| self.conditions.has_room(*heir)) else {
            return;
        };
        let room = self.conditions.room(self.master.node);
        tracing::warn!(
            heir = heir.0,
            missing_bytes = room.map_or(0, |room| room.missing_bytes()),
            "this leader has no room on its disk and hands leadership over"
        );
        self.hand_over(heir);
    }

    fn hand_over(&self, heir: NodeId) {
        let raft = self.raft.clone();
        // The core itself may wait for the disk, so nobody else may wait for the core.
        tokio::spawn(async move {
            let _ = raft.trigger().transfer_leader(heir.0).await;
        });
    }

    fn failure(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics::indexes(
            metrics.last_log_index,
            metrics.last_applied.map(|at| at.index),
        );
        match &metrics.running_state {
            Ok(()) | Err(Fatal::Stopped) => None,
            Err(fatal) => Some(fatal.to_string()),
        }
    }

    fn halt(&self, why: String) {
        metrics::halted();
        tracing::error!(
            why,
            "this master halted and takes no part in the cluster any more"
        );
        self.halted.send_replace(Some(why));
    }
}

/// The cluster whose state this directory was made to go on with, when the state is still that
/// cluster's, and how far it has come.
fn former_cluster(
    states: &watch::Receiver<Arc<AppliedState>>,
    identity: &Identity,
) -> Option<(ClusterId, u64)> {
    let applied = states.borrow();
    let cluster = applied.state.cluster()?;
    identity
        .descends_from(cluster)
        .then_some((cluster, applied.index))
}

async fn wait(beginning: &mut Option<(u64, Beginning)>) -> Option<Begun> {
    match beginning {
        Some((_, beginning)) => beginning.await,
        None => std::future::pending().await,
    }
}

/// As leader: how long ago a majority answered something that was sent before.
pub(crate) fn last_quorum_ack(raft: &Raft, own: NodeId) -> Option<Duration> {
    let alone = {
        let server = raft.server_metrics();
        let server = server.borrow_watched();
        if server.state != ServerState::Leader {
            return None;
        }
        let mut voters = server.membership_config.membership().voter_ids();
        voters.all(|voter| voter == own.0)
    };
    if alone {
        return Some(Duration::ZERO);
    }
    let data = raft.data_metrics();
    let acked = data.borrow_watched().last_quorum_acked;
    acked.map(|at| at.elapsed())
}

/// The voter that has most of the log, besides this master; as leader only. Those with room on
/// their disks come first.
pub(crate) fn heir(raft: &Raft, conditions: &Conditions) -> Option<NodeId> {
    let own = conditions.own();
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    let replication = metrics.replication.as_ref()?;
    membership
        .voter_ids()
        .filter(|voter| *voter != own.0)
        .filter_map(|voter| {
            let index = replication.get(&voter)?.as_ref()?.index;
            Some((conditions.has_room(NodeId(voter)), index, voter))
        })
        .max()
        .map(|(_, _, voter)| NodeId(voter))
}
