//! Who leads, as this master sees it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use regency_types::{NodeId, Term};

/// Who leads, as this master sees it. Published through a watch channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// The highest term this master knows.
    pub term: Term,
    /// What this master is in it.
    pub role: Role,
    /// Who leads, when that is known. This master itself while its role is [`Role::Leader`].
    pub leader: Option<MasterAddress>,
    /// Counts how often this master began to serve as leader since its process started. Two
    /// values with [`Role::Leader`] and different sessions have an end in between, even if the
    /// watcher missed it: whatever was started for the older one must stop before the newer one
    /// starts.
    pub session: u64,
}

/// What a master is in a term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It leads and serves: its own `BeginTerm` is applied here, and a majority answered it
    /// within the last election timeout.
    Leader,
    /// It follows the leader named beside this.
    Follower,
    /// It knows no leader: it campaigns, or waits for one, or was elected and has not begun to
    /// serve, or leads without hearing from a majority.
    Candidate,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
        })
    }
}

/// Where a master is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress {
    /// Its number.
    pub node: NodeId,
    /// Its advertised host name; empty when it is not known.
    pub hostname: String,
    /// Its advertised `host:port` for clients.
    pub http: String,
    /// Its advertised `host:port` for agents.
    pub agent: String,
}

impl Leadership {
    /// Whether this master leads and serves.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// Who leads, when that is known and not this one.
    pub(crate) fn leader_other_than(&self, own: NodeId) -> Option<NodeId> {
        let leader = self.leader.as_ref().map(|leader| leader.node);
        leader.filter(|leader| *leader != own)
    }

    /// Before anything is known.
    pub(crate) fn nobody() -> Self {
        Self {
            term: Term(0),
            role: Role::Candidate,
            leader: None,
            session: 0,
        }
    }
}

/// When the leader was last heard.
#[derive(Debug)]
pub(crate) struct LeaderContact {
    origin: Instant,
    /// Microseconds after `origin`; 0 means never.
    last_us: AtomicU64,
}

impl LeaderContact {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            last_us: AtomicU64::new(0),
        }
    }

    pub(crate) fn heard(&self) {
        let us = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_us.store(us.max(1), Ordering::Relaxed);
    }

    /// How long ago; `None` when never.
    pub(crate) fn age(&self) -> Option<Duration> {
        let last_us = self.last_us.load(Ordering::Relaxed);
        (last_us > 0).then(|| {
            self.origin
                .elapsed()
                .saturating_sub(Duration::from_micros(last_us))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_is_never_until_heard_and_then_grows_old() {
        let contact = LeaderContact::new();
        assert_eq!(contact.age(), None);
        contact.heard();
        let first = contact.age().expect("heard");
        assert!(contact.age().expect("heard") >= first);
    }
}
