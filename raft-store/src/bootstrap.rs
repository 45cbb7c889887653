//! How a cluster comes into being, and how a master finds the one it belongs to.
//!
//! Only masters that were told so form a cluster, only while none of them belongs to one, and only
//! when all of them are there: then the lowest node id gives the cluster its id and writes the
//! first membership, with everybody's incarnation. All others join the cluster of the first call
//! that names their incarnation. So an empty directory can never found a second cluster beside one
//! that lives, and a wiped master never returns as itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::errors::{InitializeError, RaftError};
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_runtime::{Backoff, IdMint};
use regency_types::NodeId;

use crate::config::PeerSpec;
use crate::convert;
use crate::identity::Identity;
use crate::network::{Peers, identify};
use crate::types::{Member, MemberInfo, Raft};

/// How long a peer may take to say who it is.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What this master needs to find or found its cluster.
pub(crate) struct Bootstrap {
    pub(crate) identity: Arc<Identity>,
    pub(crate) raft: Raft,
    pub(crate) peers: Arc<Peers>,
    pub(crate) own: MemberInfo,
    pub(crate) mint: Arc<dyn IdMint>,
    pub(crate) enabled: bool,
}

/// Why a cluster cannot be founded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NotYet {
    /// Somebody did not answer.
    Silent(NodeId, String),
    /// Somebody belongs to a cluster: it must add this master, or call it.
    Exists(NodeId, String),
    /// Somebody is not who the list says.
    Stranger(NodeId, String),
    /// Somebody's answer makes no sense.
    Garbled(NodeId, String),
}

impl std::fmt::Display for NotYet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent(node, why) => write!(f, "node {node} does not answer: {why}"),
            Self::Exists(node, cluster) => write!(
                f,
                "node {node} belongs to cluster {cluster} already, which must call or add this \
                 master"
            ),
            Self::Stranger(node, who) => {
                write!(f, "the address of node {node} is answered by {who}")
            }
            Self::Garbled(node, why) => write!(f, "node {node} gives a bad answer: {why}"),
        }
    }
}

impl Bootstrap {
    /// Runs until this master belongs to a cluster whose membership it knows how to get.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        let mut said: Option<NotYet> = None;
        let mut cluster = self.identity.watch_cluster();
        if self.identity.cluster().is_none() && !self.enabled {
            tracing::info!(
                node = %self.identity.member().node,
                incarnation = %self.identity.member().incarnation,
                "this master belongs to no cluster and waits to be added to one"
            );
        }
        loop {
            let initialized = self.raft.is_initialized().await.unwrap_or(true);
            if initialized && self.identity.cluster().is_some() {
                return;
            }
            if !self.enabled || !self.is_lowest() {
                // The cluster finds us. Joining is done by the gate; the log brings the rest.
                if self.identity.cluster().is_some() || cluster.changed().await.is_err() {
                    return;
                }
                continue;
            }
            match self.try_found().await {
                Ok(()) => return,
                Err(not_yet) => {
                    if said.as_ref() != Some(&not_yet) {
                        tracing::info!("the cluster is not founded yet: {not_yet}");
                        said = Some(not_yet);
                    }
                }
            }
            tokio::select! {
                () = backoff.wait() => {}
                // Another cluster may have called meanwhile.
                _ = cluster.changed() => {}
            }
        }
    }

    fn is_lowest(&self) -> bool {
        let own = self.identity.member().node;
        self.peers.configured().all(|peer| peer.id >= own)
    }

    /// Founds the cluster when everybody is there and nobody belongs to one.
    async fn try_found(&self) -> Result<(), NotYet> {
        let own = self.identity.member();
        let mut members = BTreeMap::from([(own.node.0, self.own.clone())]);
        let others = self.peers.configured().filter(|peer| peer.id != own.node);
        let answers = futures::future::join_all(others.map(|peer| async move {
            let answer = identify(&self.peers, own, &peer.raft, IDENTIFY_TIMEOUT).await;
            (peer, answer)
        }))
        .await;
        // Whoever is silent is named before whoever belongs to a cluster only by accident of
        // order; a cluster that exists is the stronger reason.
        let mut not_yet = None;
        for (peer, answer) in answers {
            match read_answer(peer, own, answer) {
                Ok(info) => {
                    members.insert(peer.id.0, info);
                }
                Err(exists @ NotYet::Exists(..)) => {
                    // Our own mint may have been interrupted after others joined.
                    if self.identity.cluster().map(|own| own.to_string()) == exists_cluster(&exists)
                        && self.identity.cluster().is_some()
                    {
                        return Ok(());
                    }
                    return Err(exists);
                }
                Err(other) => not_yet = not_yet.or(Some(other)),
            }
        }
        if let Some(not_yet) = not_yet {
            return Err(not_yet);
        }

        let identity = Arc::clone(&self.identity);
        let cluster = match self.identity.cluster() {
            Some(minted_before) => minted_before,
            None => self.mint.cluster_id(),
        };
        let joined = regency_runtime::spawn_blocking(move || identity.join(cluster)).await;
        match joined {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(NotYet::Garbled(own.node, error.to_string())),
            Err(error) => return Err(NotYet::Garbled(own.node, error.to_string())),
        }
        let n_members = members.len();
        match self.raft.initialize(members).await {
            Ok(()) => {
                tracing::info!(cluster_id = %cluster, n_members, "founded a cluster");
                Ok(())
            }
            // It went on without us, which is as good.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(NotYet::Garbled(own.node, error.to_string())),
        }
    }
}

fn exists_cluster(not_yet: &NotYet) -> Option<String> {
    match not_yet {
        NotYet::Exists(_, cluster) => Some(cluster.clone()),
        NotYet::Silent(..) | NotYet::Stranger(..) | NotYet::Garbled(..) => None,
    }
}

fn read_answer(
    peer: &PeerSpec,
    own: Member,
    answer: Result<proto::IdentifyResponse, String>,
) -> Result<MemberInfo, NotYet> {
    let answer = answer.map_err(|why| NotYet::Silent(peer.id, why))?;
    let garbled = |error: convert::ConvertError| NotYet::Garbled(peer.id, error.to_string());
    let member = answer
        .member
        .as_ref()
        .ok_or(convert::ConvertError::Missing("member"))
        .and_then(convert::member_from_proto)
        .map_err(garbled)?;
    if member.node != peer.id || member.incarnation == own.incarnation {
        return Err(NotYet::Stranger(peer.id, format!("node {member}")));
    }
    if !answer.cluster_id.is_empty() {
        let cluster = convert::cluster_from_proto(&answer.cluster_id).map_err(garbled)?;
        return Err(NotYet::Exists(peer.id, cluster.to_string()));
    }
    Ok(MemberInfo {
        incarnation: member.incarnation,
        raft: peer.raft.clone(),
        http: peer.http.clone(),
        agent: peer.agent.clone(),
        hostname: answer.hostname,
        promote: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_types::{ClusterId, Incarnation};

    fn peer() -> PeerSpec {
        PeerSpec {
            id: NodeId(2),
            raft: "r:1".into(),
            http: "h:1".into(),
            agent: "a:1".into(),
        }
    }

    fn own() -> Member {
        Member {
            node: NodeId(1),
            incarnation: Incarnation(11),
        }
    }

    fn answer(node: u64, incarnation: u128, cluster: Option<ClusterId>) -> proto::IdentifyResponse {
        proto::IdentifyResponse {
            member: Some(convert::member_to_proto(Member {
                node: NodeId(node),
                incarnation: Incarnation(incarnation),
            })),
            cluster_id: cluster.map(convert::cluster_to_proto).unwrap_or_default(),
            hostname: "two".into(),
            ..Default::default()
        }
    }

    #[test]
    fn only_a_peer_without_a_cluster_that_is_who_it_should_be_counts() {
        let good = read_answer(&peer(), own(), Ok(answer(2, 22, None))).expect("good");
        assert_eq!(good.incarnation, Incarnation(22));
        assert_eq!(good.hostname, "two");
        let check = |answer| read_answer(&peer(), own(), answer).expect_err("not yet");
        assert!(matches!(check(Err("no".into())), NotYet::Silent(..)));
        assert!(matches!(
            check(Ok(answer(3, 22, None))),
            NotYet::Stranger(..)
        ));
        // Our own address in place of the peer's.
        assert!(matches!(
            check(Ok(answer(2, 11, None))),
            NotYet::Stranger(..)
        ));
        assert!(matches!(
            check(Ok(answer(2, 22, Some(ClusterId(9))))),
            NotYet::Exists(..)
        ));
        assert!(matches!(
            check(Ok(proto::IdentifyResponse::default())),
            NotYet::Garbled(..)
        ));
    }
}
