//! A program that is started, killed, stopped and started again.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) file: PathBuf,
    pub(crate) args: Vec<String>,
    /// Takes what the program writes; appended to when it is started again.
    pub(crate) log: PathBuf,
}

/// It ends with this value, killed.
#[derive(Debug)]
pub(crate) struct Process {
    program: Program,
    child: Option<Child>,
}

/// Longest wait for the end of a killed process.
const END_TIMEOUT: Duration = Duration::from_secs(5);

impl Drop for Process {
    /// Waits for its end, so that its directory can be removed.
    fn drop(&mut self) {
        let Some(child) = &mut self.child else {
            return;
        };
        // It may have ended by itself, which is as good.
        let _ = child.start_kill();
        let given_up = Instant::now() + END_TIMEOUT;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < given_up {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Process {
    pub(crate) fn start(program: Program) -> anyhow::Result<Self> {
        let mut process = Self {
            program,
            child: None,
        };
        process.restart()?;
        Ok(process)
    }

    /// Starts it again after [`Self::kill`].
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        let program = &self.program;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&program.log)
            .with_context(|| format!("cannot write {}", program.log.display()))?;
        let child = Command::new(&program.file)
            .args(&program.args)
            // Our own members end when it is closed, however this process ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.file.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// kill -9 without waiting for the end.
    pub(crate) fn kill_now(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGKILL)
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.pid()?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to {pid}"))
    }

    /// Fails when it has ended by itself, with the end of its log.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            let log = std::fs::read_to_string(&self.program.log).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            anyhow::bail!(
                "{} ended with {status}:\n{}",
                self.program.file.display(),
                tail.join("\n")
            );
        }
        Ok(())
    }

    /// Processor time it has used since it was started; zero when it does not run.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        match self.pid() {
            Ok(pid) => cpu_of(&pid.to_string()),
            Err(_) => Ok(Duration::ZERO),
        }
    }

    fn pid(&self) -> anyhow::Result<i32> {
        let pid = self.child.as_ref().and_then(Child::id);
        let pid = pid.with_context(|| format!("{} does not run", self.program.file.display()))?;
        Ok(i32::try_from(pid)?)
    }
}

/// Processor time of a process: a number, or `self`.
pub(crate) fn cpu_of(process: &str) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The name before the last parenthesis may hold anything; utime and stime are the 12th and 13th
    // field behind it, in hundredths of a second.
    let fields = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks = |n| -> anyhow::Result<u64> {
        let field = fields.split_whitespace().nth(n).context("short stat")?;
        Ok(field.parse()?)
    };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
