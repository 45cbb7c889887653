//! A thread that needs nobody: it sees when replication stands still, closes the gate to clients,
//! and ends a process that does not recover.
//!
//! It reads atomics and the clock, and never waits for anything but time: what it has to say is
//! said by another thread, which may hang on a full pipe as long as it likes. How long something
//! stands still is counted while this thread itself runs, so that a process that was frozen as a
//! whole, or a starved machine, is not mistaken for a part that is stuck.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use tokio::sync::watch;

use crate::metrics;
use crate::vitals::{Ailment, Vitals, now};

/// Things to say that may wait.
const SAYINGS_MAX: usize = 64;
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Figures are told this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Something to say.
enum Saying {
    Closed(Ailment),
    Opened,
    Figures { core: Duration, disk: Duration },
    LastWords(String),
}

/// The thread; it stops when this is dropped.
pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Thread,
}

impl Watchdog {
    /// Starts it. `abort_after` is how long core or disk may stand still before the process is
    /// aborted; `None` for ever.
    pub(crate) fn start(
        vitals: Arc<Vitals>,
        gate: watch::Sender<bool>,
        every: Duration,
        abort_after: Option<Duration>,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (say, sayings) = sync_channel(SAYINGS_MAX);
        speaker(sayings)?;
        let watch = Watch {
            vitals,
            gate,
            every,
            abort_after,
            say,
            stop: Arc::clone(&stop),
        };
        let thread: JoinHandle<()> = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch.run())?;
        Ok(Self {
            stop,
            thread: thread.thread().clone(),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

struct Watch {
    vitals: Arc<Vitals>,
    gate: watch::Sender<bool>,
    every: Duration,
    abort_after: Option<Duration>,
    say: SyncSender<Saying>,
    stop: Arc<AtomicBool>,
}

impl Watch {
    fn run(self) {
        let mut stalls = Stalls::default();
        let mut told = now();
        let mut looked = now();
        loop {
            std::thread::park_timeout(self.every);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let now = now();
            let awake = now.saturating_sub(looked).min(self.every * 2);
            looked = now;
            self.look_at_gate(now);
            stalls.look(&self.vitals, awake);
            if now.saturating_sub(told) >= TELL_EVERY {
                told = now;
                self.say(Saying::Figures {
                    core: self.vitals.core_age(now),
                    disk: self.vitals.disk().busy_for(),
                });
            }
            if let Some(limit) = self.abort_after
                && let Some(why) = stalls.beyond(limit)
            {
                self.abort(why);
            }
        }
    }

    /// Closes what must be closed, and opens it again.
    fn look_at_gate(&self, now: Duration) {
        let ailment = self.vitals.ailment(now);
        let changed = self.gate.send_if_modified(|open| {
            // Asked while nobody else can change it: the end of a term is never overwritten.
            let changed = self.vitals.is_leading() && *open == ailment.is_some();
            *open ^= changed;
            changed
        });
        if changed {
            self.say(ailment.map_or(Saying::Opened, Saying::Closed));
        }
    }

    fn say(&self, saying: Saying) {
        // The other thread may hang: what it cannot say is lost.
        let _ = self.say.try_send(saying);
    }

    fn abort(&self, why: String) -> ! {
        self.say(Saying::LastWords(why));
        // The speaker aborts when it has spoken.
        std::thread::sleep(LAST_WORDS);
        std::process::abort();
    }
}

/// How long core and disk stand still, counted while the watchdog runs.
#[derive(Debug, Default)]
struct Stalls {
    core_mark: u64,
    core: Duration,
    disk_mark: u64,
    disk: Duration,
}

impl Stalls {
    fn look(&mut self, vitals: &Vitals, awake: Duration) {
        if vitals.disk().waits_for_room() {
            // The core may wait as well: for a vote to be on the disk. Both go on when there is
            // room, which a new start would not make.
            *self = Self::default();
            return;
        }
        let core_mark = vitals.core_mark();
        let disk_mark = vitals.disk().mark();
        self.core = if core_mark == self.core_mark {
            self.core + awake
        } else {
            Duration::ZERO
        };
        self.disk = if disk_mark == self.disk_mark && disk_mark != 0 {
            self.disk + awake
        } else {
            Duration::ZERO
        };
        self.core_mark = core_mark;
        self.disk_mark = disk_mark;
    }

    fn beyond(&self, limit: Duration) -> Option<String> {
        if self.core > limit {
            Some(format!(
                "replication stood still for {:?}, longer than --stall-abort-timeout={limit:?}: \
                 its threads are stuck or get no processor",
                self.core
            ))
        } else if self.disk > limit {
            Some(format!(
                "one write of the log did not end within {:?}, longer than \
                 --stall-abort-timeout={limit:?}: the disk of the data directory stands still",
                self.disk
            ))
        } else {
            None
        }
    }
}

/// Starts the thread that says things.
fn speaker(sayings: Receiver<Saying>) -> std::io::Result<()> {
    let speak = move || {
        for saying in sayings {
            match saying {
                Saying::Closed(ailment) => {
                    metrics::gate_closed(ailment.name());
                    tracing::error!(
                        reason = ailment.name(),
                        "this leader serves nobody until it is well again"
                    );
                }
                Saying::Opened => tracing::info!("this leader serves again"),
                Saying::Figures { core, disk } => metrics::stalls(core, disk),
                Saying::LastWords(why) => {
                    tracing::error!(why, "the watchdog aborts this master");
                    // Also where logs go elsewhere: the supervisor keeps this.
                    let _ = writeln!(
                        std::io::stderr(),
                        "the watchdog aborts this master: {why}; it has to be started again"
                    );
                    std::process::abort();
                }
            }
        }
    };
    std::thread::Builder::new()
        .name("watchdog-log".to_owned())
        .spawn(speak)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AWAKE: Duration = Duration::from_millis(10);
    const LIMIT: Duration = Duration::from_millis(95);

    fn vitals() -> Arc<Vitals> {
        let support = Duration::from_millis(450);
        let vitals = Vitals::new(support, Duration::from_secs(2), Arc::default());
        vitals.quorum_answered(Some(Duration::ZERO));
        Arc::new(vitals)
    }

    #[test]
    fn what_stands_still_is_counted_and_named() {
        let vitals = vitals();
        let mut stalls = Stalls::default();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_micros(10));
            vitals.core_answered();
            stalls.look(&vitals, AWAKE);
            assert_eq!(stalls.beyond(LIMIT), None);
        }
        vitals.disk().wanted();
        for _ in 0..11 {
            std::thread::sleep(Duration::from_micros(10));
            vitals.core_answered();
            stalls.look(&vitals, AWAKE);
        }
        let why = stalls.beyond(LIMIT).expect("the disk stands still");
        assert!(why.contains("disk"), "{why}");
        vitals.disk().end(false);
        stalls.look(&vitals, AWAKE);
        assert_eq!(stalls.beyond(LIMIT), None);
        for _ in 0..10 {
            stalls.look(&vitals, AWAKE);
        }
        let why = stalls.beyond(LIMIT).expect("the core stands still");
        assert!(why.contains("replication stood still"), "{why}");
    }

    #[test]
    fn a_full_disk_is_no_stall() {
        let vitals = vitals();
        let mut stalls = Stalls::default();
        vitals.disk().wanted();
        vitals.disk().set_waits_for_room(true);
        // A vote that waits behind it, and the core for the vote.
        vitals.disk().wanted();
        for _ in 0..20 {
            stalls.look(&vitals, AWAKE);
            assert_eq!(stalls.beyond(LIMIT), None);
        }
        vitals.disk().set_waits_for_room(false);
        for _ in 0..9 {
            stalls.look(&vitals, AWAKE);
            assert_eq!(stalls.beyond(LIMIT), None, "counted from now on");
        }
        for _ in 0..2 {
            stalls.look(&vitals, AWAKE);
        }
        assert!(stalls.beyond(LIMIT).is_some(), "it stands still indeed");
    }

    #[test]
    fn the_gate_is_closed_and_opened_by_the_thread_alone() {
        let vitals = vitals();
        let (gate, mut open) = watch::channel(false);
        let every = Duration::from_millis(1);
        let watchdog = Watchdog::start(Arc::clone(&vitals), gate, every, None).expect("a thread");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let mut until = |wanted: bool| {
            let waiting = open.wait_for(|open| *open == wanted);
            let waited = runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(10), waiting)
                    .await
                    .map(|seen| seen.is_ok())
            });
            assert_eq!(waited, Ok(true), "not {wanted}");
        };
        vitals.set_leading(true);
        until(true);
        vitals.quorum_answered(Some(Duration::from_secs(1)));
        until(false);
        assert!(!vitals.may_serve());
        vitals.core_answered();
        vitals.quorum_answered(Some(Duration::ZERO));
        until(true);
        drop(watchdog);
    }
}
