//! The steps of a history, and how one is drawn from a seed.

use regency_testkit::Rng;

macro_rules! kinds {
    ($($(#[doc = $what:literal])+ $name:ident $weight:literal,)+) => {
        /// What happens in a step. Whom or what it happens to is chosen by the step's two numbers
        /// among what is there at that moment; where nothing is there, nothing happens.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $what])+ $name,)+
        }

        /// All kinds with how often they are drawn.
        const WEIGHTS: &[(Kind, u64)] = &[$((Kind::$name, $weight),)+];
    };
}

kinds! {
    /// Everybody does what is to be done at this moment, and nothing fails.
    Settle 150,
    /// Some proposal is committed; its answer may get lost.
    Commit 60,
    /// All proposals are committed, in some order.
    CommitAll 90,
    /// Some proposal does not get into the log, and its caller is told.
    Refuse 6,
    /// The leader dies. Each of its proposals is committed by its successor or lost.
    LeaderDies 22,
    /// The leader dies when an entry was committed and nobody was told.
    LeaderDiesUntold 16,
    /// Another master will be elected, and the old leader does not know yet.
    LeaderDeposed 16,
    /// The old leader notices that it does not lead.
    OldLeaderNotices 14,
    /// A leader is elected, if there is none.
    Elect 130,

    /// Something the leader said arrives at an agent.
    ToAgent 45,
    /// Something an agent said arrives at the leader.
    ToLeader 45,
    /// An agent and the leader have said everything to each other.
    Exchange 110,
    /// An agent connects to the leader.
    Connect 50,
    /// An agent connects to the old leader, if there is one.
    ConnectOld 12,
    /// The old leader answers an agent without a look at what it knows.
    OldLeaderPresses 8,
    /// The leader asks an agent for its whole picture.
    AskPicture 36,
    /// An agent attaches anew and is asked for its picture before it is sent its commands; what it says
    /// is on its way.
    AskAtAttach 40,
    /// A connection breaks when the leader has just proposed what the agent said, and the agent says
    /// it again, with news.
    SaidAgain 20,
    /// A connection breaks.
    Break 14,
    /// A connection breaks, which the leader does not notice.
    BreakUnnoticed 8,

    /// The process of a launch stands ready.
    Prepared 70,
    /// The process of a launch cannot be made.
    PrepareFails 5,
    /// A command is seen to run.
    Running 50,
    /// A command ends.
    Exit 45,
    /// A command is lost from sight.
    WatcherDies 5,
    /// An executor subscribes at its agent.
    ExecutorSubscribes 25,
    /// The stream of an executor breaks.
    ExecutorBreaks 5,
    /// An executor has news of a task.
    ExecutorTells 30,
    /// News of a process come late.
    LateNews 5,
    /// An agent dies in its next step before anything of it is durable.
    CrashBeforeSync 12,
    /// An agent dies in its next step when it is durable.
    CrashAfterSync 12,
    /// An agent dies between two steps.
    Crash 8,
    /// An agent's machine goes down and comes up.
    Reboot 4,
    /// An agent's machine is wiped and comes up as a new agent.
    Wipe 3,
    /// An agent comes back with other resources.
    Change 4,
    /// A copy of an agent's id on another machine wants to attach.
    Impostor 4,

    /// A framework subscribes.
    Subscribe 40,
    /// A framework hears what it was sent.
    Hear 90,
    /// A framework uses an offer.
    Accept 150,
    /// A framework repeats a call whose answer it did not get.
    Repeat 12,
    /// A framework gives offers back.
    Decline 14,
    /// A framework kills a task.
    Kill 45,
    /// A framework acknowledges updates.
    Acknowledge 80,
    /// A framework wants offers again.
    Revive 8,
    /// A framework wants no offers.
    Suppress 4,
    /// A framework ends an executor.
    ShutdownExecutor 5,
    /// A framework ends.
    Teardown 3,
    /// A framework's stream breaks.
    StreamBreaks 14,

    /// An operator has an agent drained.
    Drain 7,
    /// An operator takes an agent out of use.
    Deactivate 3,
    /// An operator gives an agent back.
    Reactivate 8,
    /// An operator marks an agent gone.
    MarkGone 2,

    /// The leader makes offers.
    Allocate 80,
    /// The leader looks at deadlines.
    Expire 22,
    /// The leader looks for frameworks that are missing.
    Await 14,
    /// The leader sends updates again.
    Retry 8,

    /// Some milliseconds pass.
    Moment 40,
    /// Some seconds pass.
    Seconds 24,
    /// A minute or so passes.
    Minute 9,
    /// A minute or so passes in which nothing gets through.
    SilentMinute 14,
}

impl Kind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        WEIGHTS.iter().map(|(kind, _)| *kind)
    }
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// What happens.
    pub kind: Kind,
    /// Chooses whom it happens to.
    pub a: u32,
    /// Chooses how.
    pub b: u32,
}

/// The history of a seed, of at most so many steps. Most begin with a cluster at work.
#[must_use]
pub fn history(seed: u64, n_steps_max: u64) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let n_steps = n_steps_max / 3 + rng.below(n_steps_max - n_steps_max / 3 + 1);
    let begins = [Kind::Elect, Kind::Settle, Kind::Settle, Kind::Accept];
    let begins = if rng.chance(90) { &begins[..] } else { &[] };
    let mut kinds = begins.iter().copied();
    (0..n_steps)
        .map(|_| {
            let kind = kinds.next().unwrap_or_else(|| drawn(rng.below(total)));
            let numbers = rng.number();
            Op {
                kind,
                a: (numbers >> 32) as u32,
                b: numbers as u32,
            }
        })
        .collect()
}

fn drawn(mut at: u64) -> Kind {
    for (kind, weight) in WEIGHTS {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    Kind::Elect
}
