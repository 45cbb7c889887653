//! Watches a start, from its first step to the moment when the watchdog of a running master takes over.
//!
//! Opening a large log takes long, and that is no reason to end a master. So what counts is progress:
//! the steps of a start say what they have done ([`Progress::made`]), and only a start that says nothing
//! for a very long time is ended, to be begun anew by the supervisor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::looking::Looking;
use super::speaker::{Saying, Speaker};

/// How often the thread looks.
const EVERY: Duration = Duration::from_millis(500);
/// How often it says, in words, that a step is still under way.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// What a start does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Threads,
    Directory,
    Log,
    Snapshot,
    Peers,
    Core,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::Threads,
        Self::Directory,
        Self::Log,
        Self::Snapshot,
        Self::Peers,
        Self::Core,
    ];

    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Directory => "directory",
            Self::Log => "log",
            Self::Snapshot => "snapshot",
            Self::Peers => "peers",
            Self::Core => "core",
        }
    }

    /// What it does, after "it".
    pub(super) const fn doing(self) -> &'static str {
        match self {
            Self::Threads => "makes the threads of replication",
            Self::Directory => "opens its data directory",
            Self::Log => "opens and checks its log",
            Self::Snapshot => "reads its newest snapshot",
            Self::Peers => "asks its peers which cluster they belong to",
            Self::Core => "applies what is committed in its log",
        }
    }
}

/// Where the steps of a start say what they have done. What is not watched has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Option<Arc<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    /// Index in [`Step::ALL`].
    step: AtomicU8,
    done: AtomicU64,
}

impl Progress {
    /// Nobody looks.
    pub(crate) const UNWATCHED: Self = Self(None);

    /// A start that begins with its first step.
    pub(crate) fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// The step is under way from now on.
    pub(crate) fn begin(&self, step: Step) {
        if let Some(marks) = &self.0 {
            let at = Step::ALL.iter().position(|other| *other == step);
            let at = at.and_then(|at| u8::try_from(at).ok()).unwrap_or(0);
            marks.step.store(at, Ordering::Release);
            self.made(1);
        }
    }

    /// One more piece of the present step is done: an entry, a file.
    pub(crate) fn made(&self, pieces: u64) {
        if let Some(marks) = &self.0 {
            marks.done.fetch_add(pieces, Ordering::Release);
        }
    }

    fn read(&self) -> (Step, u64) {
        let Some(marks) = &self.0 else {
            return (Step::Threads, 0);
        };
        let at = usize::from(marks.step.load(Ordering::Acquire));
        let step = Step::ALL.get(at).copied().unwrap_or(Step::Threads);
        (step, marks.done.load(Ordering::Acquire))
    }
}

/// How far a start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) step: Step,
    /// How long that step takes already.
    pub(super) in_step: Duration,
    /// Pieces of the start that are done.
    pub(super) done: u64,
    /// How long there was no further one.
    pub(super) still: Duration,
}

impl Standing {
    fn new() -> Self {
        Self {
            step: Step::Threads,
            in_step: Duration::ZERO,
            done: 0,
            still: Duration::ZERO,
        }
    }

    fn look(&mut self, progress: &Progress, awake: Duration) {
        let (step, done) = progress.read();
        self.in_step = if step == self.step {
            self.in_step + awake
        } else {
            Duration::ZERO
        };
        self.still = if done == self.done {
            self.still + awake
        } else {
            Duration::ZERO
        };
        (self.step, self.done) = (step, done);
    }

    fn beyond(&self, limit: Duration) -> Option<String> {
        (self.still > limit).then(|| {
            format!(
                "its start stood still for {:?} while it {}, longer than \
                 --start-abort-timeout={limit:?}; if it does so again, look at the disk of the data \
                 directory",
                self.still,
                self.step.doing()
            )
        })
    }
}

/// Watches until it is dropped.
pub(crate) struct StartWatch {
    _looking: Looking,
}

impl StartWatch {
    /// Begins to watch. `abort_after` is how long the start may make no progress before the process is
    /// aborted; `None` for ever.
    pub(crate) fn start(
        progress: Progress,
        abort_after: Option<Duration>,
    ) -> std::io::Result<Self> {
        let speaker = Speaker::start()?;
        let mut at = Standing::new();
        let mut say_at = SAY_EVERY;
        let looking = Looking::start("watchdog-start", EVERY, move |awake| {
            let before = at.step;
            at.look(&progress, awake);
            speaker.say(Saying::Starting(at));
            if at.step != before {
                say_at = SAY_EVERY;
            }
            if at.in_step >= say_at {
                say_at += SAY_EVERY;
                speaker.say(Saying::StillStarting(at));
            }
            if let Some(limit) = abort_after
                && let Some(why) = at.beyond(limit)
            {
                speaker.abort(why);
            }
        })?;
        Ok(Self { _looking: looking })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAKE: Duration = Duration::from_millis(500);
    const LIMIT: Duration = Duration::from_secs(5);

    #[test]
    fn a_start_may_take_long_but_not_stand_still() {
        let progress = Progress::new();
        let mut at = Standing::new();
        progress.begin(Step::Log);
        // An hour, with an entry now and then.
        for _ in 0..720 {
            progress.made(1);
            for _ in 0..10 {
                at.look(&progress, AWAKE);
                assert_eq!(at.beyond(LIMIT), None);
            }
        }
        assert!(at.in_step > Duration::from_secs(3500), "{at:?}");
        assert_eq!(at.done, 721);
        at.look(&progress, AWAKE);
        at.look(&progress, AWAKE);
        let why = at.beyond(LIMIT).expect("it stands still");
        assert!(why.contains("checks its log"), "{why}");
        assert!(why.contains("--start-abort-timeout=5s"), "{why}");

        progress.begin(Step::Snapshot);
        at.look(&progress, AWAKE);
        assert_eq!(at.beyond(LIMIT), None, "another step is progress");
        assert_eq!(at.in_step, Duration::ZERO);
        assert_eq!(at.step, Step::Snapshot);
    }

    #[test]
    fn each_step_is_told_by_its_own_name() {
        let progress = Progress::new();
        for step in Step::ALL {
            progress.begin(step);
            assert_eq!(progress.read().0, step);
        }
        Progress::UNWATCHED.begin(Step::Log);
        Progress::UNWATCHED.made(3);
    }
}
