//! What checks and time limits do to tasks that run.
//!
//! Failures in a row are counted in memory, as is what is left of the grace period: a restart of
//! the agent counts anew, because nothing was checked while it was down. Whether a task was ever
//! healthy is durable.

use regency_types::{DurationMs, TaskState};

use crate::check::{CheckStatus, Finding, KillCause};
use crate::durable::Task;
use crate::launch::LaunchId;
use crate::step::{Action, Cx};
use crate::update::Reason;

use super::{Core, News, processes};

/// No more news of checks are made while so many updates of a task wait for their
/// acknowledgement. The finding that differs after that is told then.
pub(super) const UPDATES_WAITING_MAX: usize = 64;

/// A health check that goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Health {
    /// Until then failures do not count, if the task was never healthy.
    grace_until_ms: u64,
    /// Failures in a row.
    failures: u32,
}

/// How long a task has run, as far as the wall clock knows.
fn age_ms(task: &Task, cx: &Cx<'_>) -> u64 {
    task.started
        .map_or(0, |started| cx.wall.0.saturating_sub(started.0))
}

/// The command of a launch runs: its checks and its time limit begin, or go on.
pub(super) fn begin(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    let Some(task) = core.durable.tasks.get(id) else {
        return;
    };
    if !is_checked(task) {
        return;
    }
    let age_ms = age_ms(task, cx);
    let launch = &task.launch;
    if let Some(limit) = launch.max_completion {
        let left_ms = limit.0.saturating_sub(age_ms);
        let at_ms = cx.now_ms.saturating_add(left_ms);
        core.time_limits.entry(id.clone()).or_insert(at_ms);
    }
    if let Some(rule) = launch.health {
        let grace_ms = rule.grace.0.saturating_sub(age_ms);
        core.healths.entry(id.clone()).or_insert(Health {
            grace_until_ms: cx.now_ms.saturating_add(grace_ms),
            failures: 0,
        });
    }
    if launch.health.is_some() || launch.check.is_some() {
        cx.act(Action::Check(id.clone()));
    }
}

/// The launch ended.
pub(super) fn end(core: &mut Core, id: &LaunchId) {
    core.healths.remove(id);
    core.time_limits.remove(id);
}

/// Checks mean nothing any more for a task that is being killed, or that nobody hears of.
fn is_checked(task: &Task) -> bool {
    task.is_started() && task.kill.is_none() && !task.silent
}

pub(super) fn found(core: &mut Core, id: &LaunchId, finding: Finding, cx: &mut Cx<'_>) {
    let checked = core.durable.tasks.get(id).filter(|task| is_checked(task));
    // What was found before anybody could tell that it runs would come out of order.
    if checked.is_none_or(|task| task.latest_state != TaskState::Running) {
        return;
    }
    match finding {
        Finding::Health(true) => passed(core, id, cx),
        Finding::Health(false) => failed(core, id, cx),
        Finding::Check(status) => check_status(core, id, status, cx),
    }
}

fn passed(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    if let Some(health) = core.healths.get_mut(id) {
        health.failures = 0;
    }
    tell_health(core, id, true, cx);
}

fn failed(core: &mut Core, id: &LaunchId, cx: &mut Cx<'_>) {
    let (Some(task), Some(health)) = (core.durable.tasks.get(id), core.healths.get_mut(id)) else {
        return;
    };
    let Some(rule) = task.launch.health else {
        return;
    };
    if !task.was_healthy && cx.now_ms < health.grace_until_ms {
        return;
    }
    health.failures = health.failures.saturating_add(1);
    let is_over = health.failures >= rule.consecutive_failures;
    let grace = task.launch.kill_grace;
    tell_health(core, id, false, cx);
    if is_over {
        processes::kill_started(core, id, grace, KillCause::Unhealthy, cx);
    }
}

fn tell_health(core: &mut Core, id: &LaunchId, healthy: bool, cx: &mut Cx<'_>) {
    let is_news = core.durable.tasks.get(id).is_some_and(|task| {
        task.healthy != Some(healthy) && task.updates.len() < UPDATES_WAITING_MAX
    });
    if is_news {
        let news = News {
            healthy: Some(healthy),
            reason: Some(Reason::TaskHealthCheckStatusUpdated),
            ..News::course(TaskState::Running)
        };
        core.update(id, news, cx);
    }
}

fn check_status(core: &mut Core, id: &LaunchId, status: CheckStatus, cx: &mut Cx<'_>) {
    let is_news = core.durable.tasks.get(id).is_some_and(|task| {
        task.check_status != Some(status) && task.updates.len() < UPDATES_WAITING_MAX
    });
    if is_news {
        let news = News {
            check_status: Some(status),
            reason: Some(Reason::TaskCheckStatusUpdated),
            ..News::course(TaskState::Running)
        };
        core.update(id, news, cx);
    }
}

/// Kills what ran too long.
pub(super) fn tick(core: &mut Core, cx: &mut Cx<'_>) {
    let due: Vec<LaunchId> = core
        .time_limits
        .iter()
        .filter(|(_, at_ms)| cx.now_ms >= **at_ms)
        .map(|(id, _)| id.clone())
        .collect();
    for id in due {
        core.time_limits.remove(&id);
        if core.durable.tasks.get(&id).is_some_and(is_checked) {
            processes::kill_started(core, &id, DurationMs(0), KillCause::TooLong, cx);
        }
    }
}
