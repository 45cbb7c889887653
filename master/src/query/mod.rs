//! Read models: from one consistent view of the state to what clients are shown.
//!
//! Everything here is a pure function of a [`View`]. Nothing touches a socket, a clock or the
//! consensus, so that a follower answers exactly as the leader does, and so that a slow reader
//! holds an O(1) snapshot and nobody else waits for it.
//!
//! The conversions that the scheduler edge shares with the read models come first: [`status`],
//! [`offer`], [`maintenance`], [`operation`] and [`reconcile`]. Then the two families of
//! answers to operators: [`legacy`] JSON, whose keys are older than any schema, and the messages
//! of [`v1`]; [`master`] and [`metrics`] serve both.

pub mod maintenance;
pub mod offer;
pub mod operation;
pub mod reconcile;
pub mod status;

mod executor;
mod resource;
mod role;
mod task;
mod usage;

pub mod legacy;
pub mod master;
pub mod metrics;
pub mod v1;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use regency_state::State;
use regency_state::model::{Agent, Framework};
use regency_types::{AgentId, FrameworkId, WallTime};

/// Version of Mesos whose interfaces are spoken. Dotted integers only: clients compute with it
/// and switch features on by it.
pub const MESOS_VERSION: &str = "1.11.0";

/// What a read is answered from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The replicated state at one index.
    pub state: &'a State,
    /// What only this process knows at this moment.
    pub live: &'a Live,
    /// Who answers.
    pub identity: &'a Identity,
}

/// What a master knows beside the replicated state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// Whether this master leads. The two sets below mean nothing while it does not.
    pub leader: bool,
    /// Agents whose stream to this leader is open.
    pub attached: BTreeSet<AgentId>,
    /// Frameworks whose stream to this leader is open.
    pub connected: BTreeSet<FrameworkId>,
    /// Wall clock when the view was taken; for display.
    pub now: WallTime,
    /// How much this process logs; 0 unless an operator wants more.
    pub log_level: u32,
    /// What this process measured, by the keys of Mesos; filled for those who read metrics.
    pub measured: BTreeMap<String, f64>,
}

/// Who a master is, constant for the life of its process.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Identity of this run of the process: a uuid as text, shown as the master's id.
    pub process: String,
    /// Advertised host name.
    pub hostname: String,
    /// Advertised address.
    pub ip: IpAddr,
    /// Advertised port for clients.
    pub port: u16,
    /// Version of this program.
    pub version: String,
    /// When the process started.
    pub started: WallTime,
    /// Name of the cluster for people, when it was given one.
    pub cluster: Option<String>,
    /// The flags in force, by name.
    pub flags: BTreeMap<String, String>,
    /// Where the master is, when it was told.
    pub domain: Option<regency_wire::v1::DomainInfo>,
}

impl View<'_> {
    /// Whether an agent counts as connected. A follower does not see connections: there, whoever
    /// is registered does.
    #[must_use]
    pub fn is_attached(&self, agent: &Agent) -> bool {
        agent.is_registered() && (!self.live.leader || self.live.attached.contains(&agent.id))
    }

    /// Whether an agent counts as active: it is connected, and no operator took it out of use.
    #[must_use]
    pub fn is_active(&self, agent: &Agent) -> bool {
        self.is_attached(agent) && !agent.deactivated
    }

    /// Whether a framework counts as connected; on a follower, whoever is subscribed does.
    #[must_use]
    pub fn is_connected(&self, framework: &Framework) -> bool {
        framework.is_subscribed()
            && (!self.live.leader || self.live.connected.contains(&framework.id))
    }
}

/// The name of an agent as a libprocess actor, by which older clients know it.
pub(crate) fn agent_pid(agent: &Agent) -> String {
    format!("slave(1)@{}", agent.spec.address)
}

#[cfg(test)]
pub(crate) mod fixture;
