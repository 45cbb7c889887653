//! How long something took, over the last times.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many times are remembered.
const TIMES_MAX: usize = 1_000;

/// The last times of something: what a histogram of Prometheus cannot tell, because it has buckets
/// and forgets nothing.
#[derive(Debug)]
pub struct LastTimes {
    ms: Mutex<VecDeque<f64>>,
}

impl LastTimes {
    /// None yet.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "made for statics, which have no use for a default"
    )]
    pub const fn new() -> Self {
        Self {
            ms: Mutex::new(VecDeque::new()),
        }
    }

    /// Notes a time.
    pub fn record(&self, took: Duration) {
        let mut times = self.ms.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() == TIMES_MAX {
            times.pop_front();
        }
        times.push_back(took.as_secs_f64() * 1_000.0);
    }

    /// In milliseconds, the oldest first.
    #[must_use]
    pub fn in_ms(&self) -> Vec<f64> {
        let times = self.ms.lock().unwrap_or_else(PoisonError::into_inner);
        times.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let times = LastTimes::new();
        assert!(times.in_ms().is_empty());
        for ms in 0..=1_100 {
            times.record(Duration::from_millis(ms));
        }
        let ms = times.in_ms();
        assert_eq!((ms.len(), ms[0], ms[999]), (1_000, 101.0, 1_100.0));
    }
}
