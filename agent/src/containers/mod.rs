//! Containers that operators and executors launch: within that of a running task or executor, or
//! standalone.
//!
//! They are no business of the masters, so nothing of them is in the agent's machine: [`Containers`]
//! keeps them beside it. A container with output files outlives the agent and is found again by what
//! [`record`] noted; one with pipes or a terminal is tied to a connection and ends with the agent. A
//! nested one ends with what it is in, by the doing of its own shim.
//!
//! * [`name`]: ids. [`record`]: what is remembered. [`launch`]: from an order to a process.
//! * [`talk`]: input and output.

mod launch;
pub(crate) mod name;
mod record;
pub(crate) mod talk;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regency_agent_core::{Exit, ProcessRef};
use regency_resources::Resources;
use regency_wire::v1;
use regency_wire::v1::agent::ProcessIo;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::fetch::Fetcher;
use crate::metrics;
use crate::shim::DESTROY_SIGNAL;
use crate::shim::container::{Io, command_of};
use crate::tasks::{Ground, PidFd, signal_of, strays};

use name::Name;
pub(crate) use record::Footing;
use talk::Talk;

/// Containers whose end is remembered until they are removed; the oldest are forgotten.
const ENDED_MAX: usize = 1024;

/// How much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Running containers.
    pub(crate) running_max: usize,
    /// Connections to their input and output.
    pub(crate) attachments_max: usize,
    /// Bytes of output that wait for one connection.
    pub(crate) output_bytes: u64,
}

/// What to launch.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: Name,
    pub(crate) command: v1::CommandInfo,
    pub(crate) io: Io,
    pub(crate) place: Place,
    pub(crate) resources: Resources,
    /// Those of `resources` as they were said.
    pub(crate) resources_json: String,
    /// Gets all output of a session.
    pub(crate) output: Option<mpsc::Sender<ProcessIo>>,
}

/// Where it runs.
#[derive(Debug)]
pub(crate) enum Place {
    /// In a directory of its own below the agent's.
    Standalone,
    /// In a directory of its own below that of the container around it.
    Within(Around),
    /// Right in the container around it, with its environment.
    Beside(Around),
}

/// The container that another one is in.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub(crate) footing: Footing,
    pub(crate) process: ProcessRef,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launched {
    Now,
    /// It runs, since an earlier order.
    Before,
}

/// Why a container cannot be launched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error("the container {0} has ended; remove it before its id is used again")]
    Ended(String),
    #[error("there is a container {0} already")]
    Exists(String),
    #[error("as many containers as --operator-containers-max allows run already")]
    Full,
    #[error("the container could not be launched: {0:#}")]
    Failed(anyhow::Error),
}

/// Why nothing is done with a container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContainerError {
    #[error("Container {0} cannot be found")]
    Unknown(String),
    #[error("Container {0} has not terminated yet")]
    Running(String),
    #[error(
        "Container {0} has neither a terminal nor pipes: it was launched without 'tty_info' and not \
         as a session"
    )]
    Mute(String),
    #[error("the input of container {0} has a connection already")]
    InputTaken(String),
    #[error("there are as many connections to containers as --container-attachments-max allows")]
    Full,
    #[error("there is no signal {0}")]
    NoSignal(i32),
    #[error("the container could not be removed: {0}")]
    NotRemoved(String),
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Preparing,
    Running(ProcessRef),
    Ended(Exit),
}

/// A container as others see it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) name: Name,
    pub(crate) process: Option<ProcessRef>,
    pub(crate) resources: Resources,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    folder: PathBuf,
    resources: Resources,
    phase: watch::Sender<Phase>,
    /// Whoever prepares it gives up.
    unwanted: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    process: Option<Arc<PidFd>>,
    talk: Option<Arc<Talk>>,
    footing: Option<Footing>,
    doomed: bool,
}

impl Entry {
    fn new(name: Name, folder: PathBuf, resources: Resources) -> Arc<Self> {
        Arc::new(Self {
            name,
            folder,
            resources,
            phase: watch::Sender::new(Phase::Preparing),
            unwanted: Notify::new(),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn is_ended(&self) -> bool {
        matches!(self.phase(), Phase::Ended(_))
    }

    /// Kills all of it, now or as soon as there is something.
    fn destroy(&self) {
        let process = {
            let mut state = self.state();
            state.doomed = true;
            state.process.clone()
        };
        self.unwanted.notify_one();
        if let Some(process) = process
            && let Err(error) = process.signal(signal_of(DESTROY_SIGNAL))
        {
            // Its end is about to be noticed.
            let name = &self.name;
            tracing::debug!(container_id = %name, %error, "a container's process is gone already");
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Name, Arc<Entry>>,
    /// Of those that ended, oldest first.
    ended: VecDeque<Name>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Containers {
    ground: Arc<Ground>,
    fetcher: Arc<Fetcher>,
    limits: Limits,
    attachments: Arc<Semaphore>,
    table: Mutex<Table>,
    /// Everything that goes on here, until [`Running`] ends.
    tasks: Mutex<JoinSet<()>>,
}

/// Keeps the containers looked after while the agent runs. Afterwards those that are tied to it end,
/// as they do when it crashes; the others go on.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Arc<Containers>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.tasks().abort_all();
        let entries: Vec<Arc<Entry>> = self.0.table().entries.values().cloned().collect();
        for entry in entries {
            let state = entry.state();
            if state.talk.is_some()
                && let Some(process) = &state.process
            {
                // Gone already is as good.
                let _ = process.signal(signal_of(DESTROY_SIGNAL));
            }
        }
    }
}

/// A place among the connections to containers.
#[derive(Debug)]
pub(crate) struct Attachment {
    _place: OwnedSemaphorePermit,
}

impl Attachment {
    fn new(place: OwnedSemaphorePermit) -> Self {
        ::metrics::gauge!(metrics::CONTAINER_ATTACHMENTS).increment(1.0);
        Self { _place: place }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        ::metrics::gauge!(metrics::CONTAINER_ATTACHMENTS).decrement(1.0);
    }
}

impl Containers {
    /// Takes over what an earlier run of the agent launched, and ends what was tied to it. Blocks.
    pub(crate) fn recover(
        ground: Arc<Ground>,
        fetcher: Arc<Fetcher>,
        limits: Limits,
    ) -> std::io::Result<Arc<Self>> {
        let containers = Arc::new(Self {
            attachments: Arc::new(Semaphore::new(limits.attachments_max)),
            ground,
            fetcher,
            limits,
            table: Mutex::default(),
            tasks: Mutex::default(),
        });
        let all = containers.ground.paths.launched();
        std::fs::create_dir_all(&all)?;
        let mut n_alive = 0;
        for found in record::find(&all) {
            n_alive += usize::from(containers.take_over(found)?);
        }
        if n_alive > 0 {
            tracing::info!(n_alive, "containers that somebody launched go on");
        }
        containers.gauge();
        Ok(containers)
    }

    /// Whether it lives.
    fn take_over(self: &Arc<Self>, found: record::Found) -> std::io::Result<bool> {
        let record::Found {
            record,
            process,
            exit,
        } = found;
        let folder = record.name.folder(&self.ground.paths.launched());
        if record.epoch != self.ground.epoch {
            // Its processes were killed with all others of that agent.
            record::remove(&folder)?;
            return Ok(false);
        }
        let resources = serde_json::from_str::<Vec<v1::Resource>>(&record.resources);
        let resources = resources.map(|list| launch::sum(&list)).unwrap_or_default();
        let entry = Entry::new(record.name.clone(), folder, resources);
        entry.state().footing = Some(record.ground);
        let held = match record::of_this_boot(process, self.ground.boot) {
            Some(process) => {
                PidFd::open_same(process.pid, process.start_ticks)?.map(|held| (process, held))
            }
            None => None,
        };
        let mut table = self.table();
        table
            .entries
            .insert(record.name.clone(), Arc::clone(&entry));
        match held {
            Some((process, held)) if !record.tied => {
                entry.state().process = Some(Arc::new(held));
                entry.phase.send_replace(Phase::Running(process));
                drop(table);
                self.spawn(Arc::clone(self).watch(entry, None));
                Ok(true)
            }
            _ => {
                // A tied one ends by itself with the agent; this makes sure of it, and waits for the
                // last word of its process.
                strays::kill_launched(&record.name.to_string());
                let exit = exit.or_else(|| crate::shim::read_exit(&entry.folder));
                let exit = exit.unwrap_or(Exit::Lost);
                entry.phase.send_replace(Phase::Ended(exit));
                table.ended.push_back(record.name);
                Ok(false)
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }

    fn find(&self, name: &Name) -> Result<Arc<Entry>, ContainerError> {
        let entry = self.table().entries.get(name).cloned();
        entry.ok_or_else(|| ContainerError::Unknown(name.to_string()))
    }

    fn find_running(&self, name: &Name) -> Result<Arc<Entry>, ContainerError> {
        let entry = self.find(name)?;
        match entry.is_ended() {
            true => Err(ContainerError::Unknown(name.to_string())),
            false => Ok(entry),
        }
    }

    /// Launches a container; returns when its command runs.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) async fn launch(self: &Arc<Self>, order: Order) -> Result<Launched, LaunchError> {
        let entry = {
            let mut table = self.table();
            if let Some(entry) = table.entries.get(&order.name) {
                let name = order.name.to_string();
                return match entry.phase() {
                    Phase::Ended(_) => Err(LaunchError::Ended(name)),
                    // Its output is somebody else's.
                    _ if order.output.is_some() => Err(LaunchError::Exists(name)),
                    Phase::Preparing | Phase::Running(_) => Ok(Launched::Before),
                };
            }
            let running = table.entries.len() - table.ended.len();
            if running >= self.limits.running_max {
                return Err(LaunchError::Full);
            }
            let folder = order.name.folder(&self.ground.paths.launched());
            let entry = Entry::new(order.name.clone(), folder, order.resources.clone());
            table.entries.insert(order.name.clone(), Arc::clone(&entry));
            entry
        };
        self.gauge();
        // Goes on when whoever asked is gone: half a launch would be worse.
        let (done, launched) = oneshot::channel();
        let launching = Arc::clone(self).carry_out(entry, order);
        self.spawn(async move {
            // Whoever asked may have gone.
            let _ = done.send(launching.await);
        });
        let launched = launched.await.map_err(anyhow::Error::from).flatten();
        let result = if launched.is_ok() {
            "succeeded"
        } else {
            "failed"
        };
        ::metrics::counter!(metrics::CONTAINER_LAUNCHES_TOTAL, metrics::RESULT => result)
            .increment(1);
        launched
            .map(|()| Launched::Now)
            .map_err(LaunchError::Failed)
    }

    async fn carry_out(self: Arc<Self>, entry: Arc<Entry>, order: Order) -> anyhow::Result<()> {
        let io = order.io;
        let output = order.output.clone();
        let made = |footing: &Footing| entry.state().footing = Some(footing.clone());
        let (ground, fetcher) = (&self.ground, &self.fetcher);
        let prepared = tokio::select! {
            prepared = launch::prepare(ground, fetcher, &entry.folder, order, made) => prepared,
            () = entry.unwanted.notified() => Err(anyhow::anyhow!("it was killed before it ran")),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.forget(&entry);
                return Err(error);
            }
        };
        let doomed = {
            let mut state = entry.state();
            state.process = Some(Arc::clone(&prepared.held));
            state.doomed
        };
        let (process, child) = (prepared.process, prepared.child);
        let socket = match doomed {
            // Without its word nothing runs.
            true => Err(anyhow::anyhow!("it was killed before it ran")),
            false => launch::go(prepared.socket).await,
        };
        match socket {
            Ok(socket) => {
                if !matches!(io, Io::Files) {
                    let messages = talk::messages_max(self.limits.output_bytes);
                    let (talk, listening) = Talk::begin(socket, output, messages);
                    entry.state().talk = Some(talk);
                    let tied = Arc::clone(&entry);
                    self.spawn(async move {
                        listening.await;
                        // It has ended, or its connection.
                        tied.destroy();
                    });
                }
                entry.phase.send_replace(Phase::Running(process));
                let watching = Arc::clone(&self).watch(entry, Some(child));
                self.spawn(watching);
                Ok(())
            }
            Err(error) => {
                Arc::clone(&self)
                    .watch(Arc::clone(&entry), Some(child))
                    .await;
                let exit = match entry.phase() {
                    Phase::Ended(exit) => exit.message(),
                    Phase::Preparing | Phase::Running(_) => String::new(),
                };
                self.forget(&entry);
                Err(error.context(exit))
            }
        }
    }

    /// Waits for the end of a container.
    async fn watch(self: Arc<Self>, entry: Arc<Entry>, child: Option<launch::Kid>) {
        let held = entry.state().process.clone();
        if let Some(held) = held
            && let Err(error) = held.ended().await
        {
            // The exit file decides how it ended.
            tracing::error!(container_id = %entry.name, %error, "a container cannot be watched");
        }
        let (name, folder) = (entry.name.to_string(), entry.folder.clone());
        let exit = tokio::task::spawn_blocking(move || {
            // It ended, so this does not block.
            if let Some(child) = child {
                child.collect();
            }
            crate::shim::read_exit(&folder).unwrap_or_else(|| {
                strays::kill_launched(&name);
                Exit::Lost
            })
        });
        // Only a panic in there could fail it.
        let exit = exit.await.unwrap_or(Exit::Lost);
        let forgotten = {
            let mut table = self.table();
            entry.phase.send_replace(Phase::Ended(exit));
            entry.state().process = None;
            let is_known = table.entries.contains_key(&entry.name);
            if is_known {
                table.ended.push_back(entry.name.clone());
            }
            let old = match table.ended.len() > ENDED_MAX {
                true => table.ended.pop_front(),
                false => None,
            };
            old.and_then(|name| table.entries.remove(&name))
        };
        if let Some(old) = forgotten {
            let folder = old.folder.clone();
            tokio::task::spawn_blocking(move || record::remove(&folder));
        }
        tracing::debug!(container_id = %entry.name, ?exit, "a container ended");
        self.gauge();
    }

    /// Drops a container that never ran.
    fn forget(&self, entry: &Entry) {
        {
            let mut table = self.table();
            table.entries.remove(&entry.name);
            table.ended.retain(|name| *name != entry.name);
        }
        // One whose command never ran has none in it.
        let footing = entry.state().footing.take();
        let removed = footing.map_or(Ok(()), |footing| launch::remove_sandbox(&footing));
        if let Err(error) = removed.and_then(|()| record::remove(&entry.folder)) {
            tracing::warn!(container_id = %entry.name, %error, "a container's folder stays behind");
        }
        entry.phase.send_if_modified(|phase| {
            let open = !matches!(phase, Phase::Ended(_));
            if open {
                *phase = Phase::Ended(Exit::NotStarted);
            }
            open
        });
        self.gauge();
    }

    /// How a container ended, once it has.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn wait(&self, name: &Name) -> Result<Exit, ContainerError> {
        let entry = self.find(name)?;
        let mut phase = entry.phase.subscribe();
        // The sender is the entry's, which is held here.
        let ended = phase
            .wait_for(|phase| matches!(phase, Phase::Ended(_)))
            .await;
        match ended.as_deref() {
            Ok(Phase::Ended(exit)) => Ok(*exit),
            _ => Err(ContainerError::Unknown(name.to_string())),
        }
    }

    /// Sends a signal to the first process of a container's command.
    ///
    /// # Errors
    /// When none runs, or there is no such signal.
    pub(crate) fn kill(&self, name: &Name, signal: i32) -> Result<(), ContainerError> {
        let wanted = rustix::process::Signal::from_named_raw(signal);
        let wanted = wanted.ok_or(ContainerError::NoSignal(signal))?;
        let entry = self.find_running(name)?;
        if entry.phase() == Phase::Preparing {
            // Whatever the signal: what does not run yet will not.
            entry.destroy();
            return Ok(());
        }
        if wanted == rustix::process::Signal::KILL {
            entry.destroy();
            return Ok(());
        }
        let process = command_of(&entry.folder)
            .and_then(|(pid, start)| PidFd::open_same(pid, start).ok().flatten());
        match process.map(|process| process.signal(wanted)) {
            Some(Ok(())) => Ok(()),
            // Its end is about to be noticed.
            Some(Err(_)) | None => Err(ContainerError::Unknown(name.to_string())),
        }
    }

    /// Removes what is left of a container that ended, with those that were in it.
    ///
    /// # Errors
    /// When it runs, or something stays.
    pub(crate) async fn remove(&self, name: &Name) -> Result<(), ContainerError> {
        // One that is not known was removed before, as far as anybody can tell.
        let Ok(entry) = self.find(name) else {
            return Ok(());
        };
        let footing = entry.state().footing.clone();
        {
            let mut table = self.table();
            let family: Vec<Name> = table
                .entries
                .keys()
                .filter(|other| *other == name || other.is_within(name))
                .cloned()
                .collect();
            let alive = |name: &&Name| !table.entries[*name].is_ended();
            if let Some(alive) = family.iter().find(alive) {
                return Err(ContainerError::Running(alive.to_string()));
            }
            for gone in &family {
                table.entries.remove(gone);
            }
            table.ended.retain(|ended| !family.contains(ended));
        }
        let folder = entry.folder.clone();
        let removed = tokio::task::spawn_blocking(move || {
            if let Some(footing) = footing {
                launch::remove_sandbox(&footing)?;
            }
            record::remove(&folder)
        });
        let removed = removed.await.map_err(std::io::Error::other).flatten();
        removed.map_err(|error| ContainerError::NotRemoved(error.to_string()))
    }

    /// A place for one more connection.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn attachment(&self) -> Result<Attachment, ContainerError> {
        let place = Arc::clone(&self.attachments).try_acquire_owned();
        let place = place.map_err(|_| ContainerError::Full)?;
        Ok(Attachment::new(place))
    }

    fn talk(&self, name: &Name) -> Result<Arc<Talk>, ContainerError> {
        let entry = self.find_running(name)?;
        let talk = entry.state().talk.clone();
        talk.ok_or_else(|| ContainerError::Mute(name.to_string()))
    }

    /// What a container says from now on.
    ///
    /// # Errors
    /// When it says nothing.
    pub(crate) fn attach_output(&self, name: &Name) -> Result<talk::Output, ContainerError> {
        let output = self.talk(name)?.attach_output();
        output.map_err(|_| ContainerError::Unknown(name.to_string()))
    }

    /// Takes the input of a container.
    ///
    /// # Errors
    /// When it has none, or it is taken.
    pub(crate) fn attach_input(&self, name: &Name) -> Result<talk::Input, ContainerError> {
        let input = self.talk(name)?.attach_input();
        input.ok_or_else(|| ContainerError::InputTaken(name.to_string()))
    }

    /// A running container that others may be launched in.
    pub(crate) fn around(&self, name: &Name) -> Option<Around> {
        let entry = self.find_running(name).ok()?;
        let Phase::Running(process) = entry.phase() else {
            return None;
        };
        let footing = entry.state().footing.clone()?;
        Some(Around { footing, process })
    }

    /// All that run.
    pub(crate) fn list(&self) -> Vec<Seen> {
        let table = self.table();
        let running = table.entries.values().filter(|entry| !entry.is_ended());
        running
            .map(|entry| Seen {
                name: entry.name.clone(),
                process: match entry.phase() {
                    Phase::Running(process) => Some(process),
                    Phase::Preparing | Phase::Ended(_) => None,
                },
                resources: entry.resources.clone(),
            })
            .collect()
    }

    pub(crate) fn output_messages_max(&self) -> usize {
        talk::messages_max(self.limits.output_bytes).max(1)
    }

    fn gauge(&self) {
        let table = self.table();
        let running = table.entries.len() - table.ended.len();
        ::metrics::gauge!(metrics::LAUNCHED_CONTAINERS).set(running as f64);
    }
}
