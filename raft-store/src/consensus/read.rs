//! Reads that are confirmed with a majority.

use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver as _;

use super::Consensus;
use crate::network::read_index;
use crate::reader::WaitError;

/// Why a read cannot be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader answered with the support of a majority in time.
    #[error("no leader confirmed the read")]
    NoLeader,
    /// The leader's entries did not arrive here in time.
    #[error("this master is behind")]
    Behind(#[source] WaitError),
    /// This master stopped taking part because of a failure.
    #[error("this master halted: {0}")]
    Halted(String),
}

impl Consensus {
    /// Waits until this master has applied everything that was committed anywhere before the call,
    /// and returns the index up to which that is. Works on every master: the leader confirms
    /// itself with a majority, a follower asks it to.
    ///
    /// # Errors
    /// When no leader can confirm, or this master is too far behind.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        let inner = &*self.inner;
        let deadline = tokio::time::Instant::now() + inner.limits.read_timeout;
        let index = loop {
            if inner.halted.borrow().is_some() {
                return Err(ReadError::Halted(self.why_halted()));
            }
            if let Some(index) = self.confirmed_index(deadline).await {
                break index;
            }
            if tokio::time::Instant::now() + inner.timing.heartbeat >= deadline {
                return Err(ReadError::NoLeader);
            }
            tokio::time::sleep(inner.timing.heartbeat).await;
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        inner
            .states
            .wait_for(index, left)
            .await
            .map_err(ReadError::Behind)?;
        Ok(index)
    }

    async fn confirmed_index(&self, deadline: tokio::time::Instant) -> Option<u64> {
        let inner = &*self.inner;
        let own = inner.identity.member().node.0;
        let (leader, info) = {
            let server = inner.raft.server_metrics();
            let server = server.borrow_watched();
            let leader = server.current_leader?;
            let membership = server.membership_config.membership();
            (leader, membership.get_node(&leader).cloned()?)
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if leader == own {
            let confirming = inner.raft.get_read_linearizer(ReadPolicy::ReadIndex);
            let linearizer = tokio::time::timeout(left, confirming).await.ok()?.ok()?;
            return Some(linearizer.read_log_id().index());
        }
        let patience = inner.timing.read_patience().min(left);
        match read_index(&inner.networks, leader, &info, patience).await {
            Ok(index) => index,
            Err(error) => {
                tracing::debug!(leader, error, "the leader did not confirm a read");
                None
            }
        }
    }
}
