//! A cluster of real processes, started by `regency local`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_client::{Http, MasterStatus};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// How long a cluster may take to be whole again.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const SUCCESSOR_LOOK: Duration = Duration::from_millis(1);

/// One process as `regency local --json` announces it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Process {
    pub(crate) id: u64,
    pub(crate) http: String,
    pid: i32,
}

#[derive(Debug, Deserialize)]
struct Announcement {
    masters: Vec<Process>,
}

/// The one event that matters here: a process has another pid since it was restarted.
#[derive(Debug, Deserialize)]
struct Started {
    event: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    id: u64,
    #[serde(default)]
    pid: i32,
}

type Pids = Arc<Mutex<BTreeMap<u64, i32>>>;

/// The processes; they end with this value.
#[derive(Debug)]
pub(crate) struct Cluster {
    local: Child,
    pub(crate) masters: Vec<Process>,
    pids: Pids,
    http: Http,
}

impl Cluster {
    /// Starts a cluster without the demonstration framework and waits until it serves.
    pub(crate) async fn start(binary: &Path, args: &[String]) -> anyhow::Result<Self> {
        let mut local = Command::new(binary)
            .args(["local", "--json", "--no-demo", "--port-base", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {}; build it with `cargo build --release`",
                    binary.display()
                )
            })?;
        let stdout = local.stdout.take().context("its output is not there")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = lines
            .next_line()
            .await?
            .context("the cluster did not start")?;
        let announcement: Announcement = serde_json::from_str(&first)
            .with_context(|| format!("its first line is no announcement: {first}"))?;
        let pids: Pids = Arc::new(Mutex::new(
            announcement
                .masters
                .iter()
                .map(|master| (master.id, master.pid))
                .collect(),
        ));
        let restarted = Arc::clone(&pids);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Ok(started) = serde_json::from_str::<Started>(&line)
                    && started.event == "started"
                    && started.kind == "master"
                {
                    let mut pids = restarted.lock().unwrap_or_else(PoisonError::into_inner);
                    pids.insert(started.id, started.pid);
                }
            }
        });
        Ok(Self {
            local,
            masters: announcement.masters,
            pids,
            http: Http::default(),
        })
    }

    /// Sends a signal to a master. The cluster starts one that was killed again by itself.
    pub(crate) fn signal(&self, id: u64, signal: Signal) -> anyhow::Result<()> {
        let pid = self
            .pids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .copied();
        let pid = pid.with_context(|| format!("master {id} has no process"))?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot signal {pid}"))
    }

    /// Asks the leader to hand leadership over; gives the moment it was asked.
    pub(crate) async fn hand_over(&self, leader: u64) -> anyhow::Result<Instant> {
        let master = self.masters.iter().find(|master| master.id == leader);
        let master = master.context("no such master")?;
        let path = "/regency/members/transfer-leader";
        let begun = Instant::now();
        let headers = [("Content-Type", "application/json")];
        let asked = self.http.post(
            &master.http,
            path,
            &headers,
            b"{}"[..].into(),
            WHOLE_TIMEOUT,
        );
        // Also a leader that answers nothing more has handed over: who serves next tells.
        let _ = asked.await;
        Ok(begun)
    }

    /// Waits until a master other than `old` serves in a later term.
    pub(crate) async fn successor(&self, old: u64, term: u64) -> anyhow::Result<Instant> {
        let mut looking = JoinSet::new();
        for master in self.masters.iter().filter(|master| master.id != old) {
            let (http, address) = (self.http.clone(), master.http.clone());
            looking.spawn(async move {
                loop {
                    let status = MasterStatus::get(&http, &address, ANSWER_TIMEOUT).await;
                    if status.is_ok_and(|status| status.leads() && status.term > term) {
                        return Instant::now();
                    }
                    tokio::time::sleep(SUCCESSOR_LOOK).await;
                }
            });
        }
        let first = tokio::time::timeout(WHOLE_TIMEOUT, looking.join_next()).await;
        let first = first.context("nobody took over")?;
        Ok(first.context("there are no others")??)
    }

    /// What each master says of itself; masters that do not answer are left out.
    pub(crate) async fn statuses(&self) -> Vec<MasterStatus> {
        let mut statuses = Vec::new();
        for master in &self.masters {
            if let Ok(status) = MasterStatus::get(&self.http, &master.http, ANSWER_TIMEOUT).await {
                statuses.push(status);
            }
        }
        statuses
    }

    /// Waits until one master leads, all answer, and all have applied what is committed; gives
    /// the leader's number and term.
    pub(crate) async fn whole(&self) -> anyhow::Result<(u64, u64)> {
        let deadline = tokio::time::Instant::now() + WHOLE_TIMEOUT;
        loop {
            let statuses = self.statuses().await;
            let leader = statuses.iter().find(|s| s.leads());
            if let Some(leader) = leader
                && statuses.len() == self.masters.len()
                && statuses
                    .iter()
                    .all(|s| s.applied_index + 5 >= leader.applied_index)
                && statuses.iter().all(|s| s.term == leader.term)
            {
                return Ok((leader.node_id, leader.term));
            }
            if tokio::time::Instant::now() > deadline {
                bail!("the cluster is not whole again after {WHOLE_TIMEOUT:?}: {statuses:?}");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Asks the cluster to stop and waits for it.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.local.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGINT)?;
        }
        self.local.wait().await?;
        Ok(())
    }
}
