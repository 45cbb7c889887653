//! One connection to one member, of whichever system.

use bytes::Bytes;

use super::etcd::Etcd;
use super::ours::{Following, Ours};
use super::pipe::Broken;
use super::zookeeper::ZooKeeper;

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
    /// To one member of etcd; any of them takes writes.
    Etcd(Etcd),
    /// To one member of ZooKeeper; any of them takes writes.
    ZooKeeper(ZooKeeper),
}

impl Client {
    /// Replaces the value of a key, and returns when that is committed.
    pub(crate) async fn put(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        match self {
            Self::Ours(ours) => ours.put(key, value).await,
            Self::Following(all) => all.put(key, value).await,
            Self::Etcd(etcd) => etcd.put(key, value).await,
            Self::ZooKeeper(zookeeper) => zookeeper.put(key, value).await,
        }
    }

    /// Makes a key that is not there yet.
    pub(crate) async fn create(&self, key: u32, value: Bytes) -> Result<(), ClientError> {
        match self {
            Self::ZooKeeper(zookeeper) => zookeeper.create(key, value).await,
            Self::Ours(_) | Self::Following(_) | Self::Etcd(_) => self.put(key, value).await,
        }
    }

    /// A read that is confirmed with a majority: this member serves.
    pub(crate) async fn read(&self) -> Result<(), ClientError> {
        match self {
            Self::Ours(ours) => ours.barrier().await,
            Self::Following(all) => all.now().barrier().await,
            Self::Etcd(etcd) => etcd.read().await,
            Self::ZooKeeper(zookeeper) => zookeeper.read().await,
        }
    }

    /// Whether this member leads.
    pub(crate) async fn leads(&self) -> Result<bool, ClientError> {
        match self {
            Self::Ours(ours) => Ok(ours.told().await?.is_leader),
            Self::Following(all) => Ok(all.now().told().await?.is_leader),
            Self::Etcd(etcd) => etcd.leads().await,
            Self::ZooKeeper(zookeeper) => zookeeper.leads().await,
        }
    }
}
