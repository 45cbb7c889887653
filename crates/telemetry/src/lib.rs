//! Logs and metrics of a process: set up once by the binary, used through the `tracing` and
//! `metrics` facades by everybody else.
//!
//! Nothing here knows a component. Names of metrics and fields of log lines belong to the crates
//! that emit them; this crate only decides where they go and in which form.

mod last_times;
mod logs;
mod metrics;
mod raise;
mod verbosity;

pub use last_times::LastTimes;
pub use logs::{LogFormat, LogsError, UnknownFormat, init_tracing};
pub use metrics::{Metrics, MetricsError, SECONDS_BUCKETS, install_metrics};
pub use raise::{BadLevel, LogLevelFor};
pub use verbosity::{LevelSet, VerbosityError, log_level, set_log_level};
