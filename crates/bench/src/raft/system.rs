//! The systems that are measured, and how each is set up.

use std::fmt;

use serde::Serialize;

/// A system with a set-up of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Ours on sled, as shipped.
    Sled,
    /// Ours on segment files, as shipped.
    Segment,
    /// Ours on sled with short timeouts: heartbeat 25 ms, election 80 to 130 ms.
    SledFast,
    /// Ours on segment files with short timeouts.
    SegmentFast,
}

impl System {
    /// Its name in flags, tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Segment => "segment",
            Self::SledFast => "sled-fast",
            Self::SegmentFast => "segment-fast",
        }
    }

    /// Heartbeat, shortest and longest election timeout of our own ones, in milliseconds.
    pub(crate) fn timing_ms(self) -> (u64, u64, u64) {
        match self {
            Self::SledFast | Self::SegmentFast => (25, 80, 130),
            _ => (50, 150, 300),
        }
    }

    /// What keeps the log of our own ones.
    pub(crate) fn engine(self) -> Option<&'static str> {
        match self {
            Self::Sled | Self::SledFast => Some("sled"),
            Self::Segment | Self::SegmentFast => Some("segment"),
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
