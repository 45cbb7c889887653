//! Machines under maintenance, and how frameworks are asked to leave them.

use std::fmt;

use regency_types::{AgentId, ClusterTime, FrameworkId, OfferId, WallTime};

/// A machine by host name, ip or both, as operators name it.
///
/// A part that is left out does not matter: a name alone means every agent of that host name.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineId {
    /// In lower case.
    pub hostname: Option<String>,
    /// As text.
    pub ip: Option<String>,
}

/// As Mesos writes it: the JSON form.
impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("hostname", &self.hostname), ("ip", &self.ip)];
        let given = parts
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key:?}:{:?}", value.as_ref()?)));
        write!(f, "{{{}}}", given.collect::<Vec<_>>().join(","))
    }
}

/// When a machine is not there. Told to frameworks and people; no rule waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailability {
    /// From when on, in nanoseconds since 1970 on everybody's wall clock.
    pub start_ns: i64,
    /// For how many nanoseconds; `None`: for good.
    pub duration_ns: Option<i64>,
}

/// Machines that are not there together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaintenanceWindow {
    /// At least one; each is in one window only.
    pub machines: Vec<MachineId>,
    /// When.
    pub unavailability: Unavailability,
}

/// A machine in a maintenance schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// When it is not there.
    pub unavailability: Unavailability,
    /// Whether it was taken down: agents on it do not count and may not register.
    pub down: bool,
}

/// Asks a framework to leave an agent before its machine goes. At most one is outstanding for each
/// framework and agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InverseOffer {
    /// Its number, of the same counter as those of offers.
    pub id: OfferId,
    /// Whom it asks.
    pub framework: FrameworkId,
    /// What it shall leave.
    pub agent: AgentId,
    /// By when.
    pub unavailability: Unavailability,
    /// When it expires; `None`: never.
    pub deadline: Option<ClusterTime>,
    /// When it was made, for display.
    pub made: WallTime,
}

/// What a framework answered last to inverse offers for an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InverseAnswer {
    /// Whether it will leave; otherwise it said that it will not.
    pub accepted: bool,
    /// When it said so, for display.
    pub wall: WallTime,
    /// It is not asked again before this.
    pub until: ClusterTime,
}
