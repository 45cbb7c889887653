//! What a leader does about the members by itself.
//!
//! It gives a vote to learners that were added for that, once they have been healthy for a while,
//! and takes the vote of voters that have been silent as long, when such a learner can have it
//! instead. It never makes fewer voters, never ends at an even number that was not there before,
//! and touches nothing that would leave fewer living voters than a majority. What is done is decided
//! by `plan` alone; how long somebody has been healthy or silent is kept by `Record` on the
//! leader, and counted anew by the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use regency_types::NodeId;

use super::decide::{self, Change, LAG_ENTRIES_MAX, Seat};
use crate::timing::Timing;

/// When a member counts as healthy, and what the leader may do by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutopilotConfig {
    /// Whether dead voters are removed when a healthy learner can have their vote.
    pub cleanup_dead_servers: bool,
    /// How long a healthy member may leave the leader without an answer. By default one second or
    /// three election timeouts, whichever is longer.
    pub last_contact_threshold: Option<Duration>,
    /// How many entries a healthy member may be behind.
    pub max_trailing_entries: u64,
    /// How long a learner has to be healthy before it gets a vote, and a voter be silent before it
    /// may lose it.
    pub server_stabilization_time: Duration,
    /// Dead voters are removed only where at least this many voters stay.
    pub min_quorum: usize,
}

impl Default for AutopilotConfig {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: None,
            max_trailing_entries: LAG_ENTRIES_MAX,
            server_stabilization_time: Duration::from_secs(10),
            min_quorum: 3,
        }
    }
}

impl AutopilotConfig {
    /// The silence after which a member is not healthy.
    #[must_use]
    pub fn silence_max(&self, timing: &Timing) -> Duration {
        self.last_contact_threshold
            .unwrap_or_else(|| timing.member_silence_max())
    }
}

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It answers and is not behind.
    Healthy,
    /// It answers.
    Behind,
    /// It does not answer.
    Silent,
}

fn standing(seat: &Seat, lag_entries_max: u64) -> Standing {
    match seat.lag_entries {
        _ if !seat.alive => Standing::Silent,
        Some(lag) if lag <= lag_entries_max => Standing::Healthy,
        // Not known means that nothing arrived there yet.
        Some(_) | None => Standing::Behind,
    }
}

/// Since when members are as they are, as one leader saw it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// In which term it led.
    term: u64,
    since: BTreeMap<NodeId, (Standing, Instant)>,
}

impl Record {
    /// Notes how members are now. What another term's leader saw does not count.
    pub(crate) fn note(&mut self, term: u64, seats: &[Seat], lag_entries_max: u64, now: Instant) {
        if self.term != term {
            self.since.clear();
            self.term = term;
        }
        let is_there = |node: &NodeId| seats.iter().any(|seat| seat.node == *node);
        self.since.retain(|node, _| is_there(node));
        for seat in seats {
            let standing = standing(seat, lag_entries_max);
            let known = self.since.entry(seat.node).or_insert((standing, now));
            if known.0 != standing {
                *known = (standing, now);
            }
        }
    }

    /// How long a member has been as it is; `None` before it was looked at in this term.
    pub(crate) fn lasting(&self, term: u64, node: NodeId, now: Instant) -> Option<Duration> {
        let (_, since) = self.since.get(&node).filter(|_| self.term == term)?;
        Some(now.saturating_duration_since(*since))
    }

    /// The members among `seats` that are of this standing for as long as it takes to act.
    fn stable(&self, is: Standing, seats: &[Seat], of: Duration, now: Instant) -> Vec<NodeId> {
        let stable = |node: &NodeId| {
            self.since.get(node).is_some_and(|(standing, since)| {
                *standing == is && now.saturating_duration_since(*since) >= of
            })
        };
        seats.iter().map(|seat| seat.node).filter(stable).collect()
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing.
    Nothing,
    /// This.
    Make(Change),
    /// These learners are ready for a vote, and wait for what keeps the number of voters odd.
    Wait(BTreeSet<NodeId>),
}

/// Decides. `wanted`: the learners that were added to get a vote.
pub(crate) fn plan(
    seats: &[Seat],
    wanted: &BTreeSet<NodeId>,
    record: &Record,
    config: &AutopilotConfig,
    now: Instant,
) -> Plan {
    let stable = |is| record.stable(is, seats, config.server_stabilization_time, now);
    let votes = |node: &NodeId| seats.iter().any(|seat| seat.node == *node && seat.voter);
    let mut ready = stable(Standing::Healthy);
    ready.retain(|node| wanted.contains(node) && !votes(node));
    if ready.is_empty() {
        return Plan::Nothing;
    }
    let mut dead = stable(Standing::Silent);
    dead.retain(|node| votes(node) && config.cleanup_dead_servers);

    let voters: Vec<Seat> = seats.iter().copied().filter(|seat| seat.voter).collect();
    // Nothing could be committed; and a leader that was cut off must not believe that all others
    // are dead.
    if decide::would_lose_quorum(&voters) {
        return Plan::Nothing;
    }
    // The dead first, each for a learner that takes over its vote; then as many votes as can be.
    for n_removed in (0..=dead.len().min(ready.len())).rev() {
        for n_promoted in (n_removed.max(1)..=ready.len()).rev() {
            let n_after = voters.len() + n_promoted - n_removed;
            if n_removed > 0 && n_after < config.min_quorum {
                continue;
            }
            let change = Change {
                promote: ready[..n_promoted].iter().copied().collect(),
                remove: dead[..n_removed].iter().copied().collect(),
            };
            let lag_entries_max = config.max_trailing_entries;
            if decide::check(seats, &change, &BTreeSet::new(), lag_entries_max).is_ok() {
                return Plan::Make(change);
            }
        }
    }
    Plan::Wait(ready.into_iter().collect())
}

#[cfg(test)]
#[path = "autopilot_tests.rs"]
mod tests;
