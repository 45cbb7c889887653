//! Snapshots of a state of real size: how large, how long, and what writers notice.

use std::time::Duration;

use serde::Serialize;

use super::cluster::{Cluster, Policy};
use super::fill::Size;
use super::flags::Common;
use super::latency::{Latencies, Latency, median, ms};
use super::load::{FixedRate, Outcome};
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
    #[arg(long, default_value_t = 11)]
    pub(crate) snapshots: u32,

    /// How long the writes are measured without a snapshot, for comparison, as often as there are
    /// snapshots: about as long as one takes.
    #[arg(long, default_value = "800ms", value_parser = humantime::parse_duration)]
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
    /// The longest write in each stretch of time without a snapshot, in ms; sorted.
    pub(crate) longest_before_ms: Vec<f64>,
    /// The longest write during each snapshot, in ms; sorted. A single long write may be the machine's
    /// doing, which the stretches without a snapshot show; what a snapshot does comes each time.
    pub(crate) longest_ms: Vec<f64>,
    pub(crate) errors: u64,
}

impl Figure {
    /// The median time of a snapshot.
    pub(crate) fn time(&self) -> f64 {
        median(self.seconds.iter().copied())
    }

    /// The median over the snapshots of the longest write during each.
    pub(crate) fn longest(&self) -> f64 {
        median(self.longest_ms.iter().copied())
    }

    /// The same of stretches of time without a snapshot.
    pub(crate) fn longest_before(&self) -> f64 {
        median(self.longest_before_ms.iter().copied())
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
    let mut before = Stretches::new();
    for _ in 0..flags.snapshots {
        tokio::time::sleep(flags.before).await;
        before.add(&load.take());
    }
    let mut meanwhile = Stretches::new();
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
        // What is on its way now may wait for what the snapshot did: it counts as well.
        if n < flags.snapshots {
            meanwhile.add(&load.take());
        }
    }
    meanwhile.add(&load.stop().await?);
    seconds.sort_by(f64::total_cmp);
    Ok(Figure {
        system,
        size,
        bytes,
        seconds,
        normal: before.all.summary(),
        meanwhile: meanwhile.all.summary(),
        errors: before.errors.max(meanwhile.errors),
        longest_before_ms: before.sorted(),
        longest_ms: meanwhile.sorted(),
    })
}

/// Latencies of several stretches of time.
struct Stretches {
    all: Latencies,
    longest_ms: Vec<f64>,
    /// Errors are counted from the start of the load on.
    errors: u64,
}

impl Stretches {
    fn new() -> Self {
        Self {
            all: Latencies::new(),
            longest_ms: Vec::new(),
            errors: 0,
        }
    }

    fn add(&mut self, stretch: &Outcome) {
        self.all.add(&stretch.latencies);
        self.longest_ms.push(stretch.latencies.summary().max_ms);
        self.errors = stretch.errors;
    }

    fn sorted(mut self) -> Vec<f64> {
        self.longest_ms.sort_by(f64::total_cmp);
        self.longest_ms
    }
}

pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "system",
        "agents",
        "tasks",
        "MB",
        "s",
        "p99 before",
        "longest",
        "max",
        "p99 meanwhile",
        "longest",
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
            ms(figure.longest_before()),
            ms(figure.normal.max_ms),
            ms(figure.meanwhile.p99_ms),
            ms(figure.longest()),
            ms(figure.meanwhile.max_ms),
            figure.errors.to_string(),
        ]);
    }
    println!("{table}");
    println!("longest: the median over the snapshots of the longest write during each");
}
