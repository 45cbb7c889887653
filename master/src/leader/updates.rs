//! Sends unacknowledged updates of tasks and operations again, as Mesos' agents do: after 10 s,
//! then twice as long, up to 10 minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regency_state::State;
use regency_types::{OperationKey, TaskKey, UpdateUuid};

use super::Leader;

const PERIOD: Duration = Duration::from_secs(1);
const FIRST_MS: u64 = 10_000;
const MAX_MS: u64 = 600_000;

/// What an update is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Task(TaskKey),
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

struct Retry {
    uuid: UpdateUuid,
    next_ms: u64,
    delay_ms: u64,
}

/// When what is to be sent again.
#[derive(Default)]
struct Retries(BTreeMap<Subject, Retry>);

impl Retries {
    /// Forgets what is acknowledged.
    fn tidy(&mut self, state: &State) {
        self.0
            .retain(|subject, retry| subject.unacked(state) == Some(retry.uuid));
    }

    /// Whether the update is to be sent now.
    fn is_due(&mut self, subject: Subject, uuid: UpdateUuid, now_ms: u64) -> bool {
        let retry = self.0.entry(subject).or_insert(Retry {
            uuid,
            next_ms: now_ms + FIRST_MS,
            delay_ms: FIRST_MS,
        });
        if retry.next_ms > now_ms {
            return false;
        }
        retry.delay_ms = (retry.delay_ms * 2).min(MAX_MS);
        retry.next_ms = now_ms + retry.delay_ms;
        true
    }
}

/// Until the term ends. An update is first seen here at most one period after it was sent.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut retries = Retries::default();
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let now_ms = leader.clock.monotonic_ms();
        let applied = leader.state();
        let state = &applied.state;
        retries.tidy(state);
        for stream in leader.streams.all() {
            let Some(framework) = state.framework(&stream.framework) else {
                continue;
            };
            for operation in state.operations_of(&framework.id) {
                let subject = Subject::Operation(operation.key.clone());
                if retries.is_due(subject, operation.uuid, now_ms) {
                    stream.send_operation(state, &operation.key);
                }
            }
            if framework.n_unacked == 0 {
                continue;
            }
            for task in state.tasks_of(framework) {
                let Some(update) = &task.unacked else {
                    continue;
                };
                if retries.is_due(Subject::Task(task.key.clone()), update.uuid, now_ms) {
                    stream.send_update(state, &task.key);
                }
            }
        }
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
