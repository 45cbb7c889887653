//! `GET /regency/status`: one master's view of the cluster, for tools and people.

use axum::Json;
use axum::extract::State;
use regency_raft_store::{Role, Room, SnapshotProgress};
use serde::Serialize;

use super::cx::ApiCx;

/// The answer.
#[derive(Debug, Serialize)]
pub(crate) struct StatusBody {
    node_id: u64,
    cluster_id: Option<String>,
    incarnation: String,
    process: String,
    version: String,
    term: u64,
    role: &'static str,
    /// Who leads, when known.
    leader: Option<LeaderBody>,
    /// Whether this master leads and its duties run.
    serving: bool,
    applied_index: u64,
    committed_index: Option<u64>,
    last_log_index: Option<u64>,
    snapshot_index: Option<u64>,
    /// Age of the leader's last proof of a quorum.
    last_quorum_ack_ms: Option<u64>,
    /// As follower: how long ago the leader was heard.
    last_leader_contact_ms: Option<u64>,
    /// As leader: how long it has served.
    serving_ms: Option<u64>,
    agents_attached: usize,
    agents_registered: usize,
    frameworks_connected: usize,
    frameworks: usize,
    offers_outstanding: usize,
    tasks_active: usize,
    tasks_unreachable: usize,
    updates_unacknowledged: u64,
    /// The newest comparison of this master's state with that of the others.
    state_hash: Option<StateHashBody>,
    /// Feature level of the cluster, as far as this master applied the log.
    feature_level: u32,
    /// The highest one that this master supports.
    feature_level_max: u32,
    /// Room on the disk of this master.
    disk: DiskBody,
    /// The snapshot that a leader is sending to this master.
    snapshot_receiving: Option<SnapshotBody>,
    halted: Option<String>,
    members: Vec<MemberBody>,
}

#[derive(Debug, Serialize)]
struct StateHashBody {
    index: u64,
    digest: String,
    /// Voters that reported the same.
    agree: usize,
}

/// Room on the disk of a master's data directory.
#[derive(Debug, Serialize)]
pub(crate) struct DiskBody {
    /// `enough`, `low` (no writes of clients) or `full` (no entries either).
    level: &'static str,
    free_bytes: u64,
    reserve_bytes: u64,
    /// What has to be freed until writes are taken again.
    missing_bytes: u64,
}

impl From<Room> for DiskBody {
    fn from(room: Room) -> Self {
        Self {
            level: room.level.name(),
            free_bytes: room.free_bytes,
            reserve_bytes: room.reserve_bytes,
            missing_bytes: room.missing_bytes(),
        }
    }
}

/// A snapshot on its way from one master to another.
#[derive(Debug, Serialize)]
pub(crate) struct SnapshotBody {
    percent: u64,
    done_bytes: u64,
    bytes: u64,
}

impl From<SnapshotProgress> for SnapshotBody {
    fn from(progress: SnapshotProgress) -> Self {
        Self {
            percent: progress.percent(),
            done_bytes: progress.done_bytes,
            bytes: progress.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
struct LeaderBody {
    id: u64,
    http: String,
    agent: String,
}

#[derive(Debug, Serialize)]
struct MemberBody {
    id: u64,
    incarnation: String,
    raft: String,
    http: String,
    agent: String,
    voter: bool,
    lag_entries: Option<u64>,
    /// The rest is known to the leader only.
    version: Option<String>,
    feature_level_max: Option<u32>,
}

pub(crate) async fn status(State(cx): State<ApiCx>) -> Json<StatusBody> {
    let status = cx.consensus.status();
    let leadership = cx.consensus.leadership().borrow().clone();
    let applied = cx.consensus.state().get();
    let state = &applied.state;
    let leader = cx.serving();
    let live = cx.live();
    let ms = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    Json(StatusBody {
        node_id: status.node.0,
        cluster_id: status.cluster.map(|c| c.to_string()),
        incarnation: status.incarnation.to_string(),
        process: cx.identity.process.clone(),
        version: cx.identity.version.clone(),
        term: leadership.term.0,
        role: match leadership.role {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
        },
        leader: leadership.leader.map(|l| LeaderBody {
            id: l.node.0,
            http: l.http,
            agent: l.agent,
        }),
        serving: leader.is_some(),
        applied_index: applied.index,
        committed_index: status.committed_index,
        last_log_index: status.last_log_index,
        snapshot_index: status.snapshot_index,
        last_quorum_ack_ms: status.last_quorum_ack.map(ms),
        last_leader_contact_ms: status.last_leader_contact.map(ms),
        serving_ms: leader.map(|l| l.serving_ms()),
        agents_attached: live.attached.len(),
        agents_registered: state.agents().filter(|a| a.is_registered()).count(),
        frameworks_connected: live.connected.len(),
        frameworks: state.frameworks().count(),
        offers_outstanding: state.offers().count(),
        tasks_active: state.tasks().filter(|t| !t.is_terminal()).count(),
        tasks_unreachable: state
            .tasks()
            .filter(|t| t.state == regency_types::TaskState::Unreachable)
            .count(),
        updates_unacknowledged: state.frameworks().map(|f| f.n_unacked).sum(),
        state_hash: cx.consensus.audited().map(|audited| StateHashBody {
            index: audited.index,
            digest: format!("{:032x}", audited.digest),
            agree: audited.n_agree,
        }),
        feature_level: state.feature_level(),
        feature_level_max: cx.consensus.feature_level_max(),
        disk: status.disk_room.into(),
        snapshot_receiving: status.snapshot_receiving.map(SnapshotBody::from),
        halted: status.halted,
        members: status
            .members
            .into_iter()
            .map(|m| MemberBody {
                id: m.node.0,
                incarnation: m.incarnation.to_string(),
                raft: m.raft,
                http: m.http,
                agent: m.agent,
                voter: m.voter,
                lag_entries: m.lag_entries,
                feature_level_max: m.program.as_ref().map(|p| p.feature_level_max),
                version: m.program.map(|p| p.version),
            })
            .collect(),
    })
}
