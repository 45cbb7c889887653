//! Delays between attempts: doubling, bounded, and spread by chance.
//!
//! Chance matters more than doubling: when a master dies, everything that was connected to it
//! fails in the same millisecond, and without jitter would come back in the same millisecond too.

use std::time::Duration;

use rand::Rng;

/// An endless series of delays. Each is drawn evenly from the upper half of its step, and the
/// steps double from `first` up to `max`: with 20 ms and 500 ms the steps are
/// 20, 40, 80, 160, 320, 500, 500 …
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// A series that has not failed yet. `max` below `first` counts as `first`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max: max.max(first),
            attempt: 0,
        }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let step = self.step();
        self.attempt = self.attempt.saturating_add(1);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Waits for [`Self::next_delay`].
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Starts again at the first step; to be called after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// How many delays were given since the last success.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    fn step(&self) -> Duration {
        let doubled = 2u32
            .checked_pow(self.attempt)
            .and_then(|factor| self.first.checked_mul(factor));
        doubled.map_or(self.max, |delay| delay.min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_in_the_upper_half_of_their_step() {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
        for step_ms in [20u64, 40, 80, 160, 320, 500, 500] {
            let delay = backoff.next_delay();
            assert!(delay >= Duration::from_millis(step_ms / 2), "{delay:?}");
            assert!(delay <= Duration::from_millis(step_ms), "{delay:?}");
        }
        assert_eq!(backoff.attempts(), 7);
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(20));
    }

    #[test]
    fn a_long_series_neither_overflows_nor_exceeds_its_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_millis(1));
        for _ in 0..100 {
            assert!(backoff.next_delay() <= Duration::from_secs(1));
        }
    }
}
