//! From the flags to a running agent.
//!
//! The order matters: the directory is taken before anything is read from it, strays are killed
//! and what ran is found before any master is talked to.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use regency_agent_core::{Core, Timing};
use regency_runtime::{IdMint, RandomIds, TaskSet};
use regency_types::{AgentEpoch, DurationMs};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::attach;
use crate::checkpoint::{Log, Opened};
use crate::checks::Checks;
use crate::containers::{self, Containers};
use crate::convert::Constants;
use crate::description::Description;
use crate::directory::WorkDirectory;
use crate::driver::{Driver, Inbox};
use crate::fetch::{self, Fetcher};
use crate::flags::AgentFlags;
use crate::http;
use crate::metrics;
use crate::operator::History;
use crate::shim;
use crate::tasks::{self, Ground, Tasks, strays};
use crate::volumes;

/// Executors try at least this often to subscribe again, or those that come back in time would be
/// taken for dead (Mesos).
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Events that may wait for the driver; whoever has more to say waits.
const EVENTS_MAX: usize = 1024;

/// Runs an agent until SIGTERM or SIGINT. Its tasks go on running: the next start with the same
/// work directory takes them over.
///
/// # Errors
/// Why it could not start, or could not go on; one line says which flag or file is to blame.
pub async fn run(flags: AgentFlags) -> anyhow::Result<()> {
    let stop = async {
        match regency_runtime::stop_signal().await {
            Ok(signal) => tracing::info!(%signal, "stopping; tasks go on"),
            Err(error) => tracing::error!(%error, "signals cannot be caught"),
        }
    };
    run_until(flags, stop).await
}

/// Like [`run`], but until `stop` returns. Dropping the future instead is as good as a crash.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    flags: AgentFlags,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<()> {
    metrics::describe();
    let shim = shim_program(&flags)?;
    let directory = WorkDirectory::open(&flags.work_dir)?;
    let bind = SocketAddr::new(flags.ip, flags.port);
    let listener = TcpListener::bind(bind)
        .await
        .with_context(|| format!("cannot listen on {bind} (--ip, --port)"))?;
    let bound = listener.local_addr()?;
    let remembered = directory.detected_resources();
    let description = Description::new(&flags, bound, directory.root(), &remembered)?;
    let Opened {
        log,
        epoch,
        durable,
        torn,
    } = Log::open(&directory.checkpoint_log(), RandomIds.agent_epoch())?;
    if let Some(torn) = torn {
        tracing::warn!(
            offset = torn.offset,
            bytes = torn.bytes,
            "the last checkpoint was not finished and is cut off; nothing was done on it"
        );
    }
    let boot = shim::boot_id().context("the kernel does not tell its boot id")?;
    let ground = Arc::new(Ground {
        paths: directory.paths(),
        shim,
        epoch,
        boot,
        address: description.address,
        switch_user: flags.switch_user,
        recovery_timeout: flags.recovery_timeout,
        backoff_max: flags.executor_reregistration_timeout.min(BACKOFF_MAX),
    });

    let (looked_at, looking) = (durable.clone(), Arc::clone(&ground));
    let found = tokio::task::spawn_blocking(move || {
        let n_strays = strays::kill_other_epochs(&looking)?;
        if n_strays > 0 {
            tracing::warn!(
                n_strays,
                "killed what an agent with other checkpoints had left"
            );
            ::metrics::counter!(metrics::STRAYS_KILLED_TOTAL).increment(n_strays as u64);
        }
        let found = tasks::find(&looking, &looked_at)
            .context("cannot look for the tasks that ran before")?;
        tasks::clean(&looking, &looked_at);
        volumes::remove(&volumes::leftovers(looking.paths.root()));
        anyhow::Ok(found)
    });
    let (facts, alive) = found.await??;
    tracing::info!(
        agent_id = durable.agent_id.as_ref().map(tracing::field::display),
        n_tasks = durable.tasks.len(),
        n_alive = alive.len(),
        address = %description.address,
        "agent starts"
    );

    let fetcher = Fetcher::new(fetch_limits(&flags, &directory, epoch), ground.shim.clone())?;
    let fetcher = Arc::new(fetcher);
    let (launching, fetching) = (Arc::clone(&ground), Arc::clone(&fetcher));
    let limits = flags.operator.container_limits();
    let containers = tokio::task::spawn_blocking(move || {
        Containers::recover(launching, fetching, limits)
            .context("cannot look for the containers that were launched before")
    });
    let containers = containers.await??;
    let launched = containers::Running(Arc::clone(&containers));

    let (task_events, tasks_rx) = mpsc::channel(EVENTS_MAX);
    let (stream_events, streams_rx) = mpsc::channel(EVENTS_MAX);
    let (looks, looks_rx) = mpsc::channel(EVENTS_MAX);
    let (asks, asks_rx) = mpsc::channel(EVENTS_MAX);
    let (leaves, leaves_rx) = mpsc::channel(EVENTS_MAX);
    let checks = Checks::new(Arc::clone(&ground), task_events.clone())
        .context("cannot make a client for HTTP checks")?;
    let mut tasks = Tasks::new(Arc::clone(&ground), fetcher, task_events);
    for (id, container, process) in alive {
        tasks.adopt(id, container, process);
    }
    let timing = Timing {
        shutdown_grace: duration_ms(flags.executor_shutdown_grace_period),
        registration_timeout: duration_ms(flags.executor_registration_timeout),
        reregistration_timeout: duration_ms(flags.executor_reregistration_timeout),
        ..Timing::STANDARD
    };
    let constants = Constants {
        epoch,
        boot,
        info: description.info.clone(),
        address: description.address,
    };
    let core = Core::new(durable, timing);
    let history = History::new(flags.operator.max_completed_tasks);
    let mut driver = Driver::new(core, log, tasks, checks, constants, history, leaves);
    driver.recover(facts).await?;

    let mut around = TaskSet::new();
    let answers = http::Answers::new(description, ground, containers, &flags, looks, asks)?;
    around.spawn("http", http::serve(listener, answers));
    around.spawn_endless(
        "attach",
        attach::keep_attached(
            flags.master,
            flags.registration_backoff_factor,
            stream_events,
            leaves_rx,
        ),
    );
    let inbox = Inbox {
        streams: streams_rx,
        tasks: tasks_rx,
        looks: looks_rx,
        asks: asks_rx,
    };
    let ended = tokio::select! {
        result = driver.run(inbox) => result,
        Some(ended) = around.next_ended() => Err(anyhow::anyhow!("{ended}")),
        () = stop => Ok(()),
    };
    around.stop().await;
    drop(launched);
    // Held until here: whoever takes the directory next finds nobody at work in it.
    drop(directory);
    ended
}

fn fetch_limits(flags: &AgentFlags, directory: &WorkDirectory, epoch: AgentEpoch) -> fetch::Limits {
    let cache_dir = match &flags.fetcher_cache_dir {
        Some(folder) => folder.clone(),
        None => directory.paths().fetch_cache(),
    };
    fetch::Limits {
        // Emptied at each start, so it must not be anybody else's.
        cache_dir: cache_dir.join(epoch.to_string()),
        cache_bytes_max: flags.fetcher_cache_size,
        bytes_max: flags.fetcher_max_bytes,
        stall_timeout: flags.fetcher_stall_timeout,
        home: flags.frameworks_home.clone(),
    }
}

fn duration_ms(duration: Duration) -> DurationMs {
    DurationMs(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn shim_program(flags: &AgentFlags) -> anyhow::Result<PathBuf> {
    match &flags.task_shim {
        Some(program) => Ok(program.clone()),
        None => std::env::current_exe().context("cannot tell which program this is"),
    }
}
