//! Names of the metrics an agent emits, each with what it tells.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Attachments to a leading master that came to stand.
pub const ATTACHMENTS_TOTAL: &str = "regency_agent_attachments_total";
/// 1 while attached to a leading master, else 0.
pub const ATTACHED: &str = "regency_agent_attached";
/// Launches noted, with those that never start.
pub const LAUNCHES_TOTAL: &str = "regency_agent_launches_total";
/// Status updates made. Label [`STATE`].
pub const UPDATES_TOTAL: &str = "regency_agent_updates_total";
/// Launches in the table: those that run, and those whose end is not acknowledged.
pub const TASKS: &str = "regency_agent_tasks";
/// Status updates that no framework acknowledged yet.
pub const UPDATES_PENDING: &str = "regency_agent_updates_pending";
/// Time to make a batch of records durable.
pub const CHECKPOINT_SYNC_SECONDS: &str = "regency_agent_checkpoint_sync_seconds";
/// Length of the checkpoint log.
pub const CHECKPOINT_BYTES: &str = "regency_agent_checkpoint_bytes";
/// Processes of an agent with other checkpoints that were killed at the start.
pub const STRAYS_KILLED_TOTAL: &str = "regency_agent_strays_killed_total";

/// Checks of tasks that were made. Labels [`KIND`] and [`RESULT`].
pub const CHECKS_TOTAL: &str = "regency_agent_checks_total";

/// Files of tasks that were fetched, or not. Label [`RESULT`]: `succeeded` or `failed`.
pub const FETCHES_TOTAL: &str = "regency_agent_fetches_total";
/// Bytes that were fetched, from web servers and from files.
pub const FETCHED_BYTES_TOTAL: &str = "regency_agent_fetched_bytes_total";
/// Bytes of all cached files.
pub const FETCH_CACHE_BYTES: &str = "regency_agent_fetch_cache_bytes";
/// How many that may be.
pub const FETCH_CACHE_LIMIT_BYTES: &str = "regency_agent_fetch_cache_limit_bytes";

/// Containers that operators and executors launched and that run.
pub const LAUNCHED_CONTAINERS: &str = "regency_agent_launched_containers";
/// Launches of such containers. Label [`RESULT`]: `succeeded` or `failed`.
pub const CONTAINER_LAUNCHES_TOTAL: &str = "regency_agent_container_launches_total";
/// Connections to the input and output of containers, sessions included.
pub const CONTAINER_ATTACHMENTS: &str = "regency_agent_container_attachments";
/// Connections to the output of containers that were cut off because they did not read.
pub const OUTPUTS_CUT_OFF_TOTAL: &str = "regency_agent_container_outputs_cut_off_total";
/// Bytes of sandboxes and logs that operators read.
pub const FILE_BYTES_TOTAL: &str = "regency_agent_file_bytes_total";

/// Label: `health_check` or `check`.
pub const KIND: &str = "kind";
/// Label: how it went; of a check `passed`, `failed`, or `error` when there was no result.
pub const RESULT: &str = "result";
/// Executors with an open stream.
pub const EXECUTORS_SUBSCRIBED: &str = "regency_agent_executors_subscribed";
/// Subscriptions of executors, repeated ones included.
pub const EXECUTOR_SUBSCRIPTIONS_TOTAL: &str = "regency_agent_executor_subscriptions_total";
/// Executors that run, or whose end the masters do not know yet.
pub const EXECUTORS: &str = "regency_agent_executors";

/// Label: the state's name in `mesos.v1.TaskState`, such as `TASK_RUNNING`.
pub const STATE: &str = "state";

/// Tells the recorder of this process what the metrics mean.
pub(crate) fn describe() {
    describe_counter!(
        ATTACHMENTS_TOTAL,
        "Attachments to a leading master that came to stand"
    );
    describe_gauge!(ATTACHED, "1 while attached to a leading master, else 0");
    describe_counter!(LAUNCHES_TOTAL, "Launches noted");
    describe_counter!(UPDATES_TOTAL, "Status updates made, by state");
    describe_counter!(
        CHECKS_TOTAL,
        "Checks of tasks that were made, by kind and result"
    );
    describe_counter!(FETCHES_TOTAL, "Files of tasks that were fetched, by result");
    describe_counter!(
        FETCHED_BYTES_TOTAL,
        Unit::Bytes,
        "Bytes that were fetched for tasks"
    );
    describe_gauge!(FETCH_CACHE_BYTES, Unit::Bytes, "Bytes of all cached files");
    describe_gauge!(
        FETCH_CACHE_LIMIT_BYTES,
        Unit::Bytes,
        "Most bytes of all cached files"
    );
    describe_gauge!(
        LAUNCHED_CONTAINERS,
        "Containers that operators and executors launched and that run"
    );
    describe_counter!(
        CONTAINER_LAUNCHES_TOTAL,
        "Launches of containers by operators and executors, by result"
    );
    describe_gauge!(
        CONTAINER_ATTACHMENTS,
        "Connections to the input and output of containers"
    );
    describe_counter!(
        OUTPUTS_CUT_OFF_TOTAL,
        "Connections to the output of containers that did not read it in time"
    );
    describe_counter!(
        FILE_BYTES_TOTAL,
        Unit::Bytes,
        "Bytes of sandboxes and logs that operators read"
    );
    describe_gauge!(TASKS, "Launches that run or whose end is not acknowledged");
    describe_gauge!(
        UPDATES_PENDING,
        "Status updates that no framework acknowledged yet"
    );
    describe_histogram!(
        CHECKPOINT_SYNC_SECONDS,
        Unit::Seconds,
        "Time to make a batch of records durable"
    );
    describe_gauge!(
        CHECKPOINT_BYTES,
        Unit::Bytes,
        "Length of the checkpoint log"
    );
    describe_gauge!(EXECUTORS_SUBSCRIBED, "Executors with an open stream");
    describe_counter!(
        EXECUTOR_SUBSCRIPTIONS_TOTAL,
        "Subscriptions of executors, repeated ones included"
    );
    describe_gauge!(
        EXECUTORS,
        "Executors that run, or whose end the masters do not know yet"
    );
    describe_counter!(
        STRAYS_KILLED_TOTAL,
        "Processes of an agent with other checkpoints that were killed at the start"
    );
}
