//! How long something took, by Mesos' keys.

use std::collections::BTreeMap;

use regency_telemetry::LastTimes;

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
pub(crate) static ALLOCATION_RUN: LastTimes = LastTimes::new();
/// From the wish for an allocation to its start.
pub(crate) static ALLOCATION_RUN_LATENCY: LastTimes = LastTimes::new();

/// What is timed, with its key. What Mesos stores in its registry is committed here.
static TIMED: [(&str, &LastTimes); 3] = [
    ("allocator/mesos/allocation_run_ms", &ALLOCATION_RUN),
    (
        "allocator/mesos/allocation_run_latency_ms",
        &ALLOCATION_RUN_LATENCY,
    ),
    (
        "registrar/state_store_ms",
        &regency_raft_store::metrics::LAST_COMMITS,
    ),
];

/// All that is timed; nothing of what never happened.
pub(super) fn write_all(keys: &mut BTreeMap<String, f64>) {
    for (key, times) in &TIMED {
        write(key, times.in_ms(), keys);
    }
}

/// The last time and what can be said of those before it.
fn write(key: &str, mut ms: Vec<f64>, keys: &mut BTreeMap<String, f64>) {
    let Some(last) = ms.last().copied() else {
        return;
    };
    ms.sort_by(f64::total_cmp);
    keys.insert(key.to_owned(), last);
    let mut set = |name: &str, value: f64| keys.insert(format!("{key}/{name}"), value);
    set("count", ms.len() as f64);
    set("min", ms[0]);
    set("max", ms[ms.len() - 1]);
    for (name, share) in PERCENTILES {
        let at = share * (ms.len() - 1) as f64;
        let (below, above) = (ms[at.floor() as usize], ms[at.ceil() as usize]);
        set(name, below + (above - below) * at.fract());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_between_the_least_and_the_most() {
        let mut keys = BTreeMap::new();
        write("t_ms", Vec::new(), &mut keys);
        assert!(keys.is_empty());
        let ms: Vec<f64> = (101..=1_100).rev().map(f64::from).collect();
        write("t_ms", ms, &mut keys);
        for (key, value) in [
            ("t_ms", 101.0),
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
