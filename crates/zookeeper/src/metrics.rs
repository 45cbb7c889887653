//! Names of the metrics this crate emits, each with what it means.

use metrics::{describe_counter, describe_gauge};

/// Gauge: open connections of clients that look for the leader.
pub const CONNECTIONS: &str = "regency_zookeeper_connections";
/// Counter: requests answered.
pub const REQUESTS: &str = "regency_zookeeper_requests_total";
/// Counter: connections that this side closed, with label [`REASON`].
pub const CLOSED: &str = "regency_zookeeper_connections_closed_total";
/// Label of [`CLOSED`]: `too_many_connections`, `too_many_watches`, `malformed` (or too large a
/// request), `silent` (nothing heard for its session timeout), `ahead` (it has seen a newer leader),
/// `no_leader`.
pub const REASON: &str = "reason";

/// Registers what the metrics mean.
pub fn describe() {
    describe_gauge!(CONNECTIONS, "Open connections of ZooKeeper clients");
    describe_counter!(REQUESTS, "Requests of ZooKeeper clients that were answered");
    describe_counter!(
        CLOSED,
        "Connections of ZooKeeper clients that were closed from this side, by reason"
    );
}
