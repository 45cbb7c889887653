//! From an order to a process that runs its command.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use regency_agent_core::ProcessRef;
use regency_resources::Resources;
use regency_wire::v1;
use tokio::io::AsyncReadExt;

use super::name::Name;
use super::record::{self, Footing, Record};
use super::{Order, Place};
use crate::fetch::{Customer, Fetcher};
use crate::shim::container::{ContainerSpec, Io};
use crate::shim::{self, CONTAINER_FLAG, GO, LOG_FILE, READY, RUNNING};
use crate::tasks::environment::{self, launched_marks};
use crate::tasks::{Ground, PidFd, SpecError, argv, owner_within};

/// How long a shim may take to start on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Directory of nested containers in the sandbox around them (Mesos).
const NESTED: &str = "containers";

/// A shim that waits for its word.
pub(super) struct Prepared {
    pub(super) held: Arc<PidFd>,
    pub(super) process: ProcessRef,
    pub(super) child: Kid,
    pub(super) socket: tokio::net::UnixStream,
}

/// A shim that is collected, whatever becomes of this value.
pub(super) struct Kid(Option<Child>);

impl Kid {
    /// Collects it; blocks until it ended.
    pub(super) fn collect(mut self) {
        if let Some(mut child) = self.0.take() {
            // Its status means nothing.
            let _ = child.wait();
        }
    }
}

impl Drop for Kid {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Given up, so it ends as soon as its socket is closed.
            std::thread::spawn(move || child.wait());
        }
    }
}

/// Resources that cannot be read count as none.
pub(super) fn sum(list: &[v1::Resource]) -> Resources {
    regency_wire::resources::from_wire(list).map_or_else(|_| Resources::empty(), |r| r.resources)
}

/// Makes sandbox, files and shim. Dropped before its end, it leaves nothing that runs.
pub(super) async fn prepare(
    ground: &Arc<Ground>,
    fetcher: &Fetcher,
    folder: &Path,
    order: Order,
    on_made: impl Fn(&Footing),
) -> anyhow::Result<Prepared> {
    let uris = order.command.uris.clone();
    let (ours, at) = (Arc::clone(ground), folder.to_owned());
    let made = tokio::task::spawn_blocking(move || make(&ours, &at, order));
    let Made {
        spec,
        footing,
        name,
    } = made.await??;
    on_made(&footing);
    let customer = Customer {
        sandbox: footing.directory(),
        owner: footing.owner,
    };
    fetcher.fetch(&uris, &customer).await?;
    let (ours, at) = (Arc::clone(ground), folder.to_owned());
    let started = tokio::task::spawn_blocking(move || start(&ours, &at, &name, &spec));
    // From here on the shim ends by itself when the socket is dropped.
    let (child, socket, pid) = started.await??;
    let held = PidFd::open(pid)?.context("its process ended at once")?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    hear(&mut socket, READY).await?;
    let start_ticks = shim::start_ticks(pid).context("its process ended at once")?;
    let process = ProcessRef {
        pid,
        start_ticks,
        boot: ground.boot,
    };
    let at = folder.to_owned();
    let noted = tokio::task::spawn_blocking(move || record::note_process(&at, process));
    noted.await?.context("cannot note its process")?;
    Ok(Prepared {
        held: Arc::new(held),
        process,
        child,
        socket,
    })
}

/// Lets the command run, and waits until it does.
pub(super) async fn go(
    mut socket: tokio::net::UnixStream,
) -> anyhow::Result<tokio::net::UnixStream> {
    use tokio::io::AsyncWriteExt;
    socket.write_all(GO.as_bytes()).await?;
    hear(&mut socket, RUNNING).await?;
    Ok(socket)
}

async fn hear(socket: &mut tokio::net::UnixStream, word: &str) -> anyhow::Result<()> {
    let mut said = vec![0; word.len()];
    let read = tokio::time::timeout(READY_TIMEOUT, socket.read_exact(&mut said)).await;
    read.context("its process did not start in time")?
        .context("its process ended")?;
    anyhow::ensure!(
        said == word.as_bytes(),
        "its process says something strange"
    );
    Ok(())
}

struct Made {
    spec: ContainerSpec,
    footing: Footing,
    name: Name,
}

fn make(ground: &Ground, folder: &Path, order: Order) -> anyhow::Result<Made> {
    let Order {
        name,
        command,
        io,
        place,
        resources_json,
        ..
    } = order;
    let (footing, parent) = footing(ground, &name, &command, place)?;
    let noted = note(ground, folder, &name, &footing, &io, resources_json);
    let noted = noted.and_then(|()| Ok(argv(command).ok_or(SpecError::NoCommand)?));
    let argv = match noted {
        Ok(argv) => argv,
        Err(error) => {
            // Left behind, it would be in the way of the next one of that id.
            remove_sandbox(&footing)?;
            return Err(error);
        }
    };
    let mut environment = footing.environment.clone();
    environment.extend(launched_marks(ground, name.root(), &name.to_string()));
    let spec = ContainerSpec {
        argv,
        environment,
        owner: footing.owner,
        base: footing.base.clone(),
        within: footing.within.clone(),
        parent: parent.map(|process| (process.pid, process.start_ticks)),
        io,
    };
    Ok(Made {
        spec,
        footing,
        name,
    })
}

/// Notes what is to be found again after a crash.
fn note(
    ground: &Ground,
    folder: &Path,
    name: &Name,
    footing: &Footing,
    io: &Io,
    resources: String,
) -> anyhow::Result<()> {
    let record = Record {
        name: name.clone(),
        epoch: ground.epoch,
        tied: !matches!(io, Io::Files),
        ground: footing.clone(),
        resources,
    };
    // What an earlier one of that id left behind would be taken for its end.
    record::remove(folder)?;
    record::begin(folder, &record).context("cannot note the container")
}

/// Makes the directory a container runs in.
fn footing(
    ground: &Ground,
    name: &Name,
    command: &v1::CommandInfo,
    place: Place,
) -> anyhow::Result<(Footing, Option<ProcessRef>)> {
    match place {
        Place::Standalone => {
            let owner = owner_within(ground, command, None)?;
            let base = ground.paths.standalone().join(name.own());
            std::fs::create_dir_all(ground.paths.standalone())?;
            let made = std::fs::create_dir(&base)
                .and_then(|()| Dir::open_ambient_dir(&base, ambient_authority()));
            let dir =
                made.with_context(|| format!("cannot make the sandbox {}", base.display()))?;
            let footing = own(ground, name, command, owner, base, ".".into());
            give(&dir, &footing)?;
            Ok((footing, None))
        }
        Place::Within(around) => {
            let owner = owner_within(ground, command, around.footing.owner)?;
            let base = around.footing.base;
            let within = match around.footing.within == Path::new(".") {
                true => Path::new(NESTED).join(name.own()),
                false => around.footing.within.join(NESTED).join(name.own()),
            };
            // Through a handle: the user of the outer container may have put links in the way.
            let outer = Dir::open_ambient_dir(&base, ambient_authority());
            let outer = outer.with_context(|| format!("cannot open {}", base.display()))?;
            let nested = within.parent().unwrap_or(Path::new(NESTED));
            let made = outer
                .create_dir_all(nested)
                .and_then(|()| outer.create_dir(&within))
                .and_then(|()| outer.open_dir(&within));
            let dir =
                made.with_context(|| format!("cannot make the sandbox {}", within.display()))?;
            let footing = own(ground, name, command, owner, base, within);
            give(&dir, &footing)?;
            Ok((footing, Some(around.process)))
        }
        Place::Beside(around) => {
            let owner = owner_within(ground, command, around.footing.owner)?;
            let mut footing = around.footing;
            footing.owner = owner;
            footing.own = false;
            footing.environment.extend(environment::own(command));
            Ok((footing, Some(around.process)))
        }
    }
}

fn own(
    ground: &Ground,
    name: &Name,
    command: &v1::CommandInfo,
    owner: Option<(u32, u32)>,
    base: PathBuf,
    within: PathBuf,
) -> Footing {
    let directory = match within == Path::new(".") {
        true => base.clone(),
        false => base.join(&within),
    };
    let environment = environment::of_launched(ground, &name.to_string(), &directory, command);
    Footing {
        environment,
        owner,
        base,
        within,
        own: true,
    }
}

/// Gives the directory to whom the container belongs; otherwise there is none.
fn give(dir: &Dir, footing: &Footing) -> io::Result<()> {
    let given = match footing.owner {
        Some((user, group)) => fchown(dir, Some(user), Some(group)),
        None => Ok(()),
    };
    given.or_else(|error| {
        remove_sandbox(footing)?;
        Err(error)
    })
}

/// Removes the directory that was made for a container.
pub(super) fn remove_sandbox(footing: &Footing) -> io::Result<()> {
    if !footing.own {
        return Ok(());
    }
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    if footing.within == Path::new(".") {
        return gone(std::fs::remove_dir_all(&footing.base));
    }
    match Dir::open_ambient_dir(&footing.base, ambient_authority()) {
        Ok(outer) => gone(outer.remove_dir_all(&footing.within)),
        Err(error) => gone(Err(error)),
    }
}

fn start(
    ground: &Ground,
    folder: &Path,
    name: &Name,
    spec: &ContainerSpec,
) -> anyhow::Result<(Kid, UnixStream, u32)> {
    let log = std::fs::File::create(folder.join(LOG_FILE))
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    let (mut socket, theirs) = UnixStream::pair().context("no socket")?;
    socket.set_write_timeout(Some(READY_TIMEOUT))?;
    let child = Command::new(&ground.shim)
        .args([shim::SUBCOMMAND, CONTAINER_FLAG])
        .arg(folder)
        .env_clear()
        .env("PATH", environment::PATH_DEFAULT)
        .env(environment::MARK_SHIM, "1")
        .envs(launched_marks(ground, name.root(), &name.to_string()))
        .stdin(OwnedFd::from(theirs))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", ground.shim.display()))?;
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    let (pid, child) = (child.id(), Kid(Some(child)));
    socket
        .write_all(&line)
        .and_then(|()| socket.set_nonblocking(true))
        .context("its process does not listen")?;
    Ok((child, socket, pid))
}
