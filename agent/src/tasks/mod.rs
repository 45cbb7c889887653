//! Commands as real processes: sandboxes, shims, signals, and what is found after a restart.
//!
//! Decides nothing: [`Tasks`] does what the machine asks for and tells what happened. A process is
//! held by a file descriptor of its own (a pidfd), so that a signal can never reach another
//! process that got the same number.

pub(crate) mod environment;
mod pidfd;
mod prepare;
mod recover;
mod sandbox;
pub(crate) mod shared;
mod spec;
pub(crate) mod strays;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use regency_agent_core::{ContainerId, Executor, Input, InstanceId, Launch, LaunchId, ProcessRef};
use regency_types::{AgentEpoch, AgentId, BootId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::directory::Paths;
use crate::fetch::Fetcher;
use crate::shim::{DESTROY_SIGNAL, GO};
use crate::volumes::{self, VolumeError};

use prepare::Hands;
use spec::Order;

pub(crate) use pidfd::{PidFd, register, signal_of};
pub(crate) use prepare::shim_command;
pub(crate) use recover::{clean, find};
pub(crate) use spec::{SpecError, argv, of_check as check_spec, of_running, owner_within};

/// Most commands being prepared at once. More of them only wait for the same processors and disk.
const PREPARING_MAX: usize = 32;

/// What every task of this agent has in common.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) paths: Paths,
    /// Program that provides the hidden subcommand.
    pub(crate) shim: PathBuf,
    pub(crate) epoch: AgentEpoch,
    pub(crate) boot: BootId,
    /// Where others reach the agent's HTTP port.
    pub(crate) address: SocketAddr,
    /// Whether tasks run as the user their framework asks for.
    pub(crate) switch_user: bool,
    /// What executors are told of how long to wait for an agent that is gone.
    pub(crate) recovery_timeout: Duration,
    /// What executors are told of how often to try to subscribe again.
    pub(crate) backoff_max: Duration,
}

/// Something that happened to a task.
#[derive(Debug)]
pub(crate) enum TaskEvent {
    /// The shim of a launch waits for its word.
    Prepared(LaunchId, Shim, ProcessRef),
    /// Anything that needs no hands of ours.
    Input(Input),
}

/// A shim that waits for its word, or watches its command.
#[derive(Debug)]
pub(crate) struct Shim {
    process: Arc<PidFd>,
    container: ContainerId,
    /// Gone once the command may run, and for a shim that an earlier run of the agent started.
    talk: Option<Talk>,
}

/// What only the agent has that started the shim.
#[derive(Debug)]
struct Talk {
    socket: UnixStream,
    child: Child,
}

/// All processes of this agent.
#[derive(Debug)]
pub(crate) struct Tasks {
    ground: Arc<Ground>,
    hands: Arc<Hands>,
    events: mpsc::Sender<TaskEvent>,
    shims: BTreeMap<LaunchId, Shim>,
    /// Of launches in preparation; dropped for one that is not wanted any more.
    wanted: BTreeMap<LaunchId, oneshot::Sender<()>>,
    /// Everything that waits for a process; it ends with this value, the processes do not.
    waiting: JoinSet<()>,
}

impl Tasks {
    pub(crate) fn new(
        ground: Arc<Ground>,
        fetcher: Arc<Fetcher>,
        events: mpsc::Sender<TaskEvent>,
    ) -> Self {
        let hands = Hands {
            ground: Arc::clone(&ground),
            fetcher,
            permits: Semaphore::new(PREPARING_MAX),
        };
        Self {
            ground,
            hands: Arc::new(hands),
            events,
            shims: BTreeMap::new(),
            wanted: BTreeMap::new(),
            waiting: JoinSet::new(),
        }
    }

    /// Makes sandbox and shim of a launch; ends in [`TaskEvent::Prepared`] or
    /// [`Input::LaunchFailed`].
    pub(crate) fn prepare(&mut self, agent_id: AgentId, launch: Launch, framework_info: Bytes) {
        let (id, container) = (launch.id.clone(), launch.container);
        self.make(id, container, move |ground| {
            spec::order(ground, &agent_id, &launch, &framework_info)
        });
    }

    /// Makes what the tasks of a built-in executor need; ends in [`Input::ExecutorReady`] or
    /// [`Input::LaunchFailed`].
    pub(crate) fn prepare_built_in(
        &mut self,
        agent_id: AgentId,
        id: InstanceId,
        executor: Executor,
        framework_info: Bytes,
    ) {
        self.collect();
        let (ground, events) = (Arc::clone(&self.ground), self.events.clone());
        self.waiting.spawn(async move {
            let of = id.clone();
            let make = tokio::task::spawn_blocking(move || {
                let room =
                    spec::room_of_built_in(&ground, &agent_id, &of, &executor, &framework_info)?;
                room.make(ground.paths.root())
            });
            let input = match make.await {
                Ok(Ok(())) => Input::ExecutorReady(id),
                Ok(Err(error)) => Input::LaunchFailed(id, format!("{error:#}")),
                Err(error) => Input::LaunchFailed(id, format!("{error:#}")),
            };
            // Nobody listens when the agent ends.
            let _ = events.send(TaskEvent::Input(input)).await;
        });
    }

    /// As [`Self::prepare`], for an executor.
    pub(crate) fn prepare_executor(
        &mut self,
        agent_id: AgentId,
        id: InstanceId,
        executor: Executor,
        framework_info: Bytes,
    ) {
        let container = executor.container;
        self.make(id.clone(), container, move |ground| {
            spec::of_executor(ground, &agent_id, &id, &executor, &framework_info)
        });
    }

    fn make(
        &mut self,
        id: LaunchId,
        container: ContainerId,
        order: impl FnOnce(&Ground) -> Result<Order, SpecError> + Send + 'static,
    ) {
        self.collect();
        let (hands, events) = (Arc::clone(&self.hands), self.events.clone());
        let (wanted, still_wanted) = oneshot::channel();
        self.wanted.insert(id.clone(), wanted);
        self.waiting.spawn(async move {
            let prepared = prepare::prepare(hands, container, order, still_wanted).await;
            let event = match prepared {
                Ok((shim, process)) => TaskEvent::Prepared(id, shim, process),
                Err(error) => TaskEvent::Input(Input::LaunchFailed(id, format!("{error:#}"))),
            };
            // Nobody listens when the agent ends; the shim then ends with its socket.
            let _ = events.send(event).await;
        });
    }

    /// Keeps a prepared shim until its word is given.
    pub(crate) fn keep(&mut self, id: LaunchId, shim: Shim) {
        self.wanted.remove(&id);
        self.shims.insert(id, shim);
    }

    /// Lets a prepared command run, and watches it.
    pub(crate) fn go(&mut self, id: &LaunchId) {
        let Some(shim) = self.shims.get_mut(id) else {
            return;
        };
        let Some(mut talk) = shim.talk.take() else {
            return;
        };
        // A shim that died meanwhile is noticed by whoever watches it.
        if let Err(error) = talk.socket.write_all(GO.as_bytes()) {
            tracing::warn!(launch = %id, %error, "a prepared task could not be told to start");
        }
        let (process, container) = (Arc::clone(&shim.process), shim.container);
        let watched = watch::Watched {
            id: id.clone(),
            container,
            process,
        };
        let (ground, events) = (Arc::clone(&self.ground), self.events.clone());
        self.waiting
            .spawn(watch::own(ground, events, watched, talk.socket, talk.child));
    }

    /// Watches a command that an earlier run of this agent started.
    pub(crate) fn adopt(&mut self, id: LaunchId, container: ContainerId, process: PidFd) {
        let process = Arc::new(process);
        let watched = watch::Watched {
            id: id.clone(),
            container,
            process: Arc::clone(&process),
        };
        let (ground, events) = (Arc::clone(&self.ground), self.events.clone());
        self.waiting.spawn(watch::adopted(ground, events, watched));
        let talk = None;
        self.shims.insert(
            id,
            Shim {
                process,
                container,
                talk,
            },
        );
    }

    /// Drops a shim that was never told to go; it ends without running anything. One that was
    /// told is left alone. Files on their way to its sandbox are given up.
    pub(crate) fn abort(&mut self, id: &LaunchId) {
        self.wanted.remove(id);
        if self.shims.get(id).is_some_and(|shim| shim.talk.is_none()) {
            return;
        }
        let Some(Shim {
            process,
            talk: Some(talk),
            ..
        }) = self.shims.remove(id)
        else {
            return;
        };
        drop(talk.socket);
        self.waiting.spawn(watch::reap(process, talk.child));
    }

    /// Asks a command to end.
    pub(crate) fn terminate(&self, id: &LaunchId) {
        self.signal(id, rustix::process::Signal::TERM);
    }

    /// Kills a command and everything that descends from it.
    pub(crate) fn destroy(&self, id: &LaunchId) {
        self.signal(id, pidfd::signal_of(DESTROY_SIGNAL));
    }

    fn signal(&self, id: &LaunchId, signal: rustix::process::Signal) {
        if let Some(shim) = self.shims.get(id)
            && let Err(error) = shim.process.signal(signal)
        {
            // Its end is about to be noticed.
            tracing::debug!(launch = %id, %error, "a task's process is gone already");
        }
    }

    /// Lets go of a process that ended, or never came to be.
    pub(crate) fn ended(&mut self, id: &LaunchId) {
        self.wanted.remove(id);
        self.shims.remove(id);
        self.collect();
    }

    /// Removes what was kept beside the sandbox of a launch.
    pub(crate) fn forget(&mut self, id: &LaunchId, container: ContainerId) {
        self.abort(id);
        let folder = self.ground.paths.shim(container);
        self.waiting
            .spawn_blocking(move || recover::remove_folder(&folder));
        self.collect();
    }

    /// Takes the data of a volume away; after this a new volume in its place begins empty.
    ///
    /// # Errors
    /// When the data may still be there. The agent must end then, rather than let a later volume
    /// begin with it.
    pub(crate) fn destroy_volume(&mut self, volume: &[u8], mark: u128) -> Result<(), VolumeError> {
        self.collect();
        match volumes::destroy(self.ground.paths.root(), volume, mark) {
            Ok(None) => {}
            Ok(Some(aside)) => {
                self.waiting.spawn_blocking(move || volumes::remove(&aside));
            }
            // It has no place here, so no task was ever shown it.
            Err(VolumeError::NoVolume(why)) => tracing::warn!(why, "nothing to destroy"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Drops the results of what is done.
    fn collect(&mut self) {
        while self.waiting.try_join_next().is_some() {}
    }
}
