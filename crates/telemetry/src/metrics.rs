//! The Prometheus recorder behind the `metrics` facade.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// How often samples of histograms are folded into their buckets when nobody asks for
/// `/metrics`; between two times they only pile up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Upper bounds of the buckets of every histogram whose name ends in `_seconds`.
///
/// From a tenth of a millisecond, where a commit on one machine lies, to half a minute, beyond
/// which a figure is an outage; about three steps to a decade.
pub const SECONDS_BUCKETS: [f64; 17] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

/// Upper bounds of the buckets of every histogram whose name ends in `_bytes`.
const BYTES_BUCKETS: [f64; 9] = [
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    16_777_216.0,
    268_435_456.0,
];

/// Why metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the metrics recorder")]
pub struct MetricsError(#[source] BuildError);

/// What was measured in this process so far.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The body of an answer to `GET /metrics`: Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }
}

/// Collects the metrics of this process from now on.
///
/// There is one recorder in a process: whoever asks first installs it, later callers share it.
///
/// # Errors
/// When the recorder of somebody else is installed already.
pub fn install_metrics() -> Result<Metrics, MetricsError> {
    static INSTALLED: Mutex<Option<Metrics>> = Mutex::new(None);

    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(metrics) = installed.as_ref() {
        return Ok(metrics.clone());
    }
    let handle = builder()
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(MetricsError)?;
    let upkeep = handle.clone();
    // A thread of its own, so that it neither needs a runtime nor stops with one. Without it
    // (no memory for a thread) only the pile of samples grows until the next scrape.
    let spawned = thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                thread::sleep(UPKEEP_INTERVAL);
                upkeep.run_upkeep();
            }
        });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread for the upkeep of metrics");
    }
    Ok(installed.insert(Metrics(handle)).clone())
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .with_recommended_naming(true)
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_rendered_and_seconds_have_buckets() {
        let metrics = install_metrics().expect("nobody else installs one");
        metrics::describe_counter!("regency_test_calls_total", "Calls of the test.");
        metrics::counter!("regency_test_calls_total", "kind" => "good").increment(3);
        metrics::histogram!("regency_test_wait_seconds").record(0.3);
        metrics::gauge!("regency_test_depth").set(2.0);

        let again = install_metrics().expect("the same recorder").render();
        for line in [
            "# HELP regency_test_calls_total Calls of the test.",
            "regency_test_calls_total{kind=\"good\"} 3",
            "regency_test_wait_seconds_bucket{le=\"0.25\"} 0",
            "regency_test_wait_seconds_bucket{le=\"0.5\"} 1",
            "regency_test_wait_seconds_count 1",
            "regency_test_depth 2",
        ] {
            assert!(again.contains(line), "no '{line}' in:\n{again}");
        }
        assert_eq!(again, metrics.render());
    }

    #[test]
    fn bounds_of_buckets_rise() {
        assert!(SECONDS_BUCKETS.is_sorted());
        assert!(BYTES_BUCKETS.is_sorted());
    }
}
