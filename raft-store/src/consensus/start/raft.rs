//! Starting the consensus library.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::StartError;
use crate::config::{Config, LogConfig};
use crate::identity::Identity;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::network::{Gate, PeerNetworks, Peers};
use crate::reader::AppliedState;
use crate::snapshot::Outgoing;
use crate::timing::Timing;
use crate::types::Raft;

pub(super) fn library_config(
    timing: &Timing,
    log: &LogConfig,
) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    openraft::Config {
        cluster_name: "regency".to_owned(),
        heartbeat_interval: ms(timing.heartbeat),
        election_timeout_min: ms(timing.election_min),
        election_timeout_max: ms(timing.election_max),
        max_payload_entries: 1024,
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(log.snapshot_every_entries),
        max_in_snapshot_log_to_keep: log.keep_entries,
        // Tests that die while they purge want to do so often.
        purge_batch_size: if cfg!(feature = "failpoints") {
            16
        } else {
            256
        },
        quorum_loss_probe_interval: Some(ms(timing.quorum_loss_probe())),
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        allow_log_reversion: Some(false),
        backoff: "20ms 40ms ..500ms".to_owned(),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| StartError::Core(error.to_string()))
}

/// How the core reaches the other masters.
pub(super) fn networks(
    config: &Config,
    identity: &Arc<Identity>,
    states: watch::Receiver<Arc<AppliedState>>,
    outgoing: &Arc<Outgoing>,
) -> PeerNetworks {
    PeerNetworks {
        gate: Arc::new(Gate::new(Arc::clone(identity), states)),
        peers: Arc::new(Peers::new(&config.peers)),
        append_patience: config.timing.append_patience(),
        outgoing: Arc::clone(outgoing),
    }
}

/// Starts the core. Before it takes part in anything, it applies what it knows to be committed.
pub(super) async fn start(
    config: &Config,
    library: openraft::Config,
    networks: PeerNetworks,
    log: LogStore,
    machine: Machine,
) -> Result<Raft, StartError> {
    let raft = Raft::build(config.node.0, Arc::new(library), networks, log, machine)
        .await
        .map_err(|error| StartError::Core(error.to_string()))?;
    raft.run();
    Ok(raft)
}
