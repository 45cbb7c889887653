//! Flags of what a leader does about the members by itself.

use std::time::Duration;

use regency_raft_store::AutopilotConfig;

use super::duration;

/// Flags of autopilot; the same on all masters, since any may lead.
#[derive(Debug, Clone, clap::Args)]
pub struct AutopilotFlags {
    /// Whether a dead voter is removed when a master added with `members add --promote` can have
    /// its vote: `true` or `false`.
    #[arg(
        long,
        default_value_t = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    pub autopilot_cleanup_dead_servers: bool,

    /// Silence towards the leader after which a master is not healthy; by default 1 s or three
    /// times --election-timeout-max, whichever is longer.
    #[arg(long, value_parser = duration)]
    pub autopilot_last_contact_threshold: Option<Duration>,

    /// How many entries a healthy master may be behind.
    #[arg(
        long,
        default_value_t = AutopilotConfig::default().max_trailing_entries,
        value_name = "N"
    )]
    pub autopilot_max_trailing_entries: u64,

    /// How long a new master must be healthy before it gets a vote, and a voter be silent before
    /// it may lose its vote to it.
    #[arg(long, default_value = "10secs", value_parser = duration)]
    pub autopilot_server_stabilization_time: Duration,

    /// Dead voters are removed only where at least this many voters stay.
    #[arg(
        long,
        default_value_t = AutopilotConfig::default().min_quorum,
        value_name = "N"
    )]
    pub autopilot_min_quorum: usize,
}

impl AutopilotFlags {
    /// As replication wants it.
    #[must_use]
    pub fn config(&self) -> AutopilotConfig {
        AutopilotConfig {
            cleanup_dead_servers: self.autopilot_cleanup_dead_servers,
            last_contact_threshold: self.autopilot_last_contact_threshold,
            max_trailing_entries: self.autopilot_max_trailing_entries,
            server_stabilization_time: self.autopilot_server_stabilization_time,
            min_quorum: self.autopilot_min_quorum,
        }
    }
}
