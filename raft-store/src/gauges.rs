//! How full what is bounded is, told once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::{Limits, LogConfig};
use crate::effects::EffectSink;
use crate::log::LogGauge;
use crate::metrics;

const EVERY: Duration = Duration::from_secs(1);

/// The task that tells.
pub(crate) struct Gauges {
    pub(crate) log: LogGauge,
    pub(crate) effects: EffectSink,
    pub(crate) in_flight: Arc<Semaphore>,
    /// Permits when nothing is in flight, and bytes that one stands for.
    pub(crate) permits: usize,
    pub(crate) permit_bytes: usize,
}

impl Gauges {
    /// Runs for as long as it is polled.
    pub(crate) async fn run(self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            let taken = self
                .permits
                .saturating_sub(self.in_flight.available_permits());
            metrics::in_flight(taken.saturating_mul(self.permit_bytes));
            let (cached_bytes, queued) = self.log.look();
            metrics::log_in_memory(cached_bytes, queued);
            metrics::effect_queue(self.effects.queued());
        }
    }
}

/// Tells the limits themselves; they stay for the life of the process.
pub(crate) fn limits(limits: &Limits, log: &LogConfig) {
    metrics::limits(
        limits.proposal_bytes_max,
        limits.in_flight_bytes_max,
        log.cache_bytes_max,
        crate::log::QUEUE_MAX,
    );
    metrics::feature_level_max(log.feature_level_max);
    metrics::effect_queue_max(limits.effect_batches_max);
}
