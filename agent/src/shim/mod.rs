//! The process between the agent and one command: it outlives the agent, so that the command
//! does, and it is the one who knows how the command ended.
//!
//! It runs as the hidden subcommand `task-shim <folder>` of the one binary, single-threaded, with
//! a socket to the agent as its standard input. Their conversation:
//!
//! 1. The agent sends one line: what to run (`Spec` as JSON).
//! 2. The shim makes itself the leader of a session of its own and answers `ready`.
//! 3. The agent makes durable who the shim is, and sends `go`. When the socket closes instead,
//!    because the agent gave up or died, the shim ends without running anything.
//! 4. The shim leaves the file `started`, starts the command, answers `running`, and closes
//!    the socket: from here on it depends on nobody.
//! 5. When the command's first process ends, everything that descends from it is killed; then the
//!    file `exit` says how it ended, and the shim ends.
//!
//! SIGTERM to the shim asks the command to end, SIGUSR1 kills all of it. Whatever the
//! command leaves behind is adopted by the shim (it is a subreaper) and dies with it.

mod check;
pub(crate) mod container;
mod descendants;
mod exit_file;
pub(crate) mod frame;
mod identity;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use regency_agent_core::Exit;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use exit_file::{parse as parse_exit, read_exit, was_started};
pub(crate) use identity::{all_pids, boot_id, start_ticks};

/// Name of the subcommand.
pub const SUBCOMMAND: &str = "task-shim";

/// Instead of a folder: runs the command of one check, see `check`.
pub(crate) const CHECK_FLAG: &str = "--check";

/// Before the folder: runs the command of a container that somebody launched, see [`container`].
pub(crate) const CONTAINER_FLAG: &str = "--container";

/// Instead of a folder: writes the file named next to its standard output, as whatever user it was
/// started.
pub(crate) const READ_FLAG: &str = "--read";

/// In the shim's folder: there since just before the command was started.
pub(crate) const STARTED_FILE: &str = "started";
/// In the shim's folder: how the command ended.
pub(crate) const EXIT_FILE: &str = "exit";
/// In the shim's folder: what the shim itself had to say.
pub(crate) const LOG_FILE: &str = "shim.log";

/// Kills the command and everything that descends from it.
pub(crate) const DESTROY_SIGNAL: Signal = Signal::SIGUSR1;

/// The shim's answers on the socket.
pub(crate) const READY: &str = "ready\n";
pub(crate) const RUNNING: &str = "running\n";
/// The agent's word that the command may run.
pub(crate) const GO: &str = "go\n";

/// Status of a command that could not be started at all, as Mesos reports it.
const CANNOT_START_STATUS: i32 = 1;

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// Program and arguments; the program is searched in the PATH of `environment`.
    pub(crate) argv: Vec<String>,
    /// All of the command's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Its working directory, where its `stdout` and `stderr` go.
    pub(crate) sandbox: PathBuf,
    /// User and group to run it as; absent: those of the agent.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Runs the subcommand; `args` are what follows its name: the shim's folder.
///
/// Its exit status means nothing: what happened to the command is in the folder.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter();
    let (Some(folder), path, None) = (args.next(), args.next(), args.next()) else {
        return usage();
    };
    let ran = match (folder.to_str(), path) {
        (Some(CHECK_FLAG), None) => check::run(),
        (Some(READ_FLAG), Some(path)) => read(Path::new(&path)),
        (Some(CONTAINER_FLAG), Some(folder)) => container::run(Path::new(&folder)),
        (_, None) => run(Path::new(&folder)),
        _ => return usage(),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    say("usage: task-shim <folder>; started by the agent, not by hand");
    ExitCode::from(2)
}

fn read(path: &Path) -> anyhow::Result<()> {
    // A pipe would be waited for.
    anyhow::ensure!(std::fs::metadata(path)?.is_file(), "it is no file");
    let mut file = std::fs::File::open(path)?;
    io::copy(&mut file, &mut io::stdout().lock())?;
    Ok(())
}

/// To the shim's log, which is its standard error.
fn say(text: &str) {
    // Nobody is left to tell when even this fails.
    let _ = writeln!(io::stderr(), "{text}");
}

fn run(folder: &Path) -> anyhow::Result<()> {
    // Fails only for a leader of a group, which a shim started by the agent is not.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let spec: Spec = serde_json::from_str(&line)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        // From here on no signal ends the shim by accident.
        let mut signals = Signals::listen()?;
        socket.write_all(READY.as_bytes())?;
        if !told_to_go(&socket, &mut signals).await? {
            exit_file::write(folder, Exit::NotStarted)?;
            return Ok(());
        }
        std::fs::File::create(folder.join(STARTED_FILE))?;
        let exit = match start(&spec, "stdout") {
            Ok(group) => {
                // The agent may be gone by now; the command does not depend on it.
                let _ = socket.write_all(RUNNING.as_bytes());
                drop(socket);
                close_stdin();
                watch(group, &mut signals).await?
            }
            Err(error) => {
                complain(&spec, &error);
                let _ = socket.write_all(RUNNING.as_bytes());
                Exit::Exited(CANNOT_START_STATUS)
            }
        };
        descendants::kill_all();
        exit_file::write(folder, exit)?;
        Ok(())
    })
}

/// The signals a shim lives with.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    destroy: tokio::signal::unix::Signal,
    child: tokio::signal::unix::Signal,
    /// Only caught, so that they do not end the shim.
    _ignored: Vec<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let ignored = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
        ];
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            destroy: signal(SignalKind::from_raw(DESTROY_SIGNAL as i32))?,
            child: signal(SignalKind::child())?,
            _ignored: ignored.into_iter().map(signal).collect::<io::Result<_>>()?,
        })
    }
}

/// Waits for the agent's word. Being told to end before that means never to start.
async fn told_to_go(socket: &UnixStream, signals: &mut Signals) -> io::Result<bool> {
    let socket = socket.try_clone()?;
    socket.set_nonblocking(true)?;
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    let mut said = [0; GO.len()];
    tokio::select! {
        biased;
        _ = signals.terminate.recv() => Ok(false),
        _ = signals.destroy.recv() => Ok(false),
        read = socket.read_exact(&mut said) => Ok(read.is_ok() && said == *GO.as_bytes()),
    }
}

/// Standard input is the socket to the agent; held open it would look like a shim that never
/// started its command.
fn close_stdin() {
    if let Ok(null) = std::fs::File::open("/dev/null") {
        let _ = nix::unistd::dup2_stdin(&null);
    }
}

/// Starts the command as the leader of its own process group and returns that group. Its output
/// goes to the file `stdout` of the sandbox.
fn start(spec: &Spec, stdout: &str) -> io::Result<Pid> {
    let output = |name| {
        let path = spec.sandbox.join(name);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if let Some((user, group)) = spec.owner {
            fchown(&file, Some(user), Some(group))?;
        }
        io::Result::Ok(file)
    };
    let (program, arguments) = spec.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.sandbox)
        .stdin(Stdio::null())
        .stdout(output(stdout)?)
        .stderr(output("stderr")?)
        .process_group(0);
    if let Some((user, group)) = spec.owner {
        command.gid(group).uid(user);
    }
    let child = command.spawn()?;
    // Reaped by `watch` with everything else, not through this handle.
    Ok(Pid::from_raw(
        i32::try_from(child.id()).map_err(io::Error::other)?,
    ))
}

/// Tells the sandbox why there is no command.
fn complain(spec: &Spec, error: &io::Error) {
    let program = spec.argv.first().map_or("", String::as_str);
    let path = spec.sandbox.join("stderr");
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        let _ = writeln!(file, "Failed to start '{program}': {error}");
    }
}

/// Waits for the end of the command's first process, passing signals on meanwhile.
async fn watch(command: Pid, signals: &mut Signals) -> anyhow::Result<Exit> {
    loop {
        if let Some(exit) = descendants::reap(command)? {
            return Ok(exit);
        }
        tokio::select! {
            _ = signals.child.recv() => {}
            _ = signals.terminate.recv() => {
                // Gone already: its end is about to be noticed.
                let _ = killpg(command, Signal::SIGTERM);
            }
            _ = signals.destroy.recv() => descendants::signal_all(Signal::SIGKILL),
        }
    }
}
