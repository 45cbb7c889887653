//! What operators see of replication.

use std::time::Duration;

use regency_types::{ClusterId, Incarnation, NodeId, Term};

use crate::leadership::Role;
use crate::level::Program;
use crate::snapshot::SnapshotProgress;
use crate::space::Room;

/// A picture of replication at one master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This master.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its cluster, once it belongs to one.
    pub cluster: Option<ClusterId>,
    /// The highest term it knows.
    pub term: Term,
    /// What it is in that term.
    pub role: Role,
    /// Who leads, when known.
    pub leader: Option<NodeId>,
    /// Whom it gave its vote in `term`, itself included.
    pub voted_for: NodeId,
    /// Index of the last entry in its log.
    pub last_log_index: Option<u64>,
    /// Index up to which it knows entries to be committed.
    pub committed_index: Option<u64>,
    /// Index of the last entry it applied.
    pub applied_index: Option<u64>,
    /// Index of the last entry in its newest snapshot.
    pub snapshot_index: Option<u64>,
    /// Index up to which its log was purged.
    pub purged_index: Option<u64>,
    /// As leader: how long ago a majority last answered something that was sent before. `None` on
    /// others and before the first answer.
    pub last_quorum_ack: Option<Duration>,
    /// As follower: how long ago the leader was last heard.
    pub last_leader_contact: Option<Duration>,
    /// The room on its disk.
    pub disk_room: Room,
    /// The snapshot that a leader is sending to it.
    pub snapshot_receiving: Option<SnapshotProgress>,
    /// Why it stopped, when it did.
    pub halted: Option<String>,
    /// Everybody in the membership, by number.
    pub members: Vec<MemberStatus>,
}

/// A member in [`Status`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
    /// Its advertised host name.
    pub hostname: String,
    /// Where it speaks to other masters.
    pub raft: String,
    /// Where it speaks to clients.
    pub http: String,
    /// Where it speaks to agents.
    pub agent: String,
    /// Whether it has a vote; learners have none.
    pub voter: bool,
    /// The room on its disk; on others than the leader only that of this master is known.
    pub disk_room: Option<Room>,
    /// What it runs; on others than the leader only that of this master is known.
    pub program: Option<Program>,
    /// As leader: the snapshot on its way there.
    pub snapshot_sending: Option<SnapshotProgress>,
    /// As leader: the last entry known to be durable there.
    pub matched_index: Option<u64>,
    /// As leader: how many entries it is behind.
    pub lag_entries: Option<u64>,
}
