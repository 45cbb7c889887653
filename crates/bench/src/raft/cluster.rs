//! Three members of one system: three processes on this machine.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use nix::sys::signal::Signal;
use regency_raft_store::LogConfig;

use super::client::{Client, Following, Ours};
use super::member::MemberConfig;
use super::process::{Process, Program};
use super::system::System;

/// How many members a cluster has.
pub(crate) const MEMBERS: usize = 3;
/// How many values are overwritten again and again.
pub(crate) const KEYS: u32 = 1_000;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 256;
/// Longest wait for anything a member must do.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// When our members write snapshots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) snapshot_every_entries: u64,
    pub(crate) keep_entries: u64,
}

impl Default for Policy {
    fn default() -> Self {
        let log = LogConfig::default();
        Self {
            snapshot_every_entries: log.snapshot_every_entries,
            keep_entries: log.keep_entries,
        }
    }
}

impl Policy {
    /// No snapshots: all entries stay in the log.
    pub(crate) const NEVER: Self = Self {
        snapshot_every_entries: 1 << 40,
        keep_entries: 1 << 40,
    };
}

/// The members. They end, and their directories go, with this value.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) system: System,
    members: Vec<Process>,
    addresses: Vec<SocketAddr>,
    data: Vec<PathBuf>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts the members in a directory below `dir` and waits until one leads and all serve.
    pub(crate) async fn start(system: System, policy: Policy, dir: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("regency-bench-{system}-"))
            .tempdir_in(dir)
            .with_context(|| format!("cannot make a directory in {}", dir.display()))?;
        let ports = free_ports(2 * MEMBERS)?;
        let (addresses, peers) = ports.split_at(MEMBERS);
        let mut members = Vec::new();
        let mut data = Vec::new();
        for (i, address) in addresses.iter().enumerate() {
            let home = dir.path().join(format!("member{}", i + 1));
            std::fs::create_dir(&home)?;
            let program = ours(system, policy, i, *address, peers, &home)?;
            members.push(Process::start(program)?);
            data.push(home);
        }
        let mut cluster = Self {
            system,
            members,
            addresses: addresses.to_vec(),
            data,
            _dir: dir,
        };
        cluster.whole().await?;
        Ok(cluster)
    }

    /// Waits until one member leads and all of them serve; gives the leader.
    pub(crate) async fn whole(&mut self) -> anyhow::Result<usize> {
        for i in 0..MEMBERS {
            self.serving(i).await?;
        }
        let begun = Instant::now();
        loop {
            for i in 0..MEMBERS {
                if let Ok(client) = self.connect(i).await
                    && client.leads().await.unwrap_or(false)
                {
                    return Ok(i);
                }
            }
            self.wait(begun, "no member leads").await?;
        }
    }

    /// Waits until a member answers a read that is confirmed with a majority.
    pub(crate) async fn serving(&mut self, i: usize) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            if let Ok(client) = self.connect(i).await
                && client.read().await.is_ok()
            {
                return Ok(());
            }
            let what = format!("member {} of {} does not serve", i + 1, self.system);
            self.wait(begun, &what).await?;
        }
    }

    async fn wait(&mut self, begun: Instant, what: &str) -> anyhow::Result<()> {
        for member in &mut self.members {
            member.check()?;
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "{what} after {PATIENCE:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
        Ok(())
    }

    /// A new connection to a member.
    pub(crate) async fn connect(&self, i: usize) -> anyhow::Result<Client> {
        Ok(Client::Ours(Ours::connect(self.addresses[i]).await?))
    }

    /// As [`Self::connect`], for what only our own members can do.
    pub(crate) async fn connect_ours(&self, i: usize) -> anyhow::Result<Ours> {
        Ok(Ours::connect(self.addresses[i]).await?)
    }

    /// `n` clients of the leader. Where only the leader takes writes they follow it when it
    /// changes.
    pub(crate) async fn leader_clients(&mut self, n: usize) -> anyhow::Result<Vec<Arc<Client>>> {
        let leader = self.whole().await?;
        let mut clients = Vec::new();
        for _ in 0..n {
            let client = {
                let mut members = Vec::new();
                for i in 0..MEMBERS {
                    members.push(self.connect_ours(i).await?);
                }
                Client::Following(Following::new(members, leader))
            };
            clients.push(Arc::new(client));
        }
        Ok(clients)
    }

    /// Makes all keys, so that from now on values are only overwritten.
    pub(crate) async fn make_keys(&mut self) -> anyhow::Result<()> {
        let clients = self.leader_clients(1).await?;
        let value = Bytes::from(vec![0; VALUE_BYTES]);
        let mut creating = tokio::task::JoinSet::new();
        for key in 0..KEYS {
            let (client, value) = (Arc::clone(&clients[0]), value.clone());
            creating.spawn(async move { client.create(key, value).await });
        }
        while let Some(created) = creating.join_next().await {
            created??;
        }
        Ok(())
    }

    /// kill -9.
    pub(crate) async fn kill(&mut self, i: usize) -> anyhow::Result<()> {
        self.members[i].kill().await
    }

    /// kill -9, without waiting for the end of the process.
    pub(crate) fn kill_now(&mut self, i: usize) -> anyhow::Result<()> {
        self.members[i].kill_now()
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&self, i: usize) -> anyhow::Result<()> {
        self.members[i].signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self, i: usize) -> anyhow::Result<()> {
        self.members[i].signal(Signal::SIGCONT)
    }

    /// Starts a killed member again.
    pub(crate) fn restart(&mut self, i: usize) -> anyhow::Result<()> {
        self.members[i].restart()
    }

    /// Processor time of all members since each was started.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.members.iter().map(Process::cpu).sum()
    }

    /// Bytes that the directory of a member takes on the disk.
    pub(crate) fn disk_bytes(&self, i: usize) -> anyhow::Result<u64> {
        taken(&self.data[i])
    }
}

fn ours(
    system: System,
    policy: Policy,
    i: usize,
    client: SocketAddr,
    raft: &[SocketAddr],
    home: &Path,
) -> anyhow::Result<Program> {
    let (heartbeat_ms, election_min_ms, election_max_ms) = system.timing_ms();
    let config = MemberConfig {
        node: i as u64 + 1,
        data_dir: home.join("data"),
        raft: raft.iter().map(SocketAddr::to_string).collect(),
        client: client.to_string(),
        engine: system.engine().context("not one of ours")?.to_owned(),
        heartbeat_ms,
        election_min_ms,
        election_max_ms,
        snapshot_every_entries: policy.snapshot_every_entries,
        keep_entries: policy.keep_entries,
        threads: 2,
    };
    Ok(Program {
        file: std::env::current_exe()?,
        args: vec![
            "raft".to_owned(),
            "member".to_owned(),
            "--config".to_owned(),
            serde_json::to_string(&config)?,
        ],
        log: home.join("log"),
    })
}

/// Ports that nobody uses at this moment. All are open at once, so no two are the same.
fn free_ports(n: usize) -> std::io::Result<Vec<SocketAddr>> {
    let open: Vec<TcpListener> = (0..n)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    open.iter().map(TcpListener::local_addr).collect()
}

/// What a directory takes on the disk, holes not counted.
fn taken(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        // A file may be removed while we look.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        bytes += if metadata.is_dir() {
            taken(&entry.path())?
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}
