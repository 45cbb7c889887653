//! How much is logged, changed while the process runs.
//!
//! Level 0 is the filter that the process was started with. Above it more is logged, in the steps
//! that Mesos' operators know as 1 to 3; what the filter logs anyway is logged at every level.

use std::sync::{Mutex, PoisonError};

use tracing_subscriber::EnvFilter;

/// What each level adds to the filter of the start. Levels above the last one are as the last one.
const MORE: [&str; 3] = ["regency=debug", "debug", "trace"];

/// Exchanges the filter of the process.
type Exchange = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send>;

static VERBOSITY: Mutex<Verbosity> = Mutex::new(Verbosity {
    base: String::new(),
    exchange: None,
    level: 0,
    changes: 0,
});

struct Verbosity {
    /// The filter of the start.
    base: String,
    /// Not there before logging is set up.
    exchange: Option<Exchange>,
    level: u32,
    /// How often the level was changed.
    changes: u64,
}

/// A level could not be set.
#[derive(Debug, thiserror::Error)]
pub enum VerbosityError {
    /// The filter of the start cannot be extended.
    #[error("the filter for level {level} cannot be made")]
    Filter {
        /// The level.
        level: u32,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The subscriber is gone.
    #[error("the filter cannot be exchanged")]
    Exchange(#[from] tracing_subscriber::reload::Error),
}

/// A level that was set, and that stays until it is taken back or another one is set.
#[derive(Debug)]
#[must_use = "without it the level cannot be taken back"]
pub struct LevelSet {
    change: u64,
}

/// The level of this process: 0 unless somebody raised it.
#[must_use]
pub fn log_level() -> u32 {
    lock().level
}

/// Sets the level of this process.
///
/// # Errors
/// When there is no filter for it; the old level stays.
pub fn set_log_level(level: u32) -> Result<LevelSet, VerbosityError> {
    let mut verbosity = lock();
    verbosity.set(level)?;
    Ok(LevelSet {
        change: verbosity.changes,
    })
}

impl LevelSet {
    /// Goes back to level 0, unless the level was set again since.
    ///
    /// # Errors
    /// When the filter of the start cannot be set again.
    pub fn take_back(self) -> Result<(), VerbosityError> {
        let mut verbosity = lock();
        if verbosity.changes == self.change {
            verbosity.set(0)?;
        }
        Ok(())
    }
}

/// Notes the filter of the start and how it is exchanged.
pub(crate) fn begin(base: &str, exchange: Exchange) {
    let mut verbosity = lock();
    base.clone_into(&mut verbosity.base);
    verbosity.exchange = Some(exchange);
}

fn lock() -> std::sync::MutexGuard<'static, Verbosity> {
    VERBOSITY.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Verbosity {
    fn set(&mut self, level: u32) -> Result<(), VerbosityError> {
        let filter = EnvFilter::builder()
            .parse(filter(&self.base, level))
            .map_err(|source| VerbosityError::Filter { level, source })?;
        if let Some(exchange) = &self.exchange {
            exchange(filter)?;
        }
        self.level = level;
        self.changes += 1;
        Ok(())
    }
}

/// The filter for a level.
fn filter(base: &str, level: u32) -> String {
    let steps = MORE.len();
    let step = usize::try_from(level).unwrap_or(steps).min(steps);
    match step.checked_sub(1) {
        None => base.to_owned(),
        // Of two directives for the same target the later one counts.
        Some(step) if base.is_empty() => MORE[step].to_owned(),
        Some(step) => format!("{base},{}", MORE[step]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_add_to_the_filter_of_the_start() {
        assert_eq!(filter("info,openraft=warn", 0), "info,openraft=warn");
        assert_eq!(filter("info", 1), "info,regency=debug");
        assert_eq!(filter("info", 3), "info,trace");
        assert_eq!(filter("info", u32::MAX), "info,trace");
        assert_eq!(filter("", 2), "debug");
    }

    #[test]
    fn a_level_is_taken_back_by_whoever_set_it_last() {
        let first = set_log_level(1).expect("a level");
        let second = set_log_level(2).expect("a level");
        first.take_back().expect("nothing to do");
        assert_eq!(log_level(), 2);
        second.take_back().expect("the filter of the start");
        assert_eq!(log_level(), 0);
    }
}
