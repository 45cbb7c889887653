//! One connection to one member, of whichever system.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::member::{Snapshot, Told, op, verdict};
use super::pipe::{Broken, Pipe};

/// Why a value was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// It was not written: this member does not lead.
    #[error("this member does not lead")]
    NotLeader,
    /// It may have been written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The member said so.
    #[error("{0}")]
    Failed(String),
}

/// The connection; kept open for many requests at once.
#[derive(Debug)]
pub(crate) enum Client {
    /// To one of our members, of which only the leader takes writes.
    Ours(Ours),
    /// To all of ours: follows the leader.
    Following(Following),
}

impl Client {
    /// Replaces the value of a key, and returns when that is committed.
    pub(crate) async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        match self {
            Self::Ours(ours) => ours.put(key, value).await,
            Self::Following(all) => all.put(key, value).await,
        }
    }

    /// Makes a key that is not there yet.
    pub(crate) async fn create(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        match self {
            Self::Ours(ours) => ours.put(key, value).await,
            Self::Following(all) => all.put(key, value).await,
        }
    }

    /// A read that is confirmed with a majority: this member serves.
    pub(crate) async fn read(&self) -> Result<(), ClientError> {
        match self {
            Self::Ours(ours) => ours.barrier().await,
            Self::Following(all) => all.now().barrier().await,
        }
    }

    /// Whether this member leads.
    pub(crate) async fn leads(&self) -> Result<bool, ClientError> {
        match self {
            Self::Ours(ours) => Ok(ours.told().await?.is_leader),
            Self::Following(all) => Ok(all.now().told().await?.is_leader),
        }
    }
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

    fn now(&self) -> &Ours {
        &self.members[self.leader.load(Ordering::Relaxed)]
    }

    /// Goes on to the next member when one does not lead, which is safe. When a connection breaks
    /// the outcome is unknown, which is the caller's business.
    async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        for _ in 0..ROUNDS {
            for _ in 0..self.members.len() {
                let at = self.leader.load(Ordering::Relaxed);
                match self.members[at].put(key, value.clone()).await {
                    Err(ClientError::NotLeader) => {
                        let next = (at + 1) % self.members.len();
                        // Another write may have gone on already.
                        let _ = self.leader.compare_exchange(
                            at,
                            next,
                            Ordering::Relaxed,
                            Ordering::Relaxed,
                        );
                    }
                    other => return other,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(ClientError::NotLeader)
    }
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

    async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
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
}

fn parse<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, ClientError> {
    serde_json::from_slice(json).map_err(|error| ClientError::Failed(error.to_string()))
}
