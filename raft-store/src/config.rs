//! What a master is told about replication before it starts.

use std::path::PathBuf;
use std::time::Duration;

use regency_rpc::Listener;
use regency_types::NodeId;

use crate::members::autopilot::AutopilotConfig;
use crate::timing::{Timing, TimingError};

/// Everything [`crate::Consensus::start`] needs.
#[derive(Debug)]
pub struct Config {
    /// When a member counts as healthy, and what a leader may do by itself.
    pub autopilot: AutopilotConfig,
    /// Number of this master. Must be the one its data directory was made for, and never be used
    /// again for another directory once it took part in a cluster.
    pub node: NodeId,
    /// Directory for log, snapshots and identity. Made when it is missing.
    pub data_dir: PathBuf,
    /// The open port for other masters.
    pub listener: Listener,
    /// Advertised host name of this master.
    pub hostname: String,
    /// All masters of the cluster, this one included. Addresses given here override those that
    /// the membership knows, so that a master can be moved.
    pub peers: Vec<PeerSpec>,
    /// Whether the masters in `peers` may form a new cluster. Has no effect once this directory
    /// belongs to a cluster, or when any of them does.
    pub bootstrap: bool,
    /// Identity of this run of the process, minted at start.
    pub process: u128,
    /// Version of the program, for people.
    pub version: String,
    /// How fast failures are noticed.
    pub timing: Timing,
    /// The log and its snapshots.
    pub log: LogConfig,
    /// Bounds that keep memory finite.
    pub limits: Limits,
    /// Threads that serve nothing but replication. At least 1.
    pub threads: usize,
}

/// One master as the operator lists it. All addresses are `host:port` as others reach them, which
/// need not be what the master binds to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its number.
    pub id: NodeId,
    /// Where it speaks to other masters.
    pub raft: String,
    /// Where it speaks to clients.
    pub http: String,
    /// Where it speaks to agents.
    pub agent: String,
}

/// What keeps the log on disk. Chosen once, when a data directory is first used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// The sled database.
    #[default]
    Sled,
    /// Our own segment files.
    Segment,
}

impl EngineKind {
    /// Its name in flags and on disk.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Segment => "segment",
        }
    }
}

impl std::fmt::Display for EngineKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for EngineKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Sled, Self::Segment]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("'{text}' is no log engine; there are sled and segment"))
    }
}

/// The log and its snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// What keeps it on disk.
    pub engine: EngineKind,
    /// Bytes of recent entries kept in memory, so that followers are served without the disk.
    pub cache_bytes_max: usize,
    /// A snapshot is written after this many entries.
    pub snapshot_every_entries: u64,
    /// Entries kept behind a snapshot, so that a follower that was away for a while needs none.
    pub keep_entries: u64,
    /// Most bytes of entries in one message to a follower.
    pub append_bytes_max: usize,
    /// Masters compare their states after each entry whose index is a multiple of this. The same
    /// on all of them, or they have nothing to compare.
    pub state_hash_every_entries: u64,
    /// The database of the engine `sled` is rebuilt while it is in use when its file has more than
    /// this many times the bytes of the entries in it; 0 for never.
    pub rebuild_factor: u64,
    /// But only when its file has at least this many bytes.
    pub rebuild_bytes_min: u64,
    /// Bytes that should stay free on the disk: with less, writes of clients are refused, so that
    /// votes, purges and snapshots can still be written. 0 turns that off; a disk that is really full
    /// is survived all the same.
    pub disk_reserve_bytes: u64,
    /// The highest feature level whose entries this master takes; lower than what the program supports
    /// to go through an upgrade in stages.
    pub feature_level_max: u32,
    /// Snapshots that stay on disk, the newest included. At least 1; with 1, one damaged file costs a
    /// master its place.
    pub snapshots_kept: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            engine: EngineKind::default(),
            cache_bytes_max: 32 * 1024 * 1024,
            snapshot_every_entries: 10_000,
            keep_entries: 10_000,
            append_bytes_max: 1024 * 1024,
            state_hash_every_entries: 1_000,
            rebuild_factor: 4,
            rebuild_bytes_min: 64 * 1024 * 1024,
            disk_reserve_bytes: 256 * 1024 * 1024,
            feature_level_max: regency_state::FEATURE_LEVEL,
            snapshots_kept: crate::snapshot::KEEP,
        }
    }
}

/// Bounds that keep memory finite, and times that keep callers from waiting for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest encoded proposal in bytes.
    pub proposal_bytes_max: usize,
    /// Bytes of proposals that may be in flight at once; further ones wait.
    pub in_flight_bytes_max: usize,
    /// How long a proposal waits for its verdict before its outcome is called unknown.
    pub propose_timeout: Duration,
    /// How long a proposal waits for a master that is about to lead.
    pub lease_wait: Duration,
    /// How long a read waits to be confirmed and applied.
    pub read_timeout: Duration,
    /// Batches of effects kept for a slow leader runtime before it is told to sweep the state.
    pub effect_batches_max: usize,
    /// How long one group of writes to the log may take before a leader looks for a successor.
    /// After twice that it stops serving without one.
    pub disk_stall_max: Duration,
    /// How long replication or one write of the log may stand still before the process is aborted;
    /// `None` for ever.
    pub stall_abort_after: Option<Duration>,
    /// How long a start may make no progress before the process is aborted; `None` for ever.
    pub start_abort_after: Option<Duration>,
    /// Nice value of the threads of replication, where the system permits it; one above that of the
    /// process changes nothing.
    pub raft_nice: i32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            proposal_bytes_max: 1024 * 1024,
            in_flight_bytes_max: 64 * 1024 * 1024,
            propose_timeout: Duration::from_secs(10),
            lease_wait: Duration::from_millis(500),
            read_timeout: Duration::from_secs(5),
            effect_batches_max: 16 * 1024,
            disk_stall_max: Duration::from_secs(1),
            stall_abort_after: Some(Duration::from_secs(30)),
            start_abort_after: Some(Duration::from_secs(600)),
            raft_nice: -10,
        }
    }
}

/// Why a configuration cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// This master is missing from the list of peers.
    #[error("node {0} is not in the list of peers")]
    SelfMissing(NodeId),
    /// A number is used twice in the list of peers.
    #[error("node {0} is in the list of peers more than once")]
    Duplicate(NodeId),
    /// Numbers start at 1: 0 means "nobody" in messages.
    #[error("0 is not a node id")]
    Zero,
    /// Masters that are well would be taken for dead.
    #[error(
        "--autopilot-last-contact-threshold {threshold:?} is not longer than two heartbeats of \
         {heartbeat:?}, and masters that are well would count as dead; make it longer"
    )]
    LastContact {
        /// As configured.
        threshold: Duration,
        /// As configured.
        heartbeat: Duration,
    },
    /// Heartbeats and election timeouts contradict each other.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// There must be at least one thread.
    #[error("replication needs at least one thread")]
    NoThreads,
    /// Without a snapshot the beginning of the log could not be purged.
    #[error("--snapshots-kept is 0; at least one snapshot has to be kept")]
    NoSnapshots,
}

impl Config {
    /// Checks what can be checked without touching disk or network.
    ///
    /// # Errors
    /// When the parts contradict each other.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut seen = std::collections::BTreeSet::new();
        for peer in &self.peers {
            if peer.id.0 == 0 {
                return Err(ConfigError::Zero);
            }
            if !seen.insert(peer.id) {
                return Err(ConfigError::Duplicate(peer.id));
            }
        }
        if !seen.contains(&self.node) {
            return Err(ConfigError::SelfMissing(self.node));
        }
        self.timing.check()?;
        let heartbeat = self.timing.heartbeat;
        if let Some(threshold) = self.autopilot.last_contact_threshold
            && threshold <= heartbeat * 2
        {
            return Err(ConfigError::LastContact {
                threshold,
                heartbeat,
            });
        }
        if self.threads == 0 {
            return Err(ConfigError::NoThreads);
        }
        if self.log.snapshots_kept == 0 {
            return Err(ConfigError::NoSnapshots);
        }
        Ok(())
    }

    /// This master's own line in the list of peers; `None` when [`Self::check`] would fail.
    #[must_use]
    pub fn own(&self) -> Option<&PeerSpec> {
        self.peers.iter().find(|peer| peer.id == self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(ids: &[u64]) -> Config {
        Config {
            node: NodeId(1),
            data_dir: PathBuf::from("unused"),
            listener: Listener::bind(([127, 0, 0, 1], 0).into()).expect("loopback"),
            hostname: "h".into(),
            peers: ids
                .iter()
                .map(|id| PeerSpec {
                    id: NodeId(*id),
                    raft: "h:1".into(),
                    http: "h:2".into(),
                    agent: "h:3".into(),
                })
                .collect(),
            bootstrap: false,
            process: 0,
            version: "0".into(),
            timing: Timing::default(),
            log: LogConfig::default(),
            limits: Limits::default(),
            autopilot: AutopilotConfig::default(),
            threads: 1,
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(config(&[1, 2, 3]).check(), Ok(()));
        assert_eq!(
            config(&[2, 3]).check(),
            Err(ConfigError::SelfMissing(NodeId(1)))
        );
        assert_eq!(
            config(&[1, 2, 2]).check(),
            Err(ConfigError::Duplicate(NodeId(2)))
        );
        assert_eq!(config(&[1, 0]).check(), Err(ConfigError::Zero));
        let mut slow = config(&[1]);
        slow.timing.heartbeat = slow.timing.election_min;
        assert!(matches!(slow.check(), Err(ConfigError::Timing(_))));
        let mut hasty = config(&[1]);
        hasty.autopilot.last_contact_threshold = Some(hasty.timing.heartbeat * 2);
        let error = hasty.check().expect_err("too short");
        assert!(
            error.to_string().contains("--autopilot-last-contact"),
            "{error}"
        );
        let mut idle = config(&[1]);
        idle.threads = 0;
        assert_eq!(idle.check(), Err(ConfigError::NoThreads));
        let mut bare = config(&[1]);
        bare.log.snapshots_kept = 0;
        assert_eq!(bare.check(), Err(ConfigError::NoSnapshots));
    }
}
