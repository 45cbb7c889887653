//! From a task or an executor to a shim that waits for its word.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use regency_agent_core::{ContainerId, ProcessRef};
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, oneshot};

use super::spec::{Order, SpecError};
use super::{Ground, PidFd, Shim, Talk, environment};
use crate::fetch::{Customer, Fetcher};
use crate::shim::{self, LOG_FILE, READY, Spec};

/// How long a shim may take to start on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Everybody who prepares launches.
#[derive(Debug)]
pub(super) struct Hands {
    pub(super) ground: Arc<Ground>,
    pub(super) fetcher: Arc<Fetcher>,
    /// Of those who make sandboxes and shims.
    pub(super) permits: Semaphore,
}

/// Makes the sandbox, fetches what belongs into it, makes the shim, and returns when the shim
/// waits for its word. Fetching ends early when the other end of `wanted` is dropped.
pub(super) async fn prepare(
    hands: Arc<Hands>,
    container: ContainerId,
    order: impl FnOnce(&Ground) -> Result<Order, SpecError> + Send + 'static,
    wanted: oneshot::Receiver<()>,
) -> anyhow::Result<(Shim, ProcessRef)> {
    let boot = hands.ground.boot;
    let ground = Arc::clone(&hands.ground);
    let make = move || {
        let Order { spec, room, uris } = order(&ground)?;
        room.make(ground.paths.root())?;
        anyhow::Ok((spec, uris))
    };
    // Never closed, so a permit always comes.
    let permit = hands.permits.acquire().await;
    let (spec, uris) = tokio::task::spawn_blocking(make).await??;
    drop(permit);
    let customer = Customer {
        sandbox: spec.sandbox.clone(),
        owner: spec.owner,
    };
    tokio::select! {
        fetched = hands.fetcher.fetch(&uris, &customer) => fetched?,
        _ = wanted => anyhow::bail!("the task was killed while its files were fetched"),
    }
    let _permit = hands.permits.acquire().await;
    let ground = Arc::clone(&hands.ground);
    let start = move || start(&ground, container, &spec);
    let talk = tokio::task::spawn_blocking(start).await??;
    // From here on the shim ends by itself whenever the socket is dropped.
    let pid = talk.child.id();
    let process = PidFd::open(pid)?.context("the task's process ended at once")?;
    let talk = ready(talk).await?;
    let start_ticks = shim::start_ticks(pid).context("the task's process ended at once")?;
    let shim = Shim {
        process: Arc::new(process),
        container,
        talk: Some(talk),
    };
    Ok((
        shim,
        ProcessRef {
            pid,
            start_ticks,
            boot,
        },
    ))
}

fn start(ground: &Ground, container: ContainerId, spec: &Spec) -> anyhow::Result<Talk> {
    let folder = ground.paths.shim(container);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let log = std::fs::File::create(folder.join(LOG_FILE))
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    let (mut socket, theirs) = UnixStream::pair().context("no socket")?;
    socket.set_write_timeout(Some(READY_TIMEOUT))?;
    let child = shim_command(ground, container)
        .arg(&folder)
        .stdin(OwnedFd::from(theirs))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", ground.shim.display()))?;
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    match socket
        .write_all(&line)
        .and_then(|()| socket.set_nonblocking(true))
    {
        Ok(()) => Ok(Talk { socket, child }),
        Err(error) => {
            drop(socket);
            collect(child);
            Err(error).context("the task's process does not listen")
        }
    }
}

/// The program that runs commands in `container`, to be completed with what it is to do.
pub(crate) fn shim_command(ground: &Ground, container: ContainerId) -> Command {
    let mut command = Command::new(&ground.shim);
    command
        .arg(shim::SUBCOMMAND)
        .env_clear()
        .env("PATH", environment::PATH_DEFAULT)
        .env(environment::MARK_SHIM, "1")
        .envs(environment::marks(ground, container));
    command
}

/// Waits for the shim's first word.
async fn ready(talk: Talk) -> anyhow::Result<Talk> {
    let read = async {
        let mut socket = tokio::net::UnixStream::from_std(talk.socket.try_clone()?)?;
        let mut said = [0; READY.len()];
        socket.read_exact(&mut said).await?;
        anyhow::ensure!(
            said == *READY.as_bytes(),
            "it says something else than that it is ready"
        );
        Ok(())
    };
    let answer = match tokio::time::timeout(READY_TIMEOUT, read).await {
        Ok(answer) => answer,
        Err(_) => Err(anyhow::anyhow!("it is not ready after {READY_TIMEOUT:?}")),
    };
    match answer {
        Ok(()) => Ok(talk),
        Err(error) => {
            drop(talk.socket);
            collect(talk.child);
            Err(error).context("the task's process did not start")
        }
    }
}

/// Kills and collects a shim that is of no use. It has not been told to go, so nothing else dies
/// with it.
fn collect(mut child: Child) {
    // Ended already: then there is only something to collect.
    let _ = child.kill();
    let _ = child.wait();
}
