//! One question to every other member, again and again: who it is, and how.
//!
//! What it says about its disk and its program goes to [`Conditions`]. The times it runs with are
//! compared with our own. One that differs is no reason to refuse it: times can then be changed by
//! restarting one master after the other, and no answer depends on them, only how soon and how
//! needlessly leaders are replaced. So it is said, counted, and shown until it is mended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::NodeId;

use crate::conditions::{Condition, Conditions};
use crate::convert;
use crate::level::Program;
use crate::metrics;
use crate::network::{PeerNetworks, identify};
use crate::timing::Timing;
use crate::types::{Member, Raft};

/// How often a leader asks everybody: it decides by the answers.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// The others ask at each fourth of these times.
const FOLLOWER_ASKS_EACH: u64 = 4;
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// Members whose times differ from ours, as they were heard last.
#[derive(Debug, Default)]
pub(crate) struct Disagreements {
    differing: Mutex<BTreeMap<NodeId, Timing>>,
}

impl Disagreements {
    pub(crate) fn get(&self) -> BTreeMap<NodeId, Timing> {
        let differing = self.differing.lock();
        differing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what a member said; tells whether that is news.
    fn note(&self, node: NodeId, differs: Option<Timing>) -> bool {
        let mut differing = self
            .differing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match differs {
            Some(timing) => differing.insert(node, timing) != Some(timing),
            None => differing.remove(&node).is_some(),
        }
    }

    /// Forgets those who are no members any more.
    fn retain(&self, members: &BTreeMap<Member, String>) {
        let mut differing = self
            .differing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        differing.retain(|node, _| {
            let stays = members.keys().any(|member| member.node == *node);
            if !stays {
                metrics::timing_differs(*node, false);
            }
            stays
        });
    }
}

/// The task that asks.
pub(crate) struct RollCall {
    pub(crate) raft: Raft,
    pub(crate) own: Member,
    pub(crate) networks: PeerNetworks,
    pub(crate) timing: Timing,
    pub(crate) disagreements: Arc<Disagreements>,
    pub(crate) conditions: Arc<Conditions>,
}

impl RollCall {
    /// Runs until the core stops.
    pub(crate) async fn run(self) {
        let mut server = self.raft.server_metrics();
        let mut tick = tokio::time::interval(ASK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0u64;
        loop {
            tokio::select! {
                _ = tick.tick() => {
                    if ticks.is_multiple_of(FOLLOWER_ASKS_EACH) || self.leads() {
                        self.ask().await;
                    }
                    ticks += 1;
                }
                // Only to see that the core stopped.
                changed = server.changed() => if changed.is_err() { return },
            }
        }
    }

    fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    /// All other members and where they are reached.
    fn others(&self) -> BTreeMap<Member, String> {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let nodes = server.membership_config.membership().nodes();
        let others = nodes.filter(|(node, _)| **node != self.own.node.0);
        others
            .map(|(node, info)| {
                let member = Member {
                    node: NodeId(*node),
                    incarnation: info.incarnation,
                };
                (member, self.networks.peers.raft_address(member.node, info))
            })
            .collect()
    }

    async fn ask(&self) {
        let others = self.others();
        self.disagreements.retain(&others);
        let asked = others.iter().map(|(member, address)| async move {
            let peers = &self.networks.peers;
            // Who does not answer is missed by others.
            if let Ok(answer) = identify(peers, self.own, address, ASK_TIMEOUT).await {
                self.hear(*member, &answer);
            }
        });
        futures::future::join_all(asked).await;
    }

    fn hear(&self, member: Member, answer: &proto::IdentifyResponse) {
        let who = answer.member.as_ref().map(convert::member_from_proto);
        if !matches!(who, Some(Ok(who)) if who == member) {
            return;
        }
        let condition = Condition {
            room: answer.disk_room.as_ref().and_then(convert::room_from_proto),
            program: Program::of(answer),
            heard: Instant::now(),
        };
        self.conditions.note(member.node, condition);
        // An older version does not say.
        if let Some(theirs) = timing_from_proto(answer.timing.as_ref()) {
            self.compare(member.node, theirs);
        }
    }

    fn compare(&self, node: NodeId, theirs: Timing) {
        let ours = self.timing;
        let differs = !theirs.agrees_with(&ours);
        metrics::timing_differs(node, differs);
        if !self.disagreements.note(node, differs.then_some(theirs)) {
            return;
        }
        if differs {
            tracing::error!(
                peer = %node,
                %theirs,
                %ours,
                "a member runs with another timing: leaders may be replaced needlessly or late \
                 until all have the same --timing, --heartbeat-interval and --election-timeout-min \
                 and -max; restart the one that is wrong"
            );
        } else {
            tracing::info!(peer = %node, timing = %ours, "a member runs with the same timing again");
        }
    }
}

pub(crate) fn timing_to_proto(timing: &Timing) -> proto::Timing {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    proto::Timing {
        heartbeat_ms: ms(timing.heartbeat),
        election_min_ms: ms(timing.election_min),
        election_max_ms: ms(timing.election_max),
    }
}

/// The times of another master; `None` when it does not tell them. What it does when connections
/// break is its own business.
pub(crate) fn timing_from_proto(timing: Option<&proto::Timing>) -> Option<Timing> {
    let timing = timing?;
    Some(Timing {
        heartbeat: Duration::from_millis(timing.heartbeat_ms),
        election_min: Duration::from_millis(timing.election_min_ms),
        election_max: Duration::from_millis(timing.election_max_ms),
        fast_election: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timing::Profile;

    #[test]
    fn times_travel_and_only_news_is_news() {
        let fast = Profile::Fast.timing();
        let sent = timing_to_proto(&fast);
        assert_eq!(timing_from_proto(Some(&sent)), Some(fast));
        assert_eq!(timing_from_proto(None), None);

        let disagreements = Disagreements::default();
        assert!(!disagreements.note(NodeId(2), None));
        assert!(disagreements.note(NodeId(2), Some(fast)));
        assert!(!disagreements.note(NodeId(2), Some(fast)));
        assert_eq!(disagreements.get(), BTreeMap::from([(NodeId(2), fast)]));
        assert!(disagreements.note(NodeId(2), None));
        assert!(disagreements.note(NodeId(3), Some(fast)));
        disagreements.retain(&BTreeMap::new());
        assert!(disagreements.get().is_empty());
    }
}
