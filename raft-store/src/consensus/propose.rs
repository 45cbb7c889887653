//! Proposing a command and waiting for its verdict.

use std::time::Instant;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_state::{Command, Proposal, Verdict};

use super::Consensus;
use crate::metrics;
use crate::propose::{NoRoom, ProposeError};
use crate::term::{self, Session, WriteError};

/// Bytes that one permit of the in-flight bound stands for.
pub(super) const PERMIT_BYTES: usize = 256;

impl Consensus {
    /// Asks the cluster to apply a command, and waits for its verdict. Only a serving leader does;
    /// a master that was just elected is given a moment to begin.
    ///
    /// Dropping the future does not withdraw the proposal.
    ///
    /// # Errors
    /// See [`ProposeError`]; every variant but [`ProposeError::Unknown`] says that the command was
    /// not and will not be applied.
    pub async fn propose(&self, command: Command) -> Result<Verdict, ProposeError> {
        let begun = Instant::now();
        let result = self.propose_unmeasured(command).await;
        let outcome = match &result {
            Ok(Ok(_)) => "accepted",
            Ok(Err(_)) => "refused",
            Err(error) => error.label(),
        };
        metrics::proposal(outcome, begun.elapsed());
        result
    }

    async fn propose_unmeasured(&self, command: Command) -> Result<Verdict, ProposeError> {
        let inner = &*self.inner;
        let patience = tokio::time::Instant::now() + inner.limits.lease_wait;
        let mut permits = None;
        let mut command = command;
        loop {
            let session = self.serving(patience).await?;
            self.check_room()?;
            self.check_level(&command)?;
            let proposal = Proposal {
                proposed_at: session.now(inner.clock.as_ref()),
                wall: inner.clock.wall(),
                command,
            };
            let bytes = Bytes::from(regency_stored::encode_proposal(&proposal));
            command = proposal.command;
            let bytes_max = inner.limits.proposal_bytes_max;
            if bytes.len() > bytes_max {
                return Err(ProposeError::TooLarge {
                    bytes: bytes.len(),
                    bytes_max,
                });
            }
            if permits.is_none() {
                permits = Some(self.acquire(bytes.len()).await?);
            }
            match self.write(bytes, &session).await {
                Ok(verdict) => return Ok(verdict),
                Err(WriteError::NoLease) if tokio::time::Instant::now() < patience => {
                    // Not appended: it is safe to try again.
                    tokio::time::sleep(inner.timing.lease_retry()).await;
                }
                Err(WriteError::NoLease | WriteError::NotLeader) => {
                    return Err(self.not_leader());
                }
                Err(
                    WriteError::Unknown
                    | WriteError::Stopped {
                        maybe_written: true,
                    },
                ) => {
                    return Err(ProposeError::Unknown);
                }
                Err(WriteError::Stopped {
                    maybe_written: false,
                }) => {
                    return Err(ProposeError::Halted(self.why_halted()));
                }
            }
        }
    }

    async fn acquire(
        &self,
        bytes: usize,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, ProposeError> {
        let all = self.inner.limits.in_flight_bytes_max / PERMIT_BYTES;
        let permits = (bytes / PERMIT_BYTES + 1).min(all.max(1));
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let waiting = self.inner.in_flight.acquire_many(permits);
        match tokio::time::timeout(self.inner.limits.lease_wait, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Busy),
        }
    }

    /// The present session, or that of a master that is about to begin one.
    async fn serving(&self, patience: tokio::time::Instant) -> Result<Session, ProposeError> {
        let inner = &*self.inner;
        if let Some(session) = *inner.session.borrow() {
            return Ok(session);
        }
        let mut sessions = inner.session.clone();
        loop {
            if inner.halted.borrow().is_some() {
                return Err(ProposeError::Halted(self.why_halted()));
            }
            let own = inner.identity.member().node.0;
            let elected = {
                let server = inner.raft.server_metrics();
                let server = server.borrow_watched();
                server.vote.leader_id.voted_for == own && server.current_leader == Some(own)
            };
            if !elected || tokio::time::Instant::now() >= patience {
                return Err(self.not_leader());
            }
            // Elected and not yet serving: look again soon, or when the session begins.
            let look_again = (tokio::time::Instant::now() + inner.timing.heartbeat).min(patience);
            match tokio::time::timeout_at(look_again, sessions.wait_for(Option::is_some)).await {
                Ok(Ok(session)) => {
                    if let Some(session) = *session {
                        return Ok(session);
                    }
                }
                Ok(Err(_)) => return Err(ProposeError::Halted(self.why_halted())),
                Err(_) => {}
            }
        }
    }

    /// Refuses at once what could not be written by a majority.
    fn check_room(&self) -> Result<(), ProposeError> {
        let inner = &*self.inner;
        if inner.conditions.all_have_room() {
            return Ok(());
        }
        let voters: Vec<std::collections::BTreeSet<u64>> = {
            let server = inner.raft.server_metrics();
            let server = server.borrow_watched();
            server
                .membership_config
                .membership()
                .get_joint_config()
                .clone()
        };
        match inner.conditions.no_room(&voters) {
            None => Ok(()),
            Some(lacking) => Err(ProposeError::NoRoom(NoRoom(lacking))),
        }
    }

    async fn write(&self, bytes: Bytes, session: &Session) -> Result<Verdict, WriteError> {
        let inner = &*self.inner;
        let mut written = term::write(&inner.raft, bytes, session.term).await?;
        let mut sessions = inner.session.clone();
        let number = session.number;
        // Its value is dropped at once: a guard may not be held across an await.
        let over = async {
            sessions
                .wait_for(|now| now.is_none_or(|now| now.number != number))
                .await
                .map(drop)
        };
        tokio::select! {
            biased;
            result = &mut written => term::outcome(result),
            _ = over => {
                // The entry may still be committed, or be discarded for all to see: both soon.
                let last_chance = tokio::time::timeout(inner.timing.fate_patience(), written);
                last_chance.await.map_or(Err(WriteError::Unknown), term::outcome)
            }
            () = tokio::time::sleep(inner.limits.propose_timeout) => Err(WriteError::Unknown),
        }
    }

    fn not_leader(&self) -> ProposeError {
        let leadership = self.inner.leadership.borrow();
        let own = self.inner.identity.member().node;
        ProposeError::NotLeader {
            leader: leadership
                .leader
                .clone()
                .filter(|leader| leader.node != own),
        }
    }
}
