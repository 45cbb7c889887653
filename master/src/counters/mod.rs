//! What Mesos counts since the start of a process, by Mesos' keys.
//!
//! The counts are those of this process and begin with it at zero, as those of a Mesos master do:
//! nothing is taken over from a leader before. What every master applies (ends of tasks, agents that
//! come and go) is counted by all of them, calls, messages and events by the one that led then.
//!
//! They are of the process, like the recorder of metrics, and so they are reached without being
//! handed around.

mod applied;
mod frameworks;
mod timer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use regency_state::State;
use regency_types::TaskState;
use regency_wire::v1::TaskStatus;
use regency_wire::v1::task_status::{Reason, Source};

pub(crate) use applied::applied;
pub(crate) use frameworks::{OfFramework, OfferEnd, of_framework};
pub(crate) use timer::{ALLOCATION_RUN, ALLOCATION_RUN_LATENCY};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $key:literal,)*) => {
        /// Something that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Count {
            $($(#[$doc])* $name,)*
        }

        /// The keys, in the order of [`Count`].
        const KEYS: &[&str] = &[$($key,)*];
    };
}

counts! {
    /// Allocations that were run.
    AllocationRuns = "allocator/mesos/allocation_runs",
    /// Messages and calls that were void.
    DroppedMessages = "master/dropped_messages",
    /// Messages of executors that were passed on.
    ValidExecutorMessages = "master/valid_executor_to_framework_messages",
    /// Messages of executors that reached nobody.
    InvalidExecutorMessages = "master/invalid_executor_to_framework_messages",
    /// Messages of frameworks that were passed on.
    ValidFrameworkMessages = "master/valid_framework_to_executor_messages",
    /// Messages of frameworks that reached no agent.
    InvalidFrameworkMessages = "master/invalid_framework_to_executor_messages",
    /// Acknowledgements of updates that waited for one.
    ValidAcknowledgements = "master/valid_status_update_acknowledgements",
    /// Others.
    InvalidAcknowledgements = "master/invalid_status_update_acknowledgements",
    /// Acknowledgements of operations that waited for one.
    ValidOperationAcknowledgements = "master/valid_operation_status_update_acknowledgements",
    /// Others.
    InvalidOperationAcknowledgements = "master/invalid_operation_status_update_acknowledgements",
    /// Updates of tasks that are known.
    ValidUpdates = "master/valid_status_updates",
    /// Others.
    InvalidUpdates = "master/invalid_status_updates",
    /// ACCEPT with tasks.
    MessagesLaunchTasks = "master/messages_launch_tasks",
    /// DECLINE.
    MessagesDeclineOffers = "master/messages_decline_offers",
    /// REVIVE.
    MessagesReviveOffers = "master/messages_revive_offers",
    /// SUPPRESS.
    MessagesSuppressOffers = "master/messages_suppress_offers",
    /// KILL.
    MessagesKillTask = "master/messages_kill_task",
    /// ACKNOWLEDGE.
    MessagesAcknowledge = "master/messages_status_update_acknowledgement",
    /// ACKNOWLEDGE_OPERATION_STATUS.
    MessagesAcknowledgeOperation = "master/messages_operation_status_update_acknowledgement",
    /// RECONCILE.
    MessagesReconcileTasks = "master/messages_reconcile_tasks",
    /// RECONCILE_OPERATIONS.
    MessagesReconcileOperations = "master/messages_reconcile_operations",
    /// MESSAGE.
    MessagesFrameworkToExecutor = "master/messages_framework_to_executor",
    /// REQUEST.
    MessagesResourceRequest = "master/messages_resource_request",
    /// TEARDOWN.
    MessagesUnregisterFramework = "master/messages_unregister_framework",
    /// Messages of executors.
    MessagesExecutorToFramework = "master/messages_executor_to_framework",
    /// Updates of tasks.
    MessagesStatusUpdate = "master/messages_status_update",
    /// Ends of executors.
    MessagesExitedExecutor = "master/messages_exited_executor",
    /// Agents that attached for the first time.
    MessagesRegisterAgent = "master/messages_register_slave",
    /// Agents that attached again.
    MessagesReregisterAgent = "master/messages_reregister_slave",
    /// Agents that were registered.
    AgentRegistrations = "master/slave_registrations",
    /// Agents that were registered again after they were unreachable.
    AgentReregistrations = "master/slave_reregistrations",
    /// Agents that left, for whatever reason.
    AgentRemovals = "master/slave_removals",
    /// Agents that were marked unreachable.
    AgentsUnhealthy = "master/slave_removals/reason_unhealthy",
    /// Agents in whose place another one registered.
    AgentsSuperseded = "master/slave_removals/reason_registered",
    /// Agents that said that they leave, or were marked gone.
    AgentsLeft = "master/slave_removals/reason_unregistered",
    /// Agents that were to be marked unreachable.
    UnreachableScheduled = "master/slave_unreachable_scheduled",
    /// Agents that were.
    UnreachableCompleted = "master/slave_unreachable_completed",
    /// Tasks that ended in this state.
    TasksFinished = "master/tasks_finished",
    /// Tasks that ended in this state.
    TasksFailed = "master/tasks_failed",
    /// Tasks that ended in this state.
    TasksKilled = "master/tasks_killed",
    /// Tasks that ended in this state.
    TasksLost = "master/tasks_lost",
    /// Tasks that ended in this state.
    TasksError = "master/tasks_error",
    /// Tasks that ended in this state.
    TasksDropped = "master/tasks_dropped",
    /// Tasks that ended in this state.
    TasksGone = "master/tasks_gone",
    /// Tasks that ended in this state.
    TasksGoneByOperator = "master/tasks_gone_by_operator",
}

/// What never happens here, so that the count is known.
const NEVER: [&str; 16] = [
    // The older driver cannot connect.
    "master/messages_register_framework",
    "master/messages_reregister_framework",
    "master/messages_deactivate_framework",
    // Nobody is authenticated.
    "master/messages_authenticate",
    // An agent that stops is away, and a changed one registers anew.
    "master/messages_unregister_slave",
    "master/messages_update_slave",
    // Operations are carried out by the masters.
    "master/messages_operation_status_update",
    "master/valid_operation_status_updates",
    "master/invalid_operation_status_updates",
    // Every answer is made for whoever asks.
    "master/http_cache_hits",
    // No agent is given up because of an election.
    "master/recovery_slave_removals",
    // Marking an agent is not limited, so it does not wait and cannot be called off.
    "master/slave_unreachable_canceled",
    "master/slave_shutdowns_scheduled",
    "master/slave_shutdowns_completed",
    "master/slave_shutdowns_canceled",
    "registrar/queued_operations",
];

const N: usize = KEYS.len();
static COUNTS: [AtomicU64; N] = [const { AtomicU64::new(0) }; N];

/// Ends of tasks by `STATE/source_SOURCE/reason_REASON`: as many keys as there are words.
static REASONS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

fn reasons() -> MutexGuard<'static, BTreeMap<String, u64>> {
    REASONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one.
pub(crate) fn count(what: Count) {
    count_n(what, 1);
}

/// Counts several.
pub(crate) fn count_n(what: Count, n: u64) {
    COUNTS[what as usize].fetch_add(n, Ordering::Relaxed);
}

/// Counts one as valid, or as not.
pub(crate) fn count_either(is_valid: bool, valid: Count, invalid: Count) {
    count(if is_valid { valid } else { invalid });
}

/// Counts the end of a task, with what is said of it.
pub(crate) fn count_end(state: TaskState, status: &TaskStatus) {
    let count_of = match state {
        TaskState::Finished => Count::TasksFinished,
        TaskState::Failed => Count::TasksFailed,
        TaskState::Killed => Count::TasksKilled,
        TaskState::Lost => Count::TasksLost,
        TaskState::Error => Count::TasksError,
        TaskState::Dropped => Count::TasksDropped,
        TaskState::Gone => Count::TasksGone,
        TaskState::GoneByOperator => Count::TasksGoneByOperator,
        // Those are no ends.
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Unreachable
        | TaskState::Unknown => return,
    };
    count(count_of);
    if status.reason.is_some() {
        let key = format!(
            "master/{}/{}/{}",
            state.name(),
            source(status.source()),
            reason(status.reason())
        );
        *reasons().entry(key.to_lowercase()).or_default() += 1;
    }
}

/// The older word, as the keys have it.
fn source(source: Source) -> String {
    source.as_str_name().replace("AGENT", "SLAVE")
}

fn reason(reason: Reason) -> String {
    reason.as_str_name().replace("AGENT", "SLAVE")
}

/// All counts, of the cluster and of those frameworks that have not ended.
#[must_use]
pub fn keys(state: &State) -> BTreeMap<String, f64> {
    let mut keys: BTreeMap<String, f64> =
        NEVER.iter().map(|key| ((*key).to_owned(), 0.0)).collect();
    for (key, count) in KEYS.iter().zip(&COUNTS) {
        keys.insert((*key).to_owned(), count.load(Ordering::Relaxed) as f64);
    }
    for (key, n) in reasons().iter() {
        keys.insert(key.clone(), *n as f64);
    }
    timer::write_all(&mut keys);
    frameworks::write(state, &mut keys);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_tasks_are_counted_by_state_and_reason() {
        let value = |key: &str| keys(&State::default()).get(key).copied().unwrap_or(0.0);
        let by_reason = "master/task_failed/source_slave/reason_container_limitation_memory";
        let before = (value("master/tasks_failed"), value(by_reason));
        let status = TaskStatus {
            source: Some(Source::Agent as i32),
            reason: Some(Reason::ContainerLimitationMemory as i32),
            ..TaskStatus::default()
        };
        count_end(TaskState::Failed, &status);
        count_end(TaskState::Running, &status);
        // Others count at the same time.
        assert!(value("master/tasks_failed") >= before.0 + 1.0);
        assert!(value(by_reason) >= before.1 + 1.0);
        assert!(
            !keys(&State::default())
                .keys()
                .any(|key| key.contains("task_running/"))
        );
    }

    #[test]
    fn no_key_is_there_twice() {
        let all: std::collections::BTreeSet<&str> = KEYS.iter().chain(&NEVER).copied().collect();
        assert_eq!(all.len(), KEYS.len() + NEVER.len());
    }
}
