//! Throughput and latency of replicated writes, one system after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::cluster::{Cluster, Policy};
use super::flags::Common;
use super::latency::{Latencies, Latency, median, ms};
use super::load::{self, FixedRate, Outcome};
use super::process::cpu_of;
use super::report;
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

    /// How long each run at a fixed rate is measured; as long as the others unless given.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) rate_duration: Option<Duration>,

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
    /// Why this load was left out, if it was.
    pub(crate) left_out: Option<String>,
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(flags.connections > 0, "--connections must be at least 1");
    anyhow::ensure!(
        !flags.concurrency.contains(&0) && !flags.rate.contains(&0),
        "--concurrency and --rate must be at least 1"
    );
    let measure = async |system, run| {
        let mut figures = Vec::new();
        measure(flags, system, run, &mut figures).await?;
        Ok(figures)
    };
    report::of_each(&flags.common, flags.runs, measure, print).await
}

/// All runs of one system, on one cluster; the figures of each are there as soon as it is done.
pub(crate) async fn measure(
    flags: &Flags,
    system: System,
    run: u32,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    let mut cluster = Cluster::start(system, Policy::default(), &flags.common.dir()).await?;
    let mut most: Option<f64> = None;
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
        most = Some(outcome.per_second().max(most.unwrap_or(0.0)));
        figures.push(figure(system, run, Some(in_flight), None, outcome, cpu));
    }
    let rates: &[u64] = if flags.no_rate { &[] } else { &flags.rate };
    for &rate in rates {
        // Its queue would only grow, and with it the latency.
        if let Some(most) = most.filter(|&most| most < rate as f64) {
            let why = format!("at most {most:.0} commits per second");
            table::progress(format_args!("{system}: not {rate} per second: {why}"));
            figures.push(Figure::left_out(system, run, rate, why));
            continue;
        }
        table::progress(format_args!("{system}: {rate} per second, run {run}"));
        let clients = cluster.leader_clients(flags.connections).await?;
        let mut load = FixedRate::start(clients, rate)?;
        tokio::time::sleep(flags.warm_up).await;
        load.take();
        let before = Some(Cpu::now(&cluster));
        tokio::time::sleep(flags.rate_duration.unwrap_or(flags.duration)).await;
        let cpu = Cpu::since(before, &cluster)?;
        let outcome = load.stop().await?;
        figures.push(figure(system, run, None, Some(rate), outcome, cpu));
    }
    Ok(())
}

impl Figure {
    fn left_out(system: System, run: u32, rate: u64, why: String) -> Self {
        Self {
            system,
            run,
            in_flight: None,
            rate: Some(rate),
            commits_per_second: f64::NAN,
            latency: Latencies::new().summary(),
            errors: 0,
            first_error: None,
            members_cpu_us: f64::NAN,
            client_cpu_us: f64::NAN,
            left_out: Some(why),
        }
    }
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
        left_out: None,
    }
}

/// The p99 of a run at a fixed rate; infinite when the system did not keep up or made errors, whose
/// latencies are not in the distribution.
pub(crate) fn kept_p99(figure: &Figure) -> f64 {
    let kept = figure.errors == 0
        && figure.left_out.is_none()
        && figure
            .rate
            .is_none_or(|rate| figure.commits_per_second >= rate as f64 * 0.99);
    if kept {
        figure.latency.p99_ms
    } else {
        f64::INFINITY
    }
}

/// One line for each load and system: the median of each number over the runs.
pub(crate) fn print(figures: &[Figure]) {
    let mut table = table::new(&[
        "load",
        "system",
        "n",
        "commits/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "errors",
        "CPU us",
    ]);
    let mut groups: BTreeMap<_, Vec<&Figure>> = BTreeMap::new();
    for figure in figures {
        let load = (figure.rate, figure.in_flight, figure.system);
        groups.entry(load).or_default().push(figure);
    }
    for ((rate, in_flight, system), runs) in groups {
        let load = match (in_flight, rate) {
            (Some(n), _) => format!("{n} at once"),
            (None, rate) => format!("{}/s", rate.unwrap_or(0)),
        };
        let ran: Vec<&&Figure> = runs.iter().filter(|run| run.left_out.is_none()).collect();
        if ran.is_empty() {
            table.add_row([
                load,
                system.to_string(),
                "0".to_owned(),
                "too slow".to_owned(),
            ]);
            continue;
        }
        let of = |get: fn(&Figure) -> f64| median(ran.iter().map(|run| get(run)));
        table.add_row([
            load,
            system.to_string(),
            ran.len().to_string(),
            format!("{:.0}", of(|run| run.commits_per_second)),
            ms(of(|run| run.latency.p50_ms)),
            ms(of(|run| run.latency.p99_ms)),
            ms(of(|run| run.latency.max_ms)),
            ran.iter().map(|run| run.errors).sum::<u64>().to_string(),
            format!(
                "{:.0}+{:.0}",
                of(|run| run.members_cpu_us),
                of(|run| run.client_cpu_us)
            ),
        ]);
    }
    println!("{table}");
    println!("medians of n runs; CPU: for each commit, all members + load generator");
    for figure in figures {
        if let Some(error) = &figure.first_error {
            println!("{}: first error: {error}", figure.system);
        }
    }
}
