//! Names of the metrics this crate emits, each with what it means.

use std::collections::BTreeSet;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use regency_telemetry::LastTimes;
use regency_types::NodeId;

use crate::members::decide::Health;
use crate::snapshot::SnapshotProgress;

/// The last times of [`COMMIT_SECONDS`].
pub static LAST_COMMITS: LastTimes = LastTimes::new();

/// Gauge: the highest term this master knows.
pub const TERM: &str = "regency_raft_term";
/// Gauge: 1 while this master leads and serves, else 0.
pub const IS_LEADER: &str = "regency_raft_is_leader";
/// Gauge: index of the last entry in the log.
pub const LAST_LOG_INDEX: &str = "regency_raft_last_log_index";
/// Gauge: index of the last applied entry.
pub const APPLIED_INDEX: &str = "regency_raft_applied_index";
/// Counter: changes of leader that this master saw.
pub const LEADER_CHANGES: &str = "regency_raft_leader_changes_total";
/// Counter: elections for which this master began to campaign.
pub const ELECTIONS: &str = "regency_raft_elections_total";
/// Histogram: time from proposing to the verdict.
pub const COMMIT_SECONDS: &str = "regency_raft_commit_seconds";
/// Histogram: time of one sync of the log to disk.
pub const SYNC_SECONDS: &str = "regency_raft_log_sync_seconds";
/// Histogram: entries that one sync made durable.
pub const APPEND_BATCH_ENTRIES: &str = "regency_raft_append_batch_entries";
/// Counter: proposals, with label [`OUTCOME`].
pub const PROPOSALS: &str = "regency_raft_proposals_total";
/// Label of [`PROPOSALS`]: `accepted`, `refused`, `not_leader`, `unknown`, `halted`, `too_large`,
/// `busy`, `no_room`.
pub const OUTCOME: &str = "outcome";
/// Counter: calls of other masters that were refused, with label [`REASON`].
pub const REFUSED_PEERS: &str = "regency_raft_refused_peers_total";
/// Label of [`REFUSED_PEERS`]: `cluster`, `target`, `sender`, `removed`,
/// `malformed`.
pub const REASON: &str = "reason";
/// Counter: entries whose apply panicked and which were refused instead, on every master alike.
pub const POISON_ENTRIES: &str = "regency_raft_poison_entries_total";
/// Counter: entries that were not applied because an operator said so.
pub const SKIPPED_ENTRIES: &str = "regency_raft_skipped_entries_total";
/// Histogram: time to write a snapshot.
pub const SNAPSHOT_SECONDS: &str = "regency_raft_snapshot_seconds";
/// Gauge: size of the newest snapshot.
pub const SNAPSHOT_BYTES: &str = "regency_raft_snapshot_bytes";
/// Counter: transfers of snapshots between masters, with labels [`DIRECTION`] and [`EVENT`].
pub const SNAPSHOT_TRANSFERS: &str = "regency_raft_snapshot_transfers_total";
/// Label of [`SNAPSHOT_TRANSFERS`]: `send`, `receive`.
pub const DIRECTION: &str = "direction";
/// Label of [`SNAPSHOT_TRANSFERS`]: `started` (from the beginning), `resumed` (where an earlier one
/// ended), `finished`, `failed`.
pub const EVENT: &str = "event";
/// Counter: bytes of snapshots sent to other masters.
pub const SNAPSHOT_SENT_BYTES: &str = "regency_raft_snapshot_sent_bytes_total";
/// Counter: bytes of snapshots received from other masters.
pub const SNAPSHOT_RECEIVED_BYTES: &str = "regency_raft_snapshot_received_bytes_total";
/// Gauge with label [`PEER`]: the part of the snapshot being sent to that member which is done, from 0
/// to 1; not a number while none is.
pub const SNAPSHOT_SENDING: &str = "regency_raft_snapshot_sending_ratio";
/// Gauge: the same for the snapshot being received.
pub const SNAPSHOT_RECEIVING: &str = "regency_raft_snapshot_receiving_ratio";
/// Counter: campaigns because the leader's sockets broke, with label [`OUTCOME`]: `elected`,
/// `undecided`, `false_alarm` (the leader lived), `locked` (ignored, after a false alarm).
pub const FAST_ELECTIONS: &str = "regency_raft_fast_elections_total";
/// Counter: things in the log on disk that were repaired when it was opened, with label [`PART`].
pub const LOG_REPAIRS: &str = "regency_raft_log_repairs_total";
/// Label of [`LOG_REPAIRS`]: `tail` (an entry at the end that was never completely written was cut
/// off), `meta` (one of two equal slots with vote and markers).
pub const PART: &str = "part";
/// Gauge: 1 while the member in label [`PEER`] runs with another timing than this master.
pub const TIMING_DIFFERS: &str = "regency_raft_timing_differs";
/// Label: the node id of another master.
pub const PEER: &str = "peer";
/// Counter: times that the watchdog found a leader unfit to serve, with label [`REASON`]:
/// `core_stalled`, `disk_stalled`, `quorum_lost`.
pub const GATE_CLOSED: &str = "regency_raft_serving_gate_closed_total";
/// Gauge: how long ago the core of replication answered.
pub const CORE_SILENCE_SECONDS: &str = "regency_raft_core_silence_seconds";
/// Gauge: how long the oldest write of the log waits for its sync.
pub const DISK_BUSY_SECONDS: &str = "regency_raft_disk_busy_seconds";
/// Gauge with label [`STEP`]: how long that step of this master's start took, or takes already.
pub const START_STEP_SECONDS: &str = "regency_raft_start_step_seconds";
/// Label of [`START_STEP_SECONDS`]: `threads`, `directory`, `log`, `snapshot`, `peers`, `core`.
pub const STEP: &str = "step";
/// Gauge: how long this master's start makes no progress; 0 when it has started.
pub const START_STALLED_SECONDS: &str = "regency_raft_start_stalled_seconds";
/// Gauge: size of the log's files.
pub const LOG_DISK_BYTES: &str = "regency_raft_log_disk_bytes";
/// Gauge: size of the entries in the log that were not purged.
pub const LOG_LIVE_BYTES: &str = "regency_raft_log_live_bytes";
/// Counter: times that the log's database was rebuilt because its file had become too large.
pub const LOG_REBUILDS: &str = "regency_raft_log_rebuilds_total";
/// Gauge: 1 when this master stopped because of a failure.
pub const HALTED: &str = "regency_raft_halted";

/// Gauge: bytes that may still be written to the disk of the data directory.
pub const DISK_FREE_BYTES: &str = "regency_raft_disk_free_bytes";
/// Gauge: bytes of it that should stay free; with less, writes of clients are refused.
pub const DISK_RESERVE_BYTES: &str = "regency_raft_disk_reserve_bytes";
/// Gauge: 1 while less than the reserve is free.
pub const DISK_LOW: &str = "regency_raft_disk_low";
/// Gauge: 1 while the disk is full, so that this master takes no entries from a leader either.
pub const DISK_FULL: &str = "regency_raft_disk_full";
/// Gauge: bytes of proposals that are in flight.
pub const IN_FLIGHT_BYTES: &str = "regency_raft_in_flight_bytes";
/// Gauge: how many there may be; further proposals wait.
pub const IN_FLIGHT_BYTES_MAX: &str = "regency_raft_in_flight_bytes_max";
/// Gauge: size of the largest proposal that is taken.
pub const PROPOSAL_BYTES_MAX: &str = "regency_raft_proposal_bytes_max";
/// Gauge: bytes of entries in memory, those that are not durable yet included.
pub const LOG_CACHE_BYTES: &str = "regency_raft_log_cache_bytes";
/// Gauge: how many of durable entries are kept.
pub const LOG_CACHE_BYTES_MAX: &str = "regency_raft_log_cache_bytes_max";
/// Gauge: writes that wait for the thread that writes the log.
pub const LOG_QUEUE: &str = "regency_raft_log_queue_length";
/// Gauge: how many there may be; then the core waits.
pub const LOG_QUEUE_MAX: &str = "regency_raft_log_queue_length_max";
/// Gauge: feature level of the cluster, as far as this master applied the log.
pub const FEATURE_LEVEL: &str = "regency_raft_feature_level";
/// Gauge: the highest feature level that this master supports, or is held at.
pub const FEATURE_LEVEL_MAX: &str = "regency_raft_feature_level_max";
/// Gauge: entries whose effects wait for the leader's duties.
pub const EFFECT_QUEUE: &str = "regency_raft_effect_queue_length";
/// Gauge: how many there may be; then the duties look at the whole state instead.
pub const EFFECT_QUEUE_MAX: &str = "regency_raft_effect_queue_length_max";
/// Counter: times the log was opened again because a write found no room.
pub const LOG_REOPENED: &str = "regency_raft_log_reopened_total";

/// Histogram: time to digest the state for a comparison.
pub const STATE_DIGEST_SECONDS: &str = "regency_raft_state_digest_seconds";
/// Gauge: index of the last entry after which a majority had the state that this master has.
pub const STATE_AGREED_INDEX: &str = "regency_raft_state_agreed_index";
/// Gauge: 1 while another master reports another state, and no majority says which is right.
pub const STATE_DIFFERS: &str = "regency_raft_state_differs";

/// Gauge: 1 while every member is healthy, as the leader sees it; not a number on the others.
pub const AUTOPILOT_HEALTHY: &str = "regency_autopilot_healthy";
/// Gauge: how many more voters may fail now; not a number on all but the leader.
pub const AUTOPILOT_FAILURE_TOLERANCE: &str = "regency_autopilot_failure_tolerance";
/// Gauge with label [`NODE`]: 1 while that member is healthy; not a number on all but the leader.
pub const AUTOPILOT_MEMBER_HEALTHY: &str = "regency_autopilot_member_healthy";
/// Label of [`AUTOPILOT_MEMBER_HEALTHY`]: the node id.
pub const NODE: &str = "node";
/// Counter: changes of the membership that the leader made by itself, with label [`OUTCOME`]:
/// `made`, `failed`.
pub const AUTOPILOT_CHANGES: &str = "regency_autopilot_changes_total";

/// Tells the recorder what the names mean.
pub fn describe() {
    describe_gauge!(TERM, "The highest term this master knows");
    describe_gauge!(IS_LEADER, "1 while this master leads and serves");
    describe_gauge!(LAST_LOG_INDEX, "Index of the last entry in the log");
    describe_gauge!(APPLIED_INDEX, "Index of the last applied entry");
    describe_counter!(LEADER_CHANGES, "Changes of leader that this master saw");
    describe_counter!(
        ELECTIONS,
        "Elections for which this master began to campaign"
    );
    describe_histogram!(COMMIT_SECONDS, "Time from proposing to the verdict");
    describe_histogram!(SYNC_SECONDS, "Time of one sync of the log to disk");
    describe_histogram!(APPEND_BATCH_ENTRIES, "Entries that one sync made durable");
    describe_counter!(PROPOSALS, "Proposals by outcome");
    describe_counter!(REFUSED_PEERS, "Calls of other masters that were refused");
    describe_counter!(POISON_ENTRIES, "Entries whose apply panicked");
    describe_counter!(
        SKIPPED_ENTRIES,
        "Entries that were not applied because an operator said so"
    );
    describe_histogram!(SNAPSHOT_SECONDS, "Time to write a snapshot");
    describe_gauge!(SNAPSHOT_BYTES, "Size of the newest snapshot");
    describe_counter!(SNAPSHOT_TRANSFERS, "Transfers of snapshots between masters");
    describe_counter!(
        SNAPSHOT_SENT_BYTES,
        "Bytes of snapshots sent to other masters"
    );
    describe_counter!(
        SNAPSHOT_RECEIVED_BYTES,
        "Bytes of snapshots received from other masters"
    );
    describe_gauge!(
        SNAPSHOT_SENDING,
        "Part of a snapshot that is sent to that member"
    );
    describe_gauge!(SNAPSHOT_RECEIVING, "Part of a snapshot that is received");
    describe_counter!(
        FAST_ELECTIONS,
        "Campaigns because the leader's sockets broke"
    );
    describe_gauge!(
        START_STEP_SECONDS,
        "How long a step of this master's start took"
    );
    describe_gauge!(
        START_STALLED_SECONDS,
        "How long this master's start makes no progress"
    );
    describe_gauge!(LOG_DISK_BYTES, "Size of the log's files");
    describe_gauge!(LOG_LIVE_BYTES, "Size of the entries that were not purged");
    describe_counter!(LOG_REBUILDS, "Rebuilds of the log's database");
    describe_counter!(LOG_REPAIRS, "Repairs of the log when it was opened");
    describe_gauge!(DISK_FREE_BYTES, "Bytes free for the data directory");
    describe_gauge!(
        DISK_RESERVE_BYTES,
        "Bytes that should stay free; with less, writes of clients are refused"
    );
    describe_gauge!(DISK_LOW, "1 while less than the reserve is free");
    describe_gauge!(DISK_FULL, "1 while the disk takes no entries");
    describe_counter!(
        LOG_REOPENED,
        "Times the log was opened again because a write found no room"
    );
    describe_gauge!(IN_FLIGHT_BYTES, "Bytes of proposals in flight");
    describe_gauge!(
        IN_FLIGHT_BYTES_MAX,
        "Bytes of proposals that may be in flight"
    );
    describe_gauge!(PROPOSAL_BYTES_MAX, "Largest proposal that is taken");
    describe_gauge!(LOG_CACHE_BYTES, "Bytes of entries in memory");
    describe_gauge!(
        LOG_CACHE_BYTES_MAX,
        "Bytes of durable entries kept in memory"
    );
    describe_gauge!(LOG_QUEUE, "Writes that wait for the log writer");
    describe_gauge!(LOG_QUEUE_MAX, "Writes that may wait for the log writer");
    describe_gauge!(
        FEATURE_LEVEL,
        "Feature level of the cluster, as applied here"
    );
    describe_gauge!(
        FEATURE_LEVEL_MAX,
        "Highest feature level that this master supports or is held at"
    );
    describe_gauge!(
        EFFECT_QUEUE,
        "Entries whose effects wait for the leader's duties"
    );
    describe_gauge!(
        EFFECT_QUEUE_MAX,
        "Entries whose effects may wait for the leader's duties"
    );
    describe_histogram!(STATE_DIGEST_SECONDS, "Time to digest the state");
    describe_gauge!(
        STATE_AGREED_INDEX,
        "Index after which a majority had the same state as this master"
    );
    describe_gauge!(
        STATE_DIFFERS,
        "1 while masters report different states without a majority"
    );
    describe_gauge!(
        AUTOPILOT_HEALTHY,
        "1 while every member is healthy; only the leader knows"
    );
    describe_gauge!(
        AUTOPILOT_FAILURE_TOLERANCE,
        "Voters that may fail now without the loss of the majority; only the leader knows"
    );
    describe_gauge!(
        AUTOPILOT_MEMBER_HEALTHY,
        "1 while this member is healthy; only the leader knows"
    );
    describe_counter!(
        AUTOPILOT_CHANGES,
        "Changes of the membership that the leader made by itself"
    );
    describe_gauge!(
        TIMING_DIFFERS,
        "1 while that member runs with another timing than this master"
    );
    describe_counter!(
        GATE_CLOSED,
        "Times that the watchdog found a leader unfit to serve"
    );
    describe_gauge!(
        CORE_SILENCE_SECONDS,
        "How long ago the core of replication answered"
    );
    describe_gauge!(
        DISK_BUSY_SECONDS,
        "How long the oldest write of the log waits for its sync"
    );
    describe_gauge!(HALTED, "1 when this master stopped because of a failure");
}

/// On the leader.
pub(crate) fn autopilot_health(health: &Health) {
    let bit = |yes: bool| f64::from(u8::from(yes));
    gauge!(AUTOPILOT_HEALTHY).set(bit(health.problems.is_empty()));
    gauge!(AUTOPILOT_FAILURE_TOLERANCE).set(health.tolerates as f64);
    for member in &health.members {
        let node = member.node.to_string();
        gauge!(AUTOPILOT_MEMBER_HEALTHY, NODE => node).set(bit(member.reason.is_none()));
    }
}

/// Members that the leader told about before and does not know any more.
pub(crate) fn autopilot_left<'a>(nodes: impl IntoIterator<Item = &'a NodeId>) {
    for node in nodes {
        gauge!(AUTOPILOT_MEMBER_HEALTHY, NODE => node.to_string()).set(f64::NAN);
    }
}

/// On all masters but the leader. An old figure would look like a fact.
pub(crate) fn autopilot_idle(nodes: &BTreeSet<NodeId>) {
    gauge!(AUTOPILOT_HEALTHY).set(f64::NAN);
    gauge!(AUTOPILOT_FAILURE_TOLERANCE).set(f64::NAN);
    autopilot_left(nodes);
}

pub(crate) fn autopilot_changed(outcome: &'static str) {
    counter!(AUTOPILOT_CHANGES, OUTCOME => outcome).increment(1);
}

pub(crate) fn synced(took: Duration) {
    histogram!(SYNC_SECONDS).record(took);
}

pub(crate) fn appended(entries: usize) {
    histogram!(APPEND_BATCH_ENTRIES).record(entries as f64);
}

pub(crate) fn log_repaired(part: &'static str) {
    counter!(LOG_REPAIRS, PART => part).increment(1);
}

pub(crate) fn log_bytes(disk: u64, live: u64) {
    gauge!(LOG_DISK_BYTES).set(disk as f64);
    gauge!(LOG_LIVE_BYTES).set(live as f64);
}

pub(crate) fn log_rebuilt() {
    counter!(LOG_REBUILDS).increment(1);
}

pub(crate) fn proposal(outcome: &'static str, took: Duration) {
    counter!(PROPOSALS, OUTCOME => outcome).increment(1);
    if matches!(outcome, "accepted" | "refused") {
        histogram!(COMMIT_SECONDS).record(took);
        LAST_COMMITS.record(took);
    }
}

pub(crate) fn refused_peer(reason: &'static str) {
    counter!(REFUSED_PEERS, REASON => reason).increment(1);
}

pub(crate) fn disk(room: &crate::space::Room) {
    use crate::space::RoomLevel;
    gauge!(DISK_FREE_BYTES).set(room.free_bytes as f64);
    gauge!(DISK_RESERVE_BYTES).set(room.reserve_bytes as f64);
    gauge!(DISK_LOW).set(f64::from(u8::from(room.level >= RoomLevel::Low)));
    gauge!(DISK_FULL).set(f64::from(u8::from(room.level == RoomLevel::Full)));
}

pub(crate) fn effect_queue(batches: usize) {
    gauge!(EFFECT_QUEUE).set(batches as f64);
}

pub(crate) fn effect_queue_max(batches: usize) {
    gauge!(EFFECT_QUEUE_MAX).set(batches as f64);
}

pub(crate) fn limits(proposal: usize, in_flight: usize, cache: usize, queue: usize) {
    gauge!(PROPOSAL_BYTES_MAX).set(proposal as f64);
    gauge!(IN_FLIGHT_BYTES_MAX).set(in_flight as f64);
    gauge!(LOG_CACHE_BYTES_MAX).set(cache as f64);
    gauge!(LOG_QUEUE_MAX).set(queue as f64);
}

pub(crate) fn in_flight(bytes: usize) {
    gauge!(IN_FLIGHT_BYTES).set(bytes as f64);
}

pub(crate) fn log_in_memory(cached_bytes: usize, queued: usize) {
    gauge!(LOG_CACHE_BYTES).set(cached_bytes as f64);
    gauge!(LOG_QUEUE).set(queued as f64);
}

pub(crate) fn feature_level(level: u32) {
    gauge!(FEATURE_LEVEL).set(f64::from(level));
}

pub(crate) fn feature_level_max(level: u32) {
    gauge!(FEATURE_LEVEL_MAX).set(f64::from(level));
}

pub(crate) fn log_reopened() {
    counter!(LOG_REOPENED).increment(1);
}

pub(crate) fn poison() {
    counter!(POISON_ENTRIES).increment(1);
}

pub(crate) fn skipped() {
    counter!(SKIPPED_ENTRIES).increment(1);
}

pub(crate) fn snapshot_written(took: Duration, bytes: u64) {
    histogram!(SNAPSHOT_SECONDS).record(took);
    gauge!(SNAPSHOT_BYTES).set(bytes as f64);
}

/// Which way a snapshot goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    Send,
    Receive,
}

/// What happened to a transfer of a snapshot.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TransferEvent {
    Started,
    Resumed,
    Finished,
    Failed,
}

impl TransferEvent {
    /// A transfer that begins at `offset`.
    pub(crate) const fn begun(offset: u64) -> Self {
        if offset == 0 {
            Self::Started
        } else {
            Self::Resumed
        }
    }
}

pub(crate) fn snapshot_transfer(direction: Direction, event: TransferEvent) {
    let direction = match direction {
        Direction::Send => "send",
        Direction::Receive => "receive",
    };
    let event = match event {
        TransferEvent::Started => "started",
        TransferEvent::Resumed => "resumed",
        TransferEvent::Finished => "finished",
        TransferEvent::Failed => "failed",
    };
    counter!(SNAPSHOT_TRANSFERS, DIRECTION => direction, EVENT => event).increment(1);
}

pub(crate) fn snapshot_sent(bytes: u64) {
    counter!(SNAPSHOT_SENT_BYTES).increment(bytes);
}

pub(crate) fn snapshot_received(bytes: u64) {
    counter!(SNAPSHOT_RECEIVED_BYTES).increment(bytes);
}

/// `None` when nothing is sent any more.
pub(crate) fn snapshot_sending(node: NodeId, progress: Option<SnapshotProgress>) {
    gauge!(SNAPSHOT_SENDING, PEER => node.to_string()).set(ratio(progress));
}

/// `None` when nothing is received any more.
pub(crate) fn snapshot_receiving(progress: Option<SnapshotProgress>) {
    gauge!(SNAPSHOT_RECEIVING).set(ratio(progress));
}

fn ratio(progress: Option<SnapshotProgress>) -> f64 {
    progress.map_or(f64::NAN, |progress| {
        progress.done_bytes as f64 / progress.bytes.max(1) as f64
    })
}

pub(crate) fn state_digested(took: Duration) {
    histogram!(STATE_DIGEST_SECONDS).record(took);
}

pub(crate) fn state_compared(agreed: Option<u64>, differs: bool) {
    if let Some(index) = agreed {
        gauge!(STATE_AGREED_INDEX).set(index as f64);
    }
    gauge!(STATE_DIFFERS).set(f64::from(u8::from(differs)));
}

pub(crate) fn indexes(last_log: Option<u64>, applied: Option<u64>) {
    gauge!(LAST_LOG_INDEX).set(last_log.unwrap_or(0) as f64);
    gauge!(APPLIED_INDEX).set(applied.unwrap_or(0) as f64);
}

pub(crate) fn leadership(term: u64, is_leader: bool) {
    gauge!(TERM).set(term as f64);
    gauge!(IS_LEADER).set(if is_leader { 1.0 } else { 0.0 });
}

pub(crate) fn leader_changed() {
    counter!(LEADER_CHANGES).increment(1);
}

pub(crate) fn campaigned() {
    counter!(ELECTIONS).increment(1);
}

pub(crate) fn timing_differs(peer: NodeId, differs: bool) {
    gauge!(TIMING_DIFFERS, PEER => peer.to_string()).set(f64::from(u8::from(differs)));
}

pub(crate) fn gate_closed(reason: &'static str) {
    counter!(GATE_CLOSED, REASON => reason).increment(1);
}

pub(crate) fn stalls(core: Duration, disk: Duration) {
    gauge!(CORE_SILENCE_SECONDS).set(core.as_secs_f64());
    gauge!(DISK_BUSY_SECONDS).set(disk.as_secs_f64());
}

pub(crate) fn starting(step: &'static str, in_step: Duration, still: Duration) {
    gauge!(START_STEP_SECONDS, STEP => step).set(in_step.as_secs_f64());
    gauge!(START_STALLED_SECONDS).set(still.as_secs_f64());
}

pub(crate) fn start_over() {
    gauge!(START_STALLED_SECONDS).set(0.0);
}

pub(crate) fn halted() {
    gauge!(HALTED).set(1.0);
}

pub(crate) fn fast_election(outcome: &'static str) {
    counter!(FAST_ELECTIONS, OUTCOME => outcome).increment(1);
}
