//! What checks of a task are to the machine: rules and findings. How one is made is not its
//! business.

use regency_types::{DurationMs, TaskState};
use serde::{Deserialize, Serialize};

use crate::update::Reason;

/// When failing health checks end a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRule {
    /// The task is killed after this many failures in a row.
    pub consecutive_failures: u32,
    /// Failures this soon after the start do not count, until the first success.
    pub grace: DurationMs,
}

/// What a check found last (`mesos.v1.CheckStatusInfo`); without a value where there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CheckStatus {
    /// Exit code of a command.
    Command(Option<i32>),
    /// Status code of an HTTP answer.
    Http(Option<u32>),
    /// Whether a TCP connection was made.
    Tcp(Option<bool>),
}

/// What one run of a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Of the health check: whether it passed.
    Health(bool),
    /// Of the check.
    Check(CheckStatus),
}

/// Why a task is killed. The first reason stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KillCause {
    /// Its framework or an operator asked for it.
    #[default]
    Asked,
    /// Its health check failed too often in a row.
    Unhealthy,
    /// It ran longer than its `max_completion_time`.
    TooLong,
    /// Another task of its group ended otherwise than by finishing.
    Group,
    /// Its agent is drained.
    Draining {
        /// Whether its end is told as TASK_GONE_BY_OPERATOR.
        gone: bool,
    },
}

impl KillCause {
    /// What is told instead of this state of a task that is killed, and why; `None`: as it is.
    pub(crate) fn told(self, state: TaskState) -> Option<(TaskState, Reason)> {
        let Self::Draining { gone } = self else {
            return None;
        };
        match state {
            TaskState::Killed if gone => Some((TaskState::GoneByOperator, Reason::AgentDraining)),
            TaskState::Killing | TaskState::Killed => Some((state, Reason::AgentDraining)),
            _ => None,
        }
    }
}
