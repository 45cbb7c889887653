//! How a master learns that it was removed.
//!
//! The entry that removes a member need not be sent to it: from then on nobody calls. So a member
//! that hears no leader asks those it knows for the membership that is committed, and believes a
//! newer one than its own that it is not in. One with an empty directory asks as well: under the
//! number of a member that left it will never be let in, and must not wait for that.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::{ClusterId, Incarnation, NodeId};

use crate::consensus::Consensus;
use crate::convert;
use crate::network::identify;
use crate::types::Member;

/// How often a master that hears no leader asks.
const ASK_EVERY: Duration = Duration::from_millis(500);
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// How a master stands that does not belong to the cluster any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It was a member and was removed.
    Left {
        /// Index of a committed membership without it.
        index: u64,
    },
    /// It never was one, and its number was that of a member that left: it cannot be added.
    IdUsed {
        /// The cluster that says so.
        cluster: ClusterId,
        /// The data directory that the number stood for.
        known: Incarnation,
    },
}

/// What a master knows about its own membership.
#[derive(Debug, Clone, Copy)]
struct Own {
    member: Member,
    /// None before it joined one.
    cluster: Option<ClusterId>,
    /// Index of the newest membership in its log; none when it has none.
    index: Option<u64>,
}

impl Consensus {
    /// Waits until this master knows that it is no member any more, or cannot become one under its
    /// number. Pending for ever otherwise.
    pub async fn removed(&self) -> Removed {
        let mut tick = tokio::time::interval(ASK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let heard = self
                .last_leader_contact()
                .is_some_and(|age| age < self.timing().quorum_loss_probe());
            if heard {
                continue;
            }
            if let Some(removed) = self.ask_whether_removed().await {
                return removed;
            }
        }
    }

    async fn ask_whether_removed(&self) -> Option<Removed> {
        let (own, addresses) = {
            let server = self.raft().server_metrics();
            let server = server.borrow_watched();
            if server.state == ServerState::Leader {
                return None;
            }
            let own = Own {
                member: self.member(),
                cluster: self.cluster_id(),
                index: server
                    .membership_config
                    .log_id()
                    .as_ref()
                    .map(|at| at.index),
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
            let removed = answer.ok().and_then(|answer| says_removed(own, &answer));
            if removed.is_some() {
                return removed;
            }
        }
        None
    }
}

/// What somebody's answer says about us: of the same cluster, a newer membership without us; to a
/// master without a cluster, that its number is used up.
fn says_removed(own: Own, answer: &proto::IdentifyResponse) -> Option<Removed> {
    let cluster = convert::cluster_from_proto(&answer.cluster_id).ok()?;
    let members = |members: &[proto::Member]| -> Vec<Member> {
        let members = members.iter().map(convert::member_from_proto);
        members.filter_map(Result::ok).collect()
    };
    match own.cluster {
        None => {
            let former = members(&answer.former_members);
            let known = former.iter().find(|known| known.node == own.member.node)?;
            Some(Removed::IdUsed {
                cluster,
                known: known.incarnation,
            })
        }
        Some(ours) => {
            let left = ours == cluster
                && answer.membership_index > own.index?
                && !answer.members.is_empty()
                && !members(&answer.members).contains(&own.member);
            left.then_some(Removed::Left {
                index: answer.membership_index,
            })
        }
    }
}

#[cfg(test)]
mod tests {
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
            cluster: Some(ClusterId(9)),
            index: Some(50),
        };
        let others = [member(1, 11), member(3, 33)];
        let with_us = [member(1, 11), member(2, 22)];
        let with_our_number = [member(1, 11), member(2, 23)];
        let left = |answer| says_removed(own, &answer).is_some();
        assert_eq!(
            says_removed(own, &answer(9, 51, &others)),
            Some(Removed::Left { index: 51 })
        );
        assert!(left(answer(9, 51, &with_our_number)));
        assert!(!left(answer(9, 51, &with_us)));
        // What we know ourselves may be newer: we may just have been added.
        assert!(!left(answer(9, 50, &others)));
        assert!(!left(answer(8, 51, &others)));
        // A master that knows nobody yet.
        assert!(!left(answer(9, 51, &[])));
        assert!(!left(proto::IdentifyResponse::default()));
    }

    #[test]
    fn a_number_that_is_used_up_is_told_to_a_master_without_a_cluster() {
        let own = Own {
            member: member(2, 22),
            cluster: None,
            index: None,
        };
        let mut of_cluster = answer(9, 51, &[member(1, 11), member(2, 21)]);
        // Its number is a member's: somebody may still have to be told to replace that one.
        assert_eq!(says_removed(own, &of_cluster), None);
        of_cluster.former_members = vec![convert::member_to_proto(member(3, 33))];
        assert_eq!(says_removed(own, &of_cluster), None);
        of_cluster.former_members = vec![convert::member_to_proto(member(2, 20))];
        let used = Removed::IdUsed {
            cluster: ClusterId(9),
            known: Incarnation(20),
        };
        assert_eq!(says_removed(own, &of_cluster), Some(used));
    }
}
