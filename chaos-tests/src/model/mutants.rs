//! Each defect is switched on in turn and must be found.

use std::fmt::Write as _;
use std::time::Duration;

use regency_mutants::{Mutant, select};

use super::campaign::{self, Plan};
use super::run::Found;

/// What became of a defect.
#[derive(Debug)]
pub struct Hunt {
    /// The defect.
    pub mutant: Mutant,
    /// The first seed that broke a rule.
    pub found: Option<Found>,
    /// Histories that were run until then.
    pub n_seeds: u64,
    /// How long it took.
    pub took: Duration,
}

/// Hunts all defects whose name contains `only`, each within the bounds of the plan.
#[must_use]
pub fn run(plan: Plan, only: &str) -> Vec<Hunt> {
    let wanted = Mutant::ALL.iter().filter(|m| m.name().contains(only));
    let hunts = wanted.map(|mutant| {
        select(Some(*mutant));
        let report = campaign::run(plan);
        select(None);
        Hunt {
            mutant: *mutant,
            found: report.found,
            n_seeds: report.n_seeds,
            took: report.took,
        }
    });
    hunts.collect()
}

/// The shrunk history that found the defect.
#[must_use]
pub fn explain(hunt: &Hunt) -> Option<String> {
    let found = hunt.found.as_ref()?;
    select(Some(hunt.mutant));
    let text = campaign::explain(found);
    select(None);
    Some(format!("{}: {text}", hunt.mutant.name()))
}

/// The table for people, as `docs/chaos.md` has it.
#[must_use]
pub fn table(hunts: &[Hunt]) -> String {
    let mut table = String::from("| defect | found by | histories | ms |\n|---|---|---|---|\n");
    for hunt in hunts {
        let by = hunt
            .found
            .as_ref()
            .map_or("NOT FOUND", |found| found.failure.invariant);
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} ({}) | {by} | {} | {} |",
            hunt.mutant.name(),
            hunt.mutant.what().trim_end_matches('.'),
            hunt.n_seeds,
            hunt.took.as_millis(),
        );
    }
    table
}
