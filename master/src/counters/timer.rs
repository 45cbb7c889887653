//! How long something took, over the last times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many times are remembered.
const SAMPLES_MAX: usize = 1_000;

/// Percentiles with their keys.
const PERCENTILES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
];

/// Allocations, without their commits.
pub(crate) static ALLOCATION_RUN: Timer = Timer {
    samples_ms: Mutex::new(VecDeque::new()),
};

/// The last times of something, in milliseconds.
#[derive(Debug)]
pub(crate) struct Timer {
    samples_ms: Mutex<VecDeque<f64>>,
}

impl Timer {
    /// Notes a time.
    pub(crate) fn record(&self, took: Duration) {
        let mut samples = self
            .samples_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(took.as_secs_f64() * 1_000.0);
    }

    /// The last time and what can be said of those before it; nothing before there was one.
    pub(super) fn write(&self, key: &str, keys: &mut BTreeMap<String, f64>) {
        let samples = self
            .samples_ms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(last) = samples.back().copied() else {
            return;
        };
        let mut sorted: Vec<f64> = samples.iter().copied().collect();
        drop(samples);
        sorted.sort_by(f64::total_cmp);
        keys.insert(key.to_owned(), last);
        let mut set = |name: &str, value: f64| keys.insert(format!("{key}/{name}"), value);
        set("count", sorted.len() as f64);
        set("min", sorted[0]);
        set("max", sorted[sorted.len() - 1]);
        for (name, share) in PERCENTILES {
            let at = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            set(name, below + (above - below) * at.fract());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_times() {
        let timer = Timer {
            samples_ms: Mutex::default(),
        };
        let mut keys = BTreeMap::new();
        timer.write("t_ms", &mut keys);
        assert!(keys.is_empty());
        for ms in 0..=1_100 {
            timer.record(Duration::from_millis(ms));
        }
        timer.write("t_ms", &mut keys);
        for (key, value) in [
            ("t_ms", 1_100.0),
            ("t_ms/count", 1_000.0),
            ("t_ms/min", 101.0),
            ("t_ms/max", 1_100.0),
            ("t_ms/p50", 600.5),
        ] {
            assert_eq!(keys[key], value, "{key}");
        }
        assert!(keys["t_ms/p99"] > keys["t_ms/p95"]);
    }
}
