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
use regency_types::NodeId;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::leadership::LeaderContact;
use crate::metrics;
use crate::network::Peers;
use crate::types::{Raft, Vote};

/// Broken streams that wait to be looked at; more say nothing new.
const QUEUE: usize = 8;
/// Longest time to find out whether a connection is refused.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);
/// Waits between attempts to connect: a process that dies may close its port after its
/// connections.
const PROBES_MS: [u64; 6] = [0, 1, 3, 6, 12, 24];
/// Between one survivor's campaign and the next one's, so that they do not split the votes.
const STAGGER: Duration = Duration::from_millis(30);
/// Between attempts of one survivor: the others may see the evidence a little later.
const RETRY: Duration = Duration::from_millis(8);
/// Attempts before the ordinary election timeout is left to do the rest.
const ATTEMPTS_MAX: u32 = 12;
const LOCK_FIRST: Duration = Duration::from_secs(1);
const LOCK_MAX: Duration = Duration::from_secs(60);

/// Where the server reports streams that broke.
#[derive(Debug, Clone)]
pub(crate) struct Evidence(mpsc::Sender<NodeId>);

impl Evidence {
    pub(crate) fn channel() -> (Self, mpsc::Receiver<NodeId>) {
        let (tx, rx) = mpsc::channel(QUEUE);
        (Self(tx), rx)
    }

    /// Watches over a stream of appends from `sender`. Unless it is told that the stream ended in
    /// order, its end is evidence.
    pub(crate) fn watch(&self, sender: NodeId) -> StreamWatch {
        StreamWatch {
            evidence: self.clone(),
            sender: Some(sender),
        }
    }
}

/// See [`Evidence::watch`].
#[derive(Debug)]
pub(crate) struct StreamWatch {
    evidence: Evidence,
    sender: Option<NodeId>,
}

impl StreamWatch {
    pub(crate) fn ended_in_order(&mut self) {
        self.sender = None;
    }
}

impl Drop for StreamWatch {
    fn drop(&mut self) {
        if let Some(sender) = self.sender {
            // A full queue has evidence enough.
            let _ = self.evidence.0.try_send(sender);
        }
    }
}

/// The task that weighs the evidence.
pub(crate) struct FastElection {
    pub(crate) raft: Raft,
    pub(crate) own: NodeId,
    pub(crate) peers: Arc<Peers>,
    pub(crate) contact: Arc<LeaderContact>,
    pub(crate) evidence: mpsc::Receiver<NodeId>,
}

/// Whom this master follows.
struct Following {
    vote: Vote,
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

impl FastElection {
    pub(crate) async fn run(mut self) {
        let mut locked_until = Instant::now();
        let mut lock = LOCK_FIRST;
        while let Some(lost) = self.evidence.recv().await {
            while self.evidence.try_recv().is_ok() {}
            let Some(following) = self.following(lost) else {
                continue;
            };
            let seen = Instant::now();
            if seen < locked_until || !self.refuses(&following, seen).await {
                continue;
            }
            match self.campaign(&following, seen).await {
                End::Elected => {
                    lock = LOCK_FIRST;
                    metrics::fast_election("elected");
                }
                End::Undecided => metrics::fast_election("undecided"),
                End::FalseAlarm => {
                    metrics::fast_election("false_alarm");
                    tracing::warn!(
                        leader = %lost,
                        locked_s = lock.as_secs(),
                        "the leader refused connections and lives; its loss is found by silence \
                         only for a while"
                    );
                    locked_until = Instant::now() + lock;
                    lock = (lock * 2).min(LOCK_MAX);
                }
            }
        }
    }

    /// What is known about the leader, when `node` is the one this master follows.
    fn following(&self, node: NodeId) -> Option<Following> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let membership = server.membership_config.membership();
        if server.state != ServerState::Follower || server.current_leader != Some(node.0) {
            return None;
        }
        let before = |voter: &u64| *voter < self.own.0 && *voter != node.0;
        Some(Following {
            vote: server.vote,
            address: self.peers.raft_address(node, membership.get_node(&node.0)?),
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
            if refused(&following.address).await {
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
        tokio::time::sleep(STAGGER * following.rank).await;
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
            tokio::time::sleep(RETRY).await;
        }
        End::Undecided
    }
}

/// Whether a new connection to `address` is refused, at once and by the machine itself.
async fn refused(address: &str) -> bool {
    match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
        Ok(Ok(_)) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_stream_that_broke_is_evidence() {
        let (evidence, mut broken) = Evidence::channel();
        let mut orderly = evidence.watch(NodeId(1));
        orderly.ended_in_order();
        drop(orderly);
        drop(evidence.watch(NodeId(2)));
        drop(evidence);
        assert_eq!(broken.recv().await, Some(NodeId(2)));
        assert_eq!(broken.recv().await, None);
    }

    #[tokio::test]
    async fn only_a_refused_connection_is_refused() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback");
        let address = listener.local_addr().expect("bound").to_string();
        assert!(!refused(&address).await);
        drop(listener);
        assert!(refused(&address).await);
    }
}
