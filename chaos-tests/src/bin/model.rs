//! The fast model run from the command line: see `docs/chaos.md`.

#![allow(
    clippy::print_stdout,
    reason = "it is a program for people at a terminal"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use regency_chaos_tests::model::campaign::{self, Plan};
use regency_chaos_tests::model::{history, trace_of};

/// Runs histories of failures through the state, the allocator, the leader's decisions and the
/// agents' machines.
#[derive(Debug, Parser)]
struct Flags {
    /// How many histories.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// On how many threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Ends after so many seconds, however many histories were run.
    #[arg(long)]
    seconds_max: Option<u64>,
    /// Prints everything that happens in the history of the first seed; with --mutants the shrunk history
    /// that found each defect.
    #[arg(long)]
    trace: bool,
    /// Switches each defect on in turn, and tells what found it. Needs the feature `mutants`.
    #[arg(long)]
    mutants: bool,
    /// Only the defects whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let plan = Plan {
        from: flags.from,
        n_seeds: flags.seeds,
        n_threads: flags.threads,
        time_max: flags.seconds_max.map_or(Duration::MAX, Duration::from_secs),
    };
    if flags.mutants {
        return try_mutants(plan, &flags.only, flags.trace);
    }
    if flags.trace {
        let ops = history(flags.from, regency_chaos_tests::model::N_STEPS_MAX);
        println!("{}", trace_of(flags.from, &ops).join("\n"));
        return ExitCode::SUCCESS;
    }
    run(plan)
}

fn run(plan: Plan) -> ExitCode {
    let report = campaign::run(plan);
    if let Some(found) = &report.found {
        println!("{}", campaign::explain(found));
        return ExitCode::FAILURE;
    }
    print!("{}", report.coverage);
    let seconds = report.took.as_secs_f64();
    println!(
        "{} histories with {} entries in {seconds:.1} s, {:.0} histories per second on {} threads; \
         no rule was broken",
        report.n_seeds,
        report.n_entries,
        report.n_seeds as f64 / seconds,
        plan.n_threads,
    );
    let missing = report.coverage.missing();
    if missing.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("but this never happened, so that the run is void:");
    for fault in missing {
        println!("  {}", fault.what());
    }
    ExitCode::FAILURE
}

#[cfg(feature = "mutants")]
fn try_mutants(plan: Plan, only: &str, traced: bool) -> ExitCode {
    use regency_chaos_tests::model::mutants;
    let results = mutants::run(plan, only);
    if traced {
        for text in results.iter().filter_map(mutants::explain) {
            println!("{text}\n");
        }
    }
    print!("{}", mutants::table(&results));
    let missed = results.iter().filter(|r| r.found.is_none()).count();
    println!(
        "{} of {} defects were found",
        results.len() - missed,
        results.len()
    );
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(not(feature = "mutants"))]
fn try_mutants(_plan: Plan, _only: &str, _traced: bool) -> ExitCode {
    println!("this program was built without the feature `mutants`");
    ExitCode::FAILURE
}
