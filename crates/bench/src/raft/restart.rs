//! What many commits leave behind: the size of the data directory, and how long a master that was
//! killed takes until it serves again.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::cluster::{Cluster, MEMBERS, Policy};
use super::flags::Common;
use super::latency::median;
use super::load;
use super::report;
use super::system::System;
use super::table;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) common: Common,

    /// How many commits are made before.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) entries: u64,

    /// How often the master is killed and started.
    #[arg(long, default_value_t = 3)]
    pub(crate) trials: u32,
}

/// Writes in flight while the commits are made.
const IN_FLIGHT: usize = 1_000;
const CONNECTIONS: usize = 8;

/// What one system showed under one policy of snapshots.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) system: System,
    /// Whether snapshots were off, so that all entries were in the log. Our own systems only.
    pub(crate) all_in_log: bool,
    pub(crate) entries: u64,
    /// Writes that were sent again because a leader was lost meanwhile; 0 on a machine that keeps up.
    pub(crate) repeated: u64,
    /// Of the largest member, right after the last commit.
    pub(crate) disk_bytes: u64,
    /// From the start of the process to the first read that is confirmed with a majority; sorted.
    pub(crate) restart_seconds: Vec<f64>,
}

impl Figure {
    /// The median restart.
    pub(crate) fn restart(&self) -> f64 {
        median(self.restart_seconds.iter().copied())
    }
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.trials > 0, "--trials must be at least 1");
    let measure = async |system, _| measure(flags, system).await;
    report::of_each(&flags.common, 1, measure, print).await
}

/// Each policy that the system has, each on a cluster of its own.
pub(crate) async fn measure(flags: &Flags, system: System) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![one(flags, system, false).await?];
    if system.is_ours() {
        figures.push(one(flags, system, true).await?);
    }
    Ok(figures)
}

async fn one(flags: &Flags, system: System, all_in_log: bool) -> anyhow::Result<Figure> {
    let policy = if all_in_log {
        Policy::NEVER
    } else {
        Policy::default()
    };
    let mut cluster = Cluster::start(system, policy, &flags.common.dir()).await?;
    let what = if all_in_log { ", all in the log" } else { "" };
    table::progress(format_args!("{system}: {} commits{what}", flags.entries));
    let clients = cluster.leader_clients(CONNECTIONS).await?;
    let repeated = load::write_many(&clients, IN_FLIGHT, flags.entries).await?;
    drop(clients);
    let mut disk_bytes = 0;
    for i in 0..MEMBERS {
        disk_bytes = disk_bytes.max(cluster.disk_bytes(i)?);
    }
    let mut restarts = Vec::new();
    for trial in 1..=flags.trials {
        let leader = cluster.whole().await?;
        let victim = (leader + 1) % MEMBERS;
        cluster.kill(victim).await?;
        let begun = Instant::now();
        cluster.restart(victim)?;
        cluster.serving(victim).await?;
        let took: Duration = begun.elapsed();
        table::progress(format_args!("{system}: restart {trial}: {took:.2?}{what}"));
        restarts.push(took.as_secs_f64());
    }
    restarts.sort_by(f64::total_cmp);
    Ok(Figure {
        system,
        all_in_log,
        entries: flags.entries,
        repeated,
        disk_bytes,
        restart_seconds: restarts,
    })
}

pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "system",
        "log",
        "commits",
        "repeated",
        "disk MB",
        "restart s",
        "longest s",
    ]);
    for figure in figures {
        table.add_row([
            figure.system.to_string(),
            if figure.all_in_log { "all" } else { "default" }.to_owned(),
            figure.entries.to_string(),
            figure.repeated.to_string(),
            format!("{:.1}", figure.disk_bytes as f64 / 1e6),
            format!("{:.2}", figure.restart()),
            format!("{:.2}", figure.restart_seconds.last().unwrap_or(&f64::NAN)),
        ]);
    }
    println!("{table}");
}
