//! When unacknowledged updates of tasks and operations are sent again, as Mesos' agents do: after
//! 10 s, then twice as long, up to 10 minutes.

use std::collections::BTreeMap;

use regency_mutants::{Mutant, on};
use regency_state::State;
use regency_types::{OperationKey, TaskKey, UpdateUuid};

/// Until an update is sent for the second time.
const FIRST_MS: u64 = 10_000;
/// The longest between two times.
const MAX_MS: u64 = 600_000;

/// What an update is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A task.
    Task(TaskKey),
    /// An operation.
    Operation(OperationKey),
}

impl Subject {
    /// Its update that waits for an acknowledgement.
    fn unacked(&self, state: &State) -> Option<UpdateUuid> {
        match self {
            Self::Task(key) => Some(state.task(key)?.unacked.as_ref()?.uuid),
            Self::Operation(key) => Some(state.operation(key)?.uuid),
        }
    }
}

#[derive(Debug)]
struct Retry {
    uuid: UpdateUuid,
    next_ms: u64,
    delay_ms: u64,
}

/// When what is to be sent again.
#[derive(Debug, Default)]
pub struct Retries(BTreeMap<Subject, Retry>);

impl Retries {
    /// Forgets what is acknowledged.
    pub fn tidy(&mut self, state: &State) {
        self.0
            .retain(|subject, retry| subject.unacked(state) == Some(retry.uuid));
    }

    /// Whether the update is to be sent now.
    pub fn is_due(&mut self, subject: Subject, uuid: UpdateUuid, now_ms: u64) -> bool {
        let retry = self.0.entry(subject).or_insert(Retry {
            uuid,
            next_ms: now_ms + FIRST_MS,
            delay_ms: FIRST_MS,
        });
        if retry.next_ms > now_ms || on(Mutant::NoRetries) {
            return false;
        }
        retry.delay_ms = (retry.delay_ms * 2).min(MAX_MS);
        retry.next_ms = now_ms + retry.delay_ms;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_sent_again_after_ten_seconds_and_then_ever_more_seldom() {
        let mut retries = Retries::default();
        let key = OperationKey {
            framework: regency_types::FrameworkId::new("f").expect("valid"),
            operation: regency_types::OperationId::new("o").expect("valid"),
        };
        let sent: Vec<u64> = (0..100)
            .filter(|seconds| {
                let subject = Subject::Operation(key.clone());
                retries.is_due(subject, UpdateUuid(1), seconds * 1000)
            })
            .collect();
        assert_eq!(sent, [10, 30, 70]);
        retries.tidy(&State::default());
        assert!(retries.0.is_empty());
    }
}
