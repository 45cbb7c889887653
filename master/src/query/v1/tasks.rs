//! GET_TASKS.

use regency_types::TaskState;
use regency_wire::v1::master::response::GetTasks;

use crate::query::View;
use crate::query::task::encode;

/// All tasks: live ones, unreachable ones, and those that ended as far as they are kept.
pub(super) fn get(view: &View<'_>) -> GetTasks {
    let mut answer = GetTasks::default();
    for framework in view.state.frameworks() {
        let capabilities = &framework.spec.capabilities;
        for task in view.state.tasks_of(framework) {
            let list = if task.state == TaskState::Unreachable {
                &mut answer.unreachable_tasks
            } else {
                &mut answer.tasks
            };
            list.push(encode(task, capabilities));
        }
        let completed = framework.completed_tasks.iter();
        answer
            .completed_tasks
            .extend(completed.map(|task| encode(task, capabilities)));
    }
    for ended in view.state.completed_frameworks() {
        let capabilities = &ended.framework.spec.capabilities;
        let completed = ended.framework.completed_tasks.iter();
        answer
            .completed_tasks
            .extend(completed.map(|task| encode(task, capabilities)));
    }
    answer
}
