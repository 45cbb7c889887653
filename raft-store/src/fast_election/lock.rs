//! After a false alarm, broken connections are no evidence for a while, for longer after each.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(60);
/// After so long without a false alarm the next one counts as the first.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The lock of one master.
#[derive(Debug, Default)]
pub(super) struct Lock {
    /// The last false alarm, and how long it locks.
    last: Option<(Instant, Duration)>,
}

impl Lock {
    pub(super) fn is_locked(&self, now: Instant) -> bool {
        self.last
            .is_some_and(|(at, lasts)| now.saturating_duration_since(at) < lasts)
    }

    /// Locks, and tells for how long.
    pub(super) fn false_alarm(&mut self, now: Instant) -> Duration {
        let lasts = match self.last {
            Some((at, lasts)) if now.saturating_duration_since(at) < FORGOTTEN_AFTER => {
                (lasts * 2).min(MAX)
            }
            _ => FIRST,
        };
        self.last = Some((now, lasts));
        lasts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_false_alarm_locks_twice_as_long_until_it_is_forgotten() {
        let begin = Instant::now();
        let mut lock = Lock::default();
        assert!(!lock.is_locked(begin));
        assert_eq!(lock.false_alarm(begin), FIRST);
        assert!(lock.is_locked(begin + FIRST / 2));
        let mut at = begin + FIRST;
        assert!(!lock.is_locked(at));
        for expected in [2, 4, 8, 16, 32, 60, 60] {
            let lasts = lock.false_alarm(at);
            assert_eq!(lasts, Duration::from_secs(expected));
            at += lasts;
        }
        assert_eq!(lock.false_alarm(at + FORGOTTEN_AFTER), FIRST);
    }
}
