//! What the commands of the masters do to the table of launches.

use regency_mutants::{Mutant, on};
use regency_types::{DurationMs, FrameworkId, TaskState, UpdateUuid};

use crate::check::KillCause;
use crate::durable::{Phase, Record};
use crate::executor::{Executor, ExecutorPhase};
use crate::launch::{KILL_GRACE_DEFAULT, Launch, LaunchId};
use crate::message::{Command, Numbered};
use crate::step::{Action, Cx};
use crate::update::Reason;

use super::{Core, News, attachment, executors, groups, processes};

/// Follows a batch in order. What was noted before is skipped; a gap means that this stream and
/// the agent disagree on what was said, so the attachment is made anew from the cursors.
pub(super) fn follow(core: &mut Core, batch: Vec<Numbered>, cx: &mut Cx<'_>) {
    for Numbered { seq, command } in batch {
        let noted = core.durable.command_seq;
        if seq <= noted {
            continue;
        }
        if seq > noted + 1 {
            let why = format!("command {seq} came after command {noted}");
            return attachment::leave(core, why, None, cx);
        }
        core.record(Record::Noted(seq), cx);
        follow_one(core, command, cx);
    }
}

fn follow_one(core: &mut Core, command: Command, cx: &mut Cx<'_>) {
    match command {
        Command::Launch {
            id,
            framework_info,
            task_info,
            kill_grace,
            killing_state,
            health,
            check,
            max_completion,
            executor,
            defect,
        } => {
            let launch = Launch {
                id,
                container: cx.mint.container_id(),
                task_info,
                kill_grace: kill_grace.unwrap_or(KILL_GRACE_DEFAULT),
                killing_state,
                health,
                check,
                max_completion,
                executor,
                group: None,
                parent: None,
            };
            start(core, launch, framework_info, defect, cx);
        }
        Command::LaunchGroup {
            executor,
            framework_info,
            killing_state,
            members,
        } => groups::launch(core, &executor, &framework_info, killing_state, members, cx),
        Command::Kill { id, grace } => kill(core, &id, grace, cx),
        Command::DrainTask {
            id,
            max_grace,
            gone,
        } => drain(core, &id, max_grace, KillCause::Draining { gone }, cx),
        Command::Acknowledge { id, uuid } => acknowledge(core, &id, uuid, cx),
        Command::ShutdownFramework(framework) => shutdown_framework(core, &framework, cx),
        Command::DestroyVolume(volume) => cx.step.destroy(volume),
        Command::LaunchExecutor {
            id,
            built_in,
            framework_info,
            executor_info,
            shutdown_grace,
        } => {
            let grace = shutdown_grace.unwrap_or(core.timing.shutdown_grace);
            let executor = Executor {
                container: cx.mint.container_id(),
                info: executor_info,
                built_in,
                shutdown_grace: grace,
                command_seq: core.durable.command_seq,
                phase: ExecutorPhase::Intended,
                ending: false,
                cause: None,
                used: false,
                silent: false,
                report_seq: 0,
            };
            executors::launch(core, id, executor, framework_info, cx);
        }
        Command::ShutdownExecutor(id) => executors::shutdown(core, &id, None, cx),
        Command::DropLaunch(id) => {
            bury(core, id, withdrawn(), cx);
            executors::end_when_all_idle(core, cx);
        }
        Command::DropGroup(tasks) => {
            for id in tasks {
                bury(core, id, withdrawn(), cx);
            }
            executors::end_when_all_idle(core, cx);
        }
    }
}

fn withdrawn() -> News {
    News::agent(
        TaskState::Dropped,
        Reason::Reconciliation,
        "Launch was withdrawn before it reached the agent",
    )
}

fn start(
    core: &mut Core,
    launch: Launch,
    framework_info: bytes::Bytes,
    defect: Option<String>,
    cx: &mut Cx<'_>,
) {
    let id = launch.id.clone();
    let executor = launch.executor.clone();
    // A launch in the table was started, or buried; either way it is not started now.
    if core.durable.tasks.contains_key(&id) {
        return;
    }
    core.record(
        Record::Launched {
            launch,
            framework_info,
        },
        cx,
    );
    match defect {
        Some(defect) => {
            let news = News::agent(TaskState::Error, Reason::TaskInvalid, defect);
            core.update(&id, news, cx);
        }
        None if core.removed.is_some() => {
            let news = News::agent(
                TaskState::Dropped,
                Reason::ExecutorTerminated,
                "Agent was removed",
            );
            core.update(&id, news, cx);
        }
        None => match executor {
            Some(instance) => executors::queue(core, &id, &instance, cx),
            None => cx.act(Action::Prepare(id)),
        },
    }
}

/// Leaves a tombstone for a launch that never came: an entry that ends at once, and stands in the
/// way of a launch of the same generation until the framework acknowledged its end.
pub(super) fn bury(core: &mut Core, id: LaunchId, news: News, cx: &mut Cx<'_>) {
    let newer_is_known = core
        .durable
        .tasks
        .range(id.clone()..)
        .take_while(|(known, _)| known.key == id.key)
        .next()
        .is_some();
    if newer_is_known || on(Mutant::NoTombstone) {
        return;
    }
    let launch = Launch {
        id: id.clone(),
        container: cx.mint.container_id(),
        task_info: bytes::Bytes::new(),
        kill_grace: KILL_GRACE_DEFAULT,
        killing_state: false,
        health: None,
        check: None,
        max_completion: None,
        executor: None,
        group: None,
        parent: None,
    };
    let framework_info = bytes::Bytes::new();
    core.record(
        Record::Launched {
            launch,
            framework_info,
        },
        cx,
    );
    core.update(&id, news, cx);
}

fn kill(core: &mut Core, id: &LaunchId, grace: Option<DurationMs>, cx: &mut Cx<'_>) {
    let Some(task) = core.durable.tasks.get(id) else {
        return bury(core, id.clone(), during_launch(), cx);
    };
    match task.phase {
        Phase::Ended => {}
        Phase::Intended if task.launch.group.is_some() => {
            groups::kill_before_start(core, id, cx);
        }
        Phase::Intended => {
            let executor = task.launch.executor.clone();
            core.update(id, during_launch(), cx);
            match executor {
                Some(instance) => executors::end_when_idle(core, &instance, cx),
                None => cx.act(Action::Abort(id.clone())),
            }
        }
        Phase::HandedOver => {
            let grace = grace.unwrap_or(task.launch.kill_grace);
            if let Some(instance) = task.launch.executor.clone() {
                executors::kill(core, id, &instance, grace, cx);
            }
        }
        Phase::Started(_) => {
            let grace = grace.unwrap_or(task.launch.kill_grace);
            processes::kill_started(core, id, grace, KillCause::Asked, cx);
        }
    }
}

pub(super) fn during_launch() -> News {
    News::agent(
        TaskState::Killed,
        Reason::TaskKilledDuringLaunch,
        "Killed before delivery to the executor",
    )
}

/// As [`kill`], with at most this grace; what is told of the task says why.
fn drain(
    core: &mut Core,
    id: &LaunchId,
    max_grace: Option<DurationMs>,
    cause: KillCause,
    cx: &mut Cx<'_>,
) {
    let Some(task) = core.durable.tasks.get(id) else {
        let mut news = News::agent(
            TaskState::Killed,
            Reason::AgentDraining,
            "Killed before delivery to the executor",
        );
        news.drained(cause);
        return bury(core, id.clone(), news, cx);
    };
    if task.phase == Phase::Ended {
        return;
    }
    let own = task.launch.kill_grace;
    let grace = max_grace.map_or(own, |max| max.min(own));
    // What it is killed for already is what its framework has to know.
    let first = task.kill.is_none() || task.kill_cause == KillCause::Asked;
    if first && !task.is_started() {
        core.record(Record::KillDecided(id.clone(), grace, cause), cx);
    }
    match core.durable.tasks.get(id).map(|task| task.phase) {
        Some(Phase::Started(_)) if first => {
            processes::kill_started(core, id, grace, cause, cx);
        }
        _ => kill(core, id, Some(grace), cx),
    }
}

fn acknowledge(core: &mut Core, id: &LaunchId, uuid: UpdateUuid, cx: &mut Cx<'_>) {
    let Some(task) = core.durable.tasks.get(id) else {
        return;
    };
    let is_head = task.updates.front().is_some_and(|head| head.uuid == uuid);
    if !is_head {
        return;
    }
    let ends = task
        .updates
        .front()
        .is_some_and(|head| head.state.is_terminal());
    let more = task.updates.len() > 1;
    let (old_seq, container) = (task.report_seq, task.launch.container);
    let report_seq = (more && !ends).then(|| core.next_report_seq(id));
    let record = Record::Acknowledged {
        id: id.clone(),
        uuid,
        report_seq,
    };
    core.record(record, cx);
    if ends {
        core.forgotten(id, old_seq, container, cx);
    }
}

fn shutdown_framework(core: &mut Core, framework: &FrameworkId, cx: &mut Cx<'_>) {
    let grace = core.timing.shutdown_grace;
    let mine: Vec<_> = core
        .durable
        .tasks
        .iter()
        .filter(|(id, task)| id.key.framework == *framework && !task.silent)
        .map(|(id, task)| {
            (
                id.clone(),
                task.phase,
                task.report_seq,
                task.launch.container,
            )
        })
        .collect();
    let aborted: Vec<_> = core
        .durable
        .executors
        .iter()
        .filter(|(id, executor)| id.key.framework == *framework && !executor.is_started())
        .map(|(id, executor)| (id.clone(), executor.report_seq, executor.container))
        .collect();
    core.record(Record::FrameworkGone(framework.clone(), grace), cx);
    for (id, report_seq, container) in aborted {
        cx.act(Action::Abort(id.clone()));
        core.forgotten(&id, report_seq, container, cx);
    }
    for (id, phase, report_seq, container) in mine {
        core.reports.remove(&report_seq);
        match phase {
            Phase::Started(_) if on(Mutant::FrameworkTasksRunOn) => {}
            Phase::Started(_) => processes::terminate(core, &id, grace, cx),
            Phase::Intended => {
                cx.act(Action::Abort(id.clone()));
                core.forgotten(&id, report_seq, container, cx);
            }
            // They go with their executor.
            Phase::HandedOver | Phase::Ended => core.forgotten(&id, report_seq, container, cx),
        }
    }
    executors::shutdown_all(core, Some(framework), cx);
}
