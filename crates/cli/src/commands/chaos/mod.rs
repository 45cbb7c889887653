//! `regency chaos`: faults for a cluster, and what it promises meanwhile.
//!
//! Exit statuses: 0 passed, 1 a promise was broken, 2 wrong command line, 3 void because something
//! that was demanded did not happen, 4 trouble of the harness itself.

mod local;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use regency_chaos::command::CommandDriver;
use regency_chaos::driver::Driver;
use regency_chaos::page::page;
use regency_chaos::report::{Report, Result as Ended};
use regency_chaos::run::{self as chaos, Plan};
use regency_chaos::scenario::Scenario;
use regency_chaos::schedule::draw;
use regency_runtime::stop_signal;

use self::local::LocalDriver;
use crate::LogFlags;
use crate::local::run_dir::RunDir;

/// What this process itself logs when the user asked for nothing else.
const OWN_LOG_FILTER: &str = "warn";

/// What to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Chaos {
    /// Run a scenario: against a cluster that is started for it, or one of your own.
    Run(RunFlags),
    /// Show the scenarios that come with the program.
    List,
    /// Run the same faults again that a report tells of, with the same seed.
    Replay(ReplayFlags),
}

/// Flags of `regency chaos run`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RunFlags {
    /// Name of a scenario, see `regency chaos list`, or a file with one.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: String,

    /// What all choices are drawn from; drawn itself and told when left out.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How long faults strike.
    #[arg(long = "for", default_value = "1m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    run_for: Duration,

    /// How many masters are started; as the scenario says when left out.
    #[arg(long, value_name = "3|5", value_parser = masters, conflicts_with = "cluster")]
    masters: Option<u16>,

    #[command(flatten)]
    common: CommonFlags,
}

/// Flags of `regency chaos replay`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ReplayFlags {
    /// What `regency chaos run --json` wrote.
    #[arg(value_name = "REPORT.json")]
    file: PathBuf,

    #[command(flatten)]
    common: CommonFlags,
}

/// Flags of both.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CommonFlags {
    /// A file that names the members of a cluster of your own, and the commands that kill and start
    /// them; without it, a cluster is started on this machine.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,

    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Write the report as JSON, with everything that was seen.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Keep the directory with data and logs also when all went well.
    #[arg(long)]
    keep: bool,

    /// A flag for every master that is started; may be repeated.
    #[arg(
        long,
        value_name = "FLAG",
        allow_hyphen_values = true,
        conflicts_with = "cluster"
    )]
    master_flag: Vec<String>,
}

fn masters(text: &str) -> Result<u16, String> {
    match text {
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("expecting 3 or 5".to_owned()),
    }
}

/// Runs the command.
pub(crate) fn run(command: Chaos, logs: &LogFlags) -> anyhow::Result<ExitCode> {
    match command {
        Chaos::List => list(),
        Chaos::Run(flags) => {
            let mut scenario = Scenario::find(&flags.scenario)?;
            if let Some(masters) = flags.masters {
                scenario.masters = masters;
            }
            let seed = flags.seed.unwrap_or_else(rand::random);
            let schedule = draw(&scenario, seed, flags.run_for);
            start(flags.common, logs, |program, scratch, driver| Plan {
                scenario,
                seed,
                run_for: flags.run_for,
                schedule,
                program,
                scratch,
                driver,
            })
        }
        Chaos::Replay(flags) => {
            let file = &flags.file;
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            let report =
                Report::parse(&text).with_context(|| format!("{} is no report", file.display()))?;
            start(flags.common, logs, |program, scratch, driver| Plan {
                scenario: report.scenario,
                seed: report.seed,
                run_for: Duration::from_millis(report.run_for_ms),
                schedule: report.schedule,
                program,
                scratch,
                driver,
            })
        }
    }
}

fn list() -> anyhow::Result<ExitCode> {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["scenario", "masters", "what", "faults"]);
    for scenario in Scenario::embedded()? {
        let faults = scenario.nemesis.iter().map(|fault| fault.kind.name());
        table.add_row([
            scenario.name.clone(),
            scenario.masters.to_string(),
            scenario.about.clone(),
            faults.collect::<Vec<_>>().join(" "),
        ]);
    }
    writeln!(std::io::stdout(), "{table}")?;
    Ok(ExitCode::SUCCESS)
}

fn start(
    flags: CommonFlags,
    logs: &LogFlags,
    plan: impl FnOnce(PathBuf, PathBuf, &'static str) -> Plan,
) -> anyhow::Result<ExitCode> {
    regency_telemetry::init_tracing(logs.log_format, OWN_LOG_FILTER)?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let dir = RunDir::create()?;
    let driver = match flags.cluster {
        Some(_) => chaos::COMMAND,
        None => chaos::LOCAL,
    };
    let plan = plan(program, dir.path().to_owned(), driver);
    let report = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(carry_out(&flags, &plan, &logs.log_filter));
    let report = report.with_context(|| format!("logs are in {}", dir.path().display()))?;
    write_reports(&flags, &report)?;
    tell(&report)?;
    if report.result == Ended::Passed && !flags.keep {
        dir.remove()?;
    } else {
        writeln!(
            std::io::stdout(),
            "data and logs are kept in {}",
            dir.path().display()
        )?;
    }
    Ok(ExitCode::from(report.result.exit_status()))
}

async fn carry_out(flags: &CommonFlags, plan: &Plan, log_filter: &str) -> anyhow::Result<Report> {
    writeln!(
        std::io::stdout(),
        "scenario {}, seed {}, {} faults in {}",
        plan.scenario.name,
        plan.seed,
        plan.schedule.len(),
        humantime::format_duration(plan.run_for)
    )?;
    match &flags.cluster {
        Some(file) => {
            let mut driver = CommandDriver::read(file)?;
            until_interrupted(plan, &mut driver).await
        }
        None => {
            let mut driver =
                LocalDriver::start(plan, log_filter, flags.master_flag.clone()).await?;
            let report = until_interrupted(plan, &mut driver).await;
            let stopped = driver.stop().await;
            let report = report?;
            stopped?;
            Ok(report)
        }
    }
}

async fn until_interrupted<D: Driver>(plan: &Plan, driver: &mut D) -> anyhow::Result<Report> {
    tokio::select! {
        report = chaos::run(plan, driver) => Ok(report),
        signal = stop_signal() => {
            let signal = signal.context("cannot wait for signals")?;
            anyhow::bail!("ended by {signal}; members of a cluster of your own may be down or frozen")
        }
    }
}

fn write_reports(flags: &CommonFlags, report: &Report) -> anyhow::Result<()> {
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(path) = &flags.report {
        write(path, page(report))?;
    }
    if let Some(path) = &flags.json {
        write(path, serde_json::to_string(report)?)?;
    }
    Ok(())
}

fn tell(report: &Report) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out)?;
    for (nemesis, of_kind) in &report.coverage {
        let name = nemesis.name();
        match &of_kind.lacks {
            Some(why) => writeln!(out, "{name:20} not available: {why}")?,
            None => writeln!(
                out,
                "{name:20} struck {} of {} times",
                of_kind.struck, of_kind.tried
            )?,
        }
    }
    writeln!(out)?;
    for verdict in &report.verdicts {
        let how = match (&verdict.undecided, verdict.n_violations, verdict.checked) {
            (Some(why), ..) => format!("UNDECIDED: {why}"),
            (None, 0, 0) => "not tried".to_owned(),
            (None, 0, n) => format!("kept ({n} looked at)"),
            (None, n, _) => format!("BROKEN {n} times"),
        };
        writeln!(out, "{:16} {how}", verdict.id)?;
        for violation in &verdict.violations {
            writeln!(out, "    {violation}")?;
        }
    }
    writeln!(
        out,
        "\nlongest time without an answered write: {} ms\n{}",
        report.longest_outage_ms,
        report.result.name()
    )?;
    for reason in &report.reasons {
        writeln!(out, "    {reason}")?;
    }
    Ok(())
}
