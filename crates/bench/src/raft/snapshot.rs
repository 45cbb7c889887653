//! Snapshots of a state of real size: how large, how long, and what writers notice.

use std::time::Duration;

use serde::Serialize;

use super::cluster::{Cluster, Policy};
use super::fill::Size;
use super::flags::Common;
use super::latency::{Latency, median, ms};
use super::load::FixedRate;
use super::report;
use super::system::System;
use super::table;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Agents in the state.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) agents: u64,

    /// Tasks in the state, all of them running.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) tasks: u64,

    /// Frameworks in the state.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) frameworks: u64,

    /// Writes per second that look for pauses.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) rate: u64,

    /// How many snapshots, one after the other.
    #[arg(long, default_value_t = 5)]
    pub(crate) snapshots: u32,

    /// How long the writes are measured without a snapshot, for comparison.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) before: Duration,
}

const CONNECTIONS: usize = 4;
const WARM_UP: Duration = Duration::from_secs(1);

/// What one system showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) system: System,
    pub(crate) size: Size,
    /// Of the file.
    pub(crate) bytes: u64,
    /// Of each snapshot, written by the leader; sorted.
    pub(crate) seconds: Vec<f64>,
    /// Of writes without a snapshot.
    pub(crate) normal: Latency,
    /// Of writes while snapshots were written. No pause was longer than its maximum.
    pub(crate) meanwhile: Latency,
    pub(crate) errors: u64,
}

impl Figure {
    /// The median time of a snapshot.
    pub(crate) fn time(&self) -> f64 {
        median(self.seconds.iter().copied())
    }
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.rate > 0, "--rate must be at least 1");
    anyhow::ensure!(flags.snapshots > 0, "--snapshots must be at least 1");
    let measure = async |system: System, _| {
        if system.is_ours() {
            return Ok(vec![measure(flags, system).await?]);
        }
        table::progress(format_args!("{system}: snapshots are not measured"));
        Ok(Vec::new())
    };
    report::of_each(&flags.common, 1, measure, print).await
}

/// One of our own systems, on one cluster.
pub(crate) async fn measure(flags: &Flags, system: System) -> anyhow::Result<Figure> {
    let size = Size {
        agents: flags.agents,
        tasks: flags.tasks,
        frameworks: flags.frameworks,
    };
    let mut cluster = Cluster::start(system, Policy::NEVER, &flags.common.dir()).await?;
    let leader = cluster.whole().await?;
    let client = cluster.connect_ours(leader).await?;
    table::progress(format_args!(
        "{system}: {} agents, {} tasks",
        size.agents, size.tasks
    ));
    client.fill(size).await?;
    cluster.whole().await?;
    let clients = cluster.leader_clients(CONNECTIONS).await?;
    let mut load = FixedRate::start(clients, flags.rate)?;
    tokio::time::sleep(WARM_UP).await;
    load.take();
    tokio::time::sleep(flags.before).await;
    let normal = load.take();
    let mut seconds = Vec::new();
    let mut bytes = 0;
    for n in 1..=flags.snapshots {
        let snapshot = client.snapshot().await?;
        table::progress(format_args!(
            "{system}: snapshot {n}: {:.1} MB, {:.2} s",
            snapshot.bytes as f64 / 1e6,
            snapshot.seconds
        ));
        seconds.push(snapshot.seconds);
        bytes = snapshot.bytes;
    }
    let meanwhile = load.stop().await?;
    seconds.sort_by(f64::total_cmp);
    Ok(Figure {
        system,
        size,
        bytes,
        seconds,
        normal: normal.latencies.summary(),
        meanwhile: meanwhile.latencies.summary(),
        errors: meanwhile.errors,
    })
}

pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "system",
        "agents",
        "tasks",
        "MB",
        "s",
        "p99 before",
        "max",
        "p99 meanwhile",
        "max ms",
        "errors",
    ]);
    for figure in figures {
        table.add_row([
            figure.system.to_string(),
            figure.size.agents.to_string(),
            figure.size.tasks.to_string(),
            format!("{:.1}", figure.bytes as f64 / 1e6),
            format!("{:.2}", figure.time()),
            ms(figure.normal.p99_ms),
            ms(figure.normal.max_ms),
            ms(figure.meanwhile.p99_ms),
            ms(figure.meanwhile.max_ms),
            figure.errors.to_string(),
        ]);
    }
    println!("{table}");
}
