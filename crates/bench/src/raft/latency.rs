//! Distributions of latencies.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies as they are taken: from 1 us to an hour, within 0.1 %.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

const LOWEST_US: u64 = 1;
const HIGHEST_US: u64 = 3_600_000_000;

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_US, HIGHEST_US, 3);
        Self(histogram.expect("the bounds are in order and three digits are possible"))
    }

    /// Adds one. What is out of bounds counts as the bound.
    pub(crate) fn record(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us.max(LOWEST_US));
    }

    /// Adds all of another distribution.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("both have the same bounds and digits");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// What is shown of it.
    pub(crate) fn summary(&self) -> Latency {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / 1000.0;
        Latency {
            n: self.0.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            max_ms: self.0.max() as f64 / 1000.0,
        }
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        let mut all = Self::new();
        for latency in latencies {
            all.record(latency);
        }
        all
    }
}

/// A distribution in five numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Latency {
    pub(crate) n: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {} ms, p90 {} ms, p99 {} ms, max {} ms",
            ms(self.p50_ms),
            ms(self.p90_ms),
            ms(self.p99_ms),
            ms(self.max_ms)
        )
    }
}

/// Milliseconds with three digits that say something.
pub(crate) fn ms(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// The median of some numbers, the lower of the middle two; not a number when there are none.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len().saturating_sub(1) / 2;
    numbers.get(middle).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_a_number_that_occurred() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([2.0, 1.0]), 1.0);
        assert_eq!(median([2.0, f64::INFINITY, 1.0]), 2.0);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_distribution_is_read_within_a_thousandth() {
        let latencies: Latencies = (1..=1000).map(Duration::from_millis).collect();
        let Latency {
            n,
            p50_ms,
            p90_ms,
            p99_ms,
            max_ms,
        } = latencies.summary();
        assert_eq!(n, 1000);
        for (found, wanted) in [
            (p50_ms, 500.0),
            (p90_ms, 900.0),
            (p99_ms, 990.0),
            (max_ms, 1000.0),
        ] {
            assert!(
                (found - wanted).abs() <= wanted / 1000.0,
                "{found} {wanted}"
            );
        }
    }
}
