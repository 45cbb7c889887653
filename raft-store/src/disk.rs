//! Whether the disk keeps up.
//!
//! A disk that stands still does not stop a leader by itself: its followers make entries durable
//! without it, and heartbeats need no disk. But such a leader cannot vote, cannot shrink its log,
//! and loses everything it did not write when it dies. So it hands leadership over, and when nobody
//! takes it, it stops serving.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long one group of writes may take before a leader looks for a successor.
pub(crate) const HAND_OVER_AFTER: Duration = Duration::from_secs(1);
/// And before it stops serving without one.
pub(crate) const STOP_AFTER: Duration = Duration::from_secs(2);

/// Says since when the log writer is busy with one group of writes.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    origin: Instant,
    /// Microseconds after `origin`; 0 means idle.
    busy_since_us: AtomicU64,
}

impl Default for DiskWatch {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            busy_since_us: AtomicU64::new(0),
        }
    }
}

impl DiskWatch {
    pub(crate) fn begin(&self) {
        let us = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.busy_since_us.store(us.max(1), Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.busy_since_us.store(0, Ordering::Relaxed);
    }

    /// How long the present group has taken so far; zero while there is none.
    pub(crate) fn busy_for(&self) -> Duration {
        match self.busy_since_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since_us => self
                .origin
                .elapsed()
                .saturating_sub(Duration::from_micros(since_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_in_progress_grows_old() {
        let watch = DiskWatch::default();
        assert_eq!(watch.busy_for(), Duration::ZERO);
        watch.begin();
        std::thread::sleep(Duration::from_millis(2));
        assert!(watch.busy_for() >= Duration::from_millis(2));
        watch.end();
        assert_eq!(watch.busy_for(), Duration::ZERO);
    }
}
