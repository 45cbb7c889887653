//! How faults reach a cluster: the little that a driver has to be able to do.
//!
//! `regency chaos` has two: processes that it started itself on this machine, and
//! [`crate::command`], which runs somebody's commands.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::links::Links;
use crate::scenario::Nemesis;

/// What a member of a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A master.
    Master,
    /// An agent.
    Agent,
}

/// A member of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// What it is.
    pub kind: Kind,
    /// Its number; that of a master is its id in the cluster.
    pub id: u64,
}

impl Member {
    /// The master of this number.
    #[must_use]
    pub fn master(id: u64) -> Self {
        Self {
            kind: Kind::Master,
            id,
        }
    }

    /// The agent of this number.
    #[must_use]
    pub fn agent(id: u64) -> Self {
        Self {
            kind: Kind::Agent,
            id,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Master => write!(f, "master {}", self.id),
            Kind::Agent => write!(f, "agent {}", self.id),
        }
    }
}

/// A member and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Who.
    pub member: Member,
    /// Its `host:port` for clients.
    pub http: String,
}

/// How the process of a member is, as observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// It runs.
    Runs,
    /// It stands still.
    Frozen,
    /// There is none.
    Gone,
}

/// A new master that runs and waits to be added, as `POST /regency/members` wants it.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its id, never used before.
    pub id: u64,
    /// `host:port` for other masters.
    pub raft: String,
    /// `host:port` for clients.
    pub http: String,
    /// `host:port` for agents.
    pub agent: String,
}

/// Whoever can start and end the processes of a cluster.
pub trait Driver: Send {
    /// All members, masters first.
    fn members(&self) -> Vec<Place>;

    /// Where clients look for masters; more than there are, where others may join.
    fn client_addresses(&self) -> Vec<String> {
        let masters = self.members().into_iter();
        let masters = masters.filter(|place| place.member.kind == Kind::Master);
        masters.map(|place| place.http).collect()
    }

    /// Why a nemesis cannot strike here; nothing if it can.
    fn lacks(&self, nemesis: Nemesis) -> Option<String>;

    /// Starts a member that is gone, with the data that it has.
    fn start(&mut self, member: Member) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// kill -9; returns when the process is gone, as far as the driver can tell.
    fn kill(&mut self, member: Member) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// SIGSTOP, or what comes near: it keeps its connections and says nothing.
    fn freeze(&mut self, member: Member) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// SIGCONT.
    fn thaw(&mut self, member: Member) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Looks at a process.
    fn observe(&mut self, member: Member) -> impl Future<Output = anyhow::Result<Process>> + Send;

    /// Processes that ended although nobody here ended them, each told once.
    fn crashes(&mut self) -> anyhow::Result<Vec<String>>;

    /// The links between masters, where faults can be put on them.
    fn links(&self) -> Option<&Arc<Links>> {
        None
    }

    /// The data directory of a member, where files can be reached.
    fn data_dir(&self, member: Member) -> Option<PathBuf> {
        let _ = member;
        None
    }

    /// The process id of a member that runs on this machine.
    fn pid(&self, member: Member) -> Option<i32> {
        let _ = member;
        None
    }

    /// A directory that tasks can write, where what they say about themselves can be read.
    fn ledger_dir(&self) -> Option<PathBuf> {
        None
    }

    /// Starts a new, empty master, which waits to be added.
    fn candidate(&mut self) -> impl Future<Output = anyhow::Result<Candidate>> + Send {
        async { anyhow::bail!("this driver cannot start new masters") }
    }

    /// Forgets a master that was removed from the cluster, and ends its process if it is there.
    fn forget(&mut self, member: Member) -> impl Future<Output = anyhow::Result<()>> + Send {
        async move { anyhow::bail!("this driver cannot remove {member}") }
    }
}
