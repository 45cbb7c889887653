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

use super::client::Client;
use super::etcd::{self, Etcd};
use super::ours::{self, Following, Ours};
use super::process::Process;
use super::system::{Kind, System};
use super::zookeeper::{self, ZooKeeper};

/// How many members a cluster has.
pub(crate) const MEMBERS: usize = 3;
/// How many values are overwritten again and again.
pub(crate) const KEYS: u32 = 1_000;
/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 256;
/// Longest wait for anything a member must do.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How long one question to a member may take before it is asked anew.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// Starts the members in a directory below `dir`, waits until one leads and all serve, and
    /// makes all keys, so that from then on values are only overwritten.
    pub(crate) async fn start(system: System, policy: Policy, dir: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("regency-bench-{system}-"))
            .tempdir_in(dir)
            .with_context(|| format!("cannot make a directory in {}", dir.display()))?;
        // One for clients of each member, and up to two for the members among themselves.
        let ports = free_ports(3 * MEMBERS)?;
        let (clients, peers) = ports.split_at(MEMBERS);
        let mut members = Vec::new();
        let mut data = Vec::new();
        for i in 0..MEMBERS {
            let home = dir.path().join(format!("member{}", i + 1));
            std::fs::create_dir(&home)?;
            let tuned = system.is_tuned();
            let one_each = &peers[..MEMBERS];
            let program = match system.kind() {
                Kind::Ours(engine) => {
                    ours::program(i, engine, tuned, policy, clients, one_each, &home)?
                }
                Kind::Etcd => etcd::program(i, tuned, clients, one_each, &home),
                Kind::ZooKeeper => zookeeper::program(i, tuned, clients, peers, &home)?,
            };
            members.push(Process::start(program)?);
            data.push(home);
        }
        let mut cluster = Self {
            system,
            members,
            addresses: clients.to_vec(),
            data,
            _dir: dir,
        };
        cluster.make_keys().await?;
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
                let leads = async { anyhow::Ok(self.connect(i).await?.leads().await?) };
                if let Ok(Ok(true)) = tokio::time::timeout(ATTEMPT_TIMEOUT, leads).await {
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
            let reads = async { anyhow::Ok(self.connect(i).await?.read().await?) };
            if let Ok(Ok(())) = tokio::time::timeout(ATTEMPT_TIMEOUT, reads).await {
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
        self.door(i).connect().await
    }

    /// Where a member is reached, whether it runs or not.
    pub(crate) fn door(&self, i: usize) -> Door {
        Door {
            kind: self.system.kind(),
            address: self.addresses[i],
        }
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
            let client = if self.system.is_ours() {
                let mut members = Vec::new();
                for i in 0..MEMBERS {
                    members.push(self.connect_ours(i).await?);
                }
                Client::Following(Following::new(members, leader))
            } else {
                self.connect(leader).await?
            };
            clients.push(Arc::new(client));
        }
        Ok(clients)
    }

    async fn make_keys(&mut self) -> anyhow::Result<()> {
        let clients = self.leader_clients(1).await?;
        let value = Bytes::from(vec![0; VALUE_BYTES]);
        let given_up = Instant::now() + PATIENCE;
        let mut creating = tokio::task::JoinSet::new();
        for key in 0..KEYS {
            let (client, value) = (Arc::clone(&clients[0]), value.clone());
            creating.spawn(async move {
                // To make a key again does no harm: it may be tried until it is known to be there.
                while let Err(error) = client.create(key, value.clone()).await {
                    if Instant::now() >= given_up {
                        return Err(error);
                    }
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Ok(())
            });
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

    /// Has the leader hand over to another member, and returns when it has.
    pub(crate) async fn hand_over(&self, leader: usize, to: usize) -> anyhow::Result<()> {
        match (self.connect(leader).await?, self.connect(to).await?) {
            (Client::Ours(leader), _) => leader.transfer(to as u64 + 1).await?,
            (Client::Etcd(leader), Client::Etcd(to)) => leader.transfer(to.id().await?).await?,
            _ => anyhow::bail!("{} cannot hand over", self.system),
        }
        Ok(())
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

/// Where a member is reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door {
    kind: Kind,
    address: SocketAddr,
}

impl Door {
    /// A new connection.
    pub(crate) async fn connect(self) -> anyhow::Result<Client> {
        Ok(match self.kind {
            Kind::Ours(_) => Client::Ours(Ours::connect(self.address).await?),
            Kind::Etcd => Client::Etcd(Etcd::connect(self.address).await?),
            Kind::ZooKeeper => Client::ZooKeeper(ZooKeeper::connect(self.address).await?),
        })
    }
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
