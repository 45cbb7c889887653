//! A level for some time, as operators of Mesos ask for it: in the parameters of `/logging/toggle`,
//! or in the call SET_LOGGING_LEVEL.

use std::time::Duration;

use crate::verbosity::{VerbosityError, set_log_level};

/// A level, and how long it is to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevelFor {
    /// 0 to 3; above, as 3.
    pub level: u32,
    /// Afterwards it is 0 again.
    pub lasting: Duration,
}

/// A request for a level that is none. The words name the field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadLevel {
    /// One parameter came without the other.
    #[error("Expecting '{0}=value' in query.")]
    Missing(&'static str),
    /// The level is no number.
    #[error("'level' is a number from 0, not '{0}'")]
    Level(String),
    /// The duration is none.
    #[error(
        "'duration' is a time, not '{value}': {error}; expected a number with a unit, such as 50ms or \
         15secs"
    )]
    Duration {
        /// What came.
        value: String,
        /// What is wrong with it.
        error: humantime::DurationError,
    },
    /// The duration of a call is below zero.
    #[error("'set_logging_level.duration' is {0} ns, but it cannot be negative")]
    Negative(i64),
}

impl LogLevelFor {
    /// What the parameters `level` and `duration` ask for; `None` when there is neither.
    ///
    /// # Errors
    /// When one is missing or wrong.
    pub fn of_query(level: Option<&str>, duration: Option<&str>) -> Result<Option<Self>, BadLevel> {
        let (level, duration) = match (level, duration) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Err(BadLevel::Missing("level")),
            (Some(_), None) => return Err(BadLevel::Missing("duration")),
            (Some(level), Some(duration)) => (level, duration),
        };
        let level = level
            .parse()
            .map_err(|_| BadLevel::Level(level.to_owned()))?;
        let lasting = humantime::parse_duration(duration).map_err(|error| BadLevel::Duration {
            value: duration.to_owned(),
            error,
        })?;
        Ok(Some(Self { level, lasting }))
    }

    /// What SET_LOGGING_LEVEL asks for.
    ///
    /// # Errors
    /// When the duration is negative.
    pub fn of_call(level: u32, nanoseconds: i64) -> Result<Self, BadLevel> {
        let lasting = u64::try_from(nanoseconds).map_err(|_| BadLevel::Negative(nanoseconds))?;
        let lasting = Duration::from_nanos(lasting);
        Ok(Self { level, lasting })
    }

    /// Sets the level, and takes it back when its time is over, unless another one was set by then.
    /// Called within a runtime.
    ///
    /// # Errors
    /// When there is no filter for the level; the old one stays.
    pub fn set(self) -> Result<(), VerbosityError> {
        let Self { level, lasting } = self;
        let set = set_log_level(level)?;
        tracing::info!(level, ?lasting, "an operator set the level of logs");
        tokio::spawn(async move {
            tokio::time::sleep(lasting).await;
            match set.take_back() {
                Ok(()) => tracing::info!("the level of logs is no longer raised"),
                Err(error) => tracing::error!(%error, "the level of logs stays as it is"),
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_comes_with_its_duration() {
        let of = LogLevelFor::of_query;
        assert_eq!(of(None, None), Ok(None));
        let lasting = Duration::from_mins(5);
        let expect = LogLevelFor { level: 2, lasting };
        assert_eq!(of(Some("2"), Some("5mins")), Ok(Some(expect)));
        for (level, duration, named) in [
            (None, Some("1s"), "'level=value'"),
            (Some("1"), None, "'duration=value'"),
            (Some("-1"), Some("1s"), "'level'"),
            (Some("1"), Some("5"), "'duration'"),
        ] {
            let error = of(level, duration).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
        assert_eq!(LogLevelFor::of_call(1, -1), Err(BadLevel::Negative(-1)));
        let minute = LogLevelFor::of_call(1, 60_000_000_000).expect("a level");
        assert_eq!(minute.lasting, Duration::from_mins(1));
    }
}
