//! Short ways to describe a task and to read its status.

use regency_types::TaskState;
use regency_wire::v1::{
    CommandInfo, Environment, Offer, Resource, TaskId, TaskInfo, TaskStatus, environment, value,
};

/// Describes a task that runs a command.
///
/// ```
/// use regency_client::TaskBuilder;
/// # let offer = regency_client::v1::Offer::default();
/// let task = TaskBuilder::shell("task-1", "echo $GREETING")
///     .env("GREETING", "hello")
///     .cpus(0.5)
///     .mem_mb(64.0)
///     .on(&offer);
/// assert_eq!(task.resources.len(), 2);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TaskBuilder {
    task: TaskInfo,
}

impl TaskBuilder {
    /// A task that runs a line of shell. The id must be new within the framework; the task's
    /// name is the same.
    pub fn shell(task_id: impl Into<String>, line: impl Into<String>) -> Self {
        let task_id = task_id.into();
        Self {
            task: TaskInfo {
                name: task_id.clone(),
                task_id: TaskId { value: task_id },
                command: Some(CommandInfo {
                    value: Some(line.into()),
                    ..CommandInfo::default()
                }),
                ..TaskInfo::default()
            },
        }
    }

    /// Another name than the id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.task.name = name.into();
        self
    }

    /// An environment variable of the command.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let command = self.task.command.get_or_insert_default();
        let environment = command.environment.get_or_insert_with(Environment::default);
        environment.variables.push(environment::Variable {
            name: name.into(),
            value: Some(value.into()),
            ..environment::Variable::default()
        });
        self
    }

    /// Processors, in units of one; three decimals count.
    pub fn cpus(self, cpus: f64) -> Self {
        self.resource(scalar("cpus", cpus))
    }

    /// Memory, in megabytes.
    pub fn mem_mb(self, mem_mb: f64) -> Self {
        self.resource(scalar("mem", mem_mb))
    }

    /// Disk, in megabytes.
    pub fn disk_mb(self, disk_mb: f64) -> Self {
        self.resource(scalar("disk", disk_mb))
    }

    /// Ports, which have to be among those of the offer.
    pub fn ports(self, ranges: impl IntoIterator<Item = std::ops::RangeInclusive<u64>>) -> Self {
        self.resource(crate::ports(ranges))
    }

    /// Any other resource.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.task.resources.push(resource);
        self
    }

    /// The task, to be launched with this offer (or one of the same agent).
    #[must_use]
    pub fn on(mut self, offer: &Offer) -> TaskInfo {
        self.task.agent_id = offer.agent_id.clone();
        self.task
    }
}

/// An amount of a resource of the default role.
#[must_use]
pub fn scalar(name: impl Into<String>, amount: f64) -> Resource {
    Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        ..Resource::default()
    }
}

/// Whether the task is over and will have no other state.
#[must_use]
pub fn is_terminal(status: &TaskStatus) -> bool {
    TaskState::from_number(status.state).is_some_and(TaskState::is_terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_told_apart() {
        let status = |state: TaskState| TaskStatus {
            state: state.number(),
            ..TaskStatus::default()
        };
        assert!(is_terminal(&status(TaskState::Finished)));
        assert!(!is_terminal(&status(TaskState::Running)));
        assert!(!is_terminal(&TaskStatus {
            state: 999,
            ..TaskStatus::default()
        }));
    }
}
