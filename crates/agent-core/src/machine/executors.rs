//! What happens to executors, and what they and their tasks are told.

use bytes::Bytes;
use regency_types::{DurationMs, ExecutorId, FrameworkId, TaskState};

use crate::check::KillCause;
use crate::durable::{Phase, ProcessRef, Record};
use crate::executor::{
    Executor, ExecutorEvent, ExecutorPhase, ExecutorUpdate, InstanceId, Subscription,
};
use crate::exit::Exit;
use crate::launch::LaunchId;
use crate::message::AgentMessage;
use crate::step::{Action, Cx};
use crate::update::{Reason, Source, Update};

use super::commands::during_launch;
use super::processes::KillTimer;
use super::{Core, News, attachment, groups};

/// Notes an executor and has its process made. One that is in the table was launched before.
pub(super) fn launch(
    core: &mut Core,
    id: InstanceId,
    executor: Executor,
    framework_info: Bytes,
    cx: &mut Cx<'_>,
) {
    if core.durable.executors.contains_key(&id) {
        return;
    }
    core.record(
        Record::ExecutorLaunched {
            id: id.clone(),
            executor,
            framework_info,
        },
        cx,
    );
    if core.removed.is_some() {
        return ended(core, &id, Exit::NotStarted, cx);
    }
    cx.act(Action::Prepare(id));
}

/// A task that was just noted: handed to its executor, kept until that is subscribed, or dropped
/// where there is no such executor.
pub(super) fn queue(core: &mut Core, id: &LaunchId, instance: &InstanceId, cx: &mut Cx<'_>) {
    if !takes_tasks(core, instance) {
        return core.update(id, terminated(), cx);
    }
    if core.durable.executors[instance].built_in {
        let message = "The default executor runs task groups only";
        let news = News::agent(TaskState::Error, Reason::TaskInvalid, message);
        return core.update(id, news, cx);
    }
    if core.subscribed.contains(instance) {
        hand_over(core, std::slice::from_ref(id), instance, cx);
    }
}

pub(super) fn takes_tasks(core: &Core, instance: &InstanceId) -> bool {
    let executor = core.durable.executors.get(instance);
    executor.is_some_and(|e| !e.ending && !e.is_ended())
}

/// What a task is told whose executor is not there any more.
pub(super) fn terminated() -> News {
    News::agent(
        TaskState::Dropped,
        Reason::ExecutorTerminated,
        "Executor terminated",
    )
}

/// Hands over a task, or all of one group. Durable before it is sent: what may have been handed
/// over is never taken for what was not.
pub(super) fn hand_over(
    core: &mut Core,
    tasks: &[LaunchId],
    instance: &InstanceId,
    cx: &mut Cx<'_>,
) {
    for id in tasks {
        core.record(Record::HandedOver(id.clone()), cx);
    }
    let event = match tasks {
        [one] if groups::of(core, one).is_none() => ExecutorEvent::Launch(one.clone()),
        _ => ExecutorEvent::LaunchGroup(tasks.to_vec()),
    };
    tell(instance, event, cx);
}

fn tell(instance: &InstanceId, event: ExecutorEvent, cx: &mut Cx<'_>) {
    cx.act(Action::Tell(instance.clone(), event));
}

/// The shim of an executor waits for its word.
pub(super) fn prepared(core: &mut Core, id: &InstanceId, process: ProcessRef, cx: &mut Cx<'_>) {
    let executor = core.durable.executors.get(id);
    if executor.is_none_or(|e| e.phase != ExecutorPhase::Intended) {
        return cx.act(Action::Abort(id.clone()));
    }
    core.record(Record::ExecutorStarted(id.clone(), process), cx);
    let until = cx.now_ms.saturating_add(core.timing.registration_timeout.0);
    core.awaited
        .insert(id.clone(), (until, Reason::ExecutorRegistrationTimeout));
    cx.act(Action::Go(id.clone()));
}

/// What a built-in executor needs is there: its tasks can be prepared.
pub(super) fn ready(core: &mut Core, id: &InstanceId, cx: &mut Cx<'_>) {
    let executor = core.durable.executors.get(id);
    if executor.is_none_or(|e| e.phase != ExecutorPhase::Intended || !e.built_in) {
        return;
    }
    core.record(Record::ExecutorReady(id.clone()), cx);
    for task in tasks_of(core, id) {
        cx.act(Action::Prepare(task));
    }
    end_when_idle(core, id, cx);
}

/// The process of an executor could not be made.
pub(super) fn launch_failed(core: &mut Core, id: &InstanceId, message: &str, cx: &mut Cx<'_>) {
    let executor = core.durable.executors.get(id);
    if executor.is_some_and(|e| e.phase == ExecutorPhase::Intended) {
        let cause = Reason::ContainerLaunchFailed;
        core.record(Record::ExecutorEnding(id.clone(), Some(cause)), cx);
        ended_with(core, id, Exit::NotStarted, message, cx);
    }
}

/// An executor's process is gone: so are its tasks.
pub(super) fn ended(core: &mut Core, id: &InstanceId, exit: Exit, cx: &mut Cx<'_>) {
    let message = exit.message().replacen("Command", "Executor", 1);
    ended_with(core, id, exit, &message, cx);
}

fn ended_with(core: &mut Core, id: &InstanceId, exit: Exit, message: &str, cx: &mut Cx<'_>) {
    core.kills.remove(id);
    core.awaited.remove(id);
    core.subscribed.remove(id);
    let Some(executor) = core.durable.executors.get(id).filter(|e| !e.is_ended()) else {
        return;
    };
    let cause = executor.cause.unwrap_or(Reason::ExecutorTerminated);
    let (silent, container) = (executor.silent, executor.container);
    let state = match cause {
        Reason::AgentRestarted => TaskState::Dropped,
        Reason::ExecutorReregistrationTimeout => TaskState::Gone,
        _ => TaskState::Failed,
    };
    for task in tasks_of(core, id) {
        core.update(&task, News::agent(state, cause, message), cx);
    }
    if silent {
        core.record(Record::ExecutorForgotten(id.clone()), cx);
        cx.act(Action::Forget(id.clone(), container));
    } else {
        let report_seq = core.next_report_seq(id);
        core.record(
            Record::ExecutorEnded {
                id: id.clone(),
                exit,
                report_seq,
            },
            cx,
        );
    }
    attachment::stop_when_empty(core, cx);
}

/// The tasks of an executor that have not ended, in the order of their launches.
pub(super) fn tasks_of(core: &Core, instance: &InstanceId) -> Vec<LaunchId> {
    let tasks = core.durable.tasks.iter();
    let mut own: Vec<LaunchId> = tasks
        .filter(|(_, task)| task.launch.executor.as_ref() == Some(instance))
        .filter(|(_, task)| task.phase != Phase::Ended)
        .map(|(id, _)| id.clone())
        .collect();
    own.sort_by_key(|id| id.generation);
    own
}

/// The masters know of ends up to this report: they need not be kept.
pub(super) fn forget_committed(core: &mut Core, report_seq: u64, cx: &mut Cx<'_>) {
    let told: Vec<_> = core
        .durable
        .executors
        .iter()
        .filter(|(_, e)| e.is_ended() && e.report_seq <= report_seq)
        .map(|(id, e)| (id.clone(), e.container, e.report_seq))
        .collect();
    for (id, container, number) in told {
        core.reports.remove(&number);
        core.record(Record::ExecutorForgotten(id.clone()), cx);
        cx.act(Action::Forget(id, container));
    }
}

/// Has an executor end: politely while it is subscribed, and by force after its grace. `cause` is
/// what its tasks are told when that is the agent's own decision.
pub(super) fn shutdown(core: &mut Core, id: &InstanceId, cause: Option<Reason>, cx: &mut Cx<'_>) {
    let Some(executor) = core.durable.executors.get(id) else {
        return;
    };
    let (phase, grace) = (executor.phase, executor.shutdown_grace);
    if !executor.ending {
        core.record(Record::ExecutorEnding(id.clone(), cause), cx);
    }
    match phase {
        ExecutorPhase::Ended(_) => {}
        ExecutorPhase::Intended => {
            cx.act(Action::Abort(id.clone()));
            ended(core, id, Exit::NotStarted, cx);
        }
        ExecutorPhase::Ready => {
            for task in tasks_of(core, id) {
                groups::stop(core, &task, Some(grace), KillCause::Asked, cx);
            }
            end_when_idle(core, id, cx);
        }
        ExecutorPhase::Started(_) => {
            if core.subscribed.contains(id) {
                tell(id, ExecutorEvent::Shutdown, cx);
            }
            let at_ms = cx.now_ms.saturating_add(grace.0);
            let timer = core.kills.entry(id.clone()).or_insert(KillTimer { at_ms });
            timer.at_ms = timer.at_ms.min(at_ms);
        }
    }
}

/// Has all executors end, or those of one framework.
pub(super) fn shutdown_all(core: &mut Core, of: Option<&FrameworkId>, cx: &mut Cx<'_>) {
    let executors = core.durable.executors.keys();
    let those: Vec<InstanceId> = executors
        .filter(|id| of.is_none_or(|framework| id.key.framework == *framework))
        .cloned()
        .collect();
    for id in those {
        shutdown(core, &id, None, cx);
    }
}

/// An executor has a stream. What it was not told to be noted comes first, then what it lacks.
pub(super) fn subscribed(
    core: &mut Core,
    id: &InstanceId,
    subscription: Subscription,
    cx: &mut Cx<'_>,
) {
    let executor = core.durable.executors.get(id);
    let Some(executor) = executor.filter(|e| e.is_started()) else {
        return;
    };
    core.awaited.remove(id);
    core.subscribed.insert(id.clone());
    if executor.ending {
        return tell(id, ExecutorEvent::Shutdown, cx);
    }
    tell(id, ExecutorEvent::Subscribed, cx);
    for update in subscription.updates {
        self::update(core, id, update, cx);
    }
    let mut lacking = Vec::new();
    for task in tasks_of(core, id) {
        let Some(known) = core.durable.tasks.get(&task) else {
            continue;
        };
        let listed = subscription.tasks.contains(&task.key.task);
        match known.phase {
            Phase::Intended => lacking.push(task),
            // It was on its way when the stream or the agent ended. An executor that knew of it
            // would list it, or have told of it.
            Phase::HandedOver if known.n_updates == 0 && !listed => lacking.push(task),
            Phase::HandedOver => {
                if let Some(grace) = known.kill {
                    tell(id, ExecutorEvent::Kill(task, Some(grace)), cx);
                }
            }
            Phase::Started(_) | Phase::Ended => {}
        }
    }
    let group = |task: &LaunchId| groups::of(core, task);
    let is_killed = |task: &LaunchId| core.durable.tasks[task].kill.is_some();
    let together = |a: &LaunchId, b: &LaunchId| group(a).is_some() && group(a) == group(b);
    let chunks: Vec<(Vec<LaunchId>, bool)> = lacking
        .chunk_by(together)
        .map(|tasks| (tasks.to_vec(), tasks.iter().any(is_killed)))
        .collect();
    for (tasks, killed) in chunks {
        if !killed {
            hand_over(core, &tasks, id, cx);
            continue;
        }
        for task in tasks {
            core.update(&task, during_launch(), cx);
        }
    }
    end_when_idle(core, id, cx);
}

/// An executor whose first tasks all ended before they were handed over is of no use (Mesos), and
/// a built-in one ends with the last of its tasks.
pub(super) fn end_when_idle(core: &mut Core, id: &InstanceId, cx: &mut Cx<'_>) {
    let Some(executor) = core.durable.executors.get(id) else {
        return;
    };
    let first_came = core.durable.command_seq > executor.command_seq;
    if executor.phase == ExecutorPhase::Ready {
        if (first_came || executor.ending) && tasks_of(core, id).is_empty() {
            ended(core, id, Exit::Exited(0), cx);
        }
        return;
    }
    let idle = !executor.used && first_came && tasks_of(core, id).is_empty();
    if idle && core.subscribed.contains(id) {
        shutdown(core, id, None, cx);
    }
}

/// A launch was withdrawn: it may have been the only one of its executor, which it does not name.
pub(super) fn end_when_all_idle(core: &mut Core, cx: &mut Cx<'_>) {
    let executors = core.durable.executors.keys();
    let all: Vec<InstanceId> = executors.cloned().collect();
    for id in all {
        end_when_idle(core, &id, cx);
    }
}

/// Passes a kill on to the executor. It is told again when it subscribes again.
pub(super) fn kill(
    core: &mut Core,
    id: &LaunchId,
    instance: &InstanceId,
    grace: DurationMs,
    cx: &mut Cx<'_>,
) {
    core.record(Record::KillRequested(id.clone(), grace), cx);
    if core.subscribed.contains(instance) {
        tell(instance, ExecutorEvent::Kill(id.clone(), Some(grace)), cx);
    }
}

/// Its stream ended. It may come back as long as its process lives.
pub(super) fn unsubscribed(core: &mut Core, id: &InstanceId) {
    core.subscribed.remove(id);
}

/// Takes an update of an executor into the task's stream, once, and tells the executor that it is
/// durable. Nothing follows a task's end.
pub(super) fn update(
    core: &mut Core,
    instance: &InstanceId,
    update: ExecutorUpdate,
    cx: &mut Cx<'_>,
) {
    let newest = core.durable.task_in(instance, &update.task);
    let wanted = newest.filter(|(_, task)| {
        !task.silent && task.phase != Phase::Ended && !task.seen.contains(&update.uuid)
    });
    let wanted = wanted.map(|(id, task)| {
        let told = task.kill.and(task.kill_cause.told(update.state));
        (id.clone(), task.n_updates + 1, told)
    });
    if let Some((id, task_seq, told)) = wanted {
        let (state, reason) = told.unzip();
        let made = Update {
            uuid: update.uuid,
            task_seq,
            state: state.unwrap_or(update.state),
            source: Source::Executor,
            reason,
            message: None,
            healthy: None,
            check_status: None,
            timestamp: cx.wall,
            status: update.status,
        };
        let report_seq = core.next_report_seq(&id);
        core.record(
            Record::Updated {
                id,
                update: made,
                report_seq,
            },
            cx,
        );
    }
    let acknowledged = ExecutorEvent::Acknowledged(update.task, update.uuid);
    tell(instance, acknowledged, cx);
}

/// A framework speaks to its executor: passed on now or never.
pub(super) fn message(
    core: &Core,
    framework: &FrameworkId,
    executor: &ExecutorId,
    data: Bytes,
    cx: &mut Cx<'_>,
) {
    let instance = core
        .subscribed
        .iter()
        .rev()
        .find(|id| id.key.framework == *framework && id.key.task.as_str() == executor.as_str());
    if let Some(instance) = instance {
        tell(instance, ExecutorEvent::Message(data), cx);
    }
}

/// An executor speaks to its framework: passed on now or never.
pub(super) fn spoke(core: &Core, id: &InstanceId, data: Bytes, cx: &mut Cx<'_>) {
    if let Some(attached) = core.connection.attached() {
        let message = AgentMessage::ExecutorMessage {
            executor: id.clone(),
            data,
        };
        cx.act(Action::Send(attached.stream, message));
    }
}

/// Goes on with an executor after a start of the agent. `fact` is what was found of its process.
pub(super) fn recover(
    core: &mut Core,
    id: &InstanceId,
    fact: Option<super::ProcessFact>,
    rebooted: bool,
    cx: &mut Cx<'_>,
) {
    use super::ProcessFact;
    let Some(executor) = core.durable.executors.get(id) else {
        return;
    };
    match executor.phase {
        ExecutorPhase::Ended(_) => {}
        ExecutorPhase::Intended => {
            let cause = Reason::AgentRestarted;
            core.record(Record::ExecutorEnding(id.clone(), Some(cause)), cx);
            ended(core, id, Exit::NotStarted, cx);
        }
        // Its tasks tell by themselves how they are.
        ExecutorPhase::Ready => {}
        ExecutorPhase::Started(_) => match fact.unwrap_or(ProcessFact::Ended(Exit::Lost)) {
            ProcessFact::Alive if executor.ending => shutdown(core, id, None, cx),
            ProcessFact::Alive => {
                let until = cx
                    .now_ms
                    .saturating_add(core.timing.reregistration_timeout.0);
                core.awaited
                    .insert(id.clone(), (until, Reason::ExecutorReregistrationTimeout));
            }
            ProcessFact::Ended(exit) => {
                if rebooted && exit == Exit::Lost {
                    for task in tasks_of(core, id) {
                        core.update(&task, super::recovery::machine_restarted(), cx);
                    }
                }
                ended(core, id, exit, cx);
            }
        },
    }
}

/// Gives up executors that did not subscribe in time.
pub(super) fn tick(core: &mut Core, cx: &mut Cx<'_>) {
    let late: Vec<_> = core
        .awaited
        .iter()
        .filter(|(_, (until, _))| cx.now_ms >= *until)
        .map(|(id, (_, cause))| (id.clone(), *cause))
        .collect();
    for (id, cause) in late {
        core.awaited.remove(&id);
        core.record(Record::ExecutorEnding(id.clone(), Some(cause)), cx);
        let at_ms = cx.now_ms;
        core.kills.insert(id, KillTimer { at_ms });
    }
}
