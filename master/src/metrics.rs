//! Names of the master's metrics, each with its description.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Scheduler calls answered, by `call` (the Mesos name in lower case) and `code` (HTTP status).
pub const SCHEDULER_CALLS: &str = "regency_master_scheduler_calls_total";
/// Events sent to frameworks, by `event` (the Mesos name in lower case).
pub const EVENTS_SENT: &str = "regency_master_events_sent_total";
/// Framework streams open at this master.
pub const STREAMS_OPEN: &str = "regency_master_framework_streams";
/// Framework streams closed because the framework did not read.
pub const STREAMS_TOO_SLOW: &str = "regency_master_framework_streams_too_slow_total";
/// Agents attached to this master.
pub const AGENTS_ATTACHED: &str = "regency_master_agents_attached";
/// Agents that this leader forgot: gone or unreachable for too long, or too many.
pub const AGENTS_FORGOTTEN: &str = "regency_master_agents_forgotten_total";
/// Attachments, by `result` (attached, resynced, refused).
pub const ATTACHMENTS: &str = "regency_master_agent_attachments_total";
/// Agents whose picture differed although the cursors agreed.
pub const DIGEST_MISMATCHES: &str = "regency_master_agent_digest_mismatches_total";
/// Offers made.
pub const OFFERS_ISSUED: &str = "regency_master_offers_issued_total";
/// Offers planned that no longer fitted when they were to be made: something else came first, or a
/// quota's limit was in the way.
pub const OFFERS_SKIPPED: &str = "regency_master_offers_skipped_total";
/// Duration of an allocation, without its commit.
pub const ALLOCATION_SECONDS: &str = "regency_master_allocation_duration_seconds";
/// Terms this master led.
pub const TERMS_LED: &str = "regency_master_terms_led_total";
/// Batches of effects dropped because the leader's runtime was slow; each makes it sweep.
pub const EFFECTS_LAGGED: &str = "regency_master_effect_batches_dropped_total";
/// Event streams of operators open at this master.
pub const OPERATOR_STREAMS: &str = "regency_master_operator_streams";
/// Events told to operators who watch, each counted once, by `event` (the Mesos name in lower case).
pub const OPERATOR_EVENTS: &str = "regency_master_operator_events_total";
/// Events kept for operators whose stream broke.
pub const OPERATOR_EVENTS_KEPT: &str = "regency_master_operator_events_kept";
/// Event streams of operators closed from this side, by `reason` (too_slow, too_many, gap, no_leader).
pub const OPERATOR_STREAMS_CLOSED: &str = "regency_master_operator_streams_closed_total";

/// Describes every metric of the master to the recorder.
pub(crate) fn describe() {
    describe_counter!(
        SCHEDULER_CALLS,
        "Scheduler calls answered, by call and HTTP status"
    );
    describe_counter!(EVENTS_SENT, "Events sent to frameworks, by type");
    describe_gauge!(STREAMS_OPEN, "Framework streams open at this master");
    describe_counter!(
        STREAMS_TOO_SLOW,
        "Framework streams closed because nobody read them"
    );
    describe_gauge!(AGENTS_ATTACHED, "Agents attached to this master");
    describe_counter!(
        AGENTS_FORGOTTEN,
        "Agents that this leader forgot: gone or unreachable for too long, or too many"
    );
    describe_counter!(ATTACHMENTS, "Attachments of agents, by result");
    describe_counter!(
        DIGEST_MISMATCHES,
        "Agents whose tasks differed at equal cursors"
    );
    describe_counter!(OFFERS_ISSUED, "Offers made");
    describe_counter!(
        OFFERS_SKIPPED,
        "Offers planned that no longer fitted, or would have exceeded a limit"
    );
    describe_histogram!(
        ALLOCATION_SECONDS,
        Unit::Seconds,
        "Duration of an allocation without its commit"
    );
    describe_counter!(TERMS_LED, "Terms this master led");
    describe_counter!(
        EFFECTS_LAGGED,
        "Batches of effects dropped; each made the leader sweep"
    );
    describe_gauge!(OPERATOR_STREAMS, "Event streams of operators open here");
    describe_counter!(
        OPERATOR_EVENTS,
        "Events told to operators who watch, by type"
    );
    describe_gauge!(
        OPERATOR_EVENTS_KEPT,
        "Events kept for operators whose stream broke"
    );
    describe_counter!(
        OPERATOR_STREAMS_CLOSED,
        "Event streams of operators closed from this side, by reason"
    );
}
