//! The systems that are measured, and how each is set up.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::{etcd, zookeeper};

/// A system with a set-up of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Ours on sled, as shipped.
    Sled,
    /// Ours on segment files, as shipped.
    Segment,
    /// Ours on sled with `--timing=fast`.
    SledFast,
    /// Ours on segment files with `--timing=fast`.
    SegmentFast,
    /// etcd with its own defaults.
    Etcd,
    /// etcd with heartbeat 10 ms, election 100 ms.
    EtcdTuned,
    /// ZooKeeper with the times of its sample configuration.
    #[value(name = "zookeeper")]
    #[serde(rename = "zookeeper")]
    ZooKeeper,
    /// ZooKeeper with a tick of 100 ms, a heap of fixed size and no snapshots during runs.
    #[value(name = "zookeeper-tuned")]
    #[serde(rename = "zookeeper-tuned")]
    ZooKeeperTuned,
}

/// Whose system it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our own, on one of the log engines.
    Ours(&'static str),
    Etcd,
    ZooKeeper,
}

impl System {
    /// Its name in flags, tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Segment => "segment",
            Self::SledFast => "sled-fast",
            Self::SegmentFast => "segment-fast",
            Self::Etcd => "etcd",
            Self::EtcdTuned => "etcd-tuned",
            Self::ZooKeeper => "zookeeper",
            Self::ZooKeeperTuned => "zookeeper-tuned",
        }
    }

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Sled | Self::SledFast => Kind::Ours("sled"),
            Self::Segment | Self::SegmentFast => Kind::Ours("segment"),
            Self::Etcd | Self::EtcdTuned => Kind::Etcd,
            Self::ZooKeeper | Self::ZooKeeperTuned => Kind::ZooKeeper,
        }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self.kind(), Kind::Ours(_))
    }

    /// Whether it is set up for speed where its defaults are not.
    pub(crate) fn is_tuned(self) -> bool {
        matches!(
            self,
            Self::SledFast | Self::SegmentFast | Self::EtcdTuned | Self::ZooKeeperTuned
        )
    }

    /// What is missing on this machine to run it, and what to do about it.
    pub(crate) fn missing(self) -> Option<String> {
        let (files, package): (&[&str], _) = match self.kind() {
            Kind::Ours(_) => return None,
            Kind::Etcd => (&[etcd::PROGRAM], etcd::PACKAGE),
            Kind::ZooKeeper => (&[zookeeper::JAVA, zookeeper::JAR], zookeeper::PACKAGE),
        };
        let missing = files.iter().find(|file| !Path::new(file).exists())?;
        Some(format!(
            "{self} is not installed ({missing}): apt install {package}"
        ))
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
