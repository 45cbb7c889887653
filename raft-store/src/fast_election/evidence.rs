//! What this master has seen of its leader's death, and what it therefore answers.
//!
//! Evidence is held for one leader of one term, for a short time, and is void as soon as that
//! leader is heard again. While it is held, this master takes its own promise to that leader for
//! ended when it is asked for its vote. It changes nothing else, and nothing that lasts: a promise
//! given up in the consensus library itself would stay given up for the rest of the term, false
//! alarm or not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openraft::async_runtime::watch::WatchReceiver as _;

use crate::leadership::LeaderContact;
use crate::timing::Timing;
use crate::types::{Raft, TypeConfig, Vote};

type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;

/// What was seen, and what was promised to others because of it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Whose death.
    vote: Vote,
    at: Instant,
    /// When another candidate was told that it would get this vote.
    granted_at: Option<Instant>,
}

/// The evidence that this master holds.
#[derive(Debug)]
pub(crate) struct Evidence {
    contact: Arc<LeaderContact>,
    /// Messages that arrive within this time were on their way when the connection broke.
    settle: Duration,
    /// It is held no longer than this.
    lasts: Duration,
    seen: Mutex<Option<Seen>>,
}

impl Evidence {
    pub(crate) fn new(contact: Arc<LeaderContact>, timing: &Timing) -> Self {
        Self {
            contact,
            settle: timing.heartbeat,
            lasts: timing.campaign_patience(),
            seen: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leader of `vote` broke its connections at `at` and refuses new ones.
    pub(super) fn hold(&self, vote: Vote, at: Instant) {
        *self.lock() = Some(Seen {
            vote,
            at,
            granted_at: None,
        });
    }

    pub(super) fn withdraw(&self) {
        *self.lock() = None;
    }

    /// Whether a leader whose connection broke at `at` was heard since: later than what was on its
    /// way then.
    pub(super) fn heard_since(&self, at: Instant) -> bool {
        let since = at.elapsed();
        since > self.settle
            && self
                .contact
                .age()
                .is_some_and(|age| age < since - self.settle)
    }

    /// Whether there is evidence against the leader of `vote` at this moment.
    fn holds(&self, vote: &Vote) -> bool {
        let seen = *self.lock();
        seen.is_some_and(|seen| {
            seen.vote == *vote && seen.at.elapsed() < self.lasts && !self.heard_since(seen.at)
        })
    }

    /// Whether another candidate was promised this vote less than `patience` ago.
    pub(super) fn granted_within(&self, patience: Duration) -> bool {
        let seen = *self.lock();
        seen.and_then(|seen| seen.granted_at)
            .is_some_and(|at| at.elapsed() < patience)
    }

    /// Whether this master would vote for a candidate; `None` when it holds no evidence, and the
    /// consensus library has to be asked, which keeps this master's promise to its leader.
    pub(crate) async fn pre_vote(
        &self,
        raft: &Raft,
        request: &VoteRequest,
    ) -> Option<VoteResponse> {
        let vote = raft.server_metrics().borrow_watched().vote;
        if !self.holds(&vote) {
            return None;
        }
        let (vote, last) = raft
            .with_raft_state(|state| (*state.vote_ref(), state.log_ids.last().copied()))
            .await
            .ok()?;
        if !self.holds(&vote) {
            return None;
        }
        let granted =
            request.last_log_id >= last && request.vote.leader_id.term > vote.leader_id.term;
        if granted && let Some(seen) = self.lock().as_mut() {
            seen.granted_at = Some(Instant::now());
        }
        Some(VoteResponse::new(vote, last, granted))
    }

    /// Lifts this master's promise to its leader for one request, if it holds evidence.
    pub(crate) fn lift_promise(&self, raft: &Raft, mut request: VoteRequest) -> VoteRequest {
        let vote = raft.server_metrics().borrow_watched().vote;
        if self.holds(&vote) {
            // To the library this means that no lease protects the leader. Votes and logs decide.
            request.leadership_transfer = true;
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> (Evidence, Arc<LeaderContact>) {
        let contact = Arc::new(LeaderContact::new());
        let timing = Timing {
            heartbeat: Duration::from_millis(5),
            ..Timing::default()
        };
        (Evidence::new(Arc::clone(&contact), &timing), contact)
    }

    #[test]
    fn it_is_against_one_leader_of_one_term_and_void_when_that_is_heard() {
        let (evidence, contact) = evidence();
        let (old, new) = (Vote::new_committed(3, 1), Vote::new_committed(4, 1));
        contact.heard();
        assert!(!evidence.holds(&old));
        evidence.hold(old, Instant::now());
        assert!(evidence.holds(&old));
        assert!(!evidence.holds(&new));
        // On its way when the connection broke.
        contact.heard();
        std::thread::sleep(Duration::from_millis(12));
        assert!(evidence.holds(&old));
        contact.heard();
        assert!(!evidence.holds(&old));
    }

    #[test]
    fn it_does_not_last() {
        let (mut evidence, _) = evidence();
        evidence.lasts = Duration::from_millis(1);
        let vote = Vote::new_committed(3, 1);
        evidence.hold(vote, Instant::now());
        std::thread::sleep(Duration::from_millis(2));
        assert!(!evidence.holds(&vote));
        evidence.hold(vote, Instant::now());
        evidence.withdraw();
        assert!(!evidence.holds(&vote));
    }
}
