//! Task statuses that masters and agents make themselves.

use regency_types::TaskState;

use crate::v1::task_status::{Reason, Source};
use crate::v1::{self, AgentId, TaskId, TaskStatus};

impl From<TaskState> for v1::TaskState {
    fn from(state: TaskState) -> Self {
        Self::try_from(state.number()).expect("both enums have the numbers of mesos.v1.TaskState")
    }
}

impl From<v1::TaskState> for TaskState {
    fn from(state: v1::TaskState) -> Self {
        Self::from_number(state as i32).expect("both enums have the numbers of mesos.v1.TaskState")
    }
}

/// The state to tell a framework: one that is not PARTITION_AWARE knows TASK_LOST only, where
/// others are told what exactly happened.
#[must_use]
pub fn state_for(state: TaskState, partition_aware: bool) -> TaskState {
    use TaskState::{Dropped, Gone, GoneByOperator, Lost, Unknown, Unreachable};
    match state {
        Dropped | Unreachable | Gone | GoneByOperator | Unknown if !partition_aware => Lost,
        state => state,
    }
}

impl TaskStatus {
    /// A status made by a master: without a uuid, so that nobody acknowledges it.
    ///
    /// `timestamp_seconds` is wall clock time since 1970, for display.
    #[must_use]
    pub fn by_master(
        task_id: TaskId,
        agent_id: Option<AgentId>,
        state: TaskState,
        reason: Reason,
        message: impl Into<String>,
        timestamp_seconds: f64,
    ) -> Self {
        Self {
            task_id,
            state: state.number(),
            message: Some(message.into()),
            source: Some(Source::Master as i32),
            reason: Some(reason as i32),
            agent_id,
            timestamp: Some(timestamp_seconds),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, encode};

    #[test]
    fn states_have_the_same_numbers_and_names_on_both_sides() {
        for state in TaskState::ALL {
            let wire = v1::TaskState::from(state);
            assert_eq!(wire.as_str_name(), state.name());
            assert_eq!(TaskState::from(wire), state);
        }
    }

    #[test]
    fn frameworks_that_are_not_partition_aware_are_told_lost() {
        assert_eq!(state_for(TaskState::Unreachable, false), TaskState::Lost);
        assert_eq!(
            state_for(TaskState::Unreachable, true),
            TaskState::Unreachable
        );
        assert_eq!(state_for(TaskState::Failed, false), TaskState::Failed);
    }

    #[test]
    fn a_status_by_the_master_has_no_uuid() {
        let status = TaskStatus::by_master(
            TaskId { value: "t".into() },
            None,
            TaskState::Gone,
            Reason::Reconciliation,
            "m",
            1.5,
        );
        assert_eq!(
            encode(ContentType::Json, &status),
            r#"{"task_id":{"value":"t"},"state":"TASK_GONE","message":"m","source":"SOURCE_MASTER","reason":"REASON_RECONCILIATION","timestamp":1.5}"#
        );
    }
}
