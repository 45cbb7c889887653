//! `regency version`.

use std::io::Write;
use std::process::ExitCode;

/// Prints the version of this binary.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "regency {}", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::SUCCESS)
}
