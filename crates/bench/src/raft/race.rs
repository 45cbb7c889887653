//! Everything in one run, beside the targets and beside other systems.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use regency_runtime::stop_signal;
use serde::Serialize;

use super::failover::Way;
use super::flags::Common;
use super::host::Host;
use super::rows::{self, Row};
use super::system::System;
use super::{catch_up, failover, restart, snapshot, table, targets, throughput};

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    common: Common,

    /// Write all figures to this file as JSON, again after every step.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
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

/// What was measured so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) load: Vec<throughput::Figure>,
    pub(crate) failover: Vec<failover::Figure>,
    pub(crate) restart: Vec<restart::Figure>,
    pub(crate) catch_up: Vec<catch_up::Figure>,
    pub(crate) snapshot: Vec<snapshot::Figure>,
}

/// One part with one system.
#[derive(Debug, Clone, Copy, Serialize)]
struct Step {
    part: Part,
    system: System,
    run: u32,
}

/// A step that was done.
#[derive(Debug, Serialize)]
struct Done {
    #[serde(flatten)]
    step: Step,
    seconds: f64,
    /// Why there are no figures of it.
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    host: Host,
    /// Once more when all was done: did the disk stay what it was?
    host_after: Option<Host>,
    scale: f64,
    rows: Vec<Row>,
    figures: Figures,
    steps: Vec<Done>,
    /// How many steps are missing.
    steps_left: usize,
}

/// Longest time of a step at scale 1; more means that something hangs.
const STEP_TIMEOUT: Duration = Duration::from_secs(900);
/// No further trials of failovers of one kind with one system when they took this long.
const TRIALS_LIMIT: Duration = Duration::from_secs(60);

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
    let steps = flags.steps(&flags.common.systems());
    let mut report = Report {
        host,
        host_after: None,
        scale: flags.scale,
        rows: Vec::new(),
        figures: Figures::default(),
        steps: Vec::new(),
        steps_left: steps.len(),
    };
    // A file that cannot be written is told before anything is measured.
    flags.save(&report)?;
    let stopped = tokio::select! {
        result = measure(flags, &steps, &mut report) => result.map(|()| None),
        // Dropping what is being measured ends its processes and removes its directories.
        signal = stop_signal() => signal.map(Some).map_err(Into::into),
    };
    report.rows = targets::rows(&report.figures);
    flags.save(&report)?;
    if flags.common.json {
        table::json(&report)?;
    } else {
        print(&report);
    }
    if let Some(signal) = stopped? {
        anyhow::bail!("stopped by {signal}, {} steps left", report.steps_left);
    }
    let failures: Vec<&str> = report
        .steps
        .iter()
        .filter_map(|step| step.failure.as_deref())
        .collect();
    anyhow::ensure!(
        failures.is_empty(),
        "not measured:\n{}",
        failures.join("\n")
    );
    Ok(())
}

/// A step that fails is noted, and the race goes on.
async fn measure(flags: &Flags, steps: &[Step], report: &mut Report) -> anyhow::Result<()> {
    let begun = Instant::now();
    for (n, &step) in (1..).zip(steps) {
        let Step { part, system, run } = step;
        table::progress(format_args!(
            "[{n}/{} after {}] {part:?} of {system}, run {run}",
            steps.len(),
            humantime::format_duration(Duration::from_secs(begun.elapsed().as_secs())),
        ));
        let step_begun = Instant::now();
        let timeout = STEP_TIMEOUT.mul_f64(flags.scale.max(1.0));
        let measuring = one(flags, step, &mut report.figures);
        let result = match tokio::time::timeout(timeout, measuring).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("not done after {timeout:?}")),
        };
        let failure = result
            .err()
            .map(|error| format!("{part:?} of {system}, run {run}: {error:#}"));
        if let Some(failure) = &failure {
            table::progress(format_args!("{failure}"));
        }
        report.steps.push(Done {
            step,
            seconds: step_begun.elapsed().as_secs_f64(),
            failure,
        });
        report.steps_left -= 1;
        report.rows = targets::rows(&report.figures);
        flags.save(report)?;
    }
    report.host_after = Some(Host::measure(&flags.common.dir())?);
    Ok(())
}

async fn one(flags: &Flags, step: Step, figures: &mut Figures) -> anyhow::Result<()> {
    let Step { part, system, run } = step;
    match part {
        Part::Load => {
            throughput::measure(&flags.load(), system, run, &mut figures.load).await?;
        }
        Part::Failover => {
            let flags = flags.failover(system);
            failover::measure(&flags, system, &mut figures.failover).await?;
        }
        Part::Restart => {
            let more = restart::measure(&flags.restart(system), system).await?;
            figures.restart.extend(more);
        }
        Part::CatchUp => {
            let more = catch_up::measure(&flags.catch_up(), system).await?;
            figures.catch_up.extend(more);
        }
        Part::Snapshot => {
            let more = snapshot::measure(&flags.snapshot(), system).await?;
            figures.snapshot.push(more);
        }
    }
    Ok(())
}

impl Flags {
    /// What is done, in order.
    fn steps(&self, systems: &[System]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut add = |part, run, systems: &[System]| {
            if self.parts.contains(&part) {
                let step = |&system| Step { part, system, run };
                steps.extend(systems.iter().map(step));
            }
        };
        let of = |wanted: fn(&System) -> bool| -> Vec<System> {
            systems.iter().copied().filter(wanted).collect()
        };
        // Shorter timeouts change nothing else.
        let loaded = of(|&system| system != System::EtcdTuned);
        for run in 1..=self.runs {
            add(Part::Load, run, &loaded);
        }
        add(Part::Failover, 1, &with_fast(systems));
        // What ZooKeeper is tuned by, no snapshots, would only prolong a restart.
        let restarted = of(|system| system.is_ours() || !system.is_tuned());
        add(Part::Restart, 1, &restarted);
        let ours = of(|system| system.is_ours());
        add(Part::CatchUp, 1, &ours);
        add(Part::Snapshot, 1, &ours);
        steps
    }

    fn save(&self, report: &Report) -> anyhow::Result<()> {
        let Some(file) = &self.out else {
            return Ok(());
        };
        let save = || -> anyhow::Result<()> {
            let json = serde_json::to_vec_pretty(report)?;
            // In one step: whoever reads meanwhile, or after a crash, finds a whole report.
            let beside = file.with_extension("partial");
            std::fs::write(&beside, json)?;
            Ok(std::fs::rename(&beside, file)?)
        };
        save().with_context(|| format!("cannot write --out {}", file.display()))
    }

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
            // The most first: a Java machine is warm then.
            concurrency: vec![1_000, 64, 1],
            rate: vec![8_000, 10_000, 30_000],
            no_rate: false,
            connections: 8,
            warm_up: self.seconds(1),
            duration: self.seconds(5),
            // A tail needs more writes than a mean.
            rate_duration: Some(self.seconds(10)),
            runs: self.runs,
        }
    }

    fn failover(&self, system: System) -> failover::Flags {
        let ways = match system {
            // A connection that breaks needs no timeout, and neither does a hand-over.
            System::SledFast | System::SegmentFast => vec![Way::Freeze],
            _ => vec![Way::Kill, Way::Freeze, Way::HandOver],
        };
        failover::Flags {
            common: self.common.clone(),
            trials: u32::try_from(self.scaled(20)).unwrap_or(u32::MAX),
            ways,
            limit: Some(TRIALS_LIMIT.mul_f64(self.scale.max(1.0))),
        }
    }

    fn restart(&self, system: System) -> restart::Flags {
        restart::Flags {
            common: self.common.clone(),
            entries: self.scaled(1_000_000),
            // Others take up to half a minute.
            trials: if system.is_ours() { 3 } else { 1 },
        }
    }

    fn catch_up(&self) -> catch_up::Flags {
        catch_up::Flags {
            common: self.common.clone(),
            rate: 10_000,
            down: self.seconds(60),
            before: self.seconds(10),
            default_log_only: true,
        }
    }

    fn snapshot(&self) -> snapshot::Flags {
        snapshot::Flags {
            common: self.common.clone(),
            agents: self.scaled(10_000),
            tasks: self.scaled(100_000),
            frameworks: self.scaled(1_000),
            rate: 1_000,
            snapshots: 11,
            before: self.seconds(1).min(Duration::from_millis(800)),
        }
    }
}

/// Each of ours is followed by its set-up with short timeouts.
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

fn print(report: &Report) {
    let figures = &report.figures;
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
    rows::print(&report.rows);
    if let Some(after) = &report.host_after {
        println!("\nafter the race:");
        after.print_profile();
    }
    if report.scale < 1.0 {
        println!(
            "WARNING: at --scale {} no figure can be held against a target",
            report.scale
        );
    }
}
