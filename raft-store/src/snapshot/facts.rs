//! What can be said about a snapshot file without a master: for operators.

use std::collections::BTreeSet;
use std::path::Path;

use regency_rpc::proto::regency::raft::v1 as proto;
use regency_state::State;
use regency_types::{ClusterId, Incarnation, NodeId, Term};

use super::format::{self, Header};
use super::{SnapshotError, SnapshotFile};
use crate::types::{Membership, SnapshotMeta};

/// What a snapshot file holds. Everything in it was checked against its checksums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFacts {
    /// Whose state it is.
    pub cluster: ClusterId,
    /// Clusters whose state it was before, the oldest first.
    pub ancestors: Vec<ClusterId>,
    /// The leader's wall clock at the last proposal in the state, in milliseconds since the Unix
    /// epoch.
    pub saved_ms: u64,
    /// Index of the last entry in the state.
    pub index: u64,
    /// Term of that entry.
    pub term: Term,
    /// The feature level of the state: a master that supports less cannot use it.
    pub feature_level: u32,
    /// The members of the cluster at that entry.
    pub members: Vec<SnapshotMember>,
    /// Version of the program that wrote it.
    pub written_by: String,
    /// Version of the file's format.
    pub format: u32,
    /// How the state is stored: `none` or `zstd`.
    pub compression: &'static str,
    /// Size of the file.
    pub file_bytes: u64,
    /// Size of the state in its stored form, before compression.
    pub state_bytes: u64,
    /// Digest of the state: equal on all masters that applied the same entries.
    pub state_digest: u128,
    /// Agents, whether they are registered now or not.
    pub agents: usize,
    /// Frameworks that were not torn down.
    pub frameworks: usize,
    /// Frameworks that ended and are remembered.
    pub frameworks_completed: usize,
    /// Tasks that have not reached an end.
    pub tasks_active: usize,
    /// Tasks, those included whose end waits for an acknowledgement.
    pub tasks: usize,
    /// Offers that can be accepted.
    pub offers: usize,
}

/// A member of the cluster a snapshot is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotMember {
    /// Its number.
    pub node: NodeId,
    /// Identity of its data directory.
    pub incarnation: Incarnation,
    /// Whether it votes.
    pub voter: bool,
    /// Where other masters reach it, `host:port`.
    pub raft: String,
    /// Where clients reach it, `host:port`.
    pub http: String,
    /// Where agents reach it, `host:port`.
    pub agent: String,
}

impl SnapshotMember {
    /// All members, by their number.
    pub(crate) fn all(membership: &Membership) -> Vec<Self> {
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        membership
            .nodes()
            .map(|(node, info)| Self {
                node: NodeId(*node),
                incarnation: info.incarnation,
                voter: voters.contains(node),
                raft: info.raft.clone(),
                http: info.http.clone(),
                agent: info.agent.clone(),
            })
            .collect()
    }
}

/// Reads a snapshot file and says what it holds. Blocks on the disk.
///
/// # Errors
/// When the file cannot be read, is damaged in any part, or is of a newer program.
pub fn inspect_snapshot(path: &Path) -> Result<SnapshotFacts, SnapshotError> {
    read(path).map(|(facts, ..)| facts)
}

/// As [`inspect_snapshot`], and checks that the state in it keeps every rule of the state machine.
///
/// # Errors
/// As [`inspect_snapshot`]; [`SnapshotError::BrokenRule`] for a state that cannot be.
pub fn verify_snapshot(path: &Path) -> Result<SnapshotFacts, SnapshotError> {
    verified(path).map(|(facts, ..)| facts)
}

/// As [`verify_snapshot`], with what is in it.
pub(crate) fn verified(path: &Path) -> Result<(SnapshotFacts, SnapshotMeta, State), SnapshotError> {
    let (facts, header, state) = read(path)?;
    let broken = |detail: String| SnapshotError::BrokenRule {
        path: path.to_path_buf(),
        detail,
    };
    state
        .check_invariants()
        .map_err(|violation| broken(violation.to_string()))?;
    // The state learns its cluster by the first entry that counts.
    let other = state.cluster().filter(|other| *other != facts.cluster);
    match other.filter(|other| Some(*other) != header.parent) {
        Some(other) => Err(broken(format!(
            "it is of cluster {other}, the file of cluster {}",
            facts.cluster
        ))),
        None => Ok((facts, header.meta, state)),
    }
}

fn read(path: &Path) -> Result<(SnapshotFacts, Header, State), SnapshotError> {
    let file = SnapshotFile::open(path)?;
    let header = format::read_header(&file)?;
    let state = format::read_state(&file, &header)?;
    Ok((facts(&header, &state, file.bytes()), header, state))
}

fn facts(header: &Header, state: &State, file_bytes: u64) -> SnapshotFacts {
    let last = header.meta.last_log_id;
    let ancestors = state.ancestors().map(|ancestor| ancestor.cluster);
    let membership = header.meta.last_membership.membership();
    SnapshotFacts {
        cluster: header.cluster,
        ancestors: ancestors.chain(header.parent).collect(),
        saved_ms: state.wall().0,
        index: last.map_or(0, |at| at.index),
        term: Term(last.map_or(0, |at| at.leader_id.term)),
        feature_level: state.feature_level(),
        members: SnapshotMember::all(membership),
        written_by: header.written_by.clone(),
        format: header.format,
        compression: match header.body.compression {
            proto::SnapshotCompression::None => "none",
            proto::SnapshotCompression::Zstd => "zstd",
        },
        file_bytes,
        state_bytes: header.body.bytes,
        state_digest: header.state_digest,
        agents: state.agents().count(),
        frameworks: state.frameworks().count(),
        frameworks_completed: state.completed_frameworks().count(),
        tasks_active: state.tasks().filter(|task| !task.is_terminal()).count(),
        tasks: state.tasks().count(),
        offers: state.offers().count(),
    }
}
