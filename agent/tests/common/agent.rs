//! The real agent, started and crashed at will.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use nix::fcntl::{Flock, FlockArg};
use regency_agent::AgentFlags;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::eventually;
use super::master::{FRAMEWORK, Master};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    agent: AgentFlags,
}

/// A work directory, and the agent that runs on it now and then.
pub(crate) struct Agent {
    pub(crate) folder: TempDir,
    masters: String,
    shim: PathBuf,
    flags: Vec<String>,
    running: Option<(JoinHandle<anyhow::Result<()>>, Arc<Notify>)>,
}

impl Agent {
    pub(crate) fn new(masters: &[String]) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            masters: masters.join(","),
            shim: env!("CARGO_BIN_EXE_regency-agent-test-shim").into(),
            flags: Vec::new(),
            running: None,
        }
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Also for every start to come.
    pub(crate) fn add_flags(&mut self, flags: &[&str]) {
        self.flags
            .extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    pub(crate) fn use_shim(&mut self, shim: &Path) {
        self.shim = shim.to_owned();
    }

    pub(crate) fn use_real_shim(&mut self) {
        self.shim = env!("CARGO_BIN_EXE_regency-agent-test-shim").into();
    }

    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let work_dir = self.work_dir();
        let args = [
            "agent",
            "--master",
            &self.masters,
            "--work-dir",
            work_dir.to_str().expect("a readable path"),
            "--port",
            "0",
            "--resources",
            "cpus:2;mem:100;disk:100;ports:[31000-31009];gpus:1",
            "--attributes",
            "rack:r1",
            "--registration-backoff-factor",
            "100ms",
            "--executor-shutdown-grace-period",
            "300ms",
            "--task-shim",
            self.shim.to_str().expect("a readable path"),
        ];
        let args = args
            .into_iter()
            .chain(self.flags.iter().map(String::as_str));
        let flags = Program::try_parse_from(args).expect("good flags").agent;
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let agent = tokio::spawn(regency_agent::run_until(flags, async move {
            stopped.notified().await;
        }));
        self.running = Some((agent, stop));
    }

    /// Ends the agent in the middle of whatever it does, and returns when the directory is free.
    pub(crate) async fn crash(&mut self) {
        let (agent, _) = self.running.take().expect("it runs");
        agent.abort();
        let ended = agent.await;
        assert!(
            ended.is_err_and(|error| error.is_cancelled()),
            "it had ended by itself"
        );
        self.wait_until_free().await;
    }

    /// Stops the agent as a signal would.
    pub(crate) async fn stop(&mut self) {
        let (agent, stop) = self.running.take().expect("it runs");
        stop.notify_one();
        agent.await.expect("no panic").expect("a clean end");
        self.wait_until_free().await;
    }

    /// Waits for the agent to end by itself.
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        let (agent, _) = self.running.take().expect("it runs");
        let ended = tokio::time::timeout(super::PATIENCE, agent).await;
        ended.expect("it ends").expect("no panic")
    }

    async fn wait_until_free(&self) {
        let lock = self.work_dir().join("meta/agent/lock");
        eventually("the work directory is free", || async {
            let file = OpenOptions::new()
                .write(true)
                .open(&lock)
                .expect("the lock file");
            Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
        })
        .await;
    }

    pub(crate) fn checkpoint_log(&self) -> PathBuf {
        self.work_dir().join("meta/agent/checkpoint.log")
    }

    /// The newest sandbox of a task.
    pub(crate) fn sandbox(&self, task: &str) -> PathBuf {
        let agent = self.work_dir().join("slaves/agent-S0/frameworks");
        agent
            .join(FRAMEWORK)
            .join("executors")
            .join(task)
            .join("runs/latest")
    }

    pub(crate) async fn stdout(&self, task: &str) -> String {
        let path = self.sandbox(task).join("stdout");
        tokio::fs::read_to_string(path).await.unwrap_or_default()
    }

    /// Waits for the first whole line of a task's output.
    pub(crate) async fn first_line(&self, task: &str) -> String {
        eventually("the task's output", || async {
            let output = self.stdout(task).await;
            output.split_once('\n').map(|(line, _)| line.to_owned())
        })
        .await
    }

    /// Where the agent listens, as it told `master` at its last attachment.
    pub(crate) async fn address(&self, master: &Master) -> String {
        eventually("attached", || async {
            master.with(|memory| memory.attaches.last().map(|attach| attach.address.clone()))
        })
        .await
    }

    /// Status and body of a GET, at the address that the agent told `master`.
    pub(crate) async fn get(&self, master: &Master, path: &str) -> (u16, String) {
        let address = self.address(master).await;
        let mut stream = TcpStream::connect(address).await.expect("a listener");
        let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a connection");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some((agent, _)) = self.running.take() {
            agent.abort();
        }
        // No task outlives its test, whatever came of it.
        let mark = format!("REGENCY_AGENT_WORK_DIR={}\0", self.work_dir().display());
        for pid in super::marked(&mark) {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a small number"));
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}
