//! Handing leadership over, and leaving.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use regency_types::NodeId;

use super::Consensus;
use crate::network::identify;
use crate::term;

/// How long a shutdown waits for calls in progress.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Before a new leader is asked again whether it serves.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This master does not lead.
    #[error("this master does not lead")]
    NotLeader,
    /// The target has no vote in this cluster.
    #[error("node {0} is no voter of this cluster")]
    NotAVoter(NodeId),
    /// Nobody led and served in time. The target may still do so.
    #[error("node {0} did not take over in time")]
    Timeout(NodeId),
    /// This master stopped taking part because of a failure.
    #[error("this master halted: {0}")]
    Halted(String),
}

impl Consensus {
    /// Hands leadership to `to` and waits until somebody else leads and serves.
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
        let halted = |_| TransferError::Halted(self.why_halted());
        inner
            .raft
            .trigger()
            .transfer_leader(to.0)
            .await
            .map_err(halted)?;
        match tokio::time::timeout(inner.timing.hand_over_patience(), self.successor()).await {
            Ok(Some(leader)) => {
                tracing::info!(leader = leader.0, "leadership is handed over");
                Ok(())
            }
            Ok(None) => Err(TransferError::Halted(self.why_halted())),
            Err(_) => Err(TransferError::Timeout(to)),
        }
    }

    /// Waits until another master leads and serves, and tells which. Who won the election and is
    /// heard here is not there yet: until the beginning of its term is committed and applied, it
    /// turns clients away. So it is asked. `None` when this master stopped.
    async fn successor(&self) -> Option<NodeId> {
        let inner = &*self.inner;
        let own = self.member();
        let mut leadership = inner.leadership.clone();
        loop {
            let leader = {
                let leads = leadership.wait_for(|now| now.leader_other_than(own.node).is_some());
                leads.await.ok()?.leader_other_than(own.node)?
            };
            if self.serves(leader).await {
                return Some(leader);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Whether a member says that it leads and serves.
    async fn serves(&self, node: NodeId) -> bool {
        let inner = &*self.inner;
        let address = {
            let server = inner.raft.server_metrics();
            let server = server.borrow_watched();
            let known = server.membership_config.membership().get_node(&node.0);
            known.map(|known| inner.peers.raft_address(node, known))
        };
        let Some(address) = address else {
            return false;
        };
        let patience = inner.timing.election_min;
        let answer = identify(&inner.peers, self.member(), &address, patience).await;
        // An older version does not say; that it leads was all that was waited for then.
        answer.is_ok_and(|answer| answer.serves.unwrap_or(true))
    }

    /// Leaves politely: hands leadership to the follower that has most of the log, stops taking
    /// part, and closes the disk. The other clones of this handle are useless afterwards. Safe to
    /// call more than once.
    pub async fn shutdown(&self) {
        let inner = &*self.inner;
        if inner.session.borrow().is_some()
            && let Some(heir) = term::heir(&inner.raft, &inner.conditions)
            && let Err(error) = self.transfer_leader(heir).await
        {
            tracing::warn!(%error, "leaving without handing leadership over");
        }
        drop(inner.take_watchdog());
        if let Err(error) = inner.raft.shutdown().await {
            tracing::warn!(%error, "the consensus core ended badly");
        }
        inner.space.close();
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
}
