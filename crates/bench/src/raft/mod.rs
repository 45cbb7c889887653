//! Measurements of replication alone: three members of each system on one machine, each member a
//! process with its own directory on the same disk, each write synced by a majority before it
//! counts.

mod availability;
mod catch_up;
mod client;
mod cluster;
mod etcd;
mod failover;
mod fill;
mod flags;
mod frame;
mod host;
mod latency;
mod load;
mod machine;
mod member;
mod ours;
mod pipe;
mod probe;
mod process;
mod race;
mod report;
mod requests;
mod restart;
mod rows;
mod snapshot;
mod system;
mod table;
mod targets;
mod throughput;
mod zookeeper;

use regency_runtime::stop_signal;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes per second and their latency, with some in flight and at a fixed rate.
    Load(throughput::Flags),
    /// Take the leader away again and again; how long is no write acknowledged?
    Failover(failover::Flags),
    /// Commit many entries; how large is the directory, how soon does a killed master serve again?
    Restart(restart::Flags),
    /// Keep a master down under load; how soon is it level again?
    CatchUp(catch_up::Flags),
    /// Write snapshots of a large state under load.
    Snapshot(snapshot::Flags),
    /// Kill the leader again and again; how much of the time are writes acknowledged?
    Availability(availability::Flags),
    /// All of the above but availability, beside the targets, in one table.
    Race(race::Flags),
    /// One member of a measured cluster.
    #[command(hide = true)]
    Member {
        /// As JSON.
        #[arg(long)]
        config: String,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match &command {
        Command::Load(flags) => until_stopped(throughput::run(flags)).await,
        Command::Failover(flags) => until_stopped(failover::run(flags)).await,
        Command::Restart(flags) => until_stopped(restart::run(flags)).await,
        Command::CatchUp(flags) => until_stopped(catch_up::run(flags)).await,
        Command::Snapshot(flags) => until_stopped(snapshot::run(flags)).await,
        Command::Availability(flags) => until_stopped(availability::run(flags)).await,
        // It prints what it has when it is stopped.
        Command::Race(flags) => race::run(flags).await,
        Command::Member { config } => until_stopped(member::run(config)).await,
    }
}

async fn until_stopped(measuring: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::select! {
        result = measuring => result,
        // Dropping what is being measured ends its processes and removes its directories.
        signal = stop_signal() => anyhow::bail!("stopped by {}", signal?),
    }
}
