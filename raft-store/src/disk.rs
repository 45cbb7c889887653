//! Whether the disk keeps up.
//!
//! A disk that stands still does not stop a leader by itself: its followers make entries durable
//! without it, and heartbeats need no disk. But such a leader cannot vote, cannot shrink its log,
//! and loses everything it did not write when it dies. So it hands leadership over, and when nobody
//! takes it, it stops serving.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many times longer than until it looks for a successor a leader waits for its disk before it
/// stops serving without one.
pub(crate) const STOP_FACTOR: u32 = 2;

/// Says since when the log writer is busy with one group of writes.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    origin: Instant,
    /// Microseconds after `origin`; 0 means idle.
    busy_since_us: AtomicU64,
    /// The log writer waits until the disk has room, which is another matter.
    waits_for_room: AtomicBool,
}

impl Default for DiskWatch {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            busy_since_us: AtomicU64::new(0),
            waits_for_room: AtomicBool::new(false),
        }
    }
}

impl DiskWatch {
    fn now_us(&self) -> u64 {
        let us = u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX);
        us.max(1)
    }

    /// Something waits to be written, or is. Counts from the first of what waits, so that a writer
    /// that does not even begin is noticed as well.
    pub(crate) fn wanted(&self) {
        let now = self.now_us();
        // Already busy: since then.
        let _ = self
            .busy_since_us
            .compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A group of writes is done; `more` when others wait.
    pub(crate) fn end(&self, more: bool) {
        let since = if more { self.now_us() } else { 0 };
        self.busy_since_us.store(since, Ordering::Relaxed);
    }

    /// The present group found no room and waits for it, or goes on now. What waits for room, or
    /// behind it, does not grow old: a full disk is told in another way, and nobody is to be ended
    /// for it.
    pub(crate) fn set_waits_for_room(&self, waits: bool) {
        self.busy_since_us.store(self.now_us(), Ordering::Release);
        self.waits_for_room.store(waits, Ordering::Release);
    }

    /// Whether the log writer waits until the disk has room.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.waits_for_room.load(Ordering::Acquire)
    }

    /// A number that changes when a group is done; 0 while there is none.
    pub(crate) fn mark(&self) -> u64 {
        match self.waits_for_room() {
            true => 0,
            false => self.busy_since_us.load(Ordering::Relaxed),
        }
    }

    /// How long the present group has taken so far; zero while there is none.
    pub(crate) fn busy_for(&self) -> Duration {
        match self.mark() {
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
        watch.wanted();
        std::thread::sleep(Duration::from_millis(2));
        watch.wanted();
        assert!(watch.busy_for() >= Duration::from_millis(2));
        let mark = watch.mark();
        watch.end(true);
        assert!(watch.mark() > mark, "the next group began");
        watch.end(false);
        assert_eq!(watch.busy_for(), Duration::ZERO);
    }

    #[test]
    fn nothing_grows_old_for_want_of_room() {
        let watch = DiskWatch::default();
        watch.wanted();
        watch.set_waits_for_room(true);
        watch.wanted();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(watch.busy_for(), Duration::ZERO);
        watch.set_waits_for_room(false);
        let waited = watch.busy_for();
        assert!(waited < Duration::from_millis(20), "{waited:?}");
        assert_ne!(watch.mark(), 0, "the group is written now");
    }
}
