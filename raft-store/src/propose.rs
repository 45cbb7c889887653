//! What can become of a proposal.

use std::collections::BTreeMap;
use std::fmt;

use regency_types::NodeId;

use crate::leadership::MasterAddress;
use crate::space::Room;

/// Why a proposal has no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was not proposed and never will be. Safe to send to `leader`.
    #[error("this master does not lead")]
    NotLeader {
        /// Who leads, when this master knows.
        leader: Option<MasterAddress>,
    },
    /// It may or may not have been applied, now or later. Never to be repeated blindly.
    #[error("the outcome of the proposal is unknown")]
    Unknown,
    /// It was not proposed: this master stopped taking part because of a failure.
    #[error("this master halted: {0}")]
    Halted(String),
    /// It was not proposed: it is too large for the log.
    #[error(
        "the change of the state has {bytes} bytes, more than the {bytes_max} that \
         --max-proposal-bytes allows"
    )]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// What is accepted.
        bytes_max: usize,
    },
    /// It was not proposed: too many others were in flight for too long.
    #[error("too many proposals are in flight")]
    Busy,
    /// It was not proposed: a majority of the voters has no room on their disks. Reads go on, and
    /// writes as soon as there is room.
    #[error("no writes are taken: {0}; they are again as soon as there is room")]
    NoRoom(NoRoom),
    /// It was not proposed: not all members are known to understand it. They will once all are
    /// upgraded.
    #[error(
        "this needs feature level {needed}, the cluster is at {level}; upgrade all masters, and look \
         at --feature-level-max"
    )]
    FeatureLevel {
        /// What the command needs.
        needed: u32,
        /// What the state has.
        level: u32,
    },
}

/// Members without room on their disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom(pub BTreeMap<NodeId, Room>);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (node, room)) in self.0.iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(
                f,
                "{comma}the disk of node {node} is {} ({} bytes free, {} more needed)",
                room.level.name(),
                room.free_bytes,
                room.missing_bytes()
            )?;
        }
        Ok(())
    }
}

impl ProposeError {
    /// The label of this outcome in metrics.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::NotLeader { .. } => "not_leader",
            Self::Unknown => "unknown",
            Self::Halted(_) => "halted",
            Self::TooLarge { .. } => "too_large",
            Self::Busy => "busy",
            Self::NoRoom(_) => "no_room",
            Self::FeatureLevel { .. } => "feature_level",
        }
    }
}
