//! Commands of four letters: the first thing on a connection, in place of a length.

use std::fmt::Write as _;

use crate::tree::{BasePath, View};

/// What a command is answered from.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// `None` while clients are not served.
    pub(crate) view: Option<&'a View>,
    pub(crate) base: &'a BasePath,
    /// Whether this master leads.
    pub(crate) leads: bool,
    pub(crate) connections: usize,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// The release whose protocol is spoken, for tools that read it, and what speaks it.
const VERSION: &str = concat!("3.4.14-regency-", env!("CARGO_PKG_VERSION"));

/// The answer to a command; `None` when these four bytes are none.
pub(crate) fn answer(word: [u8; 4], facts: &Facts<'_>) -> Option<String> {
    let Some(view) = facts.view else {
        return match &word {
            b"ruok" => Some("imok".to_owned()),
            b"isro" | b"srvr" | b"stat" | b"mntr" => {
                Some("This ZooKeeper instance is not currently serving requests\n".to_owned())
            }
            _ => None,
        };
    };
    let mode = if facts.leads { "leader" } else { "follower" };
    let mut text = String::new();
    // Writing to a string cannot fail.
    match &word {
        b"ruok" => text.push_str("imok"),
        b"isro" => text.push_str("rw"),
        b"srvr" | b"stat" => {
            let _ = write!(
                text,
                "Zookeeper version: {VERSION}\nReceived: {}\nSent: {}\nConnections: {}\n\
                 Outstanding: 0\nZxid: {:#x}\nMode: {mode}\nNode count: {}\n",
                facts.received,
                facts.sent,
                facts.connections,
                view.zxid(),
                facts.base.n_nodes(),
            );
        }
        b"mntr" => {
            let _ = write!(
                text,
                "zk_version\t{VERSION}\nzk_packets_received\t{}\nzk_packets_sent\t{}\n\
                 zk_num_alive_connections\t{}\nzk_outstanding_requests\t0\n\
                 zk_server_state\t{mode}\nzk_znode_count\t{}\n",
                facts.received,
                facts.sent,
                facts.connections,
                facts.base.n_nodes(),
            );
        }
        _ => return None,
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn words_are_answered_and_lengths_are_no_words() {
        let base: BasePath = "/mesos".parse().expect("a path");
        let view = View {
            term: 31,
            elected_ms: 0,
            master_info: Bytes::new(),
        };
        let mut facts = Facts {
            view: Some(&view),
            base: &base,
            leads: true,
            connections: 2,
            received: 5,
            sent: 6,
        };
        let srvr = answer(*b"srvr", &facts).expect("a word");
        assert!(
            srvr.contains("Zxid: 0x1f\nMode: leader\nNode count: 3\n"),
            "{srvr}"
        );
        let mntr = answer(*b"mntr", &facts).expect("a word");
        assert!(mntr.contains("zk_server_state\tleader\n"), "{mntr}");
        assert_eq!(answer([0, 0, 0, 45], &facts), None);
        facts.view = None;
        assert_eq!(answer(*b"ruok", &facts).as_deref(), Some("imok"));
        let isro = answer(*b"isro", &facts).expect("a word");
        assert!(isro.contains("not currently serving"), "{isro}");
    }
}
