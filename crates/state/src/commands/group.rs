//! Task groups: all tasks are launched, in one executor, or none is.

use std::collections::BTreeSet;

use regency_types::{FrameworkId, TaskState};

use crate::command::{LaunchSpec, TaskSpec};
use crate::commands::executor;
use crate::commands::offer::{AcceptCx, make, place, refuse_task, why_not_alone};
use crate::model::{AgentCommand, MasterStatus, StatusReason};
use crate::state::State;

/// Launches a group. One task that cannot be launched is told for all of them (Mesos). A group
/// without tasks gives its part of the offers back, as a launch of nothing does.
pub(crate) fn launch(
    state: &mut State,
    framework: &FrameworkId,
    cx: &mut AcceptCx,
    tasks: &[LaunchSpec],
) {
    if tasks.is_empty() {
        return;
    }
    let specs = match whole(state, framework, cx, tasks) {
        Ok(specs) => specs,
        Err(message) => return refuse(state, framework, cx, tasks, &message),
    };
    let executor = executor::of_task(state, framework, cx, specs[0]);
    let mut tasks: Vec<_> = specs
        .into_iter()
        .map(|spec| make(state, framework, cx, spec, executor.clone()))
        .collect();
    let command = AgentCommand::LaunchGroup {
        tasks: tasks
            .iter()
            .map(|task| (task.key.clone(), task.generation))
            .collect(),
    };
    let agent = state
        .agent_mut(&cx.agent)
        .expect("an offer that was usable has its agent");
    let launch_seq = agent.push(command);
    for task in &mut tasks {
        task.launch_seq = launch_seq;
    }
    for task in tasks {
        place(state, cx, task);
    }
}

/// The tasks of a group that can be launched.
///
/// # Errors
/// Why it cannot be, for all of them to be told.
fn whole<'a>(
    state: &State,
    framework: &FrameworkId,
    cx: &AcceptCx,
    tasks: &'a [LaunchSpec],
) -> Result<Vec<&'a TaskSpec>, String> {
    let mut specs = Vec::new();
    for task in tasks {
        match task {
            LaunchSpec::Valid(spec) => specs.push(spec),
            LaunchSpec::Invalid { message, .. } => return Err(message.clone()),
        }
    }
    let Some(first) = specs.first() else {
        return Err("Task group has no tasks".to_owned());
    };
    if first.executor.is_none() {
        return Err("Task group has no executor".to_owned());
    }
    let mut ids = BTreeSet::new();
    for spec in &specs {
        let task = &spec.task;
        let reason = if spec.executor != first.executor {
            Some("it has another executor than its group".to_owned())
        } else if !ids.insert(task) {
            Some(format!("Task has duplicate ID: {task}"))
        } else {
            why_not_alone(state, framework, cx, spec)
        };
        if let Some(reason) = reason {
            return Err(format!("Task '{task}' of the group is invalid: {reason}"));
        }
    }
    // One after the other, so that what two of them want alone, such as a port or a volume, is
    // not there for the second.
    let mut left = executor::left_for(state, framework, cx, first)?;
    for spec in &specs {
        left = left.without_used(&spec.resources).map_err(|_| {
            format!(
                "Task '{}' of the group uses more resources {} than available {left}",
                spec.task, spec.resources
            )
        })?;
    }
    Ok(specs)
}

fn refuse(
    state: &mut State,
    framework: &FrameworkId,
    cx: &mut AcceptCx,
    tasks: &[LaunchSpec],
    message: &str,
) {
    for task in tasks {
        let (task_id, agent) = match task {
            LaunchSpec::Valid(spec) => (spec.task.to_string(), Some(spec.agent.clone())),
            LaunchSpec::Invalid { task_id, agent, .. } => (task_id.clone(), agent.clone()),
        };
        cx.refused += 1;
        let status = MasterStatus {
            task_id,
            agent,
            state: TaskState::Error,
            reason: StatusReason::TaskGroupInvalid,
            message: message.to_owned(),
            unreachable: None,
        };
        refuse_task(state, framework, status, &mut cx.effects);
    }
}

#[cfg(test)]
mod tests;
