//! Handing leadership over, and leaving.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use regency_types::NodeId;

use super::Consensus;
use crate::term;

/// How long a shutdown waits for calls in progress.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

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

impl Consensus {
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
        match tokio::time::timeout(inner.timing.hand_over_patience(), taken_over).await {
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
