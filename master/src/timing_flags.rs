//! How fast failures are noticed, as flags: a profile, and what differs from it.

use std::time::Duration;

use regency_raft_store::{Profile, Timing, TimingError};

use crate::flags::duration;

/// Flags of `regency master` and `regency local`. The times must be the same on all masters.
#[derive(Debug, Clone, clap::Args)]
pub struct TimingFlags {
    /// How fast failures are noticed: `fast` (20, 60 and 120 ms; one rack, fast disks, processors of
    /// their own), `lan` (50, 150 and 300 ms) or `wan` (250, 1000 and 2000 ms; several data centres).
    #[arg(long, default_value_t = Profile::Lan, value_name = "fast|lan|wan")]
    pub timing: Profile,

    /// How often a leader shows its followers that it is there, instead of the profile's time.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub heartbeat_interval: Option<Duration>,

    /// Least time without a leader before a master campaigns, instead of the profile's.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub election_timeout_min: Option<Duration>,

    /// Greatest such time, instead of the profile's.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub election_timeout_max: Option<Duration>,

    /// Whether a leader whose connections break, and which refuses new ones, is taken for lost at
    /// once; `off` waits for its silence.
    #[arg(
        long,
        default_value = "on",
        value_name = "on|off",
        value_parser = on_off,
        action = clap::ArgAction::Set
    )]
    pub fast_election: bool,
}

impl TimingFlags {
    /// The times.
    ///
    /// # Errors
    /// When they do not fit together; names the flags.
    pub fn timing(&self) -> Result<Timing, TimingError> {
        let profile = self.timing.timing();
        let timing = Timing {
            heartbeat: self.heartbeat_interval.unwrap_or(profile.heartbeat),
            election_min: self.election_timeout_min.unwrap_or(profile.election_min),
            election_max: self.election_timeout_max.unwrap_or(profile.election_max),
            fast_election: self.fast_election,
        };
        timing.check()?;
        Ok(timing)
    }

    /// The same again as a command line, without what is the default.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if self.timing != Profile::default() {
            args.push(format!("--timing={}", self.timing));
        }
        for (flag, value) in [
            ("--heartbeat-interval", self.heartbeat_interval),
            ("--election-timeout-min", self.election_timeout_min),
            ("--election-timeout-max", self.election_timeout_max),
        ] {
            if let Some(value) = value {
                args.push(format!("{flag}={}ms", value.as_millis()));
            }
        }
        if !self.fast_election {
            args.push("--fast-election=off".to_owned());
        }
        args
    }
}

pub(crate) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("'{text}' is neither on nor off")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        timing: TimingFlags,
    }

    fn parse(args: &[&str]) -> TimingFlags {
        let args = std::iter::once(&"program").chain(args);
        Program::try_parse_from(args).expect("flags").timing
    }

    #[test]
    fn flags_override_their_profile_and_can_be_handed_on() {
        assert_eq!(parse(&[]).timing(), Ok(Timing::default()));
        assert_eq!(parse(&[]).args(), Vec::<String>::new());
        let args = [
            "--timing=wan",
            "--heartbeat-interval=100ms",
            "--election-timeout-max=3000ms",
            "--fast-election=off",
        ];
        let flags = parse(&args);
        let timing = flags.timing().expect("fits");
        assert_eq!(timing.heartbeat, Duration::from_millis(100));
        assert_eq!(timing.election_min, Duration::from_secs(1));
        assert_eq!(timing.election_max, Duration::from_secs(3));
        assert!(!timing.fast_election);
        assert_eq!(flags.args(), args);
    }

    #[test]
    fn an_override_that_does_not_fit_the_profile_is_refused() {
        let error = parse(&["--timing=fast", "--heartbeat-interval=50ms"])
            .timing()
            .expect_err("60 ms are no two heartbeats");
        assert!(
            error.to_string().contains("--heartbeat-interval=50ms"),
            "{error}"
        );
    }
}
