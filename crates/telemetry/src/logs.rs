//! Where log lines go: standard error, as text for people or as JSON for collectors.

use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::util::TryInitError;

use crate::verbosity;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line of text per event, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line: `timestamp`, `level`, `target`, `message` and the fields of the
    /// event beside them, the fields of its spans under `span` and `spans`.
    Json,
}

/// A log format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown log format '{0}': expecting 'text' or 'json'")]
pub struct UnknownFormat(String);

impl FromStr for LogFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(UnknownFormat(other.to_owned())),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not a list of `target=level`.
    #[error("bad log filter '{filter}'")]
    BadFilter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Somebody else already decided where this process logs.
    #[error("logging is set up already")]
    AlreadySet(#[source] TryInitError),
}

/// Sends the log lines of this process to standard error.
///
/// `filter` is a level (`info`) or a list such as `info,regency_master=debug`, most specific
/// target wins; an empty one lets errors through only. [`crate::set_log_level`] adds to it later.
///
/// # Errors
/// When the filter cannot be read, or logging was set up before.
pub fn init_tracing(format: LogFormat, filter: &str) -> Result<(), LogsError> {
    use tracing_subscriber::util::SubscriberInitExt;

    let env_filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| LogsError::BadFilter {
            filter: filter.to_owned(),
            source,
        })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_writer(std::io::stderr)
        .with_timer(SystemTime);
    // What reloads the filter is of another type for each form, so each makes its own.
    match format {
        LogFormat::Text => {
            let is_terminal = std::io::stderr().is_terminal();
            let lines = lines.with_ansi(is_terminal).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init().map_err(LogsError::AlreadySet)?;
            verbosity::begin(filter, Box::new(move |filter| handle.reload(filter)));
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.finish().try_init().map_err(LogsError::AlreadySet)?;
            verbosity::begin(filter, Box::new(move |filter| handle.reload(filter)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_named_text_and_json() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!(
            "xml".parse::<LogFormat>().unwrap_err().to_string(),
            "unknown log format 'xml': expecting 'text' or 'json'"
        );
    }

    #[test]
    fn a_filter_that_is_none_is_named_in_the_error() {
        let error = init_tracing(LogFormat::Text, "info,a=loud").unwrap_err();
        assert_eq!(error.to_string(), "bad log filter 'info,a=loud'");
    }
}
