//! How the agent is drained, as clients see it.

use regency_agent_core::Drain;
use regency_types::DurationMs;
use regency_wire::v1::{DrainConfig, DurationInfo, TimeInfo};

pub(super) fn config(drain: Drain) -> DrainConfig {
    DrainConfig {
        max_grace_period: drain.max_grace.map(|DurationMs(ms)| DurationInfo {
            nanoseconds: nanoseconds(ms),
        }),
        mark_gone: Some(drain.mark_gone),
    }
}

pub(super) fn start(drain: Drain) -> TimeInfo {
    TimeInfo {
        nanoseconds: nanoseconds(drain.since.0),
    }
}

fn nanoseconds(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}
