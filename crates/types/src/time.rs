//! Time as the replicated state knows it.

use std::fmt;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Cluster time in milliseconds: how long this cluster has been served by a leader.
///
/// A leader stamps entries with the time at its `BeginTerm` plus its own monotonic elapsed time.
/// It never goes back, stands still while nobody leads, and has nothing to do with the wall
/// clock, so a clock that jumps can expire nothing.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ClusterTime(pub u64);

impl ClusterTime {
    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> DurationMs {
        DurationMs(self.0.saturating_sub(earlier.0))
    }
}

impl Add<DurationMs> for ClusterTime {
    type Output = Self;

    fn add(self, rhs: DurationMs) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign<DurationMs> for ClusterTime {
    fn add_assign(&mut self, rhs: DurationMs) {
        *self = *self + rhs;
    }
}

impl fmt::Display for ClusterTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// A span of time in milliseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DurationMs(pub u64);

impl DurationMs {
    /// The span of `seconds`.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// A span from floating seconds as Mesos messages carry it; `None` when it is negative, not
    /// a number, or longer than about 292 years (what Mesos' own duration can hold).
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Option<Self> {
        const SECONDS_MAX: f64 = (i64::MAX / 1_000_000_000) as f64;
        // NaN is in no range.
        (0.0..=SECONDS_MAX)
            .contains(&seconds)
            .then(|| Self((seconds * 1000.0).round() as u64))
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl fmt::Display for DurationMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Milliseconds since the Unix epoch on the clock of whoever stamped it. For display only: no
/// rule compares it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl WallTime {
    /// Seconds since the Unix epoch, as Mesos shows times.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_seconds_out_of_range_are_refused() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(DurationMs::from_secs_f64(bad), None, "{bad}");
        }
        assert_eq!(DurationMs::from_secs_f64(1.2345), Some(DurationMs(1235)));
        assert_eq!(DurationMs::from_secs_f64(0.0), Some(DurationMs(0)));
    }

    #[test]
    fn adding_never_wraps() {
        assert_eq!(ClusterTime(u64::MAX) + DurationMs(1), ClusterTime(u64::MAX));
        assert_eq!(ClusterTime(5).since(ClusterTime(9)), DurationMs(0));
    }
}
