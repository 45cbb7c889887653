//! Finding the loss of a leader by its sockets instead of by its silence.
//!
//! When a leader's process dies, its connections break at once and new ones are refused. That is
//! evidence, not proof, so nothing is decided with it: a follower that sees both gives up only its
//! *own* promise to the leader (its lease) and asks around whether it would be elected. A majority
//! has to have given up the same promise for the same reason, each by its own connections, and
//! votes and logs decide as always. A leader that is frozen or cut off is still found by its
//! silence alone.
//!
//! After a false alarm this path is locked for a while, for longer after each.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::raft::TransferLeaderRequest;
use regency_runtime::Backoff;
use regency_types::NodeId;
use tokio::net::TcpStream;

use crate::leadership::LeaderContact;
use crate::metrics;
use crate::network::{Left, PeerNetworks, attend};
use crate::timing::Timing;
use crate::types::{MemberInfo, Raft, Vote};

/// Waits between attempts to connect: a process that dies may close its port after its
/// connections.
const PROBES_MS: [u64; 6] = [0, 1, 3, 6, 12, 24];
/// Attempts before the ordinary election timeout is left to do the rest.
const ATTEMPTS_MAX: u32 = 12;
const LOCK_FIRST: Duration = Duration::from_secs(1);
const LOCK_MAX: Duration = Duration::from_secs(60);
/// Delays before a broken or refused attendance is tried again.
const ATTEND_FIRST: Duration = Duration::from_millis(10);
const ATTEND_MAX: Duration = Duration::from_millis(500);

/// The task that attends the leader and weighs the evidence.
pub(crate) struct FastElection {
    pub(crate) raft: Raft,
    pub(crate) own: NodeId,
    pub(crate) networks: PeerNetworks,
    pub(crate) contact: Arc<LeaderContact>,
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
    /// Another term began.
    Elected,
    /// The leader was heard again.
    FalseAlarm,
    /// Neither, in time.
    Undecided,
}

/// After false alarms this path is closed for a while.
struct Lock {
    until: Instant,
    next: Duration,
}

impl FastElection {
    /// Runs until the core stops.
    pub(crate) async fn run(self) {
        let mut server = self.raft.server_metrics();
        let mut retry = Backoff::new(ATTEND_FIRST, ATTEND_MAX);
        let mut attended = None;
        let mut lock = Lock {
            until: Instant::now(),
            next: LOCK_FIRST,
        };
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
            let left = tokio::select! {
                left = attending => left,
                over = self.over(&following) => if over { continue } else { return },
            };
            match left {
                Left::Gone => self.weigh(&following, &mut lock).await,
                // It lives, and does not want us: that is for others to sort out.
                Left::Refused => {}
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

    async fn weigh(&self, following: &Following, lock: &mut Lock) {
        let seen = Instant::now();
        if seen < lock.until || !self.refuses(following, seen).await {
            return;
        }
        match self.campaign(following, seen).await {
            End::Elected => {
                lock.next = LOCK_FIRST;
                metrics::fast_election("elected");
            }
            End::Undecided => metrics::fast_election("undecided"),
            End::FalseAlarm => {
                metrics::fast_election("false_alarm");
                tracing::warn!(
                    leader = %following.node,
                    locked_s = lock.next.as_secs(),
                    "the leader refused connections and lives; its loss is found by silence only \
                     for a while"
                );
                lock.until = Instant::now() + lock.next;
                lock.next = (lock.next * 2).min(LOCK_MAX);
            }
        }
    }

    /// The leader, when this master is a voter that follows one.
    fn following(&self) -> Option<Following> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let membership = server.membership_config.membership();
        let leader = server
            .current_leader
            .filter(|leader| *leader != self.own.0)?;
        if server.state != ServerState::Follower || !server.vote.committed {
            return None;
        }
        let info = membership.get_node(&leader)?;
        let before = |voter: &u64| *voter < self.own.0 && *voter != leader;
        Some(Following {
            vote: server.vote,
            node: NodeId(leader),
            address: self.networks.peers.raft_address(NodeId(leader), info),
            info: info.clone(),
            rank: u32::try_from(membership.voter_ids().filter(before).count()).ok()?,
        })
    }

    /// Whether the leader refuses connections, and was not heard after `seen`.
    async fn refuses(&self, following: &Following, seen: Instant) -> bool {
        for wait_ms in PROBES_MS {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            if self.heard_after(seen) {
                return false;
            }
            if refused(&following.address, self.timing.probe_patience()).await {
                return true;
            }
        }
        false
    }

    fn heard_after(&self, seen: Instant) -> bool {
        self.contact.age().is_some_and(|age| age < seen.elapsed())
    }

    async fn campaign(&self, following: &Following, seen: Instant) -> End {
        let leader = following.vote.leader_id.voted_for;
        tracing::info!(
            leader,
            "the leader's connections broke and it refuses new ones"
        );
        // Naming somebody else as the next leader does no more than give up this master's lease.
        let give_up = TransferLeaderRequest::new(following.vote, leader, None);
        if self.raft.handle_transfer_leader(give_up).await.is_err() {
            return End::Undecided;
        }
        tokio::time::sleep(self.timing.stagger() * following.rank).await;
        for _ in 0..ATTEMPTS_MAX {
            let vote = {
                let server = self.raft.server_metrics();
                let server = server.borrow_watched();
                server.vote
            };
            if vote.leader_id.term > following.vote.leader_id.term {
                return End::Elected;
            }
            if self.heard_after(seen) {
                return End::FalseAlarm;
            }
            if self.raft.trigger().elect(true).await.is_err() {
                return End::Undecided;
            }
            tokio::time::sleep(self.timing.campaign_retry()).await;
        }
        End::Undecided
    }
}

/// Whether a new connection to `address` is refused, at once and by the machine itself.
async fn refused(address: &str, patience: Duration) -> bool {
    match tokio::time::timeout(patience, TcpStream::connect(address)).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_refused_connection_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        assert!(!refused(&address, Duration::from_secs(1)).await);
        drop(listener);
        assert!(refused(&address, Duration::from_secs(1)).await);
    }
}
