//! What both APIs show of a task.

use prost::Message;
use regency_state::model::{Capabilities, Task};
use regency_types::{TaskState, WallTime};
use regency_wire::resources::{ResourceFormat, to_wire};
use regency_wire::v1::{self, TaskInfo, TaskStatus};

use super::status::told;

/// What a task's scheduler said of it. One that cannot be read shows as an empty one.
pub(crate) fn info(task: &Task) -> TaskInfo {
    TaskInfo::decode(task.info.clone()).unwrap_or_default()
}

/// The states the task went through as statuses, oldest first.
///
/// Only of the newest one the agent's own words are kept; earlier ones tell state and time. That
/// it was launched is no status, as in Mesos.
pub(crate) fn statuses(task: &Task, capabilities: &Capabilities) -> Vec<TaskStatus> {
    let mut newest = sent(task);
    let mut statuses: Vec<TaskStatus> = task
        .statuses
        .iter()
        .rev()
        .filter(|record| record.state != TaskState::Staging)
        .map(|record| {
            let told = told(record.state, capabilities).number();
            match newest.take_if(|status| status.state == record.state.number()) {
                Some(status) => TaskStatus {
                    state: told,
                    data: None,
                    ..status
                },
                None => TaskStatus {
                    task_id: (&task.key.task).into(),
                    state: told,
                    agent_id: Some((&task.agent).into()),
                    timestamp: Some(record.wall.as_secs_f64()),
                    ..TaskStatus::default()
                },
            }
        })
        .collect();
    statuses.reverse();
    statuses
}

/// The newest status the agent sent, if any.
pub(crate) fn sent(task: &Task) -> Option<TaskStatus> {
    if task.status.is_empty() {
        return None;
    }
    TaskStatus::decode(task.status.clone()).ok()
}

/// When the task was launched, or the oldest thing still known of it.
pub(crate) fn began(task: &Task) -> WallTime {
    task.statuses.first().map_or(WallTime(0), |r| r.wall)
}

/// The state that the framework has been told, or is being told right now.
///
/// While an update waits for its acknowledgement, newer ones wait behind it at the agent: telling
/// the newest state would overtake them. What the masters themselves decided is told at once.
pub(crate) fn forwarded_state(task: &Task) -> TaskState {
    match (task.state, &task.unacked) {
        (
            TaskState::Unreachable
            | TaskState::Lost
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown,
            _,
        )
        | (_, None) => task.state,
        (_, Some(update)) => update.state,
    }
}

/// A task in the form of the v1 API.
pub(crate) fn encode(task: &Task, capabilities: &Capabilities) -> v1::Task {
    let info = info(task);
    let statuses = statuses(task, capabilities);
    let user = info.command.and_then(|command| command.user);
    v1::Task {
        name: task.name.clone(),
        task_id: (&task.key.task).into(),
        framework_id: (&task.key.framework).into(),
        executor_id: info.executor.map(|executor| executor.executor_id),
        agent_id: (&task.agent).into(),
        state: told(task.state, capabilities).number(),
        resources: to_wire(
            &task.resources,
            ResourceFormat::PostReservationRefinement,
            Some(&task.role),
        ),
        status_update_state: (!statuses.is_empty())
            .then(|| told(forwarded_state(task), capabilities).number()),
        status_update_uuid: statuses.last().and_then(|status| status.uuid.clone()),
        statuses,
        labels: info.labels,
        discovery: info.discovery.map(|discovery| *discovery),
        container: info.container,
        health_check: info.health_check.map(|check| *check),
        kill_policy: info.kill_policy,
        user,
        limits: info.limits,
    }
}
