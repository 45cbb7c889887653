//! Between masters: who may talk to whom, and how calls travel.
//!
//! Every call carries the cluster and both members, and is refused when any of them is not who it
//! should be. What is refused is said once per peer and reason at warning level, with what to do,
//! and counted every time.

mod client;
mod peers;
mod receive_snapshot;
mod send_snapshot;
mod server;

pub(crate) use client::{
    Attendance, PeerNetworks, attend, identify, read_index, state_hash, would_vote,
};
pub(crate) use peers::Peers;
pub(crate) use server::{RaftService, Slot};

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::{ClusterId, NodeId};
use tokio::sync::watch;
use tonic::Status;

use crate::convert::{self, ConvertError};
use crate::identity::{self, Identity, IdentityError, io_error};
use crate::members::former::Former;
use crate::metrics;
use crate::reader::AppliedState;
use crate::types::{Member, Membership};

/// Why a call of another master is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the call is malformed: {0}")]
    Malformed(#[from] ConvertError),
    #[error("the call is for node {wanted}, this is node {own}; check the addresses of the peers")]
    OtherNode { wanted: NodeId, own: NodeId },
    #[error("the call is of cluster {theirs}, this master belongs to cluster {own}")]
    OtherCluster { theirs: ClusterId, own: ClusterId },
    #[error(
        "the cluster knows node {node} by another data directory ({wanted}) than this one ({own}): \
         this master is not that member, it may have lost its disk; to let it rejoin, remove node \
         {node} from the cluster and add this master as a new one, with a node id never used before"
    )]
    OtherDirectory {
        node: NodeId,
        wanted: regency_types::Incarnation,
        own: regency_types::Incarnation,
    },
    #[error(
        "node {node} calls with another data directory ({theirs}) than the one this cluster knows \
         ({known}): it may have lost its disk; remove it from the cluster and add it as a new master"
    )]
    OtherSender {
        node: NodeId,
        theirs: regency_types::Incarnation,
        known: regency_types::Incarnation,
    },
    #[error(
        "node {node} was removed from this cluster (its data directory was {known}), and its id is \
         never used again: a new master needs a node id never used before and an empty directory"
    )]
    Removed {
        node: NodeId,
        known: regency_types::Incarnation,
    },
    #[error("this master cannot join the cluster: {0}")]
    Join(#[source] IdentityError),
}

impl Refused {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OtherNode { .. } | Self::OtherDirectory { .. } => "target",
            Self::OtherCluster { .. } | Self::Join(_) => "cluster",
            Self::OtherSender { .. } => "sender",
            Self::Removed { .. } => "removed",
        }
    }
}

/// Checks incoming envelopes and makes outgoing ones.
#[derive(Debug)]
pub(crate) struct Gate {
    identity: Arc<Identity>,
    states: watch::Receiver<Arc<AppliedState>>,
    said: Mutex<BTreeSet<(NodeId, &'static str)>>,
}

impl Gate {
    pub(crate) fn new(identity: Arc<Identity>, states: watch::Receiver<Arc<AppliedState>>) -> Self {
        Self {
            identity,
            states,
            said: Mutex::default(),
        }
    }

    /// Who left the cluster, as far as this master applied the log.
    pub(crate) fn former(&self) -> Former {
        self.states.borrow().former.clone()
    }

    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The envelope of a call to `target`; `None` while this master belongs to no cluster.
    pub(crate) fn envelope(&self, target: Member) -> Option<proto::Envelope> {
        Some(proto::Envelope {
            cluster_id: convert::cluster_to_proto(self.identity.cluster()?),
            sender: Some(convert::member_to_proto(self.identity.member())),
            target: Some(convert::member_to_proto(target)),
        })
    }

    /// Lets a call in, or says why not. A master without a cluster joins that of the first call
    /// that is really meant for it, durably, before the call is answered.
    pub(crate) async fn admit(
        &self,
        envelope: Option<&proto::Envelope>,
        membership: &Membership,
    ) -> Result<Member, Status> {
        match self.check(envelope, membership).await {
            Ok(sender) => Ok(sender),
            Err(refused) => {
                let sender = envelope
                    .and_then(|envelope| envelope.sender.as_ref())
                    .map_or(NodeId(0), |sender| NodeId(sender.node_id));
                self.say(sender, &refused);
                Err(Status::failed_precondition(refused.to_string()))
            }
        }
    }

    async fn check(
        &self,
        envelope: Option<&proto::Envelope>,
        membership: &Membership,
    ) -> Result<Member, Refused> {
        let envelope = envelope.ok_or(ConvertError::Missing("envelope"))?;
        let theirs = convert::cluster_from_proto(&envelope.cluster_id)?;
        let member = |member: Option<&proto::Member>, field| {
            convert::member_from_proto(member.ok_or(ConvertError::Missing(field))?)
        };
        let sender = member(envelope.sender.as_ref(), "sender")?;
        let target = member(envelope.target.as_ref(), "target")?;
        let own = self.identity.member();
        if target.node != own.node {
            return Err(Refused::OtherNode {
                wanted: target.node,
                own: own.node,
            });
        }
        if let Some(cluster) = self.identity.cluster().filter(|own| *own != theirs) {
            return Err(Refused::OtherCluster {
                theirs,
                own: cluster,
            });
        }
        if target.incarnation != own.incarnation {
            return Err(Refused::OtherDirectory {
                node: own.node,
                wanted: target.incarnation,
                own: own.incarnation,
            });
        }
        if let Some(known) = self.former().get(sender.node) {
            return Err(Refused::Removed {
                node: sender.node,
                known,
            });
        }
        if let Some(known) = membership
            .get_node(&sender.node.0)
            .filter(|known| known.incarnation != sender.incarnation)
        {
            return Err(Refused::OtherSender {
                node: sender.node,
                theirs: sender.incarnation,
                known: known.incarnation,
            });
        }
        if self.identity.cluster().is_none() {
            let identity = Arc::clone(&self.identity);
            regency_runtime::spawn_blocking(move || identity.join(theirs))
                .await
                .unwrap_or_else(|error| {
                    let path = Path::new(identity::FILE);
                    Err(io_error("note the cluster in", path)(io::Error::other(
                        error,
                    )))
                })
                .map_err(Refused::Join)?;
        }
        Ok(sender)
    }

    fn say(&self, peer: NodeId, refused: &Refused) {
        let reason = refused.reason();
        metrics::refused_peer(reason);
        let mut said = self.said.lock().unwrap_or_else(|e| e.into_inner());
        if said.insert((peer, reason)) {
            tracing::warn!(peer = %peer, reason, "{refused}");
        }
    }

    /// Says once that a peer refuses this master, in the peer's words.
    pub(crate) fn refused_by(&self, peer: NodeId, message: &str) {
        let mut said = self.said.lock().unwrap_or_else(|e| e.into_inner());
        if said.insert((peer, "refused_by")) {
            tracing::warn!(peer = %peer, "a peer refuses this master: {message}");
        }
    }
}
