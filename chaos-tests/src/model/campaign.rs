//! Many histories, on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::coverage::Coverage;
use super::op::history;
use super::run::{Found, N_STEPS_MAX, run_seed, trace_of};
use super::shrink::shrink;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The first seed.
    pub from: u64,
    /// How many seeds.
    pub n_seeds: u64,
    /// On how many threads.
    pub n_threads: usize,
    /// For how long at most.
    pub time_max: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Histories that were run.
    pub n_seeds: u64,
    /// Entries that were committed in them.
    pub n_entries: u64,
    /// How often each fault struck.
    pub coverage: Coverage,
    /// The first seed that failed.
    pub found: Option<Found>,
    /// How long it took.
    pub took: Duration,
}

/// Runs histories until one fails or the plan is done.
#[must_use]
pub fn run(plan: Plan) -> Report {
    let started = Instant::now();
    let next = AtomicU64::new(plan.from);
    let end = plan.from.saturating_add(plan.n_seeds);
    let report = Mutex::new(Report {
        n_seeds: 0,
        n_entries: 0,
        coverage: Coverage::default(),
        found: None,
        took: Duration::ZERO,
    });
    std::thread::scope(|scope| {
        for _ in 0..plan.n_threads.max(1) {
            scope.spawn(|| work(&next, end, plan.time_max, started, &report));
        }
    });
    let mut report = report.into_inner().expect("no thread panicked");
    report.took = started.elapsed();
    report
}

fn work(next: &AtomicU64, end: u64, time_max: Duration, started: Instant, report: &Mutex<Report>) {
    let (mut n_seeds, mut n_entries) = (0, 0);
    let mut coverage = Coverage::default();
    while started.elapsed() < time_max {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        let outcome = run_seed(seed);
        n_seeds += 1;
        n_entries += outcome.n_entries;
        coverage.add(&outcome.coverage);
        if let Some(failure) = outcome.failure {
            // The others stop, too.
            next.store(end, Ordering::Relaxed);
            let mut report = report.lock().expect("no thread panicked");
            if report.found.as_ref().is_none_or(|found| seed < found.seed) {
                report.found = Some(Found { seed, failure });
            }
            break;
        }
    }
    let mut report = report.lock().expect("no thread panicked");
    report.n_seeds += n_seeds;
    report.n_entries += n_entries;
    report.coverage.add(&coverage);
}

/// What people need of a seed that failed: the line that runs it again, and a shrunk trace.
#[must_use]
pub fn explain(found: &Found) -> String {
    let ops = history(found.seed, N_STEPS_MAX);
    let kept = shrink(found.seed, &ops, found.failure.invariant);
    let trace = trace_of(found.seed, &kept).join("\n");
    format!(
        "seed {} breaks {}: {}\n\nagain: cargo run -p regency-chaos-tests --bin model -- --from {} \
         --seeds 1\n\n{} of its {} steps are enough:\n{trace}",
        found.seed,
        found.failure.invariant,
        found.failure.what,
        found.seed,
        kept.len(),
        ops.len(),
    )
}
