//! Flags of how long agents that are gone or away are remembered.

use std::time::Duration;

use regency_leader_core::registry::RegistryLimits;
use regency_types::DurationMs;

use super::duration;

/// When agents are forgotten that were marked gone, or are unreachable, under the names of Mesos.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Registry")]
pub struct RegistryFlags {
    /// How often the leader looks for agents to forget.
    #[arg(long, default_value = "15mins", value_parser = interval, value_name = "TIME")]
    pub registry_gc_interval: Duration,

    /// For how long an agent is remembered that was marked gone, or is unreachable. After that an
    /// unreachable one is given up for good, unless it holds persistent volumes.
    #[arg(long, default_value = "2weeks", value_parser = duration, value_name = "TIME")]
    pub registry_max_agent_age: Duration,

    /// How many agents of each of these kinds are remembered; the oldest go first, also with volumes.
    #[arg(long, default_value_t = 102_400, value_name = "N")]
    pub registry_max_agent_count: u32,
}

impl RegistryFlags {
    pub(crate) fn limits(&self) -> RegistryLimits {
        let age = self.registry_max_agent_age.as_millis();
        RegistryLimits {
            max_age: DurationMs(u64::try_from(age).unwrap_or(u64::MAX)),
            max_count: usize::try_from(self.registry_max_agent_count).unwrap_or(usize::MAX),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        interval => Ok(interval),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        registry: RegistryFlags,
    }

    #[test]
    fn without_flags_the_limits_are_those_of_mesos() {
        let program = Program::try_parse_from(["master"]).expect("good flags");
        let limits = program.registry.limits();
        assert_eq!(limits.max_age, DurationMs::from_secs(14 * 24 * 3600));
        assert_eq!(limits.max_count, 102_400);
        let never = Program::try_parse_from(["master", "--registry-gc-interval=0s"]);
        assert!(never.is_err_and(|e| e.to_string().contains("longer than nothing")));
    }
}
