//! What is done when: drawn from the seed alone, before anything runs.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::scenario::{Nemesis, Range, Scenario};

/// One fault to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, in milliseconds since the run began. A fault waits for the end of the one before.
    pub at_ms: u64,
    /// What.
    pub nemesis: Nemesis,
    /// For how long.
    pub lasts_ms: u64,
    /// All other choices of it are made with this.
    pub pick: u64,
}

/// All faults of a run.
#[must_use]
pub fn draw(scenario: &Scenario, seed: u64, run_for: Duration) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    // Each once, in some order, those first that are demanded; then by weight.
    let (mut first, mut then): (Vec<_>, Vec<_>) = {
        let demanded = scenario.demanded();
        let all = scenario.nemesis.iter();
        all.partition(|fault| demanded.contains(&fault.kind))
    };
    first.shuffle(&mut rng);
    then.shuffle(&mut rng);
    let mut dealt = first.into_iter().chain(then);
    let weights: u32 = scenario.nemesis.iter().map(|fault| fault.weight).sum();
    let mut steps = Vec::new();
    let mut at = scenario.first_after;
    loop {
        let fault = dealt.next().unwrap_or_else(|| {
            let mut drawn = rng.random_range(0..weights);
            let chosen = scenario.nemesis.iter().find(|fault| {
                let chosen = drawn < fault.weight;
                drawn = drawn.saturating_sub(fault.weight);
                chosen
            });
            chosen.unwrap_or(&scenario.nemesis[0])
        });
        let lasts = within(fault.lasts, &mut rng);
        let pick = rng.random();
        if at + lasts > run_for {
            return steps;
        }
        steps.push(Step {
            at_ms: ms(at),
            nemesis: fault.kind,
            lasts_ms: ms(lasts),
            pick,
        });
        // Never quite 0, so that it ends.
        at += lasts + within(scenario.between, &mut rng) + Duration::from_millis(1);
    }
}

fn within(range: Range, rng: &mut StdRng) -> Duration {
    Duration::from_millis(rng.random_range(ms(range.min)..=ms(range.max)))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_steps_and_another_one_others() {
        let mixed = Scenario::find("mixed").expect("a scenario");
        let minutes = Duration::from_secs(300);
        assert_eq!(draw(&mixed, 1, minutes), draw(&mixed, 1, minutes));
        assert_ne!(draw(&mixed, 1, minutes), draw(&mixed, 2, minutes));
    }

    #[test]
    fn what_is_demanded_comes_first_and_all_is_over_in_time() {
        for scenario in Scenario::embedded().expect("scenarios") {
            let run_for = Duration::from_secs(600);
            let steps = draw(&scenario, 7, run_for);
            let demanded = scenario.demanded();
            let mut first: Vec<_> = steps[..demanded.len()].iter().map(|s| s.nemesis).collect();
            first.sort();
            let mut expected = demanded.clone();
            expected.sort();
            assert_eq!(first, expected, "{}", scenario.name);
            let ends = steps.iter().map(|step| step.at_ms + step.lasts_ms);
            assert!(ends.max() <= Some(600_000), "{}", scenario.name);
            assert!(steps.is_sorted_by_key(|step| step.at_ms));
        }
    }
}
