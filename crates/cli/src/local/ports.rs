//! Which port belongs to whom.
//!
//! All ports of a cluster lie in one block, so that one number moves it. Ports are looked at
//! before any process starts, because five log files are a bad place to learn that one is taken.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Places within the block.
const MASTER_HTTP: u16 = 0;
const MASTER_RAFT: u16 = 10;
const MASTER_AGENTS: u16 = 20;
const MASTER_ZK: u16 = 25;
const AGENT_HTTP: u16 = 30;
/// The block's last port, held open while the cluster runs: it keeps other clusters that look
/// for a free block out of this one, also while one of its masters is dead.
const ANCHOR: u16 = 255;
/// Size of a block, and the most agents in it.
const BLOCK: u16 = 256;
/// How many masters there is room for, where none serves ZooKeeper clients.
pub(crate) const MASTERS_MAX: u16 = MASTER_RAFT - MASTER_HTTP;
pub(crate) const AGENTS_MAX: u16 = ANCHOR - AGENT_HTTP;

/// Where free blocks are looked for: beyond what services use, below the ports that the system
/// hands out to outgoing connections (a dead master's port must still be free when it restarts)
/// and below those that agents offer to tasks.
const SEARCHED: Range<u16> = 10_240..30_976;

/// The ports of one cluster.
#[derive(Debug)]
pub(crate) struct Ports {
    base: u16,
    /// Only to be held.
    _anchor: Option<TcpListener>,
}

impl Ports {
    /// The block that begins at `base`, or any free one when that is 0.
    pub(crate) fn claim(base: u16, n_masters: u16, n_agents: u16) -> anyhow::Result<Self> {
        if base == 0 {
            return Self::search(n_masters, n_agents);
        }
        let ports = Self {
            base,
            _anchor: None,
        };
        if base.checked_add(AGENT_HTTP + n_agents).is_none() {
            anyhow::bail!("--port-base {base} is too high: the last port would be beyond 65535");
        }
        match ports.first_taken(n_masters, n_agents) {
            None => Ok(ports),
            Some((port, owner)) => Err(anyhow::anyhow!(
                "port {port} (for {owner}) is taken; move all ports with --port-base, \
                 now {base}, or let --port-base 0 find free ones"
            )),
        }
    }

    fn search(n_masters: u16, n_agents: u16) -> anyhow::Result<Self> {
        for base in SEARCHED.step_by(usize::from(BLOCK)) {
            let Ok(anchor) = listen(base + ANCHOR) else {
                continue;
            };
            let ports = Self {
                base,
                _anchor: Some(anchor),
            };
            if ports.first_taken(n_masters, n_agents).is_none() {
                return Ok(ports);
            }
        }
        anyhow::bail!(
            "no free block of {BLOCK} ports between {} and {}; choose one with --port-base",
            SEARCHED.start,
            SEARCHED.end
        )
    }

    fn first_taken(&self, n_masters: u16, n_agents: u16) -> Option<(u16, String)> {
        let of_masters = (1..=n_masters).flat_map(|id| {
            [
                (self.master_http(id), format!("HTTP of master {id}")),
                (
                    self.master_raft(id),
                    format!("other masters at master {id}"),
                ),
                (self.master_agents(id), format!("agents at master {id}")),
                (
                    self.master_zk(id),
                    format!("ZooKeeper clients at master {id}"),
                ),
            ]
        });
        let of_agents =
            (1..=n_agents).map(|id| (self.agent_http(id), format!("HTTP of agent {id}")));
        of_masters
            .chain(of_agents)
            .find(|(port, _)| listen(*port).is_err())
    }

    pub(crate) fn master_http(&self, id: u16) -> u16 {
        self.base + MASTER_HTTP + id - 1
    }

    pub(crate) fn master_raft(&self, id: u16) -> u16 {
        self.base + MASTER_RAFT + id - 1
    }

    pub(crate) fn master_agents(&self, id: u16) -> u16 {
        self.base + MASTER_AGENTS + id - 1
    }

    pub(crate) fn master_zk(&self, id: u16) -> u16 {
        self.base + MASTER_ZK + id - 1
    }

    pub(crate) fn agent_http(&self, id: u16) -> u16 {
        self.base + AGENT_HTTP + id - 1
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_has_two_owners() {
        let ports = Ports {
            base: 1000,
            _anchor: None,
        };
        let of_masters = (1..=5).flat_map(|id| {
            [
                ports.master_http(id),
                ports.master_raft(id),
                ports.master_agents(id),
                ports.master_zk(id),
            ]
        });
        let of_agents = (1..=AGENTS_MAX).map(|id| ports.agent_http(id));
        let all: Vec<u16> = of_masters.chain(of_agents).chain([1000 + ANCHOR]).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|port| (1000..1000 + BLOCK).contains(port)));
    }

    #[test]
    fn a_taken_port_is_named_with_its_owner_and_the_flag() {
        let found = Ports::claim(0, 3, 2).expect("a free block");
        let base = found.base;
        let taken = listen(found.master_http(2)).expect("free");
        let error = Ports::claim(base, 3, 2).expect_err("taken").to_string();
        let port = taken.local_addr().expect("bound").port();
        assert!(error.starts_with(&format!("port {port} (for HTTP of master 2) is taken")));
        assert!(error.contains("--port-base"), "{error}");
    }

    #[test]
    fn two_clusters_find_different_blocks() {
        let first = Ports::claim(0, 3, 2).expect("a free block");
        let second = Ports::claim(0, 3, 2).expect("another");
        assert_ne!(first.base, second.base);
    }

    #[test]
    fn a_block_beyond_the_last_port_is_refused() {
        let error = Ports::claim(65_530, 3, 2)
            .expect_err("too high")
            .to_string();
        assert!(error.contains("--port-base 65530"), "{error}");
    }
}
