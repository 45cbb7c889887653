//! How fast failures are noticed: a heartbeat, two election timeouts, and everything that follows
//! from them.
//!
//! Every time that depends on how fast masters are noticed to be gone is worked out here, so that a
//! profile changes all of them together.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Shortest heartbeat interval that is accepted: below, leaders are lost to the scheduler.
const HEARTBEAT_MIN: Duration = Duration::from_millis(5);
/// Longest election timeout that is accepted.
const ELECTION_MAX: Duration = Duration::from_secs(60);
/// How many heartbeats fit into the least election timeout, at least: one may be lost or late.
const HEARTBEATS_MIN: u32 = 2;

/// Timing that fits a kind of network and disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// One machine or rack, disks that sync within 10 ms in all but one of a thousand cases, and
    /// processors that masters need not share.
    Fast,
    /// One data centre: a network below 10 ms.
    #[default]
    Lan,
    /// Several data centres: a network below 150 ms.
    Wan,
}

impl Profile {
    const ALL: [Self; 3] = [Self::Fast, Self::Lan, Self::Wan];

    /// Its name in flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }

    /// Its values.
    #[must_use]
    pub const fn timing(self) -> Timing {
        let (heartbeat, election_min, election_max) = match self {
            Self::Fast => (20, 60, 120),
            Self::Lan => (50, 150, 300),
            Self::Wan => (250, 1000, 2000),
        };
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(election_min),
            election_max: Duration::from_millis(election_max),
            fast_election: true,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|profile| profile.name() == text)
            .ok_or_else(|| format!("'{text}' is no timing profile; there are fast, lan and wan"))
    }
}

/// How fast failures are noticed. All voters of a cluster must use the same times: a leader relies
/// on how long its followers wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader shows its followers that it is there.
    pub heartbeat: Duration,
    /// Least time without a leader before a follower campaigns.
    pub election_min: Duration,
    /// Greatest such time, and the leader's lease.
    pub election_max: Duration,
    /// Whether a leader whose sockets break and refuse is taken for lost before its lease ends.
    /// Each master decides this for itself alone.
    pub fast_election: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Profile::default().timing()
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "heartbeat {:?}, election timeout {:?} to {:?}",
            self.heartbeat, self.election_min, self.election_max
        )
    }
}

/// Why a timing cannot work. Named by the flags that set it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// A leader would be lost to the scheduler.
    #[error("--heartbeat-interval={0:?} is too short; give it at least {HEARTBEAT_MIN:?}")]
    TooFast(Duration),
    /// One late heartbeat would cost the leadership.
    #[error(
        "--election-timeout-min={min:?} is too short for --heartbeat-interval={heartbeat:?}; give \
         it at least {HEARTBEATS_MIN} times the heartbeat interval, better three times"
    )]
    FewHeartbeats {
        /// The heartbeat interval.
        heartbeat: Duration,
        /// The least election timeout.
        min: Duration,
    },
    /// Candidates would tie.
    #[error(
        "--election-timeout-max={max:?} must be greater than --election-timeout-min={min:?}, \
         better twice that: masters choose a time between them so that they do not campaign at once"
    )]
    NoSpread {
        /// The least election timeout.
        min: Duration,
        /// The greatest.
        max: Duration,
    },
    /// Nobody means that.
    #[error("--election-timeout-max={0:?} is too long; give it at most {ELECTION_MAX:?}")]
    TooSlow(Duration),
    /// Replication counts in whole milliseconds.
    #[error("{flag}={value:?} is not a whole number of milliseconds")]
    Fraction {
        /// Which.
        flag: &'static str,
        /// Its value.
        value: Duration,
    },
}

impl Timing {
    /// Whether the times fit together.
    ///
    /// # Errors
    /// When they do not.
    pub fn check(&self) -> Result<(), TimingError> {
        for (flag, value) in [
            ("--heartbeat-interval", self.heartbeat),
            ("--election-timeout-min", self.election_min),
            ("--election-timeout-max", self.election_max),
        ] {
            if value.subsec_nanos() % 1_000_000 != 0 {
                return Err(TimingError::Fraction { flag, value });
            }
        }
        if self.heartbeat < HEARTBEAT_MIN {
            return Err(TimingError::TooFast(self.heartbeat));
        }
        if self.election_max > ELECTION_MAX {
            return Err(TimingError::TooSlow(self.election_max));
        }
        if self.election_min / HEARTBEATS_MIN < self.heartbeat {
            return Err(TimingError::FewHeartbeats {
                heartbeat: self.heartbeat,
                min: self.election_min,
            });
        }
        if self.election_max <= self.election_min {
            return Err(TimingError::NoSpread {
                min: self.election_min,
                max: self.election_max,
            });
        }
        Ok(())
    }

    /// Whether masters with these times may vote together.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        (self.heartbeat, self.election_min, self.election_max)
            == (other.heartbeat, other.election_min, other.election_max)
    }

    /// How old a leader's last proof of a majority may be while it serves. Nobody else is elected
    /// out of silence before: a follower campaigns no sooner.
    #[must_use]
    pub fn support_max(&self) -> Duration {
        self.election_max + self.election_min
    }

    /// How long a leader without a majority goes on calling itself one to those it reaches. Without
    /// this limit a bridge between two halves would hear it for ever and elect nobody.
    pub(crate) fn quorum_loss_probe(&self) -> Duration {
        self.election_max * 2
    }

    /// How long a leader that was not heard still counts as one.
    pub(crate) fn leader_silence_max(&self) -> Duration {
        self.election_max
    }

    /// How long a member may be silent before it counts as dead: no sooner than people look.
    pub(crate) fn member_silence_max(&self) -> Duration {
        (self.election_max * 3).max(Duration::from_secs(1))
    }

    /// Between two looks at what changes without a signal: leases that run out, failures.
    pub(crate) fn look_every(&self) -> Duration {
        (self.election_max / 8).min(Duration::from_millis(50))
    }

    /// Before a proposal that came too early for a fresh leader is tried again.
    pub(crate) fn lease_retry(&self) -> Duration {
        self.heartbeat / 10
    }

    /// How long somebody else may take to lead after leadership was handed over.
    pub(crate) fn hand_over_patience(&self) -> Duration {
        self.election_max * 3
    }

    /// How long a proposal of a term that is over may take to be committed or discarded for all to
    /// see.
    pub(crate) fn fate_patience(&self) -> Duration {
        self.election_max
    }

    /// How long a leader may take to confirm itself for a read.
    pub(crate) fn read_patience(&self) -> Duration {
        self.election_max
    }

    /// How long an append may stay unanswered while nothing else is answered either. Far longer
    /// than a heartbeat: a slow disk is no reason to start over.
    pub(crate) fn append_patience(&self) -> Duration {
        (self.election_max * 5).max(Duration::from_millis(1500))
    }

    /// Longest time to find out whether a connection to a leader is refused.
    pub(crate) fn probe_patience(&self) -> Duration {
        self.heartbeat * 2
    }

    /// Between one survivor's campaign and the next one's, so that they do not split the votes.
    pub(crate) fn stagger(&self) -> Duration {
        self.heartbeat * 3 / 5
    }

    /// How long survivors try to replace a leader whose connections broke, before its silence is
    /// waited for.
    pub(crate) fn campaign_patience(&self) -> Duration {
        self.election_max * 2
    }

    /// Between two attempts of one survivor: the others may see the evidence a little later.
    pub(crate) fn campaign_retry(&self) -> Duration {
        self.heartbeat / 6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(heartbeat: u64, min: u64, max: u64) -> Timing {
        Timing {
            heartbeat: Duration::from_millis(heartbeat),
            election_min: Duration::from_millis(min),
            election_max: Duration::from_millis(max),
            fast_election: true,
        }
    }

    #[test]
    fn profiles_are_valid_and_found_by_name() {
        for profile in Profile::ALL {
            assert_eq!(profile.timing().check(), Ok(()));
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        let error = "slow".parse::<Profile>().expect_err("no profile");
        assert!(error.contains("'slow'") && error.contains("wan"), "{error}");
    }

    #[test]
    fn errors_name_the_flag_and_its_value() {
        for (timing, parts) in [
            (ms(2, 150, 300), ["--heartbeat-interval=2ms", "5ms"]),
            (
                ms(100, 150, 300),
                ["--election-timeout-min=150ms", "--heartbeat-interval=100ms"],
            ),
            (
                ms(50, 150, 150),
                [
                    "--election-timeout-max=150ms",
                    "--election-timeout-min=150ms",
                ],
            ),
            (ms(50, 150, 61_000), ["--election-timeout-max=61s", "60s"]),
        ] {
            let error = timing.check().expect_err("cannot work").to_string();
            for part in parts {
                assert!(error.contains(part), "no {part} in: {error}");
            }
        }
        let mut odd = ms(50, 150, 300);
        odd.heartbeat += Duration::from_micros(500);
        let error = odd.check().expect_err("cannot work").to_string();
        assert!(error.contains("--heartbeat-interval=50.5ms"), "{error}");
    }

    #[test]
    fn only_the_times_must_agree() {
        let other = Timing {
            fast_election: false,
            ..Timing::default()
        };
        assert!(Timing::default().agrees_with(&other));
        assert!(!Timing::default().agrees_with(&Profile::Fast.timing()));
    }
}
