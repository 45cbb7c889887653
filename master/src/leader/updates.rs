//! Sends unacknowledged updates of tasks and operations again; when is decided by
//! [`regency_leader_core::retries`].

use std::sync::Arc;
use std::time::Duration;

use regency_leader_core::retries::{Retries, Subject};

use super::Leader;

const PERIOD: Duration = Duration::from_secs(1);

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
