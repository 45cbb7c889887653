//! Task groups, and what the agent does in the place of a built-in executor.
//!
//! The tasks of a group are noted in one step. In a built-in executor the process of each is made
//! and waits; only when all of them wait are they recorded as started, again in one step, and told
//! to run. So there is no moment at which a crash leaves half a group to be started.
//!
//! A task of a built-in executor that ends otherwise than by finishing takes the others of its
//! group with it (the default restart policy of Mesos). That these are killed is recorded in the
//! step that records its end.

use bytes::Bytes;
use regency_types::{DurationMs, Generation, TaskState};

use crate::check::KillCause;
use crate::durable::{Phase, ProcessRef, Record};
use crate::executor::{ExecutorPhase, InstanceId};
use crate::launch::{KILL_GRACE_DEFAULT, Launch, LaunchId};
use crate::message::Member;
use crate::step::{Action, Cx};
use crate::update::Reason;

use super::commands::{bury, during_launch};
use super::{Core, News, executors, processes};

/// The group that a launch in the table is one of.
pub(super) fn of(core: &Core, id: &LaunchId) -> Option<Generation> {
    core.durable.tasks.get(id)?.launch.group
}

/// The tasks of the same group that have not ended, itself included, in the order of their launches.
fn members(core: &Core, id: &LaunchId) -> Vec<LaunchId> {
    let Some(task) = core.durable.tasks.get(id) else {
        return Vec::new();
    };
    let (Some(group), Some(executor)) = (task.launch.group, &task.launch.executor) else {
        return Vec::new();
    };
    let mut all = executors::tasks_of(core, executor);
    all.retain(|other| of(core, other) == Some(group));
    all
}

/// Notes a group, and begins with it when its executor is there.
pub(super) fn launch(
    core: &mut Core,
    executor: &InstanceId,
    framework_info: &Bytes,
    killing_state: bool,
    members: Vec<Member>,
    cx: &mut Cx<'_>,
) {
    let Some(group) = members.first().map(|first| first.id.generation) else {
        return;
    };
    let is_known = |id: &LaunchId| core.durable.tasks.contains_key(id);
    let (known, fresh): (Vec<_>, Vec<_>) = members.iter().partition(|member| is_known(&member.id));
    if !known.is_empty() {
        // It was started, or part of it was buried; either way it is not started now.
        for member in fresh {
            bury(core, member.id.clone(), executors::terminated(), cx);
        }
        return;
    }
    let known = core.durable.executors.get(executor);
    let parent = known.filter(|e| e.built_in).map(|e| e.container);
    let ready = known.is_some_and(|e| e.phase == ExecutorPhase::Ready);
    let defect = members.iter().find_map(|member| {
        let defect = member.defect.as_ref()?;
        Some(format!(
            "Task '{}' of the group is invalid: {defect}",
            member.id.key.task
        ))
    });
    let mut ids = Vec::new();
    for member in members {
        ids.push(member.id.clone());
        let launch = Launch {
            id: member.id,
            container: cx.mint.container_id(),
            task_info: member.task_info,
            kill_grace: member.kill_grace.unwrap_or(KILL_GRACE_DEFAULT),
            killing_state,
            executor: Some(executor.clone()),
            group: Some(group),
            parent,
            health: member.health,
            check: member.check,
            max_completion: member.max_completion,
        };
        let framework_info = framework_info.clone();
        core.record(
            Record::Launched {
                launch,
                framework_info,
            },
            cx,
        );
    }
    if let Some(defect) = defect {
        for id in &ids {
            let reason = Reason::TaskGroupInvalid;
            core.update(
                id,
                News::agent(TaskState::Error, reason, defect.clone()),
                cx,
            );
        }
        executors::end_when_idle(core, executor, cx);
    } else if !executors::takes_tasks(core, executor) {
        for id in &ids {
            core.update(id, executors::terminated(), cx);
        }
    } else if ready {
        for id in ids {
            cx.act(Action::Prepare(id));
        }
    } else if core.subscribed.contains(executor) {
        executors::hand_over(core, &ids, executor, cx);
    }
}

/// The process of a task waits for its word, which comes when those of its whole group do.
pub(super) fn prepared(core: &mut Core, id: &LaunchId, process: ProcessRef, cx: &mut Cx<'_>) {
    core.prepared.insert(id.clone(), process);
    let members = members(core, id);
    let waiting = members
        .iter()
        .map(|id| Some((id.clone(), *core.prepared.get(id)?)));
    let Some(waiting) = waiting.collect::<Option<Vec<_>>>() else {
        return;
    };
    for (id, process) in &waiting {
        core.prepared.remove(id);
        core.record(Record::Started(id.clone(), *process), cx);
        core.update(id, News::course(TaskState::Starting), cx);
    }
    for (id, _) in waiting {
        cx.act(Action::Go(id));
    }
}

/// One task of a group that was not started is killed: none of it is started (Mesos).
pub(super) fn kill_before_start(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    let executor = core.durable.tasks.get(id);
    let executor = executor.and_then(|task| task.launch.executor.clone());
    for member in members(core, id) {
        drop_intended(core, &member, during_launch(), cx);
    }
    if let Some(executor) = executor {
        executors::end_when_idle(core, &executor, cx);
    }
}

/// Ends a task that was not started.
fn drop_intended(core: &mut Core, id: &LaunchId, news: News, cx: &mut Cx<'_>) {
    let Some(task) = core
        .durable
        .tasks
        .get(id)
        .filter(|t| t.phase == Phase::Intended)
    else {
        return;
    };
    let has_command = task.launch.has_command();
    core.update(id, news, cx);
    if has_command {
        core.prepared.remove(id);
        cx.act(Action::Abort(id.clone()));
    }
}

/// Kills a task of a built-in executor, with a grace of at most `grace`.
pub(super) fn stop(
    core: &mut Core,
    id: &LaunchId,
    grace: Option<DurationMs>,
    cause: KillCause,
    cx: &mut Cx<'_>,
) {
    let Some(task) = core.durable.tasks.get(id) else {
        return;
    };
    match task.phase {
        Phase::HandedOver | Phase::Ended => {}
        Phase::Intended => {
            let message = match cause {
                KillCause::Group => "Another task of its group ended before it was started",
                _ => "Its executor was shut down before it was started",
            };
            let reason = Reason::TaskKilledDuringLaunch;
            let news = News::agent(TaskState::Killed, reason, message);
            drop_intended(core, id, news, cx);
        }
        // It goes on being killed as it is.
        Phase::Started(_) if task.kill.is_some() && grace.is_none() => {}
        Phase::Started(_) => {
            let own = task.launch.kill_grace;
            let grace = grace.map_or(own, |grace| own.min(grace));
            processes::kill_started(core, id, grace, cause, cx);
        }
    }
}

/// Follows the ends of tasks of built-in executors with what they mean for the others.
pub(super) fn settle(core: &mut Core, cx: &mut Cx<'_>) {
    while let Some(id) = core.ended.pop() {
        core.prepared.remove(&id);
        let Some(task) = core.durable.tasks.get(&id) else {
            continue;
        };
        let executor = task.launch.executor.clone();
        if task.latest_state != TaskState::Finished {
            for other in members(core, &id) {
                stop(core, &other, None, KillCause::Group, cx);
            }
        }
        if let Some(executor) = executor {
            executors::end_when_idle(core, &executor, cx);
        }
    }
}
