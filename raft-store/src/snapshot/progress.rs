//! How far a transfer of a snapshot is.

use std::time::{Duration, Instant};

/// A transfer under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotProgress {
    /// Bytes that need not be sent any more.
    pub done_bytes: u64,
    /// Size of the whole file.
    pub bytes: u64,
}

impl SnapshotProgress {
    /// The part that is done, in percent, rounded down.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let done = u128::from(self.done_bytes.min(self.bytes));
        u64::try_from(done * 100 / u128::from(self.bytes.max(1))).unwrap_or(100)
    }
}

/// Parts of a transfer that are worth a line in the log, in percent.
const STEP_PERCENT: u64 = 10;
/// The least time between two lines.
const QUIET: Duration = Duration::from_secs(1);

/// When to say how far a transfer is: after every tenth part, and not more often than once a second.
#[derive(Debug)]
pub(crate) struct Steps {
    said_percent: u64,
    said_at: Instant,
}

impl Steps {
    /// A transfer that begins here, which needs no line.
    pub(crate) fn from(progress: SnapshotProgress) -> Self {
        Self {
            said_percent: progress.percent(),
            said_at: Instant::now(),
        }
    }

    /// The percent to say now, if any.
    pub(crate) fn next(&mut self, progress: SnapshotProgress) -> Option<u64> {
        self.next_at(progress, Instant::now())
    }

    fn next_at(&mut self, progress: SnapshotProgress, now: Instant) -> Option<u64> {
        let percent = progress.percent();
        let stepped = percent / STEP_PERCENT > self.said_percent / STEP_PERCENT;
        if !stepped || now.saturating_duration_since(self.said_at) < QUIET {
            return None;
        }
        self.said_percent = percent;
        self.said_at = now;
        Some(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_part_is_said_but_not_too_often() {
        let at = |done_bytes| SnapshotProgress {
            done_bytes,
            bytes: 1000,
        };
        let mut steps = Steps::from(at(150));
        let begin = steps.said_at;
        assert_eq!(steps.next_at(at(500), begin), None);
        assert_eq!(steps.next_at(at(199), begin + QUIET), None);
        assert_eq!(steps.next_at(at(200), begin + QUIET), Some(20));
        assert_eq!(steps.next_at(at(1000), begin + QUIET), None);
        assert_eq!(steps.next_at(at(1000), begin + QUIET * 2), Some(100));
        assert_eq!(steps.next_at(at(1000), begin + QUIET * 9), None);
    }

    #[test]
    fn percents_are_rounded_down_and_nothing_is_too_large() {
        let of = |done_bytes, bytes| SnapshotProgress { done_bytes, bytes }.percent();
        assert_eq!(of(999, 1000), 99);
        assert_eq!(of(u64::MAX, u64::MAX), 100);
        assert_eq!(of(0, 0), 0);
    }
}
