//! Masters that are killed between the steps of everything durable, under a steady load.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use regency_testkit::Rng;

use crate::masters::{Heard, Masters};
use crate::member::Arm;

/// Reached again and again by any master under load, with any engine.
const STEADY: [&str; 12] = [
    "log.append",
    "log.sync",
    "log.synced",
    "log.purge",
    "log.purged",
    "meta.slot.write",
    "meta.slot.written",
    "meta.slot.synced",
    "snapshot.write.begun",
    "snapshot.write.written",
    "snapshot.write.synced",
    "snapshot.renamed",
];
/// As well, but seldom.
const SELDOM: [&str; 2] = ["snapshot.placed", "snapshot.old.removed"];
const STEADY_SLED: [&str; 6] = [
    "sled.sync.key",
    "sled.sync.applied",
    "sled.sync.flushed",
    "sled.sync.done",
    "sled.purge.marked",
    "sled.removed",
];
const STEADY_SEGMENT: [&str; 7] = [
    "segment.append.written",
    "segment.append.synced",
    "segment.create.written",
    "segment.create.synced",
    "segment.create.renamed",
    "segment.create.done",
    "segment.purge.removed",
];
/// Reached when a vote is saved.
const VOTE: [&str; 5] = [
    "log.vote",
    "log.voted",
    "meta.slot.write",
    "meta.slot.written",
    "meta.slot.synced",
];
/// Reached in a new directory.
const NEW: [&str; 7] = [
    "identity.made",
    "identity.written",
    "identity.synced",
    "identity.renamed",
    "identity.done",
    "meta.create.synced",
    "meta.create.renamed",
];
/// Reached by a follower whose last entries are not those of the leader.
const TRUNCATE: [&str; 2] = ["log.truncate", "log.truncated"];
const TRUNCATE_SLED: [&str; 1] = ["sled.removed"];
const TRUNCATE_SEGMENT: [&str; 2] = ["segment.truncate.marked", "segment.truncate.cut"];
/// Reached by a follower that was away for too long.
const INSTALL: [&str; 7] = [
    "snapshot.received",
    "snapshot.received.synced",
    "snapshot.install.loaded",
    "snapshot.renamed",
    "snapshot.placed",
    "snapshot.install.adopted",
    "log.purge",
];

/// How long a point may let itself be awaited; it may be one that this master does not reach.
const REACH: Duration = Duration::from_secs(4);
/// Restarts before everything begins anew, with empty directories.
const ROUND: usize = 25;
/// Writes while a follower is away, so many that it needs a snapshot.
const AWAY_WRITES: usize = 120;

/// What happened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) restarts: usize,
    /// Processes that ended at each point.
    pub(crate) at: BTreeMap<String, usize>,
    /// Times that an armed point was not reached.
    pub(crate) not_reached: usize,
    pub(crate) acknowledged: usize,
}

/// All points of masters with this engine, `n` of them.
pub(crate) fn all(engine: &str, n: usize) -> BTreeSet<&'static str> {
    let (steady, truncate): (&[&str], &[&str]) = match engine {
        "sled" => (&STEADY_SLED, &TRUNCATE_SLED),
        _ => (&STEADY_SEGMENT, &TRUNCATE_SEGMENT),
    };
    let alone: [&[&str]; 5] = [&STEADY, &SELDOM, steady, &VOTE, &NEW];
    // These take somebody else.
    let others: [&[&str]; 3] = [&TRUNCATE, truncate, &INSTALL];
    let parts = alone
        .into_iter()
        .chain(others.into_iter().filter(|_| n > 1));
    parts.flatten().copied().collect()
}

/// One kind of cluster.
pub(crate) struct Points<'a> {
    pub(crate) engine: &'a str,
    pub(crate) n: usize,
    pub(crate) rng: Rng,
    pub(crate) tally: Tally,
}

impl Points<'_> {
    /// Goes on until there were so many restarts.
    pub(crate) fn run(&mut self, restarts: usize) -> anyhow::Result<()> {
        while self.tally.restarts < restarts {
            let dir = tempfile::tempdir()?;
            let done = (self.tally.restarts + ROUND).min(restarts);
            if let Err(error) = self.round(dir.path(), done) {
                let kept = dir.keep();
                return Err(error.context(format!("see {}", kept.display())));
            }
        }
        Ok(())
    }

    fn round(&mut self, dir: &Path, restarts: usize) -> anyhow::Result<()> {
        let masters = Masters::new(dir, self.n, self.engine)?;
        for i in 0..self.n {
            self.begin(&masters, i, restarts)?;
        }
        masters.more_writes(1)?;
        while self.tally.restarts < restarts {
            match self.below(10) {
                0 | 1 if self.n > 1 && restarts - self.tally.restarts > 3 => {
                    self.truncate(&masters)?;
                }
                2 if self.n > 1 => self.install(&masters)?,
                3 | 4 => self.vote(&masters)?,
                5 => self.all(&masters)?,
                _ => self.steady(&masters)?,
            }
        }
        masters.settle()?;
        self.tally.acknowledged += masters.look(|heard| heard.acknowledged.len());
        for i in 0..self.n {
            masters.kill(i)?;
        }
        masters.compare_logs()
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.rng.below(n as u64) as usize
    }

    fn pick<'p>(&mut self, points: &[&'p str]) -> &'p str {
        points[self.below(points.len())]
    }

    fn arm(&mut self, point: &str, nth_max: usize) -> Arm {
        Arm {
            point: point.to_owned(),
            nth: self.below(nth_max) as u64 + 1,
            pause_us: if self.below(2) == 0 {
                0
            } else {
                self.below(3000) as u64
            },
        }
    }

    /// A new master dies while it is made.
    fn begin(&mut self, masters: &Masters, i: usize, restarts: usize) -> anyhow::Result<()> {
        if self.tally.restarts >= restarts {
            return self.start(masters, i);
        }
        let point = self.pick(&NEW);
        let arm = self.arm(point, 1);
        masters.start(i, Some(&arm), false)?;
        if self.died(masters, i, &arm)? {
            self.restart(masters, i)?;
        }
        Ok(())
    }

    /// Somebody dies at any time.
    fn steady(&mut self, masters: &Masters) -> anyhow::Result<()> {
        let i = self.below(self.n);
        let arm = self.any_point();
        masters.arm(i, &arm);
        if self.died(masters, i, &arm)? {
            if self.below(3) == 0 && self.n > 1 {
                masters.more_writes(10)?;
            }
            self.restart(masters, i)?;
        }
        Ok(())
    }

    fn any_point(&mut self) -> Arm {
        let own: &[&str] = if self.engine == "sled" {
            &STEADY_SLED
        } else {
            &STEADY_SEGMENT
        };
        let (point, nth_max) = match self.below(8) {
            0 => (self.pick(&SELDOM), 1),
            1..=3 => (self.pick(own), 5),
            _ => (self.pick(&STEADY), 5),
        };
        let seldom = ["snapshot", "segment.create", "segment.purge"];
        let seldom = seldom.iter().any(|part| point.starts_with(part));
        self.arm(point, if seldom { 1 } else { nth_max })
    }

    /// All die, each somewhere.
    fn all(&mut self, masters: &Masters) -> anyhow::Result<()> {
        let arms: Vec<Arm> = (0..self.n).map(|_| self.any_point()).collect();
        for (i, arm) in arms.iter().enumerate() {
            masters.arm(i, arm);
        }
        // With a majority dead, the rest may wait for ever.
        let dead = |i: usize| move |heard: &Heard| !heard.nodes[i].runs_now();
        for (i, arm) in arms.iter().enumerate() {
            if masters.within(Duration::from_millis(500), dead(i))? {
                self.count(&arm.point);
            } else {
                masters.kill(i)?;
                self.count("anywhere");
            }
        }
        for i in 0..self.n {
            self.restart(masters, i)?;
        }
        Ok(())
    }

    /// A master dies while it votes, or is elected.
    fn vote(&mut self, masters: &Masters) -> anyhow::Result<()> {
        let leader = self.leader(masters)?;
        // One that stays, or the only one there is.
        let voter = (leader + self.below(self.n.max(2) - 1) + 1) % self.n;
        let point = self.pick(&VOTE);
        let arm = self.arm(point, 2);
        if voter != leader {
            masters.arm(voter, &arm);
        }
        masters.kill(leader)?;
        self.count("anywhere");
        let also = (voter == leader).then_some(&arm);
        masters.start(leader, also, false)?;
        self.tally.restarts += 1;
        if self.died(masters, voter, &arm)? {
            self.restart(masters, voter)?;
        }
        masters.more_writes(1)
    }

    /// A leader appends what nobody else gets, dies, and dies again when it has to remove it.
    fn truncate(&mut self, masters: &Masters) -> anyhow::Result<()> {
        let leader = self.leader(masters)?;
        let others: Vec<usize> = (0..self.n).filter(|i| *i != leader).collect();
        for i in &others {
            masters.kill(*i)?;
            self.count("anywhere");
        }
        // It may have ended its lead before it appended something more.
        let arm = self.arm("log.synced", 1);
        masters.arm(leader, &arm);
        if masters.within(Duration::from_millis(300), |heard| {
            !heard.nodes[leader].runs_now()
        })? {
            self.count("log.synced");
        } else {
            masters.kill(leader)?;
            self.count("anywhere");
        }
        for i in &others {
            self.restart(masters, *i)?;
        }
        masters.more_writes(1)?;
        let own: &[&str] = if self.engine == "sled" {
            &TRUNCATE_SLED
        } else {
            &TRUNCATE_SEGMENT
        };
        let point = if self.below(2) == 0 {
            self.pick(&TRUNCATE)
        } else {
            self.pick(own)
        };
        let arm = self.arm(point, 1);
        masters.start(leader, Some(&arm), false)?;
        self.tally.restarts += 1;
        if self.died(masters, leader, &arm)? {
            self.restart(masters, leader)?;
        }
        Ok(())
    }

    /// A follower needs a snapshot, and dies while it gets it.
    fn install(&mut self, masters: &Masters) -> anyhow::Result<()> {
        let leader = self.leader(masters)?;
        let away = (leader + 1) % self.n;
        masters.kill(away)?;
        self.count("anywhere");
        masters.more_writes(AWAY_WRITES)?;
        let point = self.pick(&INSTALL);
        let arm = self.arm(point, 1);
        masters.start(away, Some(&arm), false)?;
        self.tally.restarts += 1;
        if self.died(masters, away, &arm)? {
            self.restart(masters, away)?;
        }
        Ok(())
    }

    fn leader(&self, masters: &Masters) -> anyhow::Result<usize> {
        masters.until("somebody leads", |heard| {
            heard.nodes.iter().any(|node| node.leads)
        })?;
        // It may be gone again; then anybody is right.
        Ok(masters.look(|heard| heard.nodes.iter().position(|node| node.leads).unwrap_or(0)))
    }

    fn count(&mut self, point: &str) {
        *self.tally.at.entry(point.to_owned()).or_default() += 1;
    }

    /// Waits for a master to end at a point. If it does not get there, it lives on without.
    fn died(&mut self, masters: &Masters, i: usize, arm: &Arm) -> anyhow::Result<bool> {
        let dead = |heard: &Heard| !heard.nodes[i].runs_now();
        if !masters.within(REACH, dead)? {
            masters.disarm(i, &arm.point);
            // It may have been on its way there.
            if !masters.within(Duration::from_millis(100), dead)? {
                self.tally.not_reached += 1;
                return Ok(false);
            }
        }
        self.count(&arm.point);
        Ok(true)
    }

    fn restart(&mut self, masters: &Masters, i: usize) -> anyhow::Result<()> {
        self.tally.restarts += 1;
        self.start(masters, i)
    }

    fn start(&self, masters: &Masters, i: usize) -> anyhow::Result<()> {
        masters.start(i, None, false)?;
        masters.until("a master opens its directory", |heard| {
            heard.nodes[i].started
        })
    }
}
