//! The fast model run, a short one. `REGENCY_MODEL_SEEDS` and `REGENCY_MODEL_FROM` set another number
//! of histories and another first seed; the program `model` has more of that.

use std::time::Duration;

use regency_chaos_tests::model::{N_STEPS_MAX, campaign, history, trace_of};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn plan(n_seeds: u64, seconds_max: u64) -> campaign::Plan {
    campaign::Plan {
        from: setting("REGENCY_MODEL_FROM", 0),
        n_seeds: setting("REGENCY_MODEL_SEEDS", n_seeds),
        n_threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        time_max: Duration::from_secs(seconds_max),
    }
}

#[cfg(not(feature = "mutants"))]
#[test]
fn histories_of_failures_keep_every_rule_and_heal() {
    // Enough that every fault strikes, and a few seconds.
    let report = campaign::run(plan(5_000, u64::MAX));
    if let Some(found) = &report.found {
        panic!("{}", campaign::explain(found));
    }
    let missing = report.coverage.missing();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

// With mutants, the defect that another test has switched on may come and go between the two runs.
#[cfg(not(feature = "mutants"))]
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let ops = history(seed, N_STEPS_MAX);
        let trace = trace_of(seed, &ops);
        assert!(trace.len() > ops.len());
        assert_eq!(trace, trace_of(seed, &history(seed, N_STEPS_MAX)));
    }
}

/// One test for all of it: the defect that is switched on is switched on for all threads.
#[cfg(feature = "mutants")]
#[test]
fn every_defect_is_found_and_its_history_shrunk() {
    use regency_chaos_tests::model::{mutants, shrink};
    use regency_mutants::{Mutant, select};

    let hunts = mutants::run(plan(50_000, 60), "");
    assert!(hunts.len() >= 30);
    assert!(
        hunts.iter().all(|hunt| hunt.found.is_some()),
        "{}",
        mutants::table(&hunts)
    );

    let hunt = &hunts[Mutant::ForgetKill as usize];
    let found = hunt.found.as_ref().expect("all were found");
    select(Some(hunt.mutant));
    let ops = history(found.seed, N_STEPS_MAX);
    let kept = shrink(found.seed, &ops, found.failure.invariant);
    let trace = trace_of(found.seed, &kept);
    select(None);
    assert!(
        kept.len() < ops.len() / 2,
        "{} of {}",
        kept.len(),
        ops.len()
    );
    let last = trace.last().expect("a trace says something");
    assert!(last.contains(found.failure.invariant), "{last}");
}
