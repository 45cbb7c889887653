//! Whether a change of the membership may be made: pure decisions over who is a member, who
//! answers, and how far everybody is.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use regency_types::NodeId;

/// How many entries a learner may be behind and still be given a vote, and a voter be behind and
/// still count as healthy, where nothing else is configured.
pub const LAG_ENTRIES_MAX: u64 = 100;

/// A member, as decisions see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    /// Its number.
    pub node: NodeId,
    /// Whether it has a vote.
    pub voter: bool,
    /// Whether it answered the leader lately.
    pub alive: bool,
    /// How many entries it is behind, when that is known.
    pub lag_entries: Option<u64>,
}

/// A change of who has a vote or belongs to the cluster, as one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Learners that get a vote.
    pub promote: BTreeSet<NodeId>,
    /// Members that leave.
    pub remove: BTreeSet<NodeId>,
}

impl Change {
    /// Everybody whom it is about.
    #[must_use]
    pub fn names(&self) -> BTreeSet<NodeId> {
        self.promote.union(&self.remove).copied().collect()
    }
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Nobody of this number is a member.
    #[error("node {0} does not belong to this cluster; look at 'regency members list'")]
    Unknown(NodeId),
    /// Nobody is named.
    #[error("no member is named")]
    Empty,
    /// The same member is to stay and to leave.
    #[error("node {0} cannot be replaced by itself; give the replacement an id never used before")]
    Itself(NodeId),
    /// The master named as forced is not the one the change is about.
    #[error("--force={forced} does not name what is changed; to force this, type --force={needed}")]
    ForcedOther {
        /// Who was typed.
        forced: Ids,
        /// Who is changed.
        needed: Ids,
    },
    /// Nobody with a vote would be left.
    #[error("no voter would be left; a cluster cannot be ended by removing its last master")]
    LastVoter,
    /// A member that should get a vote does not answer.
    #[error("node {0} does not answer the leader; start it, or look at its log")]
    Silent(NodeId),
    /// A member that should get a vote is too far behind.
    #[error(
        "node {node} is {lag_entries} entries behind, at most {lag_entries_max} are allowed; \
         wait and repeat"
    )]
    Behind {
        /// Which.
        node: NodeId,
        /// How far.
        lag_entries: u64,
        /// How far it may be.
        lag_entries_max: u64,
    },
    /// The voters that answer would be no majority.
    #[error(
        "{alive} of {voters} voters would answer, {quorum} are needed to write anything; bring \
         dead masters back or replace them first"
    )]
    WouldLoseQuorum {
        /// Voters that answer, after the change.
        alive: usize,
        /// All voters, after the change.
        voters: usize,
        /// How many must answer.
        quorum: usize,
    },
    /// The number of voters would be even.
    #[error(
        "{voters} voters tolerate no more failures than {fewer} and fail more often; change two \
         at once, use 'replace', or type --force={needed}"
    )]
    Even {
        /// How many there would be.
        voters: usize,
        /// One fewer.
        fewer: usize,
        /// What to type to have it anyway.
        needed: Ids,
    },
}

impl Objection {
    /// A word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown_member",
            Self::Empty => "nobody_named",
            Self::Itself(_) => "itself",
            Self::ForcedOther { .. } => "forced_other",
            Self::LastVoter => "last_voter",
            Self::Silent(_) => "silent",
            Self::Behind { .. } => "behind",
            Self::WouldLoseQuorum { .. } => "would_lose_quorum",
            Self::Even { .. } => "even",
        }
    }

    /// Whether it may pass by itself within moments: a new leader has to hear from everybody
    /// first.
    #[must_use]
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Silent(_) | Self::Behind { .. } | Self::WouldLoseQuorum { .. }
        )
    }
}

/// Numbers as they are typed: separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(pub BTreeSet<NodeId>);

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, id) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{id}")?;
        }
        Ok(())
    }
}

/// How many of `voters` must agree.
#[must_use]
pub const fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether these voters could write nothing.
#[must_use]
pub fn would_lose_quorum<'a>(voters: impl IntoIterator<Item = &'a Seat>) -> bool {
    let voters: Vec<&Seat> = voters.into_iter().collect();
    voters.iter().filter(|seat| seat.alive).count() < quorum(voters.len())
}

/// Decides on a change, and gives the numbers of all voters after it.
///
/// A change in the number of voters must end at an odd one unless `forced` names exactly the
/// members that are changed; nothing forces the rest. Who gets a vote may be `lag_entries_max`
/// entries behind.
///
/// # Errors
/// The first thing that is in the way.
pub fn check(
    seats: &[Seat],
    change: &Change,
    forced: &BTreeSet<NodeId>,
    lag_entries_max: u64,
) -> Result<BTreeSet<NodeId>, Objection> {
    let names = change.names();
    if names.is_empty() {
        return Err(Objection::Empty);
    }
    if let Some(both) = change.promote.intersection(&change.remove).next() {
        return Err(Objection::Itself(*both));
    }
    if !forced.is_empty() && *forced != names {
        return Err(Objection::ForcedOther {
            forced: Ids(forced.clone()),
            needed: Ids(names),
        });
    }
    let seat = |node: NodeId| seats.iter().find(|seat| seat.node == node);
    if let Some(unknown) = names.iter().find(|node| seat(**node).is_none()) {
        return Err(Objection::Unknown(*unknown));
    }
    for new in change.promote.iter().filter_map(|node| seat(*node)) {
        if new.voter {
            continue;
        }
        if !new.alive {
            return Err(Objection::Silent(new.node));
        }
        // Not known means that nothing arrived there yet.
        let lag_entries = new.lag_entries.unwrap_or(u64::MAX);
        if lag_entries > lag_entries_max {
            return Err(Objection::Behind {
                node: new.node,
                lag_entries,
                lag_entries_max,
            });
        }
    }

    let votes_after = |seat: &&Seat| {
        (seat.voter || change.promote.contains(&seat.node)) && !change.remove.contains(&seat.node)
    };
    let after: Vec<&Seat> = seats.iter().filter(votes_after).collect();
    let n_before = seats.iter().filter(|seat| seat.voter).count();
    let voters: BTreeSet<NodeId> = after.iter().map(|seat| seat.node).collect();
    if after.is_empty() {
        return Err(Objection::LastVoter);
    }
    let unchanged = seats
        .iter()
        .filter(|seat| seat.voter)
        .map(|seat| seat.node)
        .eq(voters.iter().copied());
    if unchanged {
        return Ok(voters);
    }
    if would_lose_quorum(after.iter().copied()) {
        return Err(Objection::WouldLoseQuorum {
            alive: after.iter().filter(|seat| seat.alive).count(),
            voters: after.len(),
            quorum: quorum(after.len()),
        });
    }
    if after.len() != n_before && after.len().is_multiple_of(2) && forced.is_empty() {
        return Err(Objection::Even {
            voters: after.len(),
            fewer: after.len() - 1,
            needed: Ids(names),
        });
    }
    Ok(voters)
}

/// How the cluster stands at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How many have a vote.
    pub voters: usize,
    /// How many of them answer.
    pub voters_alive: usize,
    /// How many must.
    pub quorum: usize,
    /// How many more voters may fail now.
    pub tolerates: usize,
    /// How many may fail when all are well.
    pub tolerates_at_best: usize,
    /// What is wrong, in words. Empty when the cluster is healthy.
    pub problems: Vec<String>,
    /// How each member is.
    pub members: Vec<MemberHealth>,
}

/// How one member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberHealth {
    /// Which.
    pub node: NodeId,
    /// Why it is not healthy; `None` when it is.
    pub reason: Option<String>,
    /// For how long it has been as it is, as far as this leader saw it; filled in by whoever keeps
    /// a record.
    pub lasting: Option<Duration>,
}

fn why_unhealthy(seat: &Seat, lag_entries_max: u64) -> Option<String> {
    match seat.lag_entries {
        _ if !seat.alive => Some("does not answer".to_owned()),
        None => Some("has received nothing yet".to_owned()),
        Some(lag) if lag > lag_entries_max => Some(format!("is {lag} entries behind")),
        Some(_) => None,
    }
}

/// How a cluster with these members stands. `joint`: a change of the membership is not finished.
#[must_use]
pub fn health(seats: &[Seat], joint: bool, lag_entries_max: u64) -> Health {
    let voters = seats.iter().filter(|seat| seat.voter).count();
    let voters_alive = seats.iter().filter(|seat| seat.voter && seat.alive).count();
    let quorum = quorum(voters);
    let mut problems = Vec::new();
    if voters_alive < quorum {
        problems.push(format!(
            "{voters_alive} of {voters} voters answer, {quorum} are needed"
        ));
    }
    for seat in seats {
        let node = seat.node;
        match seat.lag_entries {
            _ if !seat.alive => problems.push(format!(
                "node {node} does not answer; start it again or replace it"
            )),
            Some(lag) if seat.voter && lag > lag_entries_max => {
                problems.push(format!("node {node} is {lag} entries behind"));
            }
            Some(_) | None => {}
        }
    }
    if joint {
        problems.push("a change of the membership is not finished; repeat it".to_owned());
    }
    Health {
        voters,
        voters_alive,
        quorum,
        tolerates: voters_alive.saturating_sub(quorum),
        tolerates_at_best: voters.saturating_sub(quorum),
        problems,
        members: seats
            .iter()
            .map(|seat| MemberHealth {
                node: seat.node,
                reason: why_unhealthy(seat, lag_entries_max),
                lasting: None,
            })
            .collect(),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
