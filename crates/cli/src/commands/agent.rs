//! `regency agent`.

use std::process::ExitCode;

use regency_agent::AgentFlags;

use crate::LogFlags;
use crate::local::reap;
use crate::parent::ParentFlags;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    agent: AgentFlags,
    #[command(flatten)]
    parent: ParentFlags,
}

/// Runs an agent until it is asked to stop. Its tasks go on running, unless it ends because its
/// parent did: then nobody would come back for them.
pub(crate) fn run(flags: Flags, logs: &LogFlags) -> anyhow::Result<ExitCode> {
    let work_dir = flags.agent.work_dir.clone();
    flags.parent.watch(move || reap::destroy_tasks(&work_dir))?;
    super::run_component(logs, regency_agent::run(flags.agent))?;
    Ok(ExitCode::SUCCESS)
}
