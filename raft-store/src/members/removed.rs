//! How a master learns that it was removed.
//!
//! The entry that removes a member need not be sent to it: from then on nobody calls. So a member
//! that hears no leader asks those it knows for the membership that is committed, and believes a
//! newer one than its own that it is not in.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::{ClusterId, NodeId};

use crate::consensus::Consensus;
use crate::convert;
use crate::network::identify;
use crate::types::Member;

/// How often a master that hears no leader asks.
const ASK_EVERY: Duration = Duration::from_millis(500);
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a master knows about its own membership.
#[derive(Debug, Clone, Copy)]
struct Own {
    member: Member,
    cluster: ClusterId,
    /// Index of the newest membership in its log.
    index: u64,
}

impl Consensus {
    /// Waits until this master knows that it is not a member any more, and gives the index of the
    /// membership that says so. Pending for ever when it stays one, and on a master that was none
    /// so far.
    pub async fn removed(&self) -> u64 {
        let mut tick = tokio::time::interval(ASK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let heard = self
                .last_leader_contact()
                .is_some_and(|age| age < self.election_max() * 2);
            if heard {
                continue;
            }
            if let Some(index) = self.ask_whether_removed().await {
                return index;
            }
        }
    }

    async fn ask_whether_removed(&self) -> Option<u64> {
        let (own, addresses) = {
            let server = self.raft().server_metrics();
            let server = server.borrow_watched();
            if server.state == ServerState::Leader {
                return None;
            }
            let own = Own {
                member: self.member(),
                cluster: self.cluster_id()?,
                index: server.membership_config.log_id().as_ref()?.index,
            };
            let nodes = server.membership_config.membership().nodes();
            let known = nodes
                .filter(|(node, _)| **node != own.member.node.0)
                .map(|(node, info)| self.peers().raft_address(NodeId(*node), info));
            let configured = self.peers().configured();
            let configured = configured
                .filter(|peer| peer.id != own.member.node)
                .map(|peer| peer.raft.clone());
            (own, known.chain(configured).collect::<BTreeSet<String>>())
        };
        let mut answers: FuturesUnordered<_> = addresses
            .iter()
            .map(|address| identify(self.peers(), own.member, address, IDENTIFY_TIMEOUT))
            .collect();
        while let Some(answer) = answers.next().await {
            let removed = answer.ok().filter(|answer| says_removed(own, answer));
            if let Some(answer) = removed {
                return Some(answer.membership_index);
            }
        }
        None
    }
}

/// Whether somebody of the same cluster knows a newer membership without us.
fn says_removed(own: Own, answer: &proto::IdentifyResponse) -> bool {
    let same_cluster =
        convert::cluster_from_proto(&answer.cluster_id).is_ok_and(|theirs| theirs == own.cluster);
    let is_us =
        |member| convert::member_from_proto(member).is_ok_and(|member| member == own.member);
    same_cluster
        && answer.membership_index > own.index
        && !answer.members.is_empty()
        && !answer.members.iter().any(is_us)
}

#[cfg(test)]
mod tests {
    use regency_types::Incarnation;

    use super::*;

    fn member(node: u64, incarnation: u128) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
        }
    }

    fn answer(cluster: u128, index: u64, members: &[Member]) -> proto::IdentifyResponse {
        proto::IdentifyResponse {
            cluster_id: convert::cluster_to_proto(ClusterId(cluster)),
            membership_index: index,
            members: members
                .iter()
                .copied()
                .map(convert::member_to_proto)
                .collect(),
            ..Default::default()
        }
    }

    #[test]
    fn only_a_newer_membership_of_the_same_cluster_removes_us() {
        let own = Own {
            member: member(2, 22),
            cluster: ClusterId(9),
            index: 50,
        };
        let others = [member(1, 11), member(3, 33)];
        let with_us = [member(1, 11), member(2, 22)];
        let with_our_number = [member(1, 11), member(2, 23)];
        assert!(says_removed(own, &answer(9, 51, &others)));
        assert!(says_removed(own, &answer(9, 51, &with_our_number)));
        assert!(!says_removed(own, &answer(9, 51, &with_us)));
        // What we know ourselves may be newer: we may just have been added.
        assert!(!says_removed(own, &answer(9, 50, &others)));
        assert!(!says_removed(own, &answer(8, 51, &others)));
        // A master that knows nobody yet.
        assert!(!says_removed(own, &answer(9, 51, &[])));
        assert!(!says_removed(own, &proto::IdentifyResponse::default()));
    }
}
