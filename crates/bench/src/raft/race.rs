//! Everything in one run, beside the targets.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::failover::Way;
use super::flags::Common;
use super::host::Host;
use super::rows::{self, Row};
use super::system::System;
use super::{catch_up, failover, restart, snapshot, table, throughput};

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    common: Common,

    /// Makes every part shorter or longer: commits, spans, trials, the size of the state. Figures
    /// of a scale below 1 cannot be held against the targets.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,

    /// How often throughput and latency are measured, the systems taking turns.
    #[arg(long, default_value_t = 3)]
    runs: u32,

    /// Only these parts.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "load,failover,restart,catch-up,snapshot"
    )]
    parts: Vec<Part>,
}

/// A part of the race.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Rows 8, 10, 11.
    Load,
    /// Rows 1, 2, 4.
    Failover,
    /// Rows 15, 19.
    Restart,
    /// Row 16.
    CatchUp,
    /// Row 18.
    Snapshot,
}

#[derive(Debug, Default, Serialize)]
struct Figures {
    load: Vec<throughput::Figure>,
    failover: Vec<failover::Figure>,
    restart: Vec<restart::Figure>,
    catch_up: Vec<catch_up::Figure>,
    snapshot: Vec<snapshot::Figure>,
    /// What could not be measured, and why.
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    host: Host,
    scale: f64,
    rows: Vec<Row>,
    figures: Figures,
}

pub(crate) async fn run(flags: &Flags) -> anyhow::Result<()> {
    anyhow::ensure!(
        flags.scale > 0.0 && flags.scale <= 100.0,
        "--scale must be above 0 and at most 100"
    );
    anyhow::ensure!(flags.runs > 0, "--runs must be at least 1");
    let host = Host::measure(&flags.common.dir())?;
    if !flags.common.json {
        host.print();
    }
    let figures = measure(flags).await;
    let rows = rows_of(&figures);
    let failures = figures.failures.join("\n");
    if flags.common.json {
        table::json(&Report {
            host,
            scale: flags.scale,
            rows,
            figures,
        })?;
    } else {
        print(&figures);
        rows::print(&rows);
    }
    anyhow::ensure!(failures.is_empty(), "not measured:\n{failures}");
    Ok(())
}

/// A part that fails for one system is noted, and the race goes on.
async fn measure(flags: &Flags) -> Figures {
    let mut figures = Figures::default();
    let systems = flags.common.systems();
    let wants = |part| flags.parts.contains(&part);
    if wants(Part::Load) {
        let load = flags.load();
        for run in 1..=flags.runs {
            for &system in &systems {
                match throughput::measure(&load, system, run).await {
                    Ok(more) => figures.load.extend(more),
                    Err(error) => figures.note(system, "load", &error),
                }
            }
        }
    }
    if wants(Part::Failover) {
        for system in with_fast(&systems) {
            match failover::measure(&flags.failover(), system).await {
                Ok(more) => figures.failover.extend(more),
                Err(error) => figures.note(system, "failover", &error),
            }
        }
    }
    for &system in systems.iter().filter(|_| wants(Part::Restart)) {
        match restart::measure(&flags.restart(), system).await {
            Ok(more) => figures.restart.extend(more),
            Err(error) => figures.note(system, "restart", &error),
        }
    }
    let ours: Vec<System> = systems.into_iter().filter(|s| s.is_ours()).collect();
    for &system in ours.iter().filter(|_| wants(Part::CatchUp)) {
        match catch_up::measure(&flags.catch_up(), system).await {
            Ok(more) => figures.catch_up.extend(more),
            Err(error) => figures.note(system, "catch-up", &error),
        }
    }
    for &system in ours.iter().filter(|_| wants(Part::Snapshot)) {
        match snapshot::measure(&flags.snapshot(), system).await {
            Ok(more) => figures.snapshot.push(more),
            Err(error) => figures.note(system, "snapshot", &error),
        }
    }
    figures
}

/// Each of ours is followed by its set-up with short timeouts, which concerns failovers only.
fn with_fast(systems: &[System]) -> Vec<System> {
    let mut all = Vec::new();
    for &system in systems {
        all.push(system);
        let fast = match system {
            System::Sled => System::SledFast,
            System::Segment => System::SegmentFast,
            _ => continue,
        };
        if !systems.contains(&fast) {
            all.push(fast);
        }
    }
    all
}

impl Figures {
    fn note(&mut self, system: System, part: &str, error: &anyhow::Error) {
        let failure = format!("{system}, {part}: {error:#}");
        table::progress(format_args!("{failure}"));
        self.failures.push(failure);
    }
}

impl Flags {
    fn scaled(&self, n: u64) -> u64 {
        ((n as f64 * self.scale).round() as u64).max(1)
    }

    fn seconds(&self, n: u64) -> Duration {
        Duration::from_secs(n)
            .mul_f64(self.scale)
            .max(Duration::from_millis(300))
    }

    fn load(&self) -> throughput::Flags {
        throughput::Flags {
            common: self.common.clone(),
            concurrency: vec![1, 64, 1_000],
            rate: vec![8_000, 10_000],
            no_rate: false,
            connections: 8,
            warm_up: self.seconds(5),
            duration: self.seconds(20),
            runs: self.runs,
        }
    }

    fn failover(&self) -> failover::Flags {
        failover::Flags {
            common: self.common.clone(),
            trials: u32::try_from(self.scaled(20)).unwrap_or(u32::MAX),
        }
    }

    fn restart(&self) -> restart::Flags {
        restart::Flags {
            common: self.common.clone(),
            entries: self.scaled(1_000_000),
            trials: 3,
        }
    }

    fn catch_up(&self) -> catch_up::Flags {
        catch_up::Flags {
            common: self.common.clone(),
            rate: 10_000,
            down: self.seconds(60),
            before: self.seconds(10),
        }
    }

    fn snapshot(&self) -> snapshot::Flags {
        snapshot::Flags {
            common: self.common.clone(),
            agents: self.scaled(10_000),
            tasks: self.scaled(100_000),
            frameworks: self.scaled(1_000),
            rate: 1_000,
            snapshots: 5,
            before: self.seconds(5),
        }
    }
}

/// The rows for which there are figures.
fn rows_of(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |number, what: &str, must, moonshot, more, figures: BTreeMap<System, f64>| {
        if !figures.is_empty() {
            rows.push(Row {
                number,
                what: what.to_owned(),
                must,
                moonshot,
                more,
                figures,
            });
        }
    };

    let gap = |way, fast: bool, of: fn(&failover::Figure) -> f64| {
        let figures = figures.failover.iter().filter(|figure| {
            let is_fast = matches!(figure.system, System::SledFast | System::SegmentFast);
            // The others stand beside both profiles of ours, and do not hand over.
            figure.way == way && (!figure.system.is_ours() || is_fast == fast)
        });
        figures.map(|figure| (figure.system, of(figure))).collect()
    };
    for (fast, profile) in [(false, ""), (true, ", fast")] {
        let what = |what: &str| format!("{what}{profile} ms");
        add(
            1,
            &what("kill -9 p50"),
            300.0,
            120.0,
            false,
            gap(Way::Kill, fast, |f| f.gap.p50_ms),
        );
        add(
            1,
            &what("kill -9 p99"),
            600.0,
            250.0,
            false,
            gap(Way::Kill, fast, |f| f.gap.p99_ms),
        );
        add(
            2,
            &what("SIGSTOP p50"),
            1000.0,
            180.0,
            false,
            gap(Way::Freeze, fast, |f| f.gap.p50_ms),
        );
        add(
            2,
            &what("SIGSTOP p99"),
            1000.0,
            350.0,
            false,
            gap(Way::Freeze, fast, |f| f.gap.p99_ms),
        );
    }
    add(
        4,
        "hand-over p50 ms",
        100.0,
        5.0,
        false,
        gap(Way::HandOver, false, |f| f.gap.p50_ms),
    );
    add(
        4,
        "hand-over p99 ms",
        100.0,
        30.0,
        false,
        gap(Way::HandOver, false, |f| f.gap.p99_ms),
    );

    let load = |in_flight, rate, of: fn(&throughput::Figure) -> f64| {
        medians(&figures.load, in_flight, rate, of)
    };
    add(
        8,
        "1000 in flight, commits/s",
        15e3,
        60e3,
        true,
        load(Some(1_000), None, |f| f.commits_per_second),
    );
    add(
        10,
        "1 client p50 ms",
        0.8,
        0.35,
        false,
        load(Some(1), None, |f| f.latency.p50_ms),
    );
    add(
        10,
        "1 client p99 ms",
        4.0,
        2.0,
        false,
        load(Some(1), None, |f| f.latency.p99_ms),
    );
    add(
        11,
        "8 k/s p99 ms",
        25.0,
        5.0,
        false,
        load(None, Some(8_000), throughput::kept_p99),
    );
    add(
        11,
        "10 k/s p99 ms",
        25.0,
        5.0,
        false,
        load(None, Some(10_000), throughput::kept_p99),
    );

    let restarted = |all_in_log, of: fn(&restart::Figure) -> f64| {
        let figures = figures.restart.iter();
        let figures = figures.filter(|f| f.all_in_log == all_in_log);
        figures
            .map(|f| (f.system, of(f)))
            .collect::<BTreeMap<_, _>>()
    };
    let disk = |f: &restart::Figure| f.disk_bytes as f64 / 1e6;
    add(
        15,
        "restart s",
        5.0,
        1.0,
        false,
        restarted(false, restart::Figure::restart),
    );
    add(
        15,
        "restart, all in log, s",
        5.0,
        3.0,
        false,
        restarted(true, restart::Figure::restart),
    );

    let caught_up = |all_in_log, of: fn(&catch_up::Figure) -> f64| {
        let figures = figures.catch_up.iter();
        let figures = figures.filter(|f| f.all_in_log == all_in_log);
        figures.map(|f| (f.system, of(f))).collect()
    };
    for (all_in_log, policy) in [(false, ""), (true, ", all in log")] {
        let what = |what: &str| format!("{what}{policy}");
        add(
            16,
            &what("catch-up s"),
            30.0,
            6.0,
            false,
            caught_up(all_in_log, |f| f.seconds),
        );
        add(
            16,
            &what("p99 meanwhile, times"),
            f64::INFINITY,
            2.0,
            false,
            caught_up(all_in_log, |f| f.meanwhile.p99_ms / f.normal.p99_ms),
        );
    }

    let snapshots = |of: fn(&snapshot::Figure) -> f64| {
        figures.snapshot.iter().map(|f| (f.system, of(f))).collect()
    };
    add(
        18,
        "snapshot MB",
        100.0,
        20.0,
        false,
        snapshots(|f| f.bytes as f64 / 1e6),
    );
    add(
        18,
        "snapshot s",
        f64::INFINITY,
        0.5,
        false,
        snapshots(snapshot::Figure::time),
    );
    add(
        18,
        "longest write meanwhile ms",
        50.0,
        1.0,
        false,
        snapshots(|f| f.meanwhile.max_ms),
    );
    add(
        19,
        "data directory MB",
        500.0,
        150.0,
        false,
        restarted(false, disk),
    );
    rows
}

/// Of the runs of each system the median by throughput.
fn medians(
    figures: &[throughput::Figure],
    in_flight: Option<usize>,
    rate: Option<u64>,
    of: fn(&throughput::Figure) -> f64,
) -> BTreeMap<System, f64> {
    let mut runs: BTreeMap<System, Vec<f64>> = BTreeMap::new();
    for figure in figures {
        if figure.in_flight == in_flight && figure.rate == rate {
            runs.entry(figure.system).or_default().push(of(figure));
        }
    }
    let median = |mut runs: Vec<f64>| {
        runs.sort_by(f64::total_cmp);
        runs[(runs.len() - 1) / 2]
    };
    runs.into_iter()
        .map(|(system, runs)| (system, median(runs)))
        .collect()
}

fn print(figures: &Figures) {
    if !figures.load.is_empty() {
        throughput::print(&figures.load);
        println!();
    }
    if !figures.failover.is_empty() {
        failover::print(&figures.failover);
        println!();
    }
    if !figures.restart.is_empty() {
        restart::print(&figures.restart);
        println!();
    }
    if !figures.catch_up.is_empty() {
        catch_up::print(&figures.catch_up);
        println!();
    }
    if !figures.snapshot.is_empty() {
        snapshot::print(&figures.snapshot);
        println!();
    }
}
