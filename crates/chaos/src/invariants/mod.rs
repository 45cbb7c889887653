//! The promises, one file each, checked on what was recorded.
//!
//! Each says how many facts it looked at: one that looked at nothing has not been tried.

mod crashes;
mod i01_launches;
mod i02_offers;
mod i04_updates;
mod i10_answered_writes;
mod i11_stale_reads;
mod i12_event_streams;
mod i13_digests;
mod i16_healing;
mod i17_damage;
mod linearizability;

use serde::{Deserialize, Serialize};

use crate::history::History;

/// How many violations of a promise are told; the rest is counted.
const TOLD_MAX: usize = 20;

/// How a promise was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its short name.
    pub id: String,
    /// What is promised.
    pub promise: String,
    /// How many facts were looked at.
    pub checked: u64,
    /// How many of them break it.
    pub n_violations: u64,
    /// The first of them.
    pub violations: Vec<String>,
    /// Why the checker has no answer, which is its fault and not the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<String>,
}

impl Verdict {
    fn new(id: &str, promise: &str) -> Self {
        Self {
            id: id.to_owned(),
            promise: promise.to_owned(),
            checked: 0,
            n_violations: 0,
            violations: Vec::new(),
            undecided: None,
        }
    }

    /// Notes that a fact was looked at.
    fn look(&mut self) {
        self.checked += 1;
    }

    /// Notes one that breaks the promise.
    fn broken(&mut self, how: String) {
        self.n_violations += 1;
        if self.violations.len() < TOLD_MAX {
            self.violations.push(how);
        }
    }

    /// Whether nothing was found, though something was looked at.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checked > 0 && self.n_violations == 0 && self.undecided.is_none()
    }
}

/// Checks all of them.
#[must_use]
pub fn judge(history: &History) -> Vec<Verdict> {
    vec![
        i01_launches::check(history),
        i02_offers::check(history),
        i04_updates::check(history),
        i10_answered_writes::check(history),
        linearizability::check(history),
        i11_stale_reads::check(history),
        i12_event_streams::check(history),
        i13_digests::check(history),
        i16_healing::check(history),
        i17_damage::check(history),
        crashes::check(history),
    ]
}

/// Histories made by hand.
#[cfg(test)]
pub(crate) mod made {
    use crate::history::{Call, FrameworkEvent, Happened, History, Operation, Outcome};

    pub(crate) fn operation(from_us: u64, to_us: u64, call: Call, outcome: Outcome) -> Operation {
        Operation {
            client: 0,
            key: "k".to_owned(),
            call,
            master: 1,
            from_us,
            to_us,
            outcome,
        }
    }

    pub(crate) fn write(from_us: u64, to_us: u64, value: u64) -> Operation {
        operation(from_us, to_us, Call::Write(value), Outcome::Written)
    }

    pub(crate) fn unknown(from_us: u64, to_us: u64, value: u64) -> Operation {
        operation(from_us, to_us, Call::Write(value), Outcome::Unknown)
    }

    pub(crate) fn told(value: Option<u64>, index: u64) -> Outcome {
        Outcome::Told {
            value,
            index,
            digest: value.unwrap_or_default(),
            start: Some(0),
        }
    }

    pub(crate) fn read(from_us: u64, to_us: u64, value: Option<u64>) -> Operation {
        operation(from_us, to_us, Call::Read, told(value, 0))
    }

    pub(crate) fn framework(events: impl IntoIterator<Item = Happened>) -> History {
        let events = events.into_iter().zip(0..);
        History {
            framework: events
                .map(|(what, at_us)| FrameworkEvent { at_us, what })
                .collect(),
            ..History::default()
        }
    }

    pub(crate) fn launched(task: &str, offer: &str, spent: bool) -> [Happened; 2] {
        [
            Happened::Launching {
                task: task.to_owned(),
                offer: offer.to_owned(),
                spent,
            },
            Happened::Launched {
                task: task.to_owned(),
            },
        ]
    }

    pub(crate) fn updated(task: &str, state: &str, uuid: &str) -> Happened {
        Happened::Updated {
            task: task.to_owned(),
            state: state.to_owned(),
            terminal: !matches!(state, "TASK_STARTING" | "TASK_RUNNING" | "TASK_UNREACHABLE"),
            uuid: uuid.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_in_which_nothing_happened_proves_nothing() {
        for verdict in judge(&History::default()) {
            // That nothing healed, and that nothing crashed, are facts.
            if !["I16", "crashes"].contains(&verdict.id.as_str()) {
                assert!(!verdict.holds(), "{verdict:?}");
            }
            assert_eq!(verdict.n_violations > 0, verdict.id == "I16", "{verdict:?}");
        }
    }
}
