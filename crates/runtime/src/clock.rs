//! The two clocks of a process: one that only goes forward, one that people read.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use regency_types::WallTime;

/// Where a component reads time.
///
/// Nothing may compare the two clocks with each other: the wall clock is for display.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since some moment before this process started to use the clock. Never goes
    /// back; stands still while the machine is suspended.
    fn monotonic_ms(&self) -> u64;

    /// Milliseconds since the Unix epoch as this machine believes. May jump in both directions.
    fn wall(&self) -> WallTime;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wall(&self) -> WallTime {
        // A machine whose clock is before 1970 shows 1970; nothing is decided with it.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until a test moves it.
#[cfg(any(test, feature = "test-util"))]
#[derive(Debug, Default)]
pub struct FakeClock {
    monotonic_ms: std::sync::atomic::AtomicU64,
    wall_ms: std::sync::atomic::AtomicU64,
}

#[cfg(any(test, feature = "test-util"))]
impl FakeClock {
    /// A clock at zero on both sides.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves both clocks forward.
    pub fn advance_ms(&self, ms: u64) {
        use std::sync::atomic::Ordering;
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Makes the wall clock jump; the monotonic one does not notice.
    pub fn set_wall_ms(&self, ms: u64) {
        self.wall_ms.store(ms, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "test-util"))]
impl Clock for FakeClock {
    fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn wall(&self) -> WallTime {
        WallTime(self.wall_ms.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_jump_does_not_move_monotonic_time() {
        let clock = FakeClock::new();
        clock.advance_ms(10);
        clock.set_wall_ms(5);
        assert_eq!(clock.monotonic_ms(), 10);
        assert_eq!(clock.wall(), WallTime(5));
    }

    #[test]
    fn the_system_clock_is_past_the_epoch_and_does_not_go_back() {
        let clock = SystemClock::default();
        let before = clock.monotonic_ms();
        assert!(clock.wall().0 > 1_500_000_000_000);
        assert!(clock.monotonic_ms() >= before);
    }
}
