//! The masters and agents as processes: their folders, ports and command lines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;
use serde::Serialize;

use super::flags::LocalFlags;
use super::ports::{MASTERS_MAX, Ports};
use super::process::{Launch, Process, was_killed};
use super::reap;

pub(crate) const HOST: &str = "127.0.0.1";
/// How long a process may take to end in order.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// Lines of a dead process's log that are shown.
const LOG_LINES: usize = 3;

/// What a member of the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Master,
    Agent,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Agent => "agent",
        }
    }
}

/// One master or agent.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) id: u16,
    /// `host:port` for clients.
    pub(crate) http: String,
    /// Masters only: `host:port` for agents, and for other masters.
    pub(crate) grpc: Option<String>,
    pub(crate) raft: Option<String>,
    /// Masters only: `host:port` for ZooKeeper clients, when asked for.
    pub(crate) zk: Option<String>,
    /// Its data.
    pub(crate) dir: PathBuf,
    launch: Launch,
    process: Option<Process>,
}

/// What scripts are told about a member.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MemberInfo {
    pub(crate) id: u16,
    pub(crate) http: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) raft: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) zk: Option<String>,
    pub(crate) pid: Option<i32>,
    pub(crate) dir: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) argv: Vec<String>,
}

/// A member that ended although nobody here asked it to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Death {
    pub(crate) kind: Kind,
    pub(crate) id: u16,
    /// Whether a kill -9 ended it; anything else is a crash.
    pub(crate) killed: bool,
    /// How, in words.
    pub(crate) status: String,
    pub(crate) log: PathBuf,
    pub(crate) last_lines: String,
}

impl Member {
    pub(crate) fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(|process| process.pid)
    }

    pub(crate) fn info(&self) -> MemberInfo {
        MemberInfo {
            id: self.id,
            http: self.http.clone(),
            grpc: self.grpc.clone(),
            raft: self.raft.clone(),
            zk: self.zk.clone(),
            pid: self.pid(),
            dir: self.dir.clone(),
            log: self.launch.log.clone(),
            argv: self.launch.argv.clone(),
        }
    }

    /// Starts it, or starts it again in the same folder. Gives its pid.
    pub(crate) fn start(&mut self) -> anyhow::Result<i32> {
        let process = self
            .launch
            .start()
            .with_context(|| format!("{} {}", self.kind.name(), self.id))?;
        Ok(self.process.insert(process).pid)
    }

    /// kill -9. Returns as soon as the signal is sent; gives the pid.
    pub(crate) fn send_kill(&self) -> Option<i32> {
        self.send(Signal::SIGKILL)
    }

    /// Sends a signal; gives the pid.
    pub(crate) fn send(&self, signal: Signal) -> Option<i32> {
        let process = self.process.as_ref()?;
        process.send(signal);
        Some(process.pid)
    }

    /// Waits for the end of a process that was killed.
    pub(crate) async fn wait_killed(&mut self) -> anyhow::Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill().await,
            None => Ok(()),
        }
    }

    fn death(&mut self) -> anyhow::Result<Option<Death>> {
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        let Some(status) = process.ended()? else {
            return Ok(None);
        };
        self.process = None;
        Ok(Some(Death {
            kind: self.kind,
            id: self.id,
            killed: was_killed(status),
            status: status.to_string(),
            log: self.launch.log.clone(),
            last_lines: self.launch.last_lines(LOG_LINES),
        }))
    }
}

/// All of them. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    pub(crate) masters: Vec<Member>,
    pub(crate) agents: Vec<Member>,
    ports: Ports,
}

impl Cluster {
    /// Lays the cluster out in a directory, and starts nothing yet.
    pub(crate) fn new(
        dir: &Path,
        program: &Path,
        flags: &LocalFlags,
        log_filter: &str,
    ) -> anyhow::Result<Self> {
        // Said here once, not by each master in its own log.
        flags.timing.timing()?;
        let ports = Ports::claim(flags.port_base, flags.masters, flags.agents)?;
        let layout = Layout {
            dir,
            program,
            flags,
            log_filter,
            ports: &ports,
        };
        let masters = (1..=flags.masters).map(|id| layout.master(id));
        let masters = masters.collect::<anyhow::Result<_>>()?;
        let agents = (1..=flags.agents).map(|id| layout.agent(id));
        let agents = agents.collect::<anyhow::Result<_>>()?;
        Ok(Self {
            dir: dir.to_owned(),
            masters,
            agents,
            ports,
        })
    }

    pub(crate) fn start(&mut self) -> anyhow::Result<()> {
        for member in self.members_mut() {
            member.start()?;
        }
        Ok(())
    }

    /// Lays out one more master, which is to be added to the cluster: like the first one in the list,
    /// at the ports of a `slot` that nobody has, and starts nothing. Others find it at `raft_proxy`.
    pub(crate) fn add_master(
        &mut self,
        id: u16,
        slot: u16,
        raft_proxy: Option<u16>,
    ) -> anyhow::Result<&mut Member> {
        anyhow::ensure!(
            (1..=MASTERS_MAX).contains(&slot),
            "no ports for a slot {slot}"
        );
        let like = self.masters.first().context("no master to be like")?;
        let name = format!("{}-{id}", Kind::Master.name());
        let (dir, log) = (self.dir.join(&name), self.dir.join(format!("{name}.log")));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let (http, raft) = (self.ports.master_http(slot), self.ports.master_raft(slot));
        let agents = self.ports.master_agents(slot);
        let mut argv = like.launch.argv.clone();
        argv.retain(|arg| arg != "--bootstrap");
        let spec = format!("{id}={HOST}:{}:{http}:{agents}", raft_proxy.unwrap_or(raft));
        for (flag, value) in [
            ("--id", id.to_string()),
            ("--data-dir", dir.to_string_lossy().into_owned()),
            ("--port", http.to_string()),
            ("--raft-port", raft.to_string()),
            ("--agent-port", agents.to_string()),
            ("--external-log-file", log.to_string_lossy().into_owned()),
            ("--peers", spec),
        ] {
            let place = argv.iter().position(|arg| arg == flag);
            let place = place.with_context(|| format!("a master without {flag}"))?;
            argv[place + 1] = value;
        }
        self.masters.push(Member {
            kind: Kind::Master,
            id,
            http: format!("{HOST}:{http}"),
            grpc: Some(format!("{HOST}:{agents}")),
            raft: Some(format!("{HOST}:{raft}")),
            zk: None,
            dir,
            launch: Launch { argv, log },
            process: None,
        });
        self.masters.last_mut().context("just added")
    }

    /// The member that somebody else ended, if any; it then counts as not running.
    pub(crate) fn next_death(&mut self) -> anyhow::Result<Option<Death>> {
        for member in self.members_mut() {
            if let Some(death) = member.death()? {
                return Ok(Some(death));
            }
        }
        Ok(None)
    }

    pub(crate) fn member_mut(&mut self, kind: Kind, id: u16) -> Option<&mut Member> {
        self.members_mut()
            .find(|member| member.kind == kind && member.id == id)
    }

    fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.masters.iter_mut().chain(&mut self.agents)
    }

    /// Ends all of them, and whatever their tasks left behind: agents first, so that nobody is
    /// waited for.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        for group in [&mut self.agents, &mut self.masters] {
            for member in group.iter() {
                if let Some(process) = &member.process {
                    process.send(Signal::SIGTERM);
                }
            }
            for member in group.iter_mut() {
                if let Some(mut process) = member.process.take() {
                    process.stop(STOP_GRACE).await?;
                }
            }
        }
        let dir = self.dir.clone();
        let left = tokio::task::spawn_blocking(move || reap::destroy_all(&dir)).await?;
        anyhow::ensure!(left.is_empty(), "processes {left:?} cannot be ended");
        Ok(())
    }
}

/// Where everything goes.
struct Layout<'a> {
    dir: &'a Path,
    program: &'a Path,
    flags: &'a LocalFlags,
    log_filter: &'a str,
    ports: &'a Ports,
}

impl Layout<'_> {
    fn master(&self, id: u16) -> anyhow::Result<Member> {
        let peers: Vec<String> = (1..=self.flags.masters)
            .map(|id| {
                let proxy = self.flags.raft_proxies.get(usize::from(id) - 1).copied();
                format!(
                    "{id}={HOST}:{}:{}:{}",
                    proxy.unwrap_or_else(|| self.ports.master_raft(id)),
                    self.ports.master_http(id),
                    self.ports.master_agents(id)
                )
            })
            .collect();
        let http = self.ports.master_http(id);
        let (raft, agents) = (self.ports.master_raft(id), self.ports.master_agents(id));
        let (dir, mut launch) = self.member(Kind::Master, id)?;
        launch.argv.extend(
            [
                ["--id", &id.to_string()],
                ["--data-dir", &dir.to_string_lossy()],
                ["--ip", HOST],
                ["--port", &http.to_string()],
                ["--raft-port", &raft.to_string()],
                ["--agent-port", &agents.to_string()],
                ["--peers", &peers.join(",")],
            ]
            .concat()
            .into_iter()
            .map(str::to_owned),
        );
        launch.argv.push("--bootstrap".to_owned());
        let log = launch.log.to_string_lossy().into_owned();
        launch.argv.extend(["--external-log-file".to_owned(), log]);
        let zk = self.flags.zk_facade.then(|| self.ports.master_zk(id));
        if let Some(port) = zk {
            let port = port.to_string();
            launch.argv.extend(["--zk-facade-port".to_owned(), port]);
        }
        launch.argv.extend(self.flags.timing.args());
        launch.argv.extend(self.flags.master_flag.iter().cloned());
        Ok(Member {
            kind: Kind::Master,
            id,
            http: format!("{HOST}:{http}"),
            grpc: Some(format!("{HOST}:{agents}")),
            raft: Some(format!("{HOST}:{raft}")),
            zk: zk.map(|port| format!("{HOST}:{port}")),
            dir,
            launch,
            process: None,
        })
    }

    fn agent(&self, id: u16) -> anyhow::Result<Member> {
        let n_masters = self.flags.masters + self.flags.spare_masters;
        let masters: Vec<String> = (1..=n_masters)
            .map(|id| format!("{HOST}:{}", self.ports.master_agents(id)))
            .collect();
        let http = self.ports.agent_http(id);
        let (dir, mut launch) = self.member(Kind::Agent, id)?;
        launch.argv.extend(
            [
                ["--master", &masters.join(",")],
                ["--work-dir", &dir.to_string_lossy()],
                ["--ip", HOST],
                ["--port", &http.to_string()],
                ["--resources", &self.flags.agent_resources],
            ]
            .concat()
            .into_iter()
            .map(str::to_owned),
        );
        launch.argv.extend(self.flags.agent_flag.iter().cloned());
        Ok(Member {
            kind: Kind::Agent,
            id,
            http: format!("{HOST}:{http}"),
            grpc: None,
            raft: None,
            zk: None,
            dir,
            launch,
            process: None,
        })
    }

    /// The folder of a member, made, and what its command line begins with.
    fn member(&self, kind: Kind, id: u16) -> anyhow::Result<(PathBuf, Launch)> {
        let name = format!("{}-{id}", kind.name());
        let dir = self.dir.join(&name);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let program = self
            .program
            .to_str()
            .context("the path of this program is not UTF-8")?;
        let argv = [program, "--log-filter", self.log_filter, kind.name()];
        let launch = Launch {
            argv: argv.map(str::to_owned).to_vec(),
            log: self.dir.join(format!("{name}.log")),
        };
        Ok((dir, launch))
    }
}
