//! What goes wrong, and when.

use std::fmt;

use regency_testkit::Rng;

/// How many masters there are.
pub(crate) const MASTERS: usize = 3;
/// How long things go wrong, in milliseconds.
pub(crate) const FAULTY_MS: u64 = 8_000;
/// The shortest and longest time between two faults.
const APART_MS: (u64, u64) = (50, 500);

/// One thing that goes wrong. Masters are numbers from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process is killed; it comes back after so long. What its log writer had not written is lost.
    Kill { who: usize, down_ms: u64 },
    /// The same at a moment when its disk has something to do.
    KillWhileWriting { who: usize, down_ms: u64 },
    /// A machine loses its power, and what was not synced.
    PowerCut { who: usize, down_ms: u64 },
    /// All machines lose their power at once.
    Blackout { down_ms: u64 },
    /// Two masters cannot reach each other.
    Cut { a: usize, b: usize, for_ms: u64 },
    /// One master reaches nobody and is reached by nobody.
    Isolate { who: usize, for_ms: u64 },
    /// The same for whoever leads.
    IsolateLeader { for_ms: u64 },
    /// What one master says to another is lost, not the other way.
    CutOneWay { from: usize, to: usize, for_ms: u64 },
    /// What two masters say to each other is held back, and comes later.
    Hold { a: usize, b: usize, for_ms: u64 },
    /// Messages between two masters take long.
    Slow {
        a: usize,
        b: usize,
        ms: u64,
        for_ms: u64,
    },
    /// A disk takes long for each sync.
    SlowDisk { who: usize, ms: u64, for_ms: u64 },
    /// A master campaigns although there is a leader.
    Elect { who: usize },
    /// The leader hands over.
    Transfer { to: usize },
    /// A master writes a snapshot.
    Snapshot { who: usize },
}

/// A fault and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) at_ms: u64,
    pub(crate) fault: Fault,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} {:?}", self.at_ms, self.fault)
    }
}

/// The faults of a seed.
pub(crate) fn schedule(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed ^ 0x5c4e_d01e);
    let mut steps = Vec::new();
    let mut at_ms = 0;
    loop {
        at_ms += APART_MS.0 + rng.below(APART_MS.1 - APART_MS.0);
        if at_ms >= FAULTY_MS {
            return steps;
        }
        let fault = fault(&mut rng);
        steps.push(Step { at_ms, fault });
    }
}

fn fault(rng: &mut Rng) -> Fault {
    let who = rng.index(MASTERS);
    let other = (who + 1 + rng.index(MASTERS - 1)) % MASTERS;
    let down_ms = 1 + rng.below(1_500);
    let for_ms = 50 + rng.below(2_000);
    match rng.below(100) {
        0..12 => Fault::Kill { who, down_ms },
        12..24 => Fault::KillWhileWriting { who, down_ms },
        24..36 => Fault::PowerCut { who, down_ms },
        36..44 => Fault::Blackout { down_ms },
        44..52 => Fault::Cut {
            a: who,
            b: other,
            for_ms,
        },
        52..56 => Fault::Isolate { who, for_ms },
        56..60 => Fault::IsolateLeader { for_ms },
        60..68 => Fault::CutOneWay {
            from: who,
            to: other,
            for_ms,
        },
        68..74 => Fault::Hold {
            a: who,
            b: other,
            for_ms,
        },
        74..80 => Fault::Slow {
            a: who,
            b: other,
            ms: 5 + rng.below(120),
            for_ms,
        },
        80..88 => Fault::SlowDisk {
            who,
            ms: 1 + rng.below(60),
            for_ms,
        },
        88..92 => Fault::Elect { who },
        92..96 => Fault::Transfer { to: who },
        _ => Fault::Snapshot { who },
    }
}
