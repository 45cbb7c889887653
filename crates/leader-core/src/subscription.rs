//! What a framework is sent when its stream opens.

use regency_state::State;
use regency_state::model::{Framework, MasterStatus};
use regency_types::{TaskId, TaskKey};

/// Statuses that the masters made of the framework's tasks and that nobody acknowledges: refused
/// launches, and the ends of tasks that were lost. Not of a task that lives: it would be taken for
/// that one's end. One that was lost does not live, though an earlier update of it may still wait for
/// its acknowledgement.
pub fn statuses<'a>(
    state: &'a State,
    framework: &'a Framework,
) -> impl Iterator<Item = &'a MasterStatus> {
    let lives = |status: &MasterStatus| {
        TaskId::new(&status.task_id).is_ok_and(|task| {
            let key = TaskKey {
                framework: framework.id.clone(),
                task,
            };
            state.task(&key).is_some_and(|task| !task.is_terminal())
        })
    };
    let retained = framework.retained.iter().map(|(_, status)| status);
    retained.filter(move |status| !lives(status))
}
