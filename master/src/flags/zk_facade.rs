//! Flags of what answers clients that look for the leader in ZooKeeper.

use regency_zookeeper::{BasePath, Limits};

/// Flags of the ZooKeeper facade.
#[derive(Debug, Clone, clap::Args)]
pub struct ZkFacadeFlags {
    /// Port on which this master answers the ZooKeeper protocol, so that `zk://.../mesos` settings
    /// find the leader; 2181 by convention. Without it there is none. It shows the leader and stores
    /// nothing.
    #[arg(long, value_name = "PORT")]
    pub zk_facade_port: Option<u16>,

    /// The node below which the leader is shown; the path in `zk://host:port/path`.
    #[arg(long, default_value = "/mesos", value_name = "PATH")]
    pub zk_facade_path: BasePath,

    /// Most connections of ZooKeeper clients at a time.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub zk_facade_max_connections: usize,

    /// Most watches of each kind (data, children) for one such connection.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub zk_facade_max_watches: usize,

    /// Largest request of such a client, in bytes.
    #[arg(long, default_value_t = 1024 * 1024, value_name = "BYTES")]
    pub zk_facade_max_request_bytes: usize,
}

impl ZkFacadeFlags {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connections: self.zk_facade_max_connections,
            watches: self.zk_facade_max_watches,
            request_bytes: self.zk_facade_max_request_bytes,
        }
    }
}
