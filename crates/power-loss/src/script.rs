//! What the driver does to its log: what a busy, unlucky master would.

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use regency_raft_store::testing::{At, Found, TestEntry, TestVote};

use crate::report::Change;

/// Smallest and largest payload.
const PAYLOAD_BYTES: std::ops::RangeInclusive<u64> = 256..=256 * 1024;
/// Most bytes of payload in one group.
const GROUP_BYTES_MAX: u64 = 1024 * 1024;
/// Beyond this many entries a purge comes soon.
const ENTRIES_MAX: u64 = 600;

/// A step of the script.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) change: Change,
    /// Whether a sync follows.
    pub(crate) sync: bool,
    /// How many times at most old things are tidied away behind it.
    pub(crate) tidy: u32,
}

/// Makes one step after the other.
pub(crate) struct Script {
    rng: SmallRng,
    seed: u64,
    life: u32,
    term: u64,
    vote: Option<TestVote>,
    purged: Option<At>,
    committed: Option<At>,
    /// Terms of the entries behind `purged`.
    terms: Vec<u64>,
}

impl Script {
    /// Goes on behind what was found. `terms` are those of the entries there.
    pub(crate) fn new(seed: u64, life: u32, found: &Found, terms: Vec<u64>) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(mix(&[seed, u64::from(life), 1])),
            seed,
            life,
            term: found.vote.map_or(0, |vote| vote.term),
            vote: found.vote,
            purged: found.purged,
            committed: found.committed.max(found.purged),
            terms,
        }
    }

    fn next_index(&self) -> u64 {
        self.first_index() + self.terms.len() as u64
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |(_, index)| index + 1)
    }

    fn at(&self, index: u64) -> Option<At> {
        let nth = usize::try_from(index.checked_sub(self.first_index())?).ok()?;
        Some((*self.terms.get(nth)?, index))
    }

    /// The next step.
    pub(crate) fn next(&mut self) -> Step {
        let change = self.change();
        let tidy = match self.rng.random_range(0..10) {
            0..5 => 0,
            5..9 => 1,
            _ => u32::MAX,
        };
        // A vote and entries behind it may share a sync; what is removed is durable at once.
        let sync = match change {
            Change::Append { .. } => self.rng.random_bool(0.9),
            Change::Vote(_) => self.rng.random_bool(0.7),
            Change::Committed(_) => false,
            Change::Truncate(_) | Change::Purge(_) => true,
        };
        Step { change, sync, tidy }
    }

    fn change(&mut self) -> Change {
        if self.term == 0 || self.rng.random_bool(0.06) {
            return self.campaign();
        }
        let free = self.committed.map_or(0, |(_, index)| index + 1);
        let uncommitted = self
            .next_index()
            .saturating_sub(free.max(self.first_index()));
        let full = self.terms.len() as u64 > ENTRIES_MAX;
        match self.rng.random_range(0..100) {
            0..8 if uncommitted > 0 => {
                // Another leader has other entries, in a term that was voted for before.
                if self.terms.last() == Some(&self.term) {
                    return self.campaign();
                }
                let from = self.next_index() - self.rng.random_range(1..=uncommitted);
                self.terms
                    .truncate(usize::try_from(from - self.first_index()).unwrap_or(0));
                Change::Truncate(from)
            }
            8..20 if uncommitted > 0 => {
                let index = self.next_index() - self.rng.random_range(1..=uncommitted);
                self.committed = self.at(index);
                self.committed
                    .map_or_else(|| self.append(), Change::Committed)
            }
            20..28 => self.purge(),
            28..60 if full => self.purge(),
            28 if self.rng.random_bool(0.2) => {
                // A snapshot of a leader that is far ahead.
                let upto = (self.term, self.next_index() + self.rng.random_range(0..50));
                self.terms.clear();
                self.purged = Some(upto);
                self.committed = self.committed.max(Some(upto));
                Change::Purge(upto)
            }
            _ => self.append(),
        }
    }

    fn campaign(&mut self) -> Change {
        let settled = self.vote.filter(|vote| !vote.committed);
        let vote = match settled {
            Some(vote) if self.rng.random_bool(0.5) => TestVote {
                committed: true,
                ..vote
            },
            _ => TestVote {
                term: self.term + self.rng.random_range(1..3),
                node: self.rng.random_range(1..6),
                committed: self.rng.random_bool(0.5),
            },
        };
        self.term = vote.term;
        self.vote = Some(vote);
        Change::Vote(vote)
    }

    fn purge(&mut self) -> Change {
        let first = self.first_index();
        let Some((_, committed)) = self.committed.filter(|(_, index)| *index >= first) else {
            return self.append();
        };
        let index = self.rng.random_range(first..=committed);
        let Some(upto) = self.at(index) else {
            return self.append();
        };
        self.terms
            .drain(..=usize::try_from(index - first).unwrap_or(0));
        self.purged = Some(upto);
        Change::Purge(upto)
    }

    fn append(&mut self) -> Change {
        let wanted = match self.rng.random_range(0..10) {
            0..4 => 1,
            4..9 => self.rng.random_range(2..20),
            _ => self.rng.random_range(20..160),
        };
        let (term, first) = (self.term, self.next_index());
        let (mut count, mut bytes) = (0, 0);
        while count < wanted && bytes < GROUP_BYTES_MAX {
            bytes += payload_bytes(self.seed, self.life, (term, first + count));
            self.terms.push(term);
            count += 1;
        }
        Change::Append { term, first, count }
    }

    /// The entries of an append.
    pub(crate) fn entries(&self, term: u64, first: u64, count: u64) -> Vec<TestEntry> {
        (first..first + count)
            .map(|index| TestEntry {
                at: (term, index),
                payload: payload(self.seed, self.life, (term, index)),
            })
            .collect()
    }
}

fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |value, part| {
        let value = (value ^ part).wrapping_mul(0xff51_afd7_ed55_8ccd);
        value ^ (value >> 32)
    })
}

fn payload_bytes(seed: u64, life: u32, (term, index): At) -> u64 {
    let mut rng = SmallRng::seed_from_u64(mix(&[seed, u64::from(life), term, index]));
    let (low, high) = match rng.random_range(0..20) {
        0..12 => (*PAYLOAD_BYTES.start(), 1024),
        12..17 => (1024, 8 * 1024),
        17..19 => (8 * 1024, 48 * 1024),
        _ => (48 * 1024, *PAYLOAD_BYTES.end()),
    };
    rng.random_range(low..=high)
}

/// The content of the entry at a position, as written in a life of the driver.
fn payload(seed: u64, life: u32, at: At) -> Bytes {
    let bytes = usize::try_from(payload_bytes(seed, life, at)).unwrap_or(0);
    let mut out = vec![0; bytes];
    let mut rng = SmallRng::seed_from_u64(mix(&[seed, u64::from(life), at.0, at.1, 2]));
    rng.fill_bytes(&mut out);
    out[..4].copy_from_slice(&life.to_be_bytes());
    out.into()
}

/// The life in which an entry was written, when it is as it was written.
pub(crate) fn recognise(seed: u64, entry: &TestEntry) -> Option<u32> {
    let life = u32::from_be_bytes(entry.payload.get(..4)?.try_into().ok()?);
    (payload(seed, life, entry.at) == entry.payload).then_some(life)
}
