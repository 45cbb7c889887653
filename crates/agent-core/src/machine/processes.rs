//! What the life of a process does to the table of launches, and the timers of kills.

use regency_types::{DurationMs, TaskState};

use crate::durable::{Phase, ProcessRef, Record};
use crate::exit::Exit;
use crate::launch::LaunchId;
use crate::step::{Action, Cx};
use crate::update::{Reason, Source};

use super::{Core, News, attachment};

/// When a kill goes on to the next, or the same, SIGKILL.
#[derive(Debug, Clone, Copy)]
pub(super) struct KillTimer {
    pub(super) at_ms: u64,
}

pub(super) fn prepared(core: &mut Core, id: &LaunchId, process: ProcessRef, cx: &mut Cx<'_>) {
    let waits = core
        .durable
        .tasks
        .get(id)
        .is_some_and(|task| task.phase == Phase::Intended);
    if !waits {
        // Killed, withdrawn or torn down in the meantime.
        return cx.act(Action::Abort(id.clone()));
    }
    core.record(Record::Started(id.clone(), process), cx);
    core.update(id, News::course(TaskState::Starting), cx);
    cx.act(Action::Go(id.clone()));
}

pub(super) fn launch_failed(core: &mut Core, id: &LaunchId, message: String, cx: &mut Cx<'_>) {
    let waits = core
        .durable
        .tasks
        .get(id)
        .is_some_and(|task| task.phase == Phase::Intended);
    if waits {
        let news = News::agent(TaskState::Failed, Reason::ContainerLaunchFailed, message);
        core.update(id, news, cx);
    }
}

pub(super) fn running(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    let is_news = core
        .durable
        .tasks
        .get(id)
        .is_some_and(|task| task.is_started() && task.latest_state == TaskState::Starting);
    // TASK_RUNNING after TASK_KILLING would be a step back.
    if is_news {
        core.update(id, News::course(TaskState::Running), cx);
    }
}

pub(super) fn ended(core: &mut Core, id: &LaunchId, exit: Exit, cx: &mut Cx<'_>) {
    let Some(task) = core.durable.tasks.get(id) else {
        return;
    };
    core.kills.remove(id);
    match task.phase {
        Phase::Ended => return,
        // The process went before anybody could tell it to run the command.
        Phase::Intended => {
            return launch_failed(
                core,
                id,
                "The task's process ended before it was ready".to_owned(),
                cx,
            );
        }
        Phase::Started(_) => {}
    }
    if task.silent {
        let (report_seq, container) = (task.report_seq, task.launch.container);
        core.forget(id, cx);
        core.forgotten(id, report_seq, container, cx);
    } else {
        let killed = task.kill.is_some();
        let ran = matches!(exit, Exit::Exited(_) | Exit::Signaled(_));
        if ran {
            // Frameworks expect to see it run before it ends, however short it ran.
            running(core, id, cx);
        }
        core.update(id, end_news(exit, killed), cx);
    }
    attachment::stop_when_empty(core, cx);
}

/// The terminal update of a launch whose process ended.
pub(super) fn end_news(exit: Exit, killed: bool) -> News {
    match exit {
        Exit::NotStarted if killed => News::agent(
            TaskState::Killed,
            Reason::TaskKilledDuringLaunch,
            exit.message(),
        ),
        Exit::NotStarted => News::agent(TaskState::Dropped, Reason::AgentRestarted, exit.message()),
        Exit::Lost => News::agent(
            if killed {
                TaskState::Killed
            } else {
                TaskState::Failed
            },
            Reason::ExecutorTerminated,
            exit.message(),
        ),
        Exit::Exited(_) | Exit::Signaled(_) => News {
            state: match exit {
                _ if killed => TaskState::Killed,
                Exit::Exited(0) => TaskState::Finished,
                _ => TaskState::Failed,
            },
            source: Source::Executor,
            reason: None,
            message: Some(exit.message()),
        },
    }
}

/// SIGTERM now, SIGKILL after `grace`. A second kill can only shorten the wait.
pub(super) fn terminate(core: &mut Core, id: &LaunchId, grace: DurationMs, cx: &mut Cx<'_>) {
    let at_ms = cx.now_ms.saturating_add(grace.0);
    let timer = core.kills.entry(id.clone()).or_insert(KillTimer { at_ms });
    timer.at_ms = timer.at_ms.min(at_ms);
    cx.act(Action::Terminate(id.clone()));
}

/// The agent was removed: what waits is dropped, what runs is killed.
pub(super) fn kill_everything(core: &mut Core, cx: &mut Cx<'_>) {
    let all: Vec<_> = core
        .durable
        .tasks
        .iter()
        .map(|(id, task)| (id.clone(), task.phase, task.launch.kill_grace))
        .collect();
    for (id, phase, grace) in all {
        match phase {
            Phase::Ended => {}
            Phase::Intended => {
                let news = News::agent(
                    TaskState::Killed,
                    Reason::TaskKilledDuringLaunch,
                    "Agent was removed",
                );
                core.update(&id, news, cx);
                cx.act(Action::Abort(id));
            }
            Phase::Started(_) => {
                core.record(Record::KillRequested(id.clone(), grace), cx);
                terminate(core, &id, grace, cx);
            }
        }
    }
}

pub(super) fn tick(core: &mut Core, cx: &mut Cx<'_>) {
    let again_ms = cx.now_ms.saturating_add(core.timing.destroy_retry.0);
    for (id, timer) in &mut core.kills {
        if cx.now_ms >= timer.at_ms {
            timer.at_ms = again_ms;
            cx.step.act(Action::Destroy(id.clone()));
        }
    }
}
