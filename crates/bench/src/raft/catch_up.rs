//! A master was down while the others went on: how soon is it level again, and what does that cost
//! the writers?

use std::time::{Duration, Instant};

use serde::Serialize;

use super::cluster::{Cluster, MEMBERS, Policy};
use super::flags::Common;
use super::latency::{Latency, ms};
use super::load::FixedRate;
use super::report;
use super::system::System;
use super::table;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Writes per second all the time.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) rate: u64,

    /// How long the master is down.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) down: Duration,

    /// How long the load is measured before, for comparison.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) before: Duration,

    /// Only with snapshots as by default, not also with all commits in the log.
    #[arg(long)]
    pub(crate) default_log_only: bool,
}

const CONNECTIONS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Longest wait for the master to be level.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one system showed under one policy of snapshots.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) system: System,
    /// Whether snapshots were off, so that it was caught up from the log alone.
    pub(crate) all_in_log: bool,
    /// Commits it had missed when it was started.
    pub(crate) missed: u64,
    /// Commits it should have missed at the rate that was asked for.
    pub(crate) asked: u64,
    /// From the start of its process until it had applied what was committed at that moment.
    pub(crate) seconds: f64,
    /// Of writes before it went down.
    pub(crate) normal: Latency,
    /// Of writes while it was down.
    pub(crate) while_down: Latency,
    /// Of writes from its start until it was level.
    pub(crate) meanwhile: Latency,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.rate > 0, "--rate must be at least 1");
    let measure = async |system: System, _| {
        if system.is_ours() {
            return measure(flags, system).await;
        }
        table::progress(format_args!("{system}: catching up is not measured"));
        Ok(Vec::new())
    };
    report::of_each(&flags.common, 1, measure, print).await
}

impl Figure {
    /// Whether the load was what it should be; otherwise it was too easy.
    pub(crate) fn is_loaded(&self) -> bool {
        self.errors == 0 && self.missed as f64 >= self.asked as f64 * 0.9
    }

    /// How many times longer writes took while the master caught up; not a number when there were
    /// none.
    pub(crate) fn slower(&self) -> f64 {
        match self.meanwhile.n {
            0 => f64::NAN,
            _ => self.meanwhile.p99_ms / self.normal.p99_ms,
        }
    }
}

/// Both policies, each on a cluster of its own.
pub(crate) async fn measure(flags: &Flags, system: System) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![one(flags, system, false).await?];
    if !flags.default_log_only {
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
    let leader = cluster.whole().await?;
    let victim = (leader + 1) % MEMBERS;
    // Another leader would be seen as errors.
    let leading = cluster.connect_ours(leader).await?;
    let clients = cluster.leader_clients(CONNECTIONS).await?;
    table::progress(format_args!("{system}: {} per second", flags.rate));
    let mut load = FixedRate::start(clients, flags.rate)?;
    tokio::time::sleep(WARM_UP).await;
    load.take();
    tokio::time::sleep(flags.before).await;
    let normal = load.take();

    table::progress(format_args!(
        "{system}: one master down for {:?}",
        flags.down
    ));
    cluster.kill(victim).await?;
    let went_down_at = leading.told().await?.committed_index;
    tokio::time::sleep(flags.down).await;
    let while_down = load.take();

    let missed = leading.told().await?.committed_index;
    let missed = missed.saturating_sub(went_down_at);
    let begun = Instant::now();
    cluster.restart(victim)?;
    loop {
        let committed = leading.told().await?.committed_index;
        let applied = match cluster.connect_ours(victim).await {
            Ok(client) => client.told().await.map_or(0, |told| told.applied_index),
            Err(_) => 0,
        };
        if applied >= committed {
            break;
        }
        anyhow::ensure!(
            begun.elapsed() < PATIENCE,
            "{system}: after {PATIENCE:?} the master has applied {applied} of {committed}"
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let meanwhile = load.take();
    let last = load.stop().await?;
    Ok(Figure {
        system,
        all_in_log,
        missed,
        asked: (flags.rate as f64 * flags.down.as_secs_f64()) as u64,
        seconds,
        normal: normal.latencies.summary(),
        while_down: while_down.latencies.summary(),
        meanwhile: meanwhile.latencies.summary(),
        errors: last.errors,
        first_error: last.first_error,
    })
}

pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "system",
        "log",
        "missed",
        "level after s",
        "p99 before",
        "down",
        "meanwhile ms",
        "errors",
    ]);
    for figure in figures {
        table.add_row([
            figure.system.to_string(),
            if figure.all_in_log { "all" } else { "default" }.to_owned(),
            figure.missed.to_string(),
            format!("{:.2}", figure.seconds),
            ms(figure.normal.p99_ms),
            ms(figure.while_down.p99_ms),
            ms(figure.meanwhile.p99_ms),
            figure.errors.to_string(),
        ]);
    }
    println!("{table}");
    for figure in figures {
        if let Some(error) = &figure.first_error {
            println!("{}: first error: {error}", figure.system);
        }
    }
}
