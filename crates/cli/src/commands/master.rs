//! `regency master`.

use std::process::ExitCode;

use regency_master::MasterFlags;

use crate::LogFlags;
use crate::parent::ParentFlags;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    master: MasterFlags,
    #[command(flatten)]
    parent: ParentFlags,
}

/// Runs a master until it is asked to stop.
pub(crate) fn run(flags: Flags, logs: &LogFlags) -> anyhow::Result<ExitCode> {
    flags.parent.watch(|| {})?;
    super::run_component(logs, regency_master::run(flags.master))?;
    Ok(ExitCode::SUCCESS)
}
