//! Commands: those that run one component, and those that talk to a cluster or read its files.

pub(crate) mod agent;
pub(crate) mod agents;
mod ask;
pub(crate) mod chaos;
pub(crate) mod master;
pub(crate) mod members;
pub(crate) mod raft;
pub(crate) mod recover;
pub(crate) mod roles;
pub(crate) mod snapshot;
pub(crate) mod version;

use anyhow::Context;

use crate::LogFlags;

/// What every command takes that talks to a cluster.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Masters to ask for the leader, `HOST:HTTP_PORT` separated by commas; one that lives is
    /// enough.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        required = true,
        env = "REGENCY_MASTERS"
    )]
    pub(crate) masters: Vec<String>,

    /// Print JSON instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs a component on a runtime of its own, with logs and metrics set up, until it returns.
fn run_component(
    logs: &LogFlags,
    component: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    regency_telemetry::init_tracing(logs.log_format, &logs.log_filter)?;
    // Installed before anything is measured; the component serves what it holds.
    regency_telemetry::install_metrics()?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(component)
}
