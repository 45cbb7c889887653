//! The process between the agent and the command of one check.
//!
//! It runs as `task-shim --check`, with a socket to the agent as its standard input. It reads one
//! line, what to run (`Spec` as JSON), and answers how that ended, in the words of the exit file.
//! When the socket closes before, because the check took too long or the agent died, everything
//! it started is killed: a check never outlives whoever wanted it.

use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use regency_agent_core::Exit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::{Spec, complain, descendants, exit_file, start};

/// Its standard output goes where its errors go: `stdout` in the sandbox is the task's own.
const OUTPUT: &str = "stderr";

pub(super) fn run() -> anyhow::Result<()> {
    // Fails only for a leader of a group, which a child of the agent is not.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&socket).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let spec: Spec = serde_json::from_str(&line)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let ended = runtime.block_on(async {
        let mut children = signal(SignalKind::child())?;
        socket.set_nonblocking(true)?;
        let mut socket = tokio::net::UnixStream::from_std(socket)?;
        let command = match start(&spec, OUTPUT) {
            Ok(command) => command,
            Err(error) => {
                complain(&spec, &error);
                socket
                    .write_all(exit_file::text(Exit::NotStarted).as_bytes())
                    .await?;
                return anyhow::Ok(());
            }
        };
        let mut closed = [0];
        let exit = loop {
            if let Some(exit) = descendants::reap(command)? {
                break exit;
            }
            tokio::select! {
                _ = children.recv() => {}
                // Nothing more is said, so this is the end of it.
                _ = socket.read(&mut closed) => return Ok(()),
            }
        };
        descendants::kill_all();
        socket.write_all(exit_file::text(exit).as_bytes()).await?;
        Ok(())
    });
    descendants::kill_all();
    ended
}
