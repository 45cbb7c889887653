//! The process beside a command that an operator or an executor launched in a container.
//!
//! It runs as `task-shim --container <folder>` and speaks with the agent as the shim of a task does:
//! what to run, `ready`, `go`, `running`. Two things are different:
//!
//! * A nested container ends with the one it is in: the shim watches the process of that, whoever
//!   started it, so nothing stays behind even while no agent runs.
//! * A container with pipes or a terminal is tied to the agent: its input and output go through the
//!   socket as [`frame`](super::frame)s, and everything ends when the socket closes.
//!
//! Files of the container are opened below a directory that no link leads out of: the command's
//! user may have been there before.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_agent_core::Exit;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::frame::{self, FRAME_BYTES_MAX, Frame, Kind};
use super::{
    CANNOT_START_STATUS, READY, RUNNING, STARTED_FILE, Signals, close_stdin, descendants,
    exit_file, identity, told_to_go,
};
use crate::tasks::{PidFd, register};

/// In the shim's folder: the command's process, as "pid start".
pub(crate) const COMMAND_FILE: &str = "command";

/// How long the agent may take to read what a command wrote before its end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Frames on their way to the agent.
const FRAMES_AHEAD: usize = 4;
/// What a terminal makes an end of input of.
const END_OF_TRANSMISSION: u8 = 4;

/// What to run, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    /// Program and arguments; the program is searched in the PATH of `environment`.
    pub(crate) argv: Vec<String>,
    /// All of the command's environment.
    pub(crate) environment: Vec<(String, String)>,
    /// User and group to run it as; absent: those of the agent.
    pub(crate) owner: Option<(u32, u32)>,
    /// A directory that only the agent can have put where it is.
    pub(crate) base: PathBuf,
    /// The working directory in it; "." for itself.
    pub(crate) within: PathBuf,
    /// Process and start of whatever this ends with.
    pub(crate) parent: Option<(u32, u64)>,
    /// Where input comes from and output goes.
    pub(crate) io: Io,
}

/// Input and output of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Io {
    /// No input, output to the files `stdout` and `stderr`.
    Files,
    /// All through the agent.
    Pipes,
    /// A terminal, through the agent; `log` also writes what it shows to the file `stdout`.
    Terminal { rows: u16, columns: u16, log: bool },
}

pub(super) fn run(folder: &Path) -> anyhow::Result<()> {
    // Fails only for a leader of a group, which a shim started by the agent is not.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let spec: ContainerSpec = serde_json::from_str(&line)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        socket.write_all(READY.as_bytes())?;
        if !told_to_go(&socket, &mut signals).await? {
            exit_file::write(folder, Exit::NotStarted)?;
            return Ok(());
        }
        let parent = match spec.parent {
            None => None,
            Some((pid, start)) => match PidFd::open_same(pid, start)? {
                Some(parent) => Some(parent),
                None => {
                    exit_file::write(folder, Exit::NotStarted)?;
                    return Ok(());
                }
            },
        };
        File::create(folder.join(STARTED_FILE))?;
        match spec.io {
            Io::Files => lasting(folder, &spec, socket, &mut signals, parent.as_ref()).await,
            Io::Pipes | Io::Terminal { .. } => {
                tied(folder, &spec, socket, &mut signals, parent.as_ref()).await
            }
        }
    });
    descendants::kill_all();
    ended
}

/// A container that needs no agent.
async fn lasting(
    folder: &Path,
    spec: &ContainerSpec,
    mut socket: UnixStream,
    signals: &mut Signals,
    parent: Option<&PidFd>,
) -> anyhow::Result<()> {
    let exit = match start_with_files(spec) {
        Ok(command) => {
            note(folder, command)?;
            // The agent may be gone by now; the command does not depend on it.
            let _ = socket.write_all(RUNNING.as_bytes());
            drop(socket);
            close_stdin();
            watch(command, signals, parent, None).await?
        }
        Err(error) => {
            let _ = socket.write_all(RUNNING.as_bytes());
            if let Ok(mut file) = output(spec, "stderr", false) {
                let _ = writeln!(file, "{}", complaint(spec, &error));
            }
            Exit::Exited(CANNOT_START_STATUS)
        }
    };
    descendants::kill_all();
    exit_file::write(folder, exit)?;
    Ok(())
}

/// A container whose input and output are the agent's.
async fn tied(
    folder: &Path,
    spec: &ContainerSpec,
    mut socket: UnixStream,
    signals: &mut Signals,
    parent: Option<&PidFd>,
) -> anyhow::Result<()> {
    let started = start_with_agent(spec);
    if let Ok((command, _)) = &started {
        note(folder, *command)?;
    }
    if socket.write_all(RUNNING.as_bytes()).is_err() {
        return Ok(());
    }
    close_stdin();
    socket.set_nonblocking(true)?;
    let (from_agent, to_agent) = tokio::net::UnixStream::from_std(socket)?.into_split();
    let gone = Arc::new(Notify::new());
    let (frames, waiting) = mpsc::channel(FRAMES_AHEAD);
    let mut writing = JoinSet::new();
    writing.spawn(write_frames(to_agent, waiting, Arc::clone(&gone)));
    let (exit, mut reading) = match started {
        Ok((command, ends)) => {
            let mut reading = JoinSet::new();
            // Ends with the command, or when the agent says nothing more.
            let mut talking = JoinSet::new();
            let input = ends.carry(&mut reading, &mut talking, &frames);
            talking.spawn(listen(from_agent, input, Arc::clone(&gone)));
            let exit = watch(command, signals, parent, Some(&gone)).await?;
            descendants::kill_all();
            (exit, reading)
        }
        Err(error) => {
            let text = format!("{}\n", complaint(spec, &error));
            let frame = Frame::new(Kind::Stderr, text.into_bytes());
            // Nobody may listen any more.
            let _ = frames.send(frame).await;
            (Exit::Exited(CANNOT_START_STATUS), JoinSet::new())
        }
    };
    exit_file::write(folder, exit)?;
    // Nothing writes any more, so what is read comes to its end; unless nobody takes it.
    let drained = async {
        while reading.join_next().await.is_some() {}
        drop(frames);
        while writing.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, drained).await;
    Ok(())
}

fn complaint(spec: &ContainerSpec, error: &io::Error) -> String {
    let program = spec.argv.first().map_or("", String::as_str);
    format!("Failed to start '{program}': {error}")
}

/// Tells whoever wants to signal the command which process that is.
fn note(folder: &Path, command: Pid) -> io::Result<()> {
    let pid = command.as_raw().unsigned_abs();
    // One that ended already cannot be signalled, and its start says so.
    let start = identity::start_ticks(pid).unwrap_or(0);
    std::fs::write(folder.join(COMMAND_FILE), format!("{pid} {start}"))
}

/// The command of the shim in `folder`, once it was started.
pub(crate) fn command_of(folder: &Path) -> Option<(u32, u64)> {
    let text = std::fs::read_to_string(folder.join(COMMAND_FILE)).ok()?;
    let (pid, start) = text.split_once(' ')?;
    Some((pid.parse().ok()?, start.parse().ok()?))
}

/// Waits for the end of the command's first process. Everything is killed when whatever it belongs
/// to ends first.
async fn watch(
    command: Pid,
    signals: &mut Signals,
    parent: Option<&PidFd>,
    gone: Option<&Notify>,
) -> anyhow::Result<Exit> {
    let alone = async {
        let parent = async {
            match parent {
                // What cannot be watched must not be outlived.
                Some(parent) => drop(parent.ended().await),
                None => std::future::pending().await,
            }
        };
        let gone = async {
            match gone {
                Some(gone) => gone.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = parent => {}
            () = gone => {}
        }
    };
    tokio::pin!(alone);
    let mut is_alone = false;
    loop {
        if let Some(exit) = descendants::reap(command)? {
            return Ok(exit);
        }
        tokio::select! {
            _ = signals.child.recv() => {}
            _ = signals.terminate.recv() => {
                // Gone already: its end is about to be noticed.
                let _ = kill(command, Signal::SIGTERM);
            }
            _ = signals.destroy.recv() => descendants::signal_all(Signal::SIGKILL),
            () = &mut alone, if !is_alone => {
                is_alone = true;
                descendants::signal_all(Signal::SIGKILL);
            }
        }
    }
}

/// Opens one of the container's files.
fn output(spec: &ContainerSpec, name: &str, fresh: bool) -> io::Result<File> {
    let base = Dir::open_ambient_dir(&spec.base, ambient_authority())?;
    let sandbox = base.open_dir(&spec.within)?;
    let mut options = OpenOptions::new();
    options.append(true);
    // What is there already may be a link of somebody to somewhere.
    if fresh {
        options.create_new(true);
    }
    let file = sandbox.open_with(name, &options)?.into_std();
    if let Some((user, group)) = spec.owner.filter(|_| fresh) {
        fchown(&file, Some(user), Some(group))?;
    }
    Ok(file)
}

fn command(spec: &ContainerSpec) -> io::Result<Command> {
    let (program, arguments) = spec.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(spec.base.join(&spec.within));
    if let Some((user, group)) = spec.owner {
        command.gid(group).uid(user);
    }
    Ok(command)
}

fn pid_of(child: &std::process::Child) -> io::Result<Pid> {
    // Reaped with everything else, not through this handle.
    Ok(Pid::from_raw(
        i32::try_from(child.id()).map_err(io::Error::other)?,
    ))
}

fn start_with_files(spec: &ContainerSpec) -> io::Result<Pid> {
    let stderr = output(spec, "stderr", true)?;
    let stdout = output(spec, "stdout", true)?;
    let child = command(spec)?
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .spawn()?;
    pid_of(&child)
}

/// Our ends of what a command reads and writes.
enum Ends {
    Pipes {
        stdin: pipe::Sender,
        stdout: pipe::Receiver,
        stderr: pipe::Receiver,
    },
    Terminal {
        terminal: Terminal,
        log: Option<File>,
    },
}

fn start_with_agent(spec: &ContainerSpec) -> io::Result<(Pid, Ends)> {
    match spec.io {
        Io::Terminal { rows, columns, log } => {
            let log = match log {
                true => Some(output(spec, "stdout", true)?),
                false => None,
            };
            let (terminal, slave) = Terminal::open(rows, columns)?;
            if let Some((user, group)) = spec.owner {
                fchown(&slave, Some(user), Some(group))?;
            }
            // In our own group, which is the one in the foreground: a group of its own would not
            // be allowed to read before somebody put it there.
            let child = command(spec)?
                .stdin(slave.try_clone()?)
                .stdout(slave.try_clone()?)
                .stderr(slave)
                .spawn()?;
            Ok((pid_of(&child)?, Ends::Terminal { terminal, log }))
        }
        Io::Pipes | Io::Files => {
            let mut child = command(spec)?
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .process_group(0)
                .spawn()?;
            let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
            let stdin = OwnedFd::from(child.stdin.take().ok_or_else(missing)?);
            let stdout = OwnedFd::from(child.stdout.take().ok_or_else(missing)?);
            let stderr = OwnedFd::from(child.stderr.take().ok_or_else(missing)?);
            let ends = Ends::Pipes {
                stdin: pipe::Sender::from_owned_fd(stdin)?,
                stdout: pipe::Receiver::from_owned_fd(stdout)?,
                stderr: pipe::Receiver::from_owned_fd(stderr)?,
            };
            Ok((pid_of(&child)?, ends))
        }
    }
}

/// Where the agent's frames go.
struct Input {
    /// Bytes for the command; empty ones are the end of them. The agent waits for a word before it
    /// sends more, so there is always room.
    bytes: mpsc::Sender<Vec<u8>>,
    terminal: Option<Terminal>,
}

impl Ends {
    /// Starts to carry everything between these ends and the agent; `reading` is done when the
    /// command's output is at its end.
    fn carry(
        self,
        reading: &mut JoinSet<()>,
        talking: &mut JoinSet<()>,
        frames: &mpsc::Sender<Frame>,
    ) -> Input {
        let (bytes, input) = mpsc::channel(FRAMES_AHEAD);
        match self {
            Self::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                talking.spawn(write_pipe(stdin, input, frames.clone()));
                reading.spawn(read_pipe(stdout, Kind::Stdout, frames.clone()));
                reading.spawn(read_pipe(stderr, Kind::Stderr, frames.clone()));
                Input {
                    bytes,
                    terminal: None,
                }
            }
            Self::Terminal { terminal, log } => {
                talking.spawn(terminal.clone().write(input, frames.clone()));
                reading.spawn(terminal.clone().read(log, frames.clone()));
                Input {
                    bytes,
                    terminal: Some(terminal),
                }
            }
        }
    }
}

async fn read_pipe(mut pipe: pipe::Receiver, kind: Kind, frames: mpsc::Sender<Frame>) {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    while let Ok(n) = pipe.read(&mut buffer).await
        && n > 0
    {
        let frame = Frame::new(kind, buffer[..n].to_vec());
        if frames.send(frame).await.is_err() {
            return;
        }
    }
}

async fn write_pipe(
    pipe: pipe::Sender,
    mut input: mpsc::Receiver<Vec<u8>>,
    frames: mpsc::Sender<Frame>,
) {
    let mut pipe = Some(pipe);
    while let Some(bytes) = input.recv().await {
        if bytes.is_empty() {
            pipe = None;
        }
        // A command that reads no more loses what comes, like behind any other pipe.
        if let Some(open) = &mut pipe
            && open.write_all(&bytes).await.is_err()
        {
            pipe = None;
        }
        let taken = Frame::new(Kind::Taken, Vec::new());
        if frames.send(taken).await.is_err() {
            return;
        }
    }
}

/// The side of a terminal that people are at.
#[derive(Clone)]
struct Terminal(Arc<tokio::io::unix::AsyncFd<OwnedFd>>);

impl Terminal {
    /// Opens a terminal, which becomes that of this session, and the side that the command gets.
    fn open(rows: u16, columns: u16) -> io::Result<(Self, File)> {
        use rustix::pty::OpenptFlags;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags)?;
        rustix::pty::grantpt(&master)?;
        rustix::pty::unlockpt(&master)?;
        let name = rustix::pty::ptsname(&master, Vec::new())?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let name = name.to_str().map_err(io::Error::other)?.to_owned();
        // The leader of a session without a terminal gets the first one that it opens.
        let slave = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(name)?;
        let terminal = Self(Arc::new(register(
            master,
            Interest::READABLE | Interest::WRITABLE,
        )?));
        terminal.resize(rows, columns)?;
        Ok((terminal, slave))
    }

    fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(rustix::termios::tcsetwinsize(self.0.get_ref(), size)?)
    }

    async fn read(self, mut log: Option<File>, frames: mpsc::Sender<Frame>) {
        let mut buffer = vec![0; FRAME_BYTES_MAX];
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                return;
            };
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer)?));
            let n = match read {
                // The kernel's word for nobody being at the other side any more is an error.
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(n)) => n,
                Err(_would_block) => continue,
            };
            if let Some(file) = &mut log
                && file.write_all(&buffer[..n]).is_err()
            {
                log = None;
            }
            let frame = Frame::new(Kind::Stdout, buffer[..n].to_vec());
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    }

    async fn write(self, mut input: mpsc::Receiver<Vec<u8>>, frames: mpsc::Sender<Frame>) {
        while let Some(mut bytes) = input.recv().await {
            if bytes.is_empty() {
                bytes.push(END_OF_TRANSMISSION);
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let Ok(mut ready) = self.0.writable().await else {
                    return;
                };
                match ready.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), rest)?)) {
                    Ok(Ok(n)) => rest = &rest[n..],
                    // Nobody is there to read it.
                    Ok(Err(_)) => break,
                    Err(_would_block) => {}
                }
            }
            let taken = Frame::new(Kind::Taken, Vec::new());
            if frames.send(taken).await.is_err() {
                return;
            }
        }
    }
}

/// Hears the agent until it is gone.
async fn listen(mut socket: tokio::net::unix::OwnedReadHalf, input: Input, gone: Arc<Notify>) {
    // What is not understood comes from nobody we know.
    while let Ok(Some(frame)) = frame::read(&mut socket).await {
        match frame.kind {
            Kind::Stdin => {
                if input.bytes.try_send(frame.data).is_err() {
                    break;
                }
            }
            Kind::Size => {
                if let (Some(terminal), Some((rows, columns))) = (&input.terminal, frame.size()) {
                    // The command may be gone.
                    let _ = terminal.resize(rows, columns);
                }
            }
            Kind::Stdout | Kind::Stderr | Kind::Taken => break,
        }
    }
    gone.notify_one();
}

async fn write_frames(
    mut socket: tokio::net::unix::OwnedWriteHalf,
    mut frames: mpsc::Receiver<Frame>,
    gone: Arc<Notify>,
) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame.to_bytes()).await.is_err() {
            gone.notify_one();
            return;
        }
    }
}
