//! The consensus library's types, fixed to what we replicate.

use std::fmt;

use bytes::Bytes;
use openraft::vote::leader_id_std::{CommittedLeaderId, LeaderId};
use regency_state::Verdict;
use regency_types::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// What we replicate: opaque proposals, among members with an incarnation, with one leader
    /// per term.
    pub(crate) TypeConfig:
        D = EncodedProposal,
        R = Answer,
        NodeId = u64,
        Node = MemberInfo,
        Term = u64,
        LeaderId = LeaderId<u64, u64>,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId<u64>>;
pub(crate) type Vote = openraft::Vote<LeaderId<u64, u64>>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type EntryPayload = openraft::EntryPayload<EncodedProposal, u64, MemberInfo>;
pub(crate) type Membership = openraft::Membership<u64, MemberInfo>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// A log id from its parts.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term), index)
}

/// A proposal in its stored form. Replication never looks inside.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EncodedProposal {
    // The derives exist because the library asks for them; nothing is ever encoded with them.
    #[serde(skip)]
    pub(crate) bytes: Bytes,
}

impl fmt::Debug for EncodedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal of {} bytes", self.bytes.len())
    }
}

impl fmt::Display for EncodedProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What apply gives back to whoever proposed: nothing for entries that are not proposals.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    #[serde(skip)]
    pub(crate) verdict: Option<Verdict>,
}

/// What the membership knows about a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberInfo {
    pub(crate) incarnation: Incarnation,
    pub(crate) raft: String,
    pub(crate) http: String,
    pub(crate) agent: String,
    pub(crate) hostname: String,
    /// Whether a learner gets a vote by itself once it is stable.
    pub(crate) promote: bool,
}

impl Default for MemberInfo {
    fn default() -> Self {
        Self {
            incarnation: Incarnation(0),
            raft: String::new(),
            http: String::new(),
            agent: String::new(),
            hostname: String::new(),
            promote: false,
        }
    }
}

/// A member: a number with the data directory it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Member {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.node, self.incarnation)
    }
}
