//! `regency local`: a whole cluster on this machine, from one command.
//!
//! Masters and agents are real processes of this same binary, in a temporary directory and on
//! loopback; this process only starts, watches, kills and restarts them, and runs a demonstration
//! framework that speaks the same public API as any other framework. It has no way into a master
//! that a user would not have.
//!
//! Reading order: `flags`, this file, `cluster` (processes, on top of `ports`, `process`, `reap`),
//! `conductor` (what happens over time) with `failover`, `demo` with `accounts`, then what is
//! shown: `event`, `board`, `view`.

#[path = "../../../client/examples/demo/accounts.rs"]
mod accounts;
mod board;
pub(crate) mod cluster;
pub(crate) mod conductor;
/// The framework is the example of the SDK.
#[path = "../../../client/examples/demo/framework.rs"]
mod demo;
mod event;
mod failover;
mod flags;
pub(crate) mod ports;
mod process;
pub(crate) mod reap;
pub(crate) mod run_dir;
mod view;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use regency_client::Http;
use regency_runtime::stop_signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep};

pub(crate) use flags::LocalFlags;

use accounts::Ending;
use board::{Board, Ready, Show};
use cluster::Cluster;
use conductor::Conductor;
use demo::Demo;
use event::{Event, Summary};
use run_dir::RunDir;
use view::{Model, View};

use crate::LogFlags;

/// What this process itself logs when the user asked for nothing else: its output is the view.
const OWN_LOG_FILTER: &str = "warn";
/// How often the live view is drawn, and how often figures are told otherwise.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// How long open tasks may take to end when a run is over by itself, and when it is interrupted.
const DRAIN: Duration = Duration::from_secs(20);
const DRAIN_INTERRUPTED: Duration = Duration::from_secs(5);
/// File that tasks sign in.
const LEDGER: &str = "ledger";

/// Runs the command.
pub(crate) fn main(flags: LocalFlags, logs: &LogFlags) -> anyhow::Result<ExitCode> {
    regency_telemetry::init_tracing(logs.log_format, OWN_LOG_FILTER)?;
    let program = std::env::current_exe().context("cannot find this program")?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(&flags, &program, &logs.log_filter))
}

async fn run(flags: &LocalFlags, program: &Path, log_filter: &str) -> anyhow::Result<ExitCode> {
    let dir = RunDir::create()?;
    let ran = match Cluster::new(dir.path(), program, flags, log_filter) {
        Ok(cluster) => in_cluster(flags, cluster, dir.path()).await,
        Err(error) => {
            dir.remove()?;
            return Err(error);
        }
    };
    match ran {
        Ok(true) if !flags.keep => {
            dir.remove()?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(true) => Ok(ExitCode::SUCCESS),
        // What went wrong is in the logs, so that they stay.
        Ok(false) => anyhow::bail!("data and logs are kept in {}", dir.path().display()),
        Err(error) => Err(error.context(format!("logs are in {}", dir.path().display()))),
    }
}

/// Whatever happens in between, every process is ended in the end.
async fn in_cluster(flags: &LocalFlags, mut cluster: Cluster, dir: &Path) -> anyhow::Result<bool> {
    let interrupted = stop_signal();
    tokio::pin!(interrupted);
    let http = Http::default();
    let started = tokio::select! {
        started = conductor::start(&mut cluster, &http) => started.map(|()| true),
        signal = &mut interrupted => signal.map(|_| false).map_err(Into::into),
    };
    if !matches!(started, Ok(true)) {
        let stopped = cluster.stop().await;
        return started.and(stopped).map(|()| true);
    }
    let board = Arc::new(Board::new(show(flags), model(&cluster, dir, flags.run_for)));
    board.ready(&Ready {
        masters: cluster.masters.iter().map(cluster::Member::info).collect(),
        agents: cluster.agents.iter().map(cluster::Member::info).collect(),
        dir: dir.to_owned(),
    });
    let addresses: Vec<String> = cluster.masters.iter().map(|m| m.http.clone()).collect();
    let mut background = Background(vec![
        tokio::spawn(conductor::observe(
            http.clone(),
            addresses.clone(),
            Arc::clone(&board),
        )),
        tokio::spawn(draw(Arc::clone(&board))),
    ]);
    let mut demo = match flags.no_demo {
        true => None,
        false => Some(RunningDemo::start(addresses, dir, &board, &mut background)?),
    };
    let mut conductor = Conductor {
        cluster,
        http,
        board: Arc::clone(&board),
        sight: demo.as_ref().map(|demo| demo.sight.clone()),
        no_restart: flags.no_restart,
        waiting: VecDeque::new(),
    };

    let since = Instant::now();
    let conducted = tokio::select! {
        conducted = conductor.run(flags.kill_leader_every) => conducted.map(|()| Ending::Drained),
        ended = failed(&mut demo) => ended.map(|()| Ending::Drained),
        () = over(flags.run_for) => Ok(Ending::Drained),
        () = board.closed() => Ok(Ending::Interrupted),
        signal = &mut interrupted => signal.map(|_| Ending::Interrupted).map_err(Into::into),
    };
    let seconds = since.elapsed().as_secs();
    let settled = match (&conducted, demo) {
        (Ok(ending), Some(demo)) => {
            // A second Ctrl-C waits for nothing.
            tokio::select! {
                settled = demo.settle(*ending) => settled.map(Some),
                signal = stop_signal() => signal.map(|_| None).map_err(Into::into),
            }
        }
        _ => Ok(None),
    };
    let stopped = conductor.cluster.stop().await;
    drop(background);
    conducted?;
    stopped?;
    let demo = settled?;
    if demo.is_none() && !flags.no_demo {
        // The books were not closed, so there is nothing to claim.
        return Ok(true);
    }
    let (failovers, crashes) = {
        let model = board.model();
        (model.failovers.clone(), model.crashes)
    };
    let ok = crashes == 0 && demo.as_ref().is_none_or(accounts::Settled::is_clean);
    board.emit(Event::Summary(Summary {
        ok,
        seconds,
        failovers,
        crashes,
        demo,
    }));
    Ok(ok)
}

/// Tasks that end with the run.
struct Background(Vec<JoinHandle<()>>);

impl Drop for Background {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// The demonstration framework on a task of its own.
struct RunningDemo {
    task: JoinHandle<anyhow::Result<()>>,
    /// Says how long open tasks may take, once they shall end.
    stop: watch::Sender<Option<Duration>>,
    sight: watch::Receiver<demo::Sight>,
    accounts: Arc<std::sync::Mutex<accounts::Accounts>>,
    ledger: std::path::PathBuf,
}

impl RunningDemo {
    fn start(
        masters: Vec<String>,
        dir: &Path,
        board: &Arc<Board>,
        background: &mut Background,
    ) -> anyhow::Result<Self> {
        let ledger = dir.join(LEDGER);
        let told = Arc::clone(board);
        let tell = move |happened| told.emit(Event::of_demo(happened));
        let demo = Demo::start(masters, ledger.clone(), tell)?;
        let (accounts, sight) = (demo.accounts(), demo.sight());
        let (stop, stopped) = watch::channel(None);
        let report = tokio::spawn(report(Arc::clone(&accounts), Arc::clone(board)));
        background.0.push(report);
        let task = tokio::spawn(demo.run(stopped));
        Ok(Self {
            task,
            stop,
            sight,
            accounts,
            ledger,
        })
    }

    /// Launches no more, waits for open tasks, and closes the books.
    async fn settle(self, ending: Ending) -> anyhow::Result<accounts::Settled> {
        self.stop.send_replace(Some(match ending {
            Ending::Drained => DRAIN,
            Ending::Interrupted => DRAIN_INTERRUPTED,
        }));
        self.task
            .await
            .context("the demonstration framework panicked")??;
        let ledger = demo::read_ledger(&self.ledger)?;
        Ok(demo::books(&self.accounts).settle(ending, ledger.lines()))
    }
}

/// Waits for a demonstration framework that ends before it is told to, which is a failure.
async fn failed(demo: &mut Option<RunningDemo>) -> anyhow::Result<()> {
    match demo {
        Some(demo) => (&mut demo.task)
            .await
            .context("the demonstration framework panicked")?,
        None => std::future::pending().await,
    }
}

async fn over(run_for: Option<Duration>) {
    match run_for {
        Some(run_for) => sleep(run_for).await,
        None => std::future::pending().await,
    }
}

/// Tells the figures of the demonstration framework. Never returns.
async fn report(accounts: Arc<std::sync::Mutex<accounts::Accounts>>, board: Arc<Board>) {
    let mut tick = interval(PROGRESS_INTERVAL);
    loop {
        tick.tick().await;
        let totals = demo::books(&accounts).totals(std::time::Instant::now());
        board.emit(Event::Progress(totals));
    }
}

/// Draws the live view. Never returns.
async fn draw(board: Arc<Board>) {
    let mut view = View::default();
    let mut tick = interval(DRAW_INTERVAL);
    loop {
        tick.tick().await;
        board.draw(&mut view);
    }
}

fn show(flags: &LocalFlags) -> Show {
    if flags.json {
        Show::Json
    } else if std::io::stdout().is_terminal() {
        Show::Terminal
    } else {
        Show::Lines
    }
}

fn model(cluster: &Cluster, dir: &Path, run_for: Option<Duration>) -> Model {
    let infos = |members: &[cluster::Member]| members.iter().map(cluster::Member::info).collect();
    Model::new(
        infos(&cluster.masters),
        infos(&cluster.agents),
        dir.to_owned(),
        run_for,
    )
}
