//! Do all masters have the same state?
//!
//! At fixed log indexes each master digests its state, on a thread aside. The leader asks the
//! members for their digests and writes them into the log, so that every master judges by the same
//! words. One whose own digest differs from that of a majority has computed, or remembered,
//! something wrong: it stops before it tells anybody more of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures::future::join_all;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_state::{ReportStateHash, State};
use regency_stored::STATE_VERSION;
use regency_types::NodeId;
use tokio::sync::watch;

use crate::consensus::Consensus;
use crate::metrics;
use crate::network::state_hash;
use crate::types::{MemberInfo, Membership};

/// Own digests that are remembered: more rounds than the state keeps reports of.
const DIGESTS_MAX: usize = 128;
/// How long the leader asks a member for its digest before it goes on without.
const ASK_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a member that had no answer is asked again: it may be a few entries behind.
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// The newest judgement of this master about its own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditedState {
    /// Log index of the last entry in the state that was compared.
    pub index: u64,
    /// Digest of this master's state there.
    pub digest: u128,
    /// Voters that reported the same, this master included when its report is in.
    pub n_agree: usize,
}

/// What the reports about one entry say of a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// A majority reported the same.
    Agrees(usize),
    /// A majority reported this other one.
    Outvoted(u128),
    /// Somebody reported another one, and neither is that of a majority so far.
    Differs,
    /// Nobody reported another one so far.
    Undecided,
}

fn judge(own: u128, said: &[(NodeId, u128)], voters: &BTreeSet<u64>) -> Judgement {
    let mut counts: BTreeMap<u128, usize> = BTreeMap::new();
    for (_, digest) in said.iter().filter(|(node, _)| voters.contains(&node.0)) {
        *counts.entry(*digest).or_default() += 1;
    }
    let majority = counts.iter().find(|(_, n)| **n * 2 > voters.len());
    match majority {
        Some((digest, n)) if *digest == own => Judgement::Agrees(*n),
        Some((digest, _)) => Judgement::Outvoted(*digest),
        None if counts.keys().any(|digest| *digest != own) => Judgement::Differs,
        None => Judgement::Undecided,
    }
}

/// This master's state is not that of the majority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state of this master at entry {index} is not that of the majority (digest {own:032x} \
     against {theirs:032x}); nothing it says can be trusted: remove it from the cluster, move its \
     data directory aside for examination, and add it as a new master under a node id never used \
     before"
)]
pub(crate) struct Outvoted {
    index: u64,
    own: u128,
    theirs: u128,
}

/// Digests of this master's state.
#[derive(Debug)]
pub(crate) struct Audit {
    every_entries: u64,
    digests: Mutex<BTreeMap<u64, u128>>,
    busy: AtomicBool,
    /// Index of the newest digest.
    newest: watch::Sender<Option<u64>>,
    judged: Mutex<Option<AuditedState>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Audit {
    /// Digests the state after each entry whose index is a multiple of `every_entries`.
    pub(crate) fn new(every_entries: u64) -> Arc<Self> {
        Arc::new(Self {
            every_entries: every_entries.max(1),
            digests: Mutex::default(),
            busy: AtomicBool::new(false),
            newest: watch::Sender::new(None),
            judged: Mutex::default(),
        })
    }

    /// To be told of the state after each entry. Only starts work, when it is time for some and
    /// the work of last time is done. Must be called within a runtime.
    pub(crate) fn look(self: &Arc<Self>, index: u64, state: &State) {
        if index == 0
            || !index.is_multiple_of(self.every_entries)
            || self.busy.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let (audit, state) = (Arc::clone(self), state.clone());
        regency_runtime::spawn_blocking(move || {
            let begun = Instant::now();
            let digest = regency_stored::state_digest(&state);
            metrics::state_digested(begun.elapsed());
            audit.note(index, digest);
            audit.busy.store(false, Ordering::Release);
        });
    }

    fn note(&self, index: u64, digest: u128) {
        let mut digests = lock(&self.digests);
        digests.insert(index, digest);
        if digests.len() > DIGESTS_MAX {
            digests.pop_first();
        }
        drop(digests);
        self.newest.send_replace(Some(index));
    }

    /// This master's digest after an entry, while it is remembered.
    pub(crate) fn digest(&self, index: u64) -> Option<u128> {
        lock(&self.digests).get(&index).copied()
    }

    pub(crate) fn judged(&self) -> Option<AuditedState> {
        *lock(&self.judged)
    }

    /// Compares this master's digests with all reports in the state.
    pub(crate) fn check(&self, state: &State, membership: &Membership) -> Result<(), Outvoted> {
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let mut said: BTreeMap<u64, Vec<(NodeId, u128)>> = BTreeMap::new();
        // What is digested another way cannot be compared.
        for report in state.state_hashes().filter(|h| h.schema == STATE_VERSION) {
            let about = said.entry(report.index).or_default();
            about.push((report.node, report.digest));
        }
        let mut differs = false;
        for (index, said) in said {
            let Some(own) = self.digest(index) else {
                continue;
            };
            match judge(own, &said, &voters) {
                Judgement::Agrees(n_agree) => {
                    *lock(&self.judged) = Some(AuditedState {
                        index,
                        digest: own,
                        n_agree,
                    });
                    differs = false;
                }
                Judgement::Outvoted(theirs) => return Err(Outvoted { index, own, theirs }),
                Judgement::Differs => {
                    tracing::error!(
                        log_index = index,
                        digest = format_args!("{own:032x}"),
                        "masters report different states, and no majority reported the same yet"
                    );
                    differs = true;
                }
                Judgement::Undecided => {}
            }
        }
        let agreed = self.judged().map(|judged| judged.index);
        metrics::state_compared(agreed, differs);
        Ok(())
    }
}

impl Consensus {
    /// As leader: waits for a digest of the own state after an entry above `after`, and asks all
    /// voters for theirs. Gives the index of that entry and what is to be proposed; members that do
    /// not answer are left out.
    pub async fn state_hashes(&self, after: Option<u64>) -> (u64, Vec<ReportStateHash>) {
        let audit = self.audit();
        let mut newest = audit.newest.subscribe();
        // The guard it gives may not be held across an await.
        let found = newest.wait_for(|at| *at > after).await.map(|at| *at);
        let Ok(Some(index)) = found else {
            // The sender lives as long as this handle.
            return std::future::pending().await;
        };
        let members: Vec<(u64, MemberInfo)> = {
            let server = self.raft().server_metrics();
            let server = server.borrow_watched();
            let membership = server.membership_config.membership();
            let known = |voter| Some((voter, membership.get_node(&voter)?.clone()));
            membership.voter_ids().filter_map(known).collect()
        };
        let asked = members
            .iter()
            .map(|(node, info)| self.digest_of(*node, info, index));
        (index, join_all(asked).await.into_iter().flatten().collect())
    }

    async fn digest_of(&self, node: u64, info: &MemberInfo, index: u64) -> Option<ReportStateHash> {
        let report = |schema, digest| ReportStateHash {
            node: NodeId(node),
            index,
            schema,
            digest,
        };
        if node == self.node().0 {
            let digest = self.audit().digest(index);
            return digest.map(|digest| report(STATE_VERSION, digest));
        }
        let deadline = tokio::time::Instant::now() + ASK_PATIENCE;
        loop {
            match state_hash(self.networks(), node, info, index, ASK_PATIENCE).await {
                Ok(Some((schema, digest))) => return Some(report(schema, digest)),
                Ok(None) => {}
                Err(error) => tracing::debug!(node, error, "no digest of a member's state"),
            }
            if tokio::time::Instant::now() + ASK_PAUSE >= deadline {
                return None;
            }
            tokio::time::sleep(ASK_PAUSE).await;
        }
    }

    /// The newest comparison of this master's state with that of the others in which a majority
    /// agreed. `None` when there was none since it started.
    #[must_use]
    pub fn audited(&self) -> Option<AuditedState> {
        self.audit().judged()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(own: u128, said: &[(u64, u128)]) -> Judgement {
        let said: Vec<_> = said.iter().map(|(n, d)| (NodeId(*n), *d)).collect();
        judge(own, &said, &BTreeSet::from([1, 2, 3]))
    }

    #[test]
    fn only_a_majority_of_voters_decides() {
        assert_eq!(judged(7, &[]), Judgement::Undecided);
        assert_eq!(judged(7, &[(1, 7)]), Judgement::Undecided);
        assert_eq!(judged(7, &[(1, 7), (3, 7)]), Judgement::Agrees(2));
        assert_eq!(judged(7, &[(1, 8)]), Judgement::Differs);
        assert_eq!(judged(7, &[(1, 8), (2, 7)]), Judgement::Differs);
        assert_eq!(judged(7, &[(1, 8), (2, 9), (3, 7)]), Judgement::Differs);
        assert_eq!(judged(7, &[(1, 8), (3, 8)]), Judgement::Outvoted(8));
        assert_eq!(judged(7, &[(1, 8), (2, 7), (3, 8)]), Judgement::Outvoted(8));
        // Those without a vote are heard by nobody.
        assert_eq!(judged(7, &[(4, 8), (5, 8), (1, 7)]), Judgement::Undecided);
        assert_eq!(judged(7, &[(4, 8), (5, 8), (1, 8)]), Judgement::Differs);
    }

    #[tokio::test]
    async fn digests_are_made_at_fixed_entries_and_the_oldest_are_forgotten() {
        let audit = Audit::new(10);
        let mut newest = audit.newest.subscribe();
        let state = State::default();
        for index in 0..=10 {
            audit.look(index, &state);
        }
        newest
            .wait_for(|at| *at == Some(10))
            .await
            .expect("the audit lives");
        let digest = regency_stored::state_digest(&state);
        assert_eq!(audit.digest(10), Some(digest));
        assert_eq!(audit.digest(9), None);
        for index in 11..=10 + DIGESTS_MAX as u64 {
            audit.note(index, 1);
        }
        assert_eq!(audit.digest(10), None);
        assert_eq!(audit.digest(11), Some(1));
    }
}
