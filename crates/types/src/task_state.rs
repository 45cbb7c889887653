//! The states of a task.

use serde::{Deserialize, Serialize};

/// State of a task, with the numbers of `mesos.v1.TaskState`.
///
/// Stored in its partition-aware form; `TASK_LOST` is substituted when a status is encoded for
/// a framework without the PARTITION_AWARE capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of mesos.v1.TaskState")]
pub enum TaskState {
    Starting = 0,
    Running = 1,
    Finished = 2,
    Failed = 3,
    Killed = 4,
    Lost = 5,
    Staging = 6,
    Error = 7,
    Killing = 8,
    Dropped = 9,
    Unreachable = 10,
    Gone = 11,
    GoneByOperator = 12,
    Unknown = 13,
}

impl TaskState {
    /// Every state, in the order of its number.
    pub const ALL: [Self; 14] = [
        Self::Starting,
        Self::Running,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
        Self::Staging,
        Self::Error,
        Self::Killing,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// The number in `mesos.v1.TaskState`.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The state with this number, if there is one.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        usize::try_from(number)
            .ok()
            .and_then(|i| Self::ALL.get(i).copied())
    }

    /// The name in `mesos.v1.TaskState`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Lost => "TASK_LOST",
            Self::Staging => "TASK_STAGING",
            Self::Error => "TASK_ERROR",
            Self::Killing => "TASK_KILLING",
            Self::Dropped => "TASK_DROPPED",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Self::Unknown => "TASK_UNKNOWN",
        }
    }

    /// Whether a task in this state has ended for good (Mesos 1.11: UNREACHABLE and UNKNOWN are
    /// not terminal).
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Finished
            | Self::Failed
            | Self::Killed
            | Self::Lost
            | Self::Error
            | Self::Dropped
            | Self::Gone
            | Self::GoneByOperator => true,
            Self::Starting
            | Self::Running
            | Self::Staging
            | Self::Killing
            | Self::Unreachable
            | Self::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_strangers_are_refused() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_number(state.number()), Some(state));
        }
        assert_eq!(TaskState::from_number(14), None);
        assert_eq!(TaskState::from_number(-1), None);
    }
}
