//! What the life of a process does to the table of launches, and the timers of kills.

use regency_mutants::{Mutant, on};
use regency_types::{DurationMs, TaskState};

use crate::check::KillCause;
use crate::durable::{Phase, ProcessRef, Record};
use crate::exit::Exit;
use crate::launch::LaunchId;
use crate::step::{Action, Cx};
use crate::update::Reason;

use super::{Core, News, attachment, checks, executors, groups};

/// When a kill goes on to the next, or the same, SIGKILL.
#[derive(Debug, Clone, Copy)]
pub(super) struct KillTimer {
    pub(super) at_ms: u64,
}

pub(super) fn prepared(core: &mut Core, id: &LaunchId, process: ProcessRef, cx: &mut Cx<'_>) {
    if core.durable.executors.contains_key(id) {
        return executors::prepared(core, id, process, cx);
    }
    let waits = core
        .durable
        .tasks
        .get(id)
        .is_some_and(|task| task.phase == Phase::Intended);
    if !waits {
        // Killed, withdrawn or torn down in the meantime.
        return cx.act(Action::Abort(id.clone()));
    }
    if groups::of(core, id).is_some() {
        return groups::prepared(core, id, process, cx);
    }
    if !on(Mutant::GoBeforeRecord) {
        core.record(Record::Started(id.clone(), process), cx);
    }
    core.update(id, News::course(TaskState::Starting), cx);
    cx.act(Action::Go(id.clone()));
}

pub(super) fn launch_failed(core: &mut Core, id: &LaunchId, message: String, cx: &mut Cx<'_>) {
    if core.durable.executors.contains_key(id) {
        return executors::launch_failed(core, id, &message, cx);
    }
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
    tell_running(core, id, cx);
    // Also of a command that an earlier run of the agent started.
    checks::begin(core, id, cx);
}

fn tell_running(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
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
    if core.durable.executors.contains_key(id) {
        return executors::ended(core, id, exit, cx);
    }
    core.kills.remove(id);
    checks::end(core, id);
    let Some(task) = core.durable.tasks.get(id) else {
        return;
    };
    match task.phase {
        Phase::Ended if on(Mutant::EndTwice) => {}
        Phase::HandedOver | Phase::Ended => return,
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
        let killed = task.kill.map(|_| task.kill_cause);
        let ran = matches!(exit, Exit::Exited(_) | Exit::Signaled(_));
        if ran {
            // Frameworks expect to see it run before it ends, however short it ran.
            tell_running(core, id, cx);
        }
        core.update(id, end_news(exit, killed), cx);
    }
    attachment::stop_when_empty(core, cx);
}

/// The terminal update of a launch whose process ended.
pub(super) fn end_news(exit: Exit, killed: Option<KillCause>) -> News {
    match exit {
        Exit::NotStarted if killed.is_some() => News::agent(
            TaskState::Killed,
            Reason::TaskKilledDuringLaunch,
            exit.message(),
        ),
        Exit::NotStarted => News::agent(TaskState::Dropped, Reason::AgentRestarted, exit.message()),
        Exit::Lost => News::agent(
            if killed.is_some_and(|cause| cause != KillCause::TooLong) {
                TaskState::Killed
            } else {
                TaskState::Failed
            },
            Reason::ExecutorTerminated,
            exit.message(),
        ),
        Exit::Exited(_) | Exit::Signaled(_) => {
            let (state, reason) = match (killed, exit) {
                (Some(KillCause::TooLong), _) => {
                    (TaskState::Failed, Some(Reason::MaxCompletionTimeReached))
                }
                (Some(_), _) => (TaskState::Killed, None),
                (None, Exit::Exited(0)) => (TaskState::Finished, None),
                (None, _) => (TaskState::Failed, None),
            };
            News {
                reason,
                message: Some(exit.message()),
                healthy: (killed == Some(KillCause::Unhealthy)).then_some(false),
                ..News::course(state)
            }
        }
    }
}

/// Kills a launch whose command runs or may run. Only the first cause counts.
pub(super) fn kill_started(
    core: &mut Core,
    id: &LaunchId,
    grace: DurationMs,
    cause: KillCause,
    cx: &mut Cx<'_>,
) {
    let Some(task) = core.durable.tasks.get(id) else {
        return;
    };
    let first = task.kill.is_none();
    let tell = first && task.launch.killing_state;
    let record = match cause {
        KillCause::Asked => Record::KillRequested(id.clone(), grace),
        KillCause::Unhealthy
        | KillCause::TooLong
        | KillCause::Group
        | KillCause::Draining { .. } => Record::KillDecided(id.clone(), grace, cause),
    };
    core.record(record, cx);
    if tell {
        core.update(id, News::course(TaskState::Killing), cx);
    }
    terminate(core, id, grace, cx);
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
            // Ended, or it ends with its executor.
            Phase::HandedOver | Phase::Ended => {}
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
    executors::shutdown_all(core, None, cx);
}

pub(super) fn tick(core: &mut Core, cx: &mut Cx<'_>) {
    let again_ms = cx.now_ms.saturating_add(core.timing.destroy_retry.0);
    for (id, timer) in &mut core.kills {
        if cx.now_ms >= timer.at_ms && !on(Mutant::NoSigkill) {
            timer.at_ms = again_ms;
            cx.step.act(Action::Destroy(id.clone()));
        }
    }
}
