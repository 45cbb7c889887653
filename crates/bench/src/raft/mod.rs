//! Measurements of replication alone: three members of each system on one machine, each member a
//! process with its own directory on the same disk, each write synced by a majority before it
//! counts.
#![allow(
    dead_code,
    reason = "the measurements of failovers and restarts follow"
)]

mod client;
mod cluster;
mod flags;
mod frame;
mod host;
mod latency;
mod load;
mod member;
mod pipe;
mod process;
mod system;
mod table;
mod throughput;

use regency_runtime::stop_signal;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes per second and their latency, with some in flight and at a fixed rate.
    Load(throughput::Flags),
    /// One member of a measured cluster.
    #[command(hide = true)]
    Member {
        /// As JSON.
        #[arg(long)]
        config: String,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let measuring = async {
        match &command {
            Command::Load(flags) => throughput::run(flags).await,
            Command::Member { config } => member::run(config).await,
        }
    };
    tokio::select! {
        result = measuring => result,
        // Dropping what is being measured ends its processes and removes its directories.
        signal = stop_signal() => anyhow::bail!("stopped by {}", signal?),
    }
}
