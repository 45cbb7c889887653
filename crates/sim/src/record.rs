//! What was seen of a run, and what must hold of it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use regency_raft_store::simulation::Core;
use regency_state::State;
use regency_types::AgentEpoch;

use crate::coverage::{Coverage, Event};
use crate::fault::MASTERS;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: String,
    pub(crate) what: String,
}

/// Everything that was seen.
#[derive(Default)]
pub(crate) struct Record {
    /// Milliseconds since the beginning.
    pub(crate) now_ms: u64,
    pub(crate) trace: Vec<String>,
    /// Of everything that was seen, far more than the trace tells.
    pub(crate) hash: DefaultHasher,
    /// The first one.
    pub(crate) violation: Option<Violation>,
    pub(crate) coverage: Coverage,
    /// What was answered, in the order of the answers.
    pub(crate) answered: Vec<u128>,
    /// What was turned away, and so must never be there.
    turned_away: Vec<u128>,
    next_epoch: u128,
    /// Who led in each term.
    leaders: BTreeMap<u64, usize>,
    /// The term of each entry that somebody knew to be committed.
    terms: BTreeMap<u64, u64>,
    /// The newest committed entry: term and index.
    committed: Option<(u64, u64)>,
    /// The state after an entry.
    digests: BTreeMap<u64, (u128, usize)>,
    cores: [Option<Core>; MASTERS],
}

impl Record {
    pub(crate) fn say(&mut self, what: impl std::fmt::Display) {
        let line = format!("{:>7} {what}", self.now_ms);
        line.hash(&mut self.hash);
        self.trace.push(line);
    }

    pub(crate) fn violated(&mut self, rule: &str, what: String) {
        if self.violation.is_none() {
            self.say(format!("!!! {rule}: {what}"));
            self.violation = Some(Violation {
                rule: rule.to_owned(),
                what,
            });
        }
    }

    /// Names something new to write.
    pub(crate) fn next_epoch(&mut self) -> u128 {
        self.next_epoch += 1;
        self.next_epoch
    }

    pub(crate) fn answered(&mut self, epoch: u128) {
        (self.now_ms, epoch).hash(&mut self.hash);
        self.coverage.struck(Event::Answered);
        self.answered.push(epoch);
    }

    pub(crate) fn turned_away(&mut self, epoch: u128) {
        (self.now_ms, epoch, "turned away").hash(&mut self.hash);
        self.coverage.struck(Event::TurnedAway);
        self.turned_away.push(epoch);
    }

    /// A state must have everything that was among the first `n` answers.
    pub(crate) fn must_have(&mut self, rule: &str, who: usize, state: &State, n: usize) {
        let missing = self.answered[..n].iter().find(|epoch| !has(state, **epoch));
        if let Some(epoch) = missing {
            let what = format!("{epoch} was answered, and m{} does not have it", who + 1);
            self.violated(rule, what);
        }
    }

    /// A state must have nothing that was turned away.
    pub(crate) fn must_not_have(&mut self, who: usize, state: &State) {
        let there = self.turned_away.iter().find(|epoch| has(state, **epoch));
        if let Some(epoch) = there {
            let what = format!("{epoch} was turned away, and m{} has it", who + 1);
            self.violated("turned away", what);
        }
    }

    /// Whether somebody has the state after this entry already.
    pub(crate) fn is_compared(&self, index: u64) -> bool {
        self.digests.contains_key(&index)
    }

    /// All masters must have the same state after the same entry.
    pub(crate) fn state_after(&mut self, who: usize, index: u64, digest: u128) {
        let (first, by) = *self.digests.entry(index).or_insert((digest, who));
        if by != who {
            self.coverage.struck(Event::Compared);
        }
        if first != digest {
            let what = format!(
                "after entry {index} m{} has another state than m{}",
                who + 1,
                by + 1
            );
            self.violated("I13", what);
        }
    }

    /// A master ended; what it believes may go back to what is durable.
    pub(crate) fn ended(&mut self, who: usize) {
        self.cores[who] = None;
    }

    /// Looks at what the core of a master believes, after every step.
    pub(crate) fn look(&mut self, who: usize, core: Core) {
        let before = self.cores[who].replace(core);
        if before == Some(core) {
            return;
        }
        (self.now_ms, who).hash(&mut self.hash);
        format!("{core:?}").hash(&mut self.hash);
        let name = format!("m{}", who + 1);
        if let Some(before) = before {
            let index = |at: Option<(u64, u64)>| at.map(|at| at.1);
            let went_back = if core.vote.0 < before.vote.0 {
                Some("its term")
            } else if index(core.committed) < index(before.committed) {
                Some("what it knows to be committed")
            } else if index(core.applied) < index(before.applied) {
                Some("what it applied")
            } else if index(core.purged) < index(before.purged) {
                Some("what it purged")
            } else {
                None
            };
            if let Some(what) = went_back {
                let what = format!("{name}: {what} went back: {before:?}, then {core:?}");
                self.violated("monotonic", what);
            }
            self.coverage
                .add(Event::Snapshot, u64::from(core.snapshot != before.snapshot));
            self.coverage
                .add(Event::Purged, u64::from(core.purged != before.purged));
        }
        let led = before.is_some_and(|before| before.leads && before.vote.0 == core.vote.0);
        if core.leads && !led {
            self.begins_to_lead(who, &core);
        }
        for at in [core.committed, core.applied, core.snapshot, core.purged] {
            let Some((term, index)) = at else { continue };
            let known = *self.terms.entry(index).or_insert(term);
            if known != term {
                let what =
                    format!("entry {index} was committed in term {known}, {name} says {term}");
                self.violated("committed entries stay", what);
            }
            self.committed = self.committed.max(Some((term, index)));
        }
    }

    fn begins_to_lead(&mut self, who: usize, core: &Core) {
        let (term, ..) = core.vote;
        self.say(format!("m{} leads term {term}", who + 1));
        if !self.leaders.is_empty() {
            self.coverage.struck(Event::Failover);
        }
        let first = *self.leaders.entry(term).or_insert(who);
        if first != who {
            let what = format!("m{} and m{} led term {term}", first + 1, who + 1);
            self.violated("one leader in a term", what);
        }
        if let Some((_, index)) = self.committed.filter(|committed| committed.0 < term)
            && core.last_log.is_none_or(|last| last < index)
        {
            let what = format!(
                "m{} leads term {term} with {:?} as its last entry, entry {index} was committed",
                who + 1,
                core.last_log
            );
            self.violated("leaders have what is committed", what);
        }
    }

    /// Whoever leads as far as is known.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leading = (0..MASTERS).filter_map(|who| {
            let core = self.cores[who].filter(|core| core.leads)?;
            Some((core.vote.0, who))
        });
        leading.max().map(|(_, who)| who)
    }

    /// A number that equal runs have in common.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.hash.finish()
    }
}

fn has(state: &State, epoch: u128) -> bool {
    state.agent_of_epoch(AgentEpoch(epoch)).is_some()
}
