//! One process of the cluster.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::parent::STOP_WITH_STDIN;

/// How many bytes of a log's end are looked at for the last lines.
const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// How to start it, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// Program and arguments, complete: whoever runs this gets the same process, except that it
    /// does not end with `regency local`.
    pub(crate) argv: Vec<String>,
    /// Where standard output and error go.
    pub(crate) log: PathBuf,
}

/// A process that was started. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: i32,
    /// The process ends when this is closed, whatever closes it.
    _stdin: ChildStdin,
}

impl Launch {
    pub(crate) fn start(&self) -> anyhow::Result<Process> {
        let (program, args) = self.argv.split_first().context("an empty command line")?;
        let log = append(&self.log)?;
        let mut child = Command::new(program)
            .args(args)
            .arg(STOP_WITH_STDIN)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for `regency local`, which ends the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdin = child.stdin.take().context("no pipe to the process")?;
        let pid = child.id().context("the process has no id")?;
        Ok(Process {
            child,
            pid: i32::try_from(pid)?,
            _stdin: stdin,
        })
    }

    /// The last lines of the log, for error messages.
    pub(crate) fn last_lines(&self, n_lines: usize) -> String {
        let tail = read_tail(&self.log).unwrap_or_default();
        let lines: Vec<&str> = tail.lines().collect();
        lines[lines.len().saturating_sub(n_lines)..].join("\n")
    }
}

impl Process {
    /// Ends it as a power failure would.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.send(Signal::SIGKILL);
        self.child.wait().await?;
        Ok(())
    }

    /// Sends SIGKILL and does not wait, so that the caller can note the time.
    pub(crate) fn send(&self, signal: Signal) {
        // It may be dead already, which `wait` then tells.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// Asks it to end; kills it when it takes longer than `grace`.
    pub(crate) async fn stop(&mut self, grace: Duration) -> anyhow::Result<()> {
        self.send(Signal::SIGTERM);
        match timeout(grace, self.child.wait()).await {
            Ok(status) => status.map(|_| ()).map_err(Into::into),
            Err(_elapsed) => self.kill().await,
        }
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

/// Whether somebody killed the process on purpose, in contrast to a crash.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

fn append(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    use std::io::{Read, Seek, SeekFrom};

    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Launch {
        Launch {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            log: folder.join("log"),
        }
    }

    #[tokio::test]
    async fn output_goes_to_the_log_and_the_end_is_told() {
        let folder = tempfile::tempdir().expect("a directory");
        let launch = shell(folder.path(), "echo one; echo two >&2; echo three; exit 3");
        let mut process = launch.start().expect("a shell");
        let status = process.child.wait().await.expect("an end");
        assert_eq!(status.code(), Some(3));
        assert!(!was_killed(status));
        assert_eq!(launch.last_lines(2), "two\nthree");
    }

    #[tokio::test]
    async fn a_process_that_ignores_the_request_is_killed() {
        let folder = tempfile::tempdir().expect("a directory");
        let launch = shell(
            folder.path(),
            "trap '' TERM; echo ready; while :; do sleep 1; done",
        );
        let mut process = launch.start().expect("a shell");
        while launch.last_lines(1) != "ready" {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process
            .stop(Duration::from_millis(50))
            .await
            .expect("it ends");
        assert!(was_killed(process.child.wait().await.expect("an end")));
    }
}
