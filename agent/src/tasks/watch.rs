//! Waiting for the end of commands.

use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use regency_agent_core::{ContainerId, Exit, Input, LaunchId};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::{Ground, PidFd, TaskEvent, strays};
use crate::shim::{RUNNING, read_exit, was_started};

/// How often a shim that an earlier run of the agent told to go is looked at until it started its
/// command. It takes the shim milliseconds.
const STARTED_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Whose end is waited for.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) id: LaunchId,
    pub(super) container: ContainerId,
    pub(super) process: Arc<PidFd>,
}

/// Waits for a shim of this run of the agent, which was told to go.
pub(super) async fn own(
    ground: Arc<Ground>,
    events: mpsc::Sender<TaskEvent>,
    watched: Watched,
    socket: UnixStream,
    child: Child,
) {
    if says_running(socket).await {
        tell(&events, Input::Running(watched.id.clone())).await;
    }
    reap(Arc::clone(&watched.process), child).await;
    tell_end(&ground, &events, watched).await;
}

/// Waits for a shim that an earlier run of the agent told to go.
pub(super) async fn adopted(
    ground: Arc<Ground>,
    events: mpsc::Sender<TaskEvent>,
    watched: Watched,
) {
    let folder = ground.paths.shim(watched.container);
    let started = async {
        while !was_started(&folder) {
            tokio::time::sleep(STARTED_POLL_INTERVAL).await;
        }
    };
    let is_running = tokio::select! {
        () = started => true,
        () = end_of(&watched.process) => false,
    };
    if is_running {
        tell(&events, Input::Running(watched.id.clone())).await;
    }
    end_of(&watched.process).await;
    tell_end(&ground, &events, watched).await;
}

/// Waits for the end of a shim and collects it.
pub(super) async fn reap(process: Arc<PidFd>, mut child: Child) {
    end_of(&process).await;
    // It ended, so this does not block; its status means nothing.
    let _ = child.wait();
}

async fn end_of(process: &PidFd) {
    if let Err(error) = process.ended().await {
        // Without this the end would never be told; a wrong "lost" cannot come of it, because
        // the exit file decides.
        tracing::error!(%error, "a task's process cannot be watched");
    }
}

async fn says_running(socket: UnixStream) -> bool {
    let Ok(mut socket) = tokio::net::UnixStream::from_std(socket) else {
        return false;
    };
    let mut said = [0; RUNNING.len()];
    socket.read_exact(&mut said).await.is_ok() && said == *RUNNING.as_bytes()
}

async fn tell(events: &mpsc::Sender<TaskEvent>, input: Input) {
    // Nobody listens when the agent ends; its next run finds the process or its exit file.
    let _ = events.send(TaskEvent::Input(input)).await;
}

async fn tell_end(ground: &Arc<Ground>, events: &mpsc::Sender<TaskEvent>, watched: Watched) {
    let (ground, container) = (Arc::clone(ground), watched.container);
    let end = tokio::task::spawn_blocking(move || end(&ground, container)).await;
    // Only a panic in there could fail it.
    let exit = end.unwrap_or(Exit::Lost);
    tell(events, Input::Ended(watched.id, exit)).await;
}

/// How the command in `container`, whose shim is gone, ended. What a shim left behind that was
/// killed before its command is killed here.
pub(super) fn end(ground: &Ground, container: ContainerId) -> Exit {
    let folder = ground.paths.shim(container);
    if let Some(exit) = read_exit(&folder) {
        return exit;
    }
    strays::kill_container(container);
    if was_started(&folder) {
        Exit::Lost
    } else {
        Exit::NotStarted
    }
}
