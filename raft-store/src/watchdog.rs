//! A thread that needs nobody: it sees when replication stands still, closes the gate to clients,
//! and ends a process that does not recover. [`start`] does the same for a start.
//!
//! It reads atomics and the clock, and never waits for anything but time: what it has to say is
//! said by another thread, which may hang on a full pipe as long as it likes. How long something
//! stands still is counted while this thread itself runs, so that a process that was frozen as a
//! whole, or a starved machine, is not mistaken for a part that is stuck.

mod looking;
mod speaker;
pub(crate) mod start;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use self::looking::Looking;
use self::speaker::{Saying, Speaker};
use crate::vitals::{Vitals, now};

/// Figures are told this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The thread; it stops when this is dropped.
pub(crate) struct Watchdog {
    _looking: Looking,
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
        let mut watch = Watch {
            vitals,
            gate,
            abort_after,
            speaker: Speaker::start()?,
            stalls: Stalls::default(),
            told: now(),
        };
        let looking = Looking::start("watchdog", every, move |awake| watch.look(awake))?;
        Ok(Self { _looking: looking })
    }
}

struct Watch {
    vitals: Arc<Vitals>,
    gate: watch::Sender<bool>,
    abort_after: Option<Duration>,
    speaker: Speaker,
    stalls: Stalls,
    told: Duration,
}

impl Watch {
    fn look(&mut self, awake: Duration) {
        let now = now();
        self.look_at_gate(now);
        self.stalls.look(&self.vitals, awake);
        if now.saturating_sub(self.told) >= TELL_EVERY {
            self.told = now;
            self.speaker.say(Saying::Figures {
                core: self.vitals.core_age(now),
                disk: self.vitals.disk().busy_for(),
            });
        }
        if let Some(limit) = self.abort_after
            && let Some(why) = self.stalls.beyond(limit)
        {
            self.speaker.abort(why);
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
            self.speaker
                .say(ailment.map_or(Saying::Opened, Saying::Closed));
        }
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
