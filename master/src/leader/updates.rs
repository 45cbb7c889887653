//! Sends unacknowledged updates again, as Mesos' agents do: after 10 s, then twice as long, up
//! to 10 minutes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regency_types::{TaskKey, UpdateUuid};

use super::Leader;

const PERIOD: Duration = Duration::from_secs(1);
const FIRST_MS: u64 = 10_000;
const MAX_MS: u64 = 600_000;

struct Retry {
    uuid: UpdateUuid,
    next_ms: u64,
    delay_ms: u64,
}

/// Until the term ends. An update is first seen here at most one period after it was sent.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut retries: BTreeMap<TaskKey, Retry> = BTreeMap::new();
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let now_ms = leader.clock.monotonic_ms();
        let applied = leader.state();
        let state = &applied.state;
        retries.retain(|key, retry| {
            state
                .task(key)
                .and_then(|t| t.unacked.as_ref())
                .is_some_and(|update| update.uuid == retry.uuid)
        });
        for stream in leader.streams.all() {
            let Some(framework) = state.framework(&stream.framework) else {
                continue;
            };
            if framework.n_unacked == 0 {
                continue;
            }
            for task in state.tasks_of(framework) {
                let Some(update) = &task.unacked else {
                    continue;
                };
                let retry = retries.entry(task.key.clone()).or_insert(Retry {
                    uuid: update.uuid,
                    next_ms: now_ms + FIRST_MS,
                    delay_ms: FIRST_MS,
                });
                if retry.next_ms <= now_ms {
                    stream.send_update(state, &task.key);
                    retry.delay_ms = (retry.delay_ms * 2).min(MAX_MS);
                    retry.next_ms = now_ms + retry.delay_ms;
                }
            }
        }
    }
}
