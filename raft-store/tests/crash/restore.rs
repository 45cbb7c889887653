//! Leaders that die between sending entries and making them durable, and come back at once.
//!
//! A leader counts on its followers before its own disk. If it went on leading its old term after a
//! restart, with a log that lacks what it had sent, it would put other entries in the place of
//! committed ones.

use std::path::Path;
use std::time::Duration;

use regency_testkit::Rng;

use crate::masters::{Heard, Masters};
use crate::member::Arm;

/// What a restarted process must be there within.
const AT_ONCE: Duration = Duration::from_millis(20);
/// Restarts before everything begins anew, with empty directories.
const ROUND: usize = 50;
const MASTERS: usize = 3;

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// How long it took from the end of a leader to its next start.
    pub(crate) restarts: Vec<Duration>,
    pub(crate) acknowledged: usize,
}

impl Tally {
    /// Restarts that took longer than they should: they count, but prove less.
    pub(crate) fn late(&self) -> usize {
        self.restarts.iter().filter(|took| **took > AT_ONCE).count()
    }
}

/// Goes on until so many leaders died and came back.
pub(crate) fn run(engine: &str, rng: &mut Rng, restarts: usize) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    while tally.restarts.len() < restarts {
        let dir = tempfile::tempdir()?;
        let round = (restarts - tally.restarts.len()).min(ROUND);
        if let Err(error) = one_round(dir.path(), engine, rng, round, &mut tally) {
            return Err(error.context(format!("see {}", dir.keep().display())));
        }
    }
    Ok(tally)
}

fn one_round(
    dir: &Path,
    engine: &str,
    rng: &mut Rng,
    restarts: usize,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let masters = Masters::new(dir, MASTERS, engine)?;
    for i in 0..MASTERS {
        masters.start(i, None, true)?;
    }
    let leaders = |heard: &Heard| heard.restarts.iter().filter(|restart| restart.led).count();
    while masters.look(leaders) < restarts {
        masters.more_writes(1)?;
        let leader = masters.look(|heard| heard.nodes.iter().position(|node| node.leads));
        let Some(leader) = leader else { continue };
        let arm = Arm {
            point: "log.sync".to_owned(),
            nth: rng.below(6) + 1,
            // Time for the entries to get to the others, and for these to answer.
            pause_us: rng.below(10_000),
        };
        let before = masters.look(|heard| heard.restarts.len());
        if masters.arm(leader, &arm) {
            masters.until("the master died and is back", |heard| {
                heard.restarts.len() > before && heard.nodes[leader].started
            })?;
        }
    }
    masters.settle()?;
    masters.look(|heard| {
        let leaders = heard.restarts.iter().filter(|restart| restart.led);
        tally.restarts.extend(leaders.map(|restart| restart.took));
        tally.acknowledged += heard.acknowledged.len();
    });
    Ok(())
}
