//! Our own system: how its members are started, and clients of their port.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use regency_raft_store::Profile;

use super::client::ClientError;
use super::cluster::Policy;
use super::fill::Size;
use super::member::{MemberConfig, Snapshot, Told, op, verdict};
use super::pipe::Pipe;
use super::process::Program;

/// Threads of replication in each member, as in a master.
const THREADS: usize = 1;

/// How to start member `i`. With `fast` it has the timing profile of that name.
pub(crate) fn program(
    i: usize,
    engine: &str,
    fast: bool,
    policy: Policy,
    clients: &[SocketAddr],
    peers: &[SocketAddr],
    home: &Path,
) -> anyhow::Result<Program> {
    let timing = if fast {
        Profile::Fast
    } else {
        Profile::default()
    };
    let config = MemberConfig {
        node: i as u64 + 1,
        data_dir: home.join("data"),
        raft: peers.iter().map(SocketAddr::to_string).collect(),
        client: clients[i].to_string(),
        engine: engine.to_owned(),
        timing: timing.name().to_owned(),
        snapshot_every_entries: policy.snapshot_every_entries,
        keep_entries: policy.keep_entries,
        threads: THREADS,
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

/// A connection to one of our members.
#[derive(Debug)]
pub(crate) struct Ours(Pipe);

impl Ours {
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self(Pipe::connect(address).await?))
    }

    async fn call(&self, body: &[&[u8]]) -> Result<Bytes, ClientError> {
        let mut answer = self.0.call(body).await?;
        let body = answer.split_off(answer.len().min(1));
        match answer.first() {
            Some(&verdict::DONE) => Ok(body),
            Some(&verdict::NOT_LEADER) => Err(ClientError::NotLeader),
            _ => Err(ClientError::Failed(
                String::from_utf8_lossy(&body).into_owned(),
            )),
        }
    }

    pub(crate) async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        let request = [&[op::PUT][..], &key.to_be_bytes(), &value];
        self.call(&request).await.map(drop)
    }

    /// Waits until everything committed is applied there.
    pub(crate) async fn barrier(&self) -> Result<(), ClientError> {
        self.call(&[&[op::BARRIER]]).await.map(drop)
    }

    /// What the member says of itself.
    pub(crate) async fn told(&self) -> Result<Told, ClientError> {
        parse(&self.call(&[&[op::STATUS]]).await?)
    }

    /// Asks the leader to hand over to another member.
    pub(crate) async fn transfer(&self, to: u64) -> Result<(), ClientError> {
        let request = [&[op::TRANSFER][..], &to.to_be_bytes()];
        self.call(&request).await.map(drop)
    }

    /// Has a snapshot written.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        parse(&self.call(&[&[op::SNAPSHOT]]).await?)
    }

    /// Has the leader make a large state.
    pub(crate) async fn fill(&self, size: Size) -> Result<(), ClientError> {
        let size =
            serde_json::to_vec(&size).map_err(|error| ClientError::Failed(error.to_string()))?;
        self.call(&[&[op::FILL], &size]).await.map(drop)
    }
}

fn parse<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, ClientError> {
    serde_json::from_slice(json).map_err(|error| ClientError::Failed(error.to_string()))
}

/// Connections to all of our members, the one to the leader in use.
#[derive(Debug)]
pub(crate) struct Following {
    members: Vec<Ours>,
    /// Who led when last tried.
    leader: AtomicUsize,
}

/// How often a write goes around all members before it counts as failed, and the pause after each
/// time: a leader is elected long before.
const ROUNDS: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(2);

impl Following {
    pub(crate) fn new(members: Vec<Ours>, leader: usize) -> Self {
        Self {
            members,
            leader: AtomicUsize::new(leader),
        }
    }

    /// The member in use.
    pub(crate) fn now(&self) -> &Ours {
        &self.members[self.leader.load(Ordering::Relaxed)]
    }

    /// Goes on to the next member when one does not lead, which is safe. When a connection breaks
    /// the outcome is unknown, which is the caller's business.
    pub(crate) async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        for _ in 0..ROUNDS {
            for _ in 0..self.members.len() {
                let at = self.leader.load(Ordering::Relaxed);
                match self.members[at].put(key, value.clone()).await {
                    Err(ClientError::NotLeader) => self.go_on_from(at),
                    Err(ClientError::Broken(broken)) => {
                        // It is gone for good: later writes go to the others.
                        self.go_on_from(at);
                        return Err(broken.into());
                    }
                    other => return other,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(ClientError::NotLeader)
    }

    fn go_on_from(&self, at: usize) {
        let next = (at + 1) % self.members.len();
        // Another write may have gone on already.
        let _ = self
            .leader
            .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}
