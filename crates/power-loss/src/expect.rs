//! What a log must hold after a crash: what was durable, and of what was being done at most a
//! beginning, in the order in which it was done.

use std::collections::BTreeMap;

use regency_raft_store::testing::{At, Found, TestVote};

use crate::report::{Change, Seen};

/// What a log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Content {
    purged: Option<At>,
    vote: Option<TestVote>,
    /// Term and life of the entries behind `purged`, by index.
    entries: BTreeMap<u64, (u64, u32)>,
}

impl Content {
    fn last(&self) -> Option<At> {
        let last = self.entries.last_key_value();
        last.map(|(index, (term, _))| (*term, *index))
            .or(self.purged)
    }

    /// All states that a crash may leave while `change` is made, the complete one last.
    fn during(&self, change: &Change, life: u32) -> Vec<Self> {
        let mut states = vec![self.clone()];
        let mut state = self.clone();
        match change {
            Change::Append { term, first, count } => {
                for index in *first..first + count {
                    state.entries.insert(index, (*term, life));
                    states.push(state.clone());
                }
            }
            Change::Vote(vote) => {
                state.vote = Some(*vote);
                states.push(state);
            }
            // Its loss is allowed; see `Expect::check`.
            Change::Committed(_) => {}
            Change::Truncate(from) => {
                while let Some((index, entry)) = state.entries.pop_last() {
                    if index < *from {
                        state.entries.insert(index, entry);
                        break;
                    }
                    states.push(state.clone());
                }
            }
            Change::Purge(upto) => {
                state.purged = Some(*upto);
                state.entries = state.entries.split_off(&(upto.1 + 1));
                states.push(state);
            }
        }
        states
    }
}

/// What was promised, and what may be there besides.
#[derive(Debug, Default)]
pub(crate) struct Expect {
    durable: Content,
    /// Changes that were begun and not promised yet, with the life of the driver that made them.
    begun: Vec<(Change, u32)>,
    /// Everything ever noted as committed.
    committed: Vec<At>,
    /// How often something was promised.
    pub(crate) promises: u64,
}

impl Expect {
    pub(crate) fn begin(&mut self, change: Change, life: u32) {
        if let Change::Committed(at) = change {
            self.committed.push(at);
        }
        self.begun.push((change, life));
    }

    /// Everything begun is promised.
    pub(crate) fn durable(&mut self) {
        for (change, life) in self.begun.drain(..) {
            if let Some(state) = self.durable.during(&change, life).pop() {
                self.durable = state;
            }
        }
        self.promises += 1;
    }

    /// Compares what was found after a crash with what must be there. When it is right, it is what
    /// is promised from now on: an engine that has shown an entry once must never lose it again.
    pub(crate) fn check(&mut self, found: &Found, seen: &[Seen]) -> Result<(), String> {
        let content = Content {
            purged: found.purged,
            vote: found.vote,
            entries: seen.iter().map(|s| (s.at.1, (s.at.0, s.life))).collect(),
        };
        if found.last != content.last() {
            return Err(format!(
                "the log says that it ends with {:?}, but {:?} is its last entry",
                found.last,
                content.last()
            ));
        }
        let contiguous = content.entries.keys().zip(content.entries.keys().skip(1));
        for (index, next) in contiguous {
            if index + 1 != *next {
                return Err(format!("entry {next} follows entry {index}"));
            }
        }
        if let Some(committed) = found.committed {
            if !self.committed.contains(&committed) {
                return Err(format!("{committed:?} was never noted as committed"));
            }
            if found.last.is_none_or(|last| last.1 < committed.1) {
                return Err(format!(
                    "{committed:?} is noted as committed, but the log ends with {:?}",
                    found.last
                ));
            }
        }
        let mut before = self.durable.clone();
        let mut allowed = vec![before.clone()];
        for (change, life) in &self.begun {
            allowed = before.during(change, *life);
            if allowed.contains(&content) {
                break;
            }
            before = allowed.pop().unwrap_or(before);
            allowed = vec![before.clone()];
        }
        if !allowed.contains(&content) {
            return Err(self.differs(&content));
        }
        self.durable = content;
        self.begun.clear();
        Ok(())
    }

    fn differs(&self, found: &Content) -> String {
        let durable = &self.durable;
        let lost = durable
            .entries
            .iter()
            .find(|(index, entry)| found.entries.get(index) != Some(entry));
        format!(
            "promised: purged {:?}, last {:?}, vote {:?}; begun since: {:?}; found: purged {:?}, \
             last {:?}, vote {:?}; the first promised entry that is not as it was: {:?}",
            durable.purged,
            durable.last(),
            durable.vote,
            self.begun,
            found.purged,
            found.last(),
            found.vote,
            lost.map(|(index, (term, _))| (term, index)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(first: u64, count: u64) -> Change {
        Change::Append {
            term: 1,
            first,
            count,
        }
    }

    fn vote(term: u64) -> TestVote {
        TestVote {
            term,
            node: 1,
            committed: false,
        }
    }

    /// Ten entries and a vote, promised.
    fn promised() -> Expect {
        let mut expect = Expect::default();
        expect.begin(Change::Vote(vote(1)), 0);
        expect.begin(append(0, 10), 0);
        expect.durable();
        expect
    }

    fn found(entries: std::ops::Range<u64>, term: u64, purged: Option<At>) -> (Found, Vec<Seen>) {
        let seen: Vec<_> = entries
            .map(|index| Seen {
                at: (1, index),
                life: 0,
            })
            .collect();
        let found = Found {
            purged,
            last: seen.last().map(|seen| seen.at).or(purged),
            vote: Some(vote(term)),
            committed: None,
            unfinished: None,
        };
        (found, seen)
    }

    fn check(expect: &mut Expect, (found, seen): (Found, Vec<Seen>)) -> bool {
        expect.check(&found, &seen).is_ok()
    }

    #[test]
    fn what_was_promised_must_be_there_and_nothing_else() {
        assert!(check(&mut promised(), found(0..10, 1, None)));
        assert!(!check(&mut promised(), found(0..9, 1, None)));
        assert!(!check(&mut promised(), found(0..11, 1, None)));
        assert!(!check(&mut promised(), found(0..10, 2, None)));
        assert!(!check(&mut promised(), found(1..10, 1, Some((1, 0)))));
    }

    #[test]
    fn of_what_was_begun_a_beginning_may_be_there() {
        let begun = || {
            let mut expect = promised();
            expect.begin(append(10, 3), 0);
            expect.begin(Change::Vote(vote(2)), 0);
            expect.begin(Change::Truncate(8), 0);
            expect.begin(Change::Purge((1, 4)), 0);
            expect
        };
        for last in 10..=13 {
            assert!(check(&mut begun(), found(0..last, 1, None)), "{last}");
        }
        for last in 8..=13 {
            assert!(check(&mut begun(), found(0..last, 2, None)), "{last}");
        }
        assert!(!check(&mut begun(), found(0..7, 2, None)));
        assert!(!check(&mut begun(), found(5..13, 2, Some((1, 4)))));
        assert!(check(&mut begun(), found(5..8, 2, Some((1, 4)))));
        // The vote came behind the entries.
        let mut expect = promised();
        expect.begin(append(10, 3), 0);
        expect.begin(Change::Vote(vote(2)), 0);
        assert!(!check(&mut expect, found(0..12, 2, None)));
    }

    #[test]
    fn what_was_shown_once_is_promised() {
        let mut expect = promised();
        expect.begin(append(10, 3), 0);
        assert!(check(&mut expect, found(0..12, 1, None)));
        assert!(!check(&mut expect, found(0..11, 1, None)));
        assert!(check(&mut expect, found(0..12, 1, None)));
    }

    #[test]
    fn an_entry_of_another_life_is_another_entry() {
        let mut expect = promised();
        let (found, mut seen) = found(0..10, 1, None);
        seen[4].life = 1;
        assert!(expect.check(&found, &seen).is_err());
    }
}
