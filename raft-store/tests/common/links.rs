//! Links between the masters of a cluster that a test can break.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use regency_testkit::Proxy;

use regency_raft_store::PeerSpec;

/// A proxy for each ordered pair of masters.
#[derive(Default)]
pub struct Links(BTreeMap<(usize, usize), Proxy>);

impl Links {
    /// Healed links between masters that listen on these addresses.
    pub fn between(ports: &[SocketAddr]) -> Self {
        let mut links = BTreeMap::new();
        for (to, port) in ports.iter().enumerate() {
            for from in (0..ports.len()).filter(|from| *from != to) {
                links.insert((from, to), Proxy::start(*port).expect("loopback"));
            }
        }
        Self(links)
    }

    /// The link that `from` uses to call `to`.
    pub fn link(&self, from: usize, to: usize) -> &Proxy {
        &self.0[&(from, to)]
    }

    /// Both links between `a` and `b`.
    pub fn both(&self, a: usize, b: usize) -> [&Proxy; 2] {
        [self.link(a, b), self.link(b, a)]
    }

    /// All links that begin or end at `i`.
    pub fn of(&self, i: usize) -> impl Iterator<Item = &Proxy> {
        let touches = move |((from, to), _): &(&(usize, usize), _)| *from == i || *to == i;
        self.0.iter().filter(touches).map(|(_, proxy)| proxy)
    }

    /// The peers as master `i` reaches them.
    pub(super) fn seen_from(&self, i: usize, peers: &[PeerSpec]) -> Vec<PeerSpec> {
        let mut peers = peers.to_vec();
        for (to, peer) in peers.iter_mut().enumerate() {
            if let Some(proxy) = self.0.get(&(i, to)) {
                peer.raft = proxy.address().to_string();
            }
        }
        peers
    }
}
