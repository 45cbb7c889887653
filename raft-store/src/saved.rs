//! A snapshot for an operator, from any master.

use std::time::Duration;

use bytes::Bytes;
use regency_types::{ClusterId, Term};

use crate::consensus::{Consensus, ReadError};
use crate::snapshot::SnapshotFile;

/// How long a snapshot may take to be written.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long until a snapshot is asked for again: a request that meets one being written is lost.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Why there is no snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaveError {
    /// This master belongs to no cluster, or has applied nothing of it.
    #[error("this master has applied nothing yet")]
    Empty,
    /// A consistent one was asked for, and nobody can say what is committed.
    #[error("what is committed cannot be confirmed")]
    NotConfirmed(#[source] ReadError),
    /// Writing it takes too long.
    #[error("the snapshot was not written within {} s", WRITE_TIMEOUT.as_secs())]
    Timeout,
    /// This master stopped taking part.
    #[error("this master has stopped: {0}")]
    Stopped(String),
}

/// A snapshot that can be read. It stays readable when newer ones replace it.
#[derive(Debug, Clone)]
pub struct SavedSnapshot {
    file: SnapshotFile,
    cluster: ClusterId,
    index: u64,
    term: Term,
}

impl SavedSnapshot {
    /// Whose state it is.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Index of the last entry in it.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Term of that entry.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Up to `len` bytes of the file from `offset` on; fewer only at the end.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Bytes> {
        let file = self.file.clone();
        regency_runtime::spawn_blocking(move || file.read_at(offset, len)).await?
    }
}

impl Consensus {
    /// A snapshot that holds at least what this master had applied before the call; with
    /// `consistent`, everything that was committed anywhere before the call. Several callers at
    /// once share one that is being written.
    ///
    /// # Errors
    /// When there is nothing to save, it takes too long, or this master has stopped.
    pub async fn saved_snapshot(&self, consistent: bool) -> Result<SavedSnapshot, SaveError> {
        let cluster = self.cluster_id().ok_or(SaveError::Empty)?;
        let wanted = if consistent {
            let barrier = self.read_barrier().await;
            barrier.map_err(SaveError::NotConfirmed)?
        } else {
            self.state().get().index
        };
        let raft = self.raft();
        if self.status().applied_index.is_none() {
            return Err(SaveError::Empty);
        }
        let stopped = |error: &dyn std::fmt::Display| SaveError::Stopped(error.to_string());
        let deadline = tokio::time::Instant::now() + WRITE_TIMEOUT;
        loop {
            if let Some((meta, file)) = self.outgoing().newest()
                && let Some(at) = meta.last_log_id
                && at.index >= wanted
            {
                return Ok(SavedSnapshot {
                    file,
                    cluster,
                    index: at.index,
                    term: Term(at.leader_id.term),
                });
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(SaveError::Timeout);
            }
            let asked = raft.trigger().snapshot().await;
            asked.map_err(|error| stopped(&error))?;
            let waiting = raft.wait(Some(ASK_AGAIN));
            let written = waiting.metrics(
                |metrics| metrics.snapshot.is_some_and(|at| at.index >= wanted),
                "a snapshot is written",
            );
            match written.await {
                Ok(_) | Err(openraft::metrics::WaitError::Timeout(..)) => {}
                Err(error @ openraft::metrics::WaitError::ShuttingDown) => {
                    return Err(stopped(&error));
                }
            }
        }
    }
}
