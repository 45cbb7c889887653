//! The addresses of other masters and the channels to them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use regency_rpc::{AddressError, ChannelSettings, channel};
use regency_types::NodeId;
use tonic::transport::Channel;

use crate::config::PeerSpec;
use crate::leadership::MasterAddress;
use crate::types::MemberInfo;

/// What a channel is for. Each purpose has its own connection, so that a large message never
/// stands in front of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// Entries.
    Entries,
    /// Heartbeats, votes and other short questions.
    Control,
    /// Snapshots.
    Snapshot,
}

/// Calls in a row that got no answer in time before a channel is thrown away. A connection whose
/// other side vanished would otherwise be used until its pings fail.
const TIMEOUTS_MAX: u32 = 3;

/// Addresses and channels.
#[derive(Debug)]
pub(crate) struct Peers {
    configured: BTreeMap<NodeId, PeerSpec>,
    settings: ChannelSettings,
    channels: Mutex<HashMap<(String, Purpose), Kept>>,
}

#[derive(Debug)]
struct Kept {
    channel: Channel,
    timeouts: u32,
}

impl Peers {
    pub(crate) fn new(configured: &[PeerSpec]) -> Self {
        Self {
            configured: configured
                .iter()
                .map(|peer| (peer.id, peer.clone()))
                .collect(),
            settings: ChannelSettings::default(),
            channels: Mutex::default(),
        }
    }

    /// All configured masters, this one included.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &PeerSpec> {
        self.configured.values()
    }

    /// Where `node` is reached by other masters. What is configured wins over what the membership
    /// knows, so that a master can move.
    pub(crate) fn raft_address(&self, node: NodeId, known: &MemberInfo) -> String {
        self.configured
            .get(&node)
            .map_or_else(|| known.raft.clone(), |peer| peer.raft.clone())
    }

    /// Where `node` is reached by everybody else.
    pub(crate) fn master_address(
        &self,
        node: NodeId,
        known: Option<&MemberInfo>,
    ) -> Option<MasterAddress> {
        let hostname = known.map_or_else(String::new, |known| known.hostname.clone());
        if let Some(peer) = self.configured.get(&node) {
            return Some(MasterAddress {
                node,
                hostname,
                http: peer.http.clone(),
                agent: peer.agent.clone(),
            });
        }
        known.map(|known| MasterAddress {
            node,
            hostname,
            http: known.http.clone(),
            agent: known.agent.clone(),
        })
    }

    /// A channel to `address`.
    pub(crate) fn channel(&self, address: &str, purpose: Purpose) -> Result<Channel, AddressError> {
        let mut channels = self.lock();
        let key = (address.to_owned(), purpose);
        if let Some(kept) = channels.get(&key) {
            return Ok(kept.channel.clone());
        }
        let channel = channel(address, &self.settings)?;
        channels.insert(
            key,
            Kept {
                channel: channel.clone(),
                timeouts: 0,
            },
        );
        Ok(channel)
    }

    /// A call on this channel was answered.
    pub(crate) fn answered(&self, address: &str, purpose: Purpose) {
        if let Some(kept) = self.lock().get_mut(&(address.to_owned(), purpose)) {
            kept.timeouts = 0;
        }
    }

    /// A call on this channel was not answered in time.
    pub(crate) fn timed_out(&self, address: &str, purpose: Purpose) {
        let mut channels = self.lock();
        let key = (address.to_owned(), purpose);
        if let Some(kept) = channels.get_mut(&key) {
            kept.timeouts += 1;
            if kept.timeouts >= TIMEOUTS_MAX {
                channels.remove(&key);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Purpose), Kept>> {
        self.channels.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_channel_is_thrown_away_after_timeouts_in_a_row() {
        let peers = Peers::new(&[]);
        let address = "127.0.0.1:1";
        peers.channel(address, Purpose::Control).expect("address");
        for _ in 0..TIMEOUTS_MAX - 1 {
            peers.timed_out(address, Purpose::Control);
        }
        peers.answered(address, Purpose::Control);
        for _ in 0..TIMEOUTS_MAX - 1 {
            peers.timed_out(address, Purpose::Control);
        }
        assert_eq!(peers.lock().len(), 1);
        peers.timed_out(address, Purpose::Control);
        assert_eq!(peers.lock().len(), 0);
    }

    #[test]
    fn a_configured_address_wins_over_a_known_one() {
        let peers = Peers::new(&[PeerSpec {
            id: NodeId(1),
            raft: "new:1".into(),
            http: "new:2".into(),
            agent: "new:3".into(),
        }]);
        let known = MemberInfo {
            raft: "old:1".into(),
            http: "old:2".into(),
            ..MemberInfo::default()
        };
        assert_eq!(peers.raft_address(NodeId(1), &known), "new:1");
        assert_eq!(peers.raft_address(NodeId(2), &known), "old:1");
        let address = peers
            .master_address(NodeId(2), Some(&known))
            .expect("known");
        assert_eq!(address.http, "old:2");
        assert_eq!(peers.master_address(NodeId(3), None), None);
    }
}
