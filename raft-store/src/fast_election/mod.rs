//! Finding the loss of a leader by its sockets instead of by its silence.
//!
//! When a leader's process dies, its connections break at once and new ones are refused. That is
//! evidence, not proof, so nothing is decided with it: a follower that sees both gives up only its
//! *own* promise to the leader, for a moment, and asks around whether it would be elected. A
//! majority has to have given up the same promise for the same reason, each by its own connections,
//! and votes and logs decide as always. A leader that is frozen or cut off is still found by its
//! silence alone.
//!
//! After a false alarm this path is locked for a while, for longer after each. An alarm was false
//! when the leader is heard again, and also when it was replaced and its process turns out to live.

mod evidence;
mod lock;

pub(crate) use evidence::Evidence;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::VoteRequest;
use regency_runtime::Backoff;
use regency_types::NodeId;

use self::lock::Lock;
use crate::metrics;
use crate::network::{Attendance, PeerNetworks, attend, identify, would_vote};
use crate::timing::Timing;
use crate::types::{Member, MemberInfo, Raft, Vote};

/// Waits between attempts to connect: a process that dies may close its port after its
/// connections.
const PROBES_MS: [u64; 6] = [0, 1, 3, 6, 12, 24];
/// Delays before a broken or refused attendance is tried again.
const ATTEND_FIRST: Duration = Duration::from_millis(10);
const ATTEND_MAX: Duration = Duration::from_millis(500);
/// For so long a leader that was replaced is looked for, and so often.
const LOOK_FOR: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The task that attends the leader and weighs the evidence.
pub(crate) struct FastElection {
    pub(crate) raft: Raft,
    pub(crate) own: Member,
    pub(crate) networks: PeerNetworks,
    pub(crate) evidence: Arc<Evidence>,
    pub(crate) timing: Timing,
}

/// Whom this master follows.
#[derive(Clone)]
struct Following {
    vote: Vote,
    node: NodeId,
    info: MemberInfo,
    address: String,
    /// How many voters with a lower number will campaign before this one.
    rank: u32,
}

enum End {
    /// Another term has a leader.
    Elected,
    /// The leader was heard again.
    FalseAlarm,
    /// Neither, in time.
    Undecided,
}

type Shared<T> = Arc<Mutex<T>>;

impl FastElection {
    /// Runs until the core stops.
    pub(crate) async fn run(self) {
        let mut server = self.raft.server_metrics();
        let mut retry = Backoff::new(ATTEND_FIRST, ATTEND_MAX);
        let mut attended = None;
        let lock = Shared::<Lock>::default();
        loop {
            let Some(following) = self.following() else {
                if server.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if attended != Some(following.vote) {
                attended = Some(following.vote);
                retry.reset();
            }
            let opened = || retry.reset();
            let attending = attend(&self.networks, following.node, &following.info, opened);
            let attendance = tokio::select! {
                attendance = attending => attendance,
                over = self.over(&following) => if over { continue } else { return },
            };
            // One that refuses from the beginning was never lost, and one that ends the stream in
            // order lives and does not want us: that is for others to sort out.
            if let Attendance::Broken { process } = attendance {
                self.weigh(&following, process, &lock).await;
            }
            retry.wait().await;
        }
    }

    /// Waits until this master no longer follows this leader; `false` when the core stopped.
    async fn over(&self, following: &Following) -> bool {
        let mut server = self.raft.server_metrics();
        loop {
            {
                let server = server.borrow_watched();
                let same = server.vote == following.vote && server.state == ServerState::Follower;
                if !same {
                    return true;
                }
            }
            if server.changed().await.is_err() {
                return false;
            }
        }
    }

    async fn weigh(&self, following: &Following, process: Option<u128>, lock: &Shared<Lock>) {
        let seen = Instant::now();
        if is_locked(lock) {
            metrics::fast_election("locked");
            return;
        }
        if !self.refuses(following, seen).await {
            return;
        }
        tracing::info!(
            leader = %following.node,
            "the leader's connections broke and it refuses new ones"
        );
        self.evidence.hold(following.vote, seen);
        let end = self.campaign(following, seen).await;
        self.evidence.withdraw();
        match end {
            End::Elected => {
                metrics::fast_election("elected");
                self.look_for_replaced(following, process, lock);
            }
            End::Undecided => metrics::fast_election("undecided"),
            End::FalseAlarm => false_alarm(lock, following.node),
        }
    }

    /// A leader that was replaced and lives was deposed for nothing.
    fn look_for_replaced(&self, following: &Following, process: Option<u128>, lock: &Shared<Lock>) {
        let Some(process) = process else { return };
        let peers = Arc::clone(&self.networks.peers);
        let (own, lock) = (self.own, Arc::clone(lock));
        let (node, address) = (following.node, following.address.clone());
        tokio::spawn(async move {
            let deadline = Instant::now() + LOOK_FOR;
            while Instant::now() < deadline {
                if let Ok(answer) = identify(&peers, own, &address, LOOK_EVERY * 4).await {
                    if answer.process == process.to_be_bytes().as_slice() {
                        false_alarm(&lock, node);
                    }
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    }

    /// The leader, when this master is a voter that follows one.
    fn following(&self) -> Option<Following> {
        let own = self.own.node.0;
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let membership = server.membership_config.membership();
        let leader = server.current_leader.filter(|leader| *leader != own)?;
        if server.state != ServerState::Follower || !server.vote.committed {
            return None;
        }
        let info = membership.get_node(&leader)?;
        let before = |voter: &u64| *voter < own && *voter != leader;
        Some(Following {
            vote: server.vote,
            node: NodeId(leader),
            address: self.networks.peers.raft_address(NodeId(leader), info),
            info: info.clone(),
            rank: u32::try_from(membership.voter_ids().filter(before).count()).ok()?,
        })
    }

    /// Whether the leader refuses connections, and was not heard since.
    async fn refuses(&self, following: &Following, seen: Instant) -> bool {
        for wait_ms in PROBES_MS {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            if self.evidence.heard_since(seen) {
                return false;
            }
            if refused(&following.address, self.timing.probe_patience()).await {
                return true;
            }
        }
        false
    }

    /// Campaigns until somebody leads, the old leader is heard, or time is up. Survivors take turns.
    async fn campaign(&self, following: &Following, seen: Instant) -> End {
        let deadline = seen + self.timing.campaign_patience();
        let turn = self.timing.stagger() * following.rank;
        let mut campaigned = Instant::now();
        let mut wait = turn;
        while Instant::now() < deadline {
            tokio::time::sleep(wait).await;
            wait = self.timing.campaign_retry();
            let (vote, leads) = {
                let server = self.raft.server_metrics();
                let server = server.borrow_watched();
                (server.vote, server.vote.committed)
            };
            if vote != following.vote && leads {
                return End::Elected;
            }
            if vote != following.vote {
                // An election began. If it ended without a leader, the next one is open to all.
                let patience = self.timing.stagger() * 2 + turn;
                if campaigned.elapsed() > patience {
                    campaigned = Instant::now();
                    let _ = self.raft.trigger().elect(true).await;
                }
                continue;
            }
            campaigned = Instant::now();
            if self.evidence.heard_since(seen) {
                return End::FalseAlarm;
            }
            // Whoever was promised this vote is given the time to use it.
            if !self.evidence.granted_within(self.timing.stagger())
                && self.would_win(following).await
                && self.raft.trigger().elect(false).await.is_err()
            {
                return End::Undecided;
            }
        }
        End::Undecided
    }

    /// Asks the other voters, besides the lost leader, whether they would vote for this master, and
    /// tells whether that would be a majority.
    async fn would_win(&self, following: &Following) -> bool {
        let state = self
            .raft
            .with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied()));
        let Ok((vote, last)) = state.await else {
            return false;
        };
        if vote != following.vote {
            return false;
        }
        let (voter_sets, others) = {
            let server = self.raft.server_metrics();
            let server = server.borrow_watched();
            let membership = server.membership_config.membership();
            let others: Vec<(u64, MemberInfo)> = membership
                .voter_ids()
                .filter(|voter| *voter != self.own.node.0 && *voter != following.node.0)
                .filter_map(|voter| Some((voter, membership.get_node(&voter)?.clone())))
                .collect();
            (membership.get_joint_config().clone(), others)
        };
        let next = Vote::new(vote.leader_id.term + 1, self.own.node.0);
        let request = VoteRequest::new(next, last);
        let patience = self.timing.probe_patience();
        let mut answers: FuturesUnordered<_> = others
            .iter()
            .map(|(voter, info)| {
                let request = request.clone();
                async move {
                    let networks = &self.networks;
                    let would = would_vote(networks, *voter, info, request, patience).await;
                    would.then_some(*voter)
                }
            })
            .collect();
        let mut granted = BTreeSet::from([self.own.node.0]);
        while let Some(answer) = answers.next().await {
            granted.extend(answer);
            if is_majority(&voter_sets, &granted) {
                return true;
            }
        }
        is_majority(&voter_sets, &granted)
    }
}

/// Whether these are a majority of each set.
fn is_majority(voter_sets: &[BTreeSet<u64>], granted: &BTreeSet<u64>) -> bool {
    voter_sets
        .iter()
        .all(|voters| voters.intersection(granted).count() > voters.len() / 2)
}

fn is_locked(lock: &Mutex<Lock>) -> bool {
    let lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
    lock.is_locked(Instant::now())
}

fn false_alarm(lock: &Mutex<Lock>, leader: NodeId) {
    let lasts = {
        let mut lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.false_alarm(Instant::now())
    };
    metrics::fast_election("false_alarm");
    tracing::warn!(
        leader = %leader,
        locked_s = lasts.as_secs(),
        "the leader refused connections and lives; the loss of a leader is found by silence only \
         for a while"
    );
}

/// Whether a new connection to `address` is refused, at once and by the machine itself.
async fn refused(address: &str, patience: Duration) -> bool {
    match tokio::time::timeout(patience, regency_rpc::knock(address)).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(Ok(())) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_refused_connection_is_refused() {
        let patience = Duration::from_secs(1);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        assert!(!refused(&address, patience).await);
        drop(listener);
        assert!(refused(&address, patience).await);
    }

    #[test]
    fn a_majority_of_both_sets_is_needed_while_voters_change() {
        let set = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let five = [set(&[1, 2, 3, 4, 5])];
        assert!(!is_majority(&five, &set(&[1, 2])));
        assert!(is_majority(&five, &set(&[1, 2, 3])));
        let joint = [set(&[1, 2, 3]), set(&[3, 4, 5])];
        assert!(!is_majority(&joint, &set(&[1, 2, 3])));
        assert!(is_majority(&joint, &set(&[2, 3, 4])));
        assert!(!is_majority(&[set(&[])], &set(&[1])));
    }
}
