//! Masters on a simulated clock, network and disk: see `docs/chaos.md`.
//!
//! The consensus library, the log with its segment files, the state machine, snapshots and the calls between
//! masters are those of the program. One thread runs all of them. [`fault`] is what goes wrong, [`world`] lets it,
//! [`master`] is a host, [`record`] knows what must hold, [`machine`] is clock and chance, and [`run`] starts a
//! process for each seed.

#![allow(
    clippy::print_stdout,
    reason = "it is a program for people at a terminal"
)]

mod coverage;
mod fault;
mod machine;
mod master;
mod record;
mod run;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use regency_raft_store::simulation::Lies;

use crate::coverage::Coverage;
use crate::run::Outcome;
use crate::world::Options;

/// Runs three masters through failures, on a simulated clock, network and disk.
#[derive(Debug, Parser)]
struct Flags {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many at once.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Starts no further seed after so many seconds.
    #[arg(long)]
    seconds_max: Option<u64>,
    /// Prints everything that happens with the first seed.
    #[arg(long)]
    trace: bool,
    /// Leaves out this fault of each seed, counted from 0.
    #[arg(long)]
    without: Vec<usize>,
    /// What disks say is durable and make not so: entries of the log, as if a sync was forgotten, or
    /// everything. Must be found.
    #[arg(long)]
    lies: Option<About>,
    /// Does not look for the faults that are enough to break a rule.
    #[arg(long)]
    no_shrink: bool,
    /// Prints what came of the first seed, for programs.
    #[arg(long, hide = true)]
    one: bool,
}

/// What a lie is about.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum About {
    Entries,
    Everything,
}

fn main() -> anyhow::Result<ExitCode> {
    let flags = Flags::parse();
    let options = Options {
        lies: match flags.lies {
            None => Lies::Nothing,
            Some(About::Entries) => Lies::Entries,
            Some(About::Everything) => Lies::Everything,
        },
    };
    if flags.one || flags.trace {
        if flags.trace {
            tracing_subscriber::fmt()
                .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
                .with_writer(std::io::stderr)
                .init();
        }
        let outcome = run::here(flags.from, &flags.without, options)?;
        if flags.one {
            println!("{}", serde_json::to_string(&outcome)?);
        } else {
            println!("{}", outcome.trace.join("\n"));
            println!("fingerprint {:016x}", outcome.fingerprint);
        }
        return Ok(ExitCode::SUCCESS);
    }
    campaign(&flags, options)
}

/// What came of many runs.
#[derive(Default)]
struct Report {
    n_seeds: u64,
    simulated_ms: u64,
    answered: u64,
    coverage: Coverage,
    found: Option<(u64, Outcome)>,
    trouble: Option<anyhow::Error>,
}

fn campaign(flags: &Flags, options: Options) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let report = run_seeds(flags, options, begun);
    if let Some(trouble) = report.trouble {
        return Err(trouble);
    }
    if let Some((seed, outcome)) = report.found {
        explain(seed, &outcome, flags, options)?;
        return Ok(ExitCode::FAILURE);
    }
    print!("{}", report.coverage);
    println!(
        "{} seeds, {:.0} simulated seconds, {} writes were answered, in {:.1} s; no rule was broken",
        report.n_seeds,
        report.simulated_ms as f64 / 1000.0,
        report.answered,
        begun.elapsed().as_secs_f64(),
    );
    let missing = report.coverage.missing();
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("but this never happened, so that the run is void:");
    missing.iter().for_each(|what| println!("  {what}"));
    Ok(ExitCode::FAILURE)
}

fn run_seeds(flags: &Flags, options: Options, begun: Instant) -> Report {
    let time_max = flags.seconds_max.map_or(Duration::MAX, Duration::from_secs);
    let next = AtomicU64::new(flags.from);
    let end = flags.from.saturating_add(flags.seeds);
    let report = Mutex::new(Report::default());
    let work = || {
        while begun.elapsed() < time_max {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            let outcome = run::apart(seed, &flags.without, options);
            let mut report = report.lock().unwrap_or_else(|e| e.into_inner());
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(trouble) => {
                    report.trouble.get_or_insert(trouble);
                    next.store(end, Ordering::Relaxed);
                    return;
                }
            };
            report.n_seeds += 1;
            report.simulated_ms += outcome.simulated_ms;
            report.answered += outcome.answered;
            report.coverage.join(&outcome.coverage());
            let first = report.found.as_ref().is_none_or(|(found, _)| seed < *found);
            if outcome.violation.is_some() {
                next.store(end, Ordering::Relaxed);
                if first {
                    report.found = Some((seed, outcome));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..flags.threads.max(1) {
            scope.spawn(work);
        }
    });
    report.into_inner().unwrap_or_else(|e| e.into_inner())
}

/// Tells what broke a rule, how to run it again, and which faults are enough.
fn explain(seed: u64, outcome: &Outcome, flags: &Flags, options: Options) -> anyhow::Result<()> {
    let Some((rule, what)) = &outcome.violation else {
        return Ok(());
    };
    let lie = run::told(options.lies).map_or_else(String::new, |lies| format!(" --lies {lies}"));
    println!("seed {seed} breaks {rule}: {what}\n");
    println!("again: cargo run -p regency-sim -- --from {seed} --seeds 1{lie}\n");
    if flags.no_shrink {
        return Ok(());
    }
    let without = run::shrink(seed, rule, options)?;
    let kept = run::steps(seed, &without);
    println!(
        "{} of its {} faults are enough:",
        kept.len(),
        kept.len() + without.len()
    );
    kept.iter().for_each(|step| println!("{step}"));
    println!();
    println!("{}", run::apart(seed, &without, options)?.trace.join("\n"));
    Ok(())
}
