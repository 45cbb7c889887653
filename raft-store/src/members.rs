//! Changing who belongs to the cluster.
//!
//! A master is added in two steps that the caller sees as one: first it learns everything without a
//! vote, then it gets one. A node id that was ever used stands for one data directory for ever:
//! adding it again with another directory is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use regency_types::{Incarnation, NodeId};

use crate::config::PeerSpec;
use crate::consensus::Consensus;
use crate::convert;
use crate::network::identify;
use crate::types::{MemberInfo, TypeConfig};

const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the membership was not changed, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Only the leader changes the membership.
    #[error("this master does not lead")]
    NotLeader,
    /// The master to add does not answer.
    #[error("node {node} does not answer at {address}: {why}")]
    Silent {
        /// Which.
        node: NodeId,
        /// Where it should.
        address: String,
        /// What happened.
        why: String,
    },
    /// Another master answers at the address.
    #[error("{address} is answered by node {found}, not by node {expected}")]
    OtherNode {
        /// Where.
        address: String,
        /// Who answers.
        found: NodeId,
        /// Who should.
        expected: NodeId,
    },
    /// The master to add belongs to another cluster.
    #[error("node {node} belongs to cluster {cluster} already; give it an empty directory")]
    OtherCluster {
        /// Which.
        node: NodeId,
        /// To which.
        cluster: String,
    },
    /// The number is taken by another data directory.
    #[error(
        "node id {node} stands for another data directory ({known}) in this cluster; give the new \
         master a node id never used before"
    )]
    IdTaken {
        /// The number.
        node: NodeId,
        /// Whose it is.
        known: Incarnation,
    },
    /// Nobody of this number is in the cluster.
    #[error("node {0} does not belong to this cluster")]
    Unknown(NodeId),
    /// The cluster would be left without voters.
    #[error("node {0} is the last voter")]
    LastVoter(NodeId),
    /// Another change is not finished.
    #[error("another change of the membership is in progress")]
    InProgress,
    /// It may or may not have happened; the status tells.
    #[error("the outcome of the change is unknown: {0}")]
    OutcomeUnknown(String),
}

type ChangeError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

fn change_error(error: ChangeError) -> MemberError {
    use openraft::errors::ChangeMembershipError as Change;
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => MemberError::NotLeader,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(Change::InProgress(_))) => {
            MemberError::InProgress
        }
        other => MemberError::OutcomeUnknown(other.to_string()),
    }
}

impl Consensus {
    /// Adds a master that is started and waits to be added, as a voter. Returns when it has caught
    /// up and votes. As leader only.
    ///
    /// # Errors
    /// When this master does not lead, or the other one is not who it should be.
    pub async fn add_master(&self, spec: &PeerSpec) -> Result<(), MemberError> {
        let info = self.look_at(spec).await?;
        let raft = self.raft();
        // Catching up blocks; the time it takes is the size of the state.
        raft.add_learner(spec.id.0, info, true)
            .await
            .map_err(change_error)?;
        raft.change_membership(
            ChangeMembers::AddVoterIds(BTreeSet::from([spec.id.0])),
            true,
        )
        .await
        .map_err(change_error)?;
        tracing::info!(peer = %spec.id, "added a master");
        Ok(())
    }

    /// Removes a master, whether it lives or not. As leader only; a leader that removes itself
    /// hands leadership over.
    ///
    /// # Errors
    /// When this master does not lead or the cluster cannot do without the other one.
    pub async fn remove_master(&self, node: NodeId) -> Result<(), MemberError> {
        let raft = self.raft();
        let (is_voter, last) = {
            let server = raft.server_metrics();
            let server = server.borrow_watched();
            let membership = server.membership_config.membership();
            if membership.get_node(&node.0).is_none() {
                return Err(MemberError::Unknown(node));
            }
            let voters: BTreeSet<u64> = membership.voter_ids().collect();
            (voters.contains(&node.0), voters.len() == 1)
        };
        let gone = BTreeSet::from([node.0]);
        let change = match (is_voter, last) {
            (true, true) => return Err(MemberError::LastVoter(node)),
            (true, false) => ChangeMembers::RemoveVoters(gone),
            (false, _) => ChangeMembers::RemoveNodes(gone),
        };
        raft.change_membership(change, false)
            .await
            .map_err(change_error)?;
        tracing::info!(peer = %node, "removed a master");
        Ok(())
    }

    /// Asks the master to add who it is, and whether it may be added.
    async fn look_at(&self, spec: &PeerSpec) -> Result<MemberInfo, MemberError> {
        let silent = |why| MemberError::Silent {
            node: spec.id,
            address: spec.raft.clone(),
            why,
        };
        let own = self.member();
        let answer = identify(self.peers(), own, &spec.raft, IDENTIFY_TIMEOUT)
            .await
            .map_err(silent)?;
        let member = answer
            .member
            .as_ref()
            .ok_or(convert::ConvertError::Missing("member"))
            .and_then(convert::member_from_proto)
            .map_err(|error| silent(error.to_string()))?;
        if member.node != spec.id {
            return Err(MemberError::OtherNode {
                address: spec.raft.clone(),
                found: member.node,
                expected: spec.id,
            });
        }
        if !answer.cluster_id.is_empty() {
            let theirs = convert::cluster_from_proto(&answer.cluster_id)
                .map_err(|error| silent(error.to_string()))?;
            if self.cluster_id() != Some(theirs) {
                return Err(MemberError::OtherCluster {
                    node: spec.id,
                    cluster: theirs.to_string(),
                });
            }
        }
        let known: BTreeMap<u64, Incarnation> = {
            let server = self.raft().server_metrics();
            let server = server.borrow_watched();
            let nodes = server.membership_config.membership().nodes();
            nodes
                .map(|(node, info)| (*node, info.incarnation))
                .collect()
        };
        if let Some(known) = known
            .get(&spec.id.0)
            .filter(|known| **known != member.incarnation)
        {
            return Err(MemberError::IdTaken {
                node: spec.id,
                known: *known,
            });
        }
        Ok(MemberInfo {
            incarnation: member.incarnation,
            raft: spec.raft.clone(),
            http: spec.http.clone(),
            agent: spec.agent.clone(),
            hostname: answer.hostname,
        })
    }
}
