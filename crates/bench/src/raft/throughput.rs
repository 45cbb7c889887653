//! Throughput and latency of replicated writes, one system after the other.

use std::time::Duration;

use serde::Serialize;

use super::cluster::{Cluster, Policy};
use super::flags::Common;
use super::host::Host;
use super::latency::{Latency, ms};
use super::load::{self, FixedRate, Outcome};
use super::process::cpu_of;
use super::system::System;
use super::table;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Writes in flight, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,64,1000")]
    pub(crate) concurrency: Vec<usize>,

    /// Writes per second at a fixed rate, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "8000,10000")]
    pub(crate) rate: Vec<u64>,

    /// No runs at a fixed rate.
    #[arg(long)]
    pub(crate) no_rate: bool,

    /// Connections to the leader over which the writes are spread.
    #[arg(long, default_value_t = 8)]
    pub(crate) connections: usize,

    /// How long each run is loaded before it is measured.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) warm_up: Duration,

    /// How long each run is measured.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,

    /// How often all of it is done, the systems taking turns.
    #[arg(long, default_value_t = 1)]
    pub(crate) runs: u32,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) system: System,
    pub(crate) run: u32,
    /// `null` at a fixed rate.
    pub(crate) in_flight: Option<usize>,
    /// Writes per second that were asked for; `null` with a fixed number in flight.
    pub(crate) rate: Option<u64>,
    pub(crate) commits_per_second: f64,
    pub(crate) latency: Latency,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Processor time of all members for each commit.
    pub(crate) members_cpu_us: f64,
    /// Processor time of the load generator for each commit.
    pub(crate) client_cpu_us: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    host: Host,
    figures: Vec<Figure>,
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.connections > 0, "--connections must be at least 1");
    anyhow::ensure!(
        !flags.concurrency.contains(&0) && !flags.rate.contains(&0),
        "--concurrency and --rate must be at least 1"
    );
    let dir = flags.common.dir();
    let host = Host::measure(&dir)?;
    if !flags.common.json {
        host.print();
    }
    let mut figures = Vec::new();
    for run in 1..=flags.runs {
        for system in flags.common.systems() {
            figures.extend(measure(flags, system, run).await?);
        }
    }
    if flags.common.json {
        return table::json(&Report { host, figures });
    }
    print(&figures);
    Ok(())
}

/// All runs of one system, on one cluster.
pub(crate) async fn measure(
    flags: &Flags,
    system: System,
    run: u32,
) -> anyhow::Result<Vec<Figure>> {
    let mut cluster = Cluster::start(system, Policy::default(), &flags.common.dir()).await?;
    cluster.make_keys().await?;
    let mut figures = Vec::new();
    for &in_flight in &flags.concurrency {
        table::progress(format_args!("{system}: {in_flight} in flight, run {run}"));
        let clients = cluster
            .leader_clients(in_flight.min(flags.connections))
            .await?;
        let mut before = None;
        let outcome = load::closed_loop(&clients, in_flight, flags.warm_up, flags.duration, || {
            before = Some(Cpu::now(&cluster));
        })
        .await?;
        let cpu = Cpu::since(before, &cluster)?;
        figures.push(figure(system, run, Some(in_flight), None, outcome, cpu));
    }
    let rates: &[u64] = if flags.no_rate { &[] } else { &flags.rate };
    for &rate in rates {
        table::progress(format_args!("{system}: {rate} per second, run {run}"));
        let clients = cluster.leader_clients(flags.connections).await?;
        let mut load = FixedRate::start(clients, rate)?;
        tokio::time::sleep(flags.warm_up).await;
        load.take();
        let before = Some(Cpu::now(&cluster));
        tokio::time::sleep(flags.duration).await;
        let cpu = Cpu::since(before, &cluster)?;
        let outcome = load.stop().await?;
        figures.push(figure(system, run, None, Some(rate), outcome, cpu));
    }
    Ok(figures)
}

/// Processor time so far.
struct Cpu {
    members: Duration,
    client: Duration,
}

impl Cpu {
    fn now(cluster: &Cluster) -> anyhow::Result<Self> {
        Ok(Self {
            members: cluster.cpu()?,
            client: cpu_of("self")?,
        })
    }

    fn since(before: Option<anyhow::Result<Self>>, cluster: &Cluster) -> anyhow::Result<Self> {
        let now = Self::now(cluster)?;
        let before = before.unwrap_or_else(|| Self::now(cluster))?;
        Ok(Self {
            members: now.members.saturating_sub(before.members),
            client: now.client.saturating_sub(before.client),
        })
    }
}

fn figure(
    system: System,
    run: u32,
    in_flight: Option<usize>,
    rate: Option<u64>,
    outcome: Outcome,
    cpu: Cpu,
) -> Figure {
    let n = outcome.latencies.count().max(1) as f64;
    Figure {
        system,
        run,
        in_flight,
        rate,
        commits_per_second: outcome.per_second(),
        latency: outcome.latencies.summary(),
        errors: outcome.errors,
        first_error: outcome.first_error,
        members_cpu_us: cpu.members.as_secs_f64() * 1e6 / n,
        client_cpu_us: cpu.client.as_secs_f64() * 1e6 / n,
    }
}

/// The p99 of a run at a fixed rate; infinite when the system did not keep up or made errors, whose
/// latencies are not in the distribution.
pub(crate) fn kept_p99(figure: &Figure) -> f64 {
    let kept = figure.errors == 0
        && figure
            .rate
            .is_none_or(|rate| figure.commits_per_second >= rate as f64 * 0.99);
    if kept {
        figure.latency.p99_ms
    } else {
        f64::INFINITY
    }
}

pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "load",
        "system",
        "run",
        "commits/s",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "errors",
        "CPU us",
    ]);
    let mut sorted: Vec<&Figure> = figures.iter().collect();
    sorted.sort_by_key(|figure| (figure.rate, figure.in_flight));
    for figure in sorted {
        let latency = figure.latency;
        table.add_row([
            match (figure.in_flight, figure.rate) {
                (Some(n), _) => format!("{n} in flight"),
                (None, rate) => format!("{}/s", rate.unwrap_or(0)),
            },
            figure.system.to_string(),
            figure.run.to_string(),
            format!("{:.0}", figure.commits_per_second),
            ms(latency.p50_ms),
            ms(latency.p90_ms),
            ms(latency.p99_ms),
            ms(latency.max_ms),
            figure.errors.to_string(),
            format!("{:.0}+{:.0}", figure.members_cpu_us, figure.client_cpu_us),
        ]);
    }
    println!("{table}");
    println!("CPU: processor time for each commit, all members + load generator");
    for figure in figures {
        if let Some(error) = &figure.first_error {
            println!("{}: first error: {error}", figure.system);
        }
    }
}
