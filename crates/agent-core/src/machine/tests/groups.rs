//! Task groups: started together, ended together where one does not finish.

use regency_types::TaskState;

use super::executors::{PROCESS, executor, launch_executor};
use super::*;
use crate::message::Member;
use crate::{
    ExecutorEvent, Exit, Finding, HealthRule, InstanceId, ProcessFact, Reason, Source, Subscription,
};

fn member(id: &LaunchId) -> Member {
    Member {
        id: id.clone(),
        task_info: Bytes::from_static(b"t"),
        kill_grace: Some(DurationMs(2_000)),
        health: None,
        check: None,
        max_completion: None,
        defect: None,
    }
}

fn launch_group(executor: &InstanceId, members: Vec<Member>) -> Command {
    Command::LaunchGroup {
        executor: executor.clone(),
        framework_info: Bytes::from_static(b"f"),
        killing_state: false,
        members,
    }
}

fn built_in(id: &InstanceId) -> Command {
    match launch_executor(id) {
        Command::LaunchExecutor {
            id,
            framework_info,
            executor_info,
            shutdown_grace,
            ..
        } => Command::LaunchExecutor {
            id,
            built_in: true,
            framework_info,
            executor_info,
            shutdown_grace,
        },
        other => panic!("{other:?}"),
    }
}

fn ids() -> (InstanceId, LaunchId, LaunchId) {
    (executor(1), launch_id("a", 2), launch_id("b", 3))
}

impl Bench {
    /// A group whose sandboxes and processes are being made.
    fn preparing(change: impl FnOnce(&mut Vec<Member>)) -> Self {
        let (pod, a, b) = ids();
        let mut bench = Self::attached();
        bench.command(built_in(&pod));
        assert_eq!(bench.take_deeds(), [Action::Prepare(pod.clone())]);
        let mut members = vec![member(&a), member(&b)];
        change(&mut members);
        bench.command(launch_group(&pod, members));
        assert_eq!(bench.take_deeds(), [], "its executor is not ready");
        bench.input(Input::ExecutorReady(pod));
        assert_eq!(bench.take_deeds(), [Action::Prepare(a), Action::Prepare(b)]);
        bench
    }

    /// A group that runs.
    fn group(change: impl FnOnce(&mut Vec<Member>)) -> Self {
        let (_, a, b) = ids();
        let mut bench = Self::preparing(change);
        for id in [&a, &b] {
            bench.input(Input::Prepared(id.clone(), PROCESS));
        }
        assert_eq!(
            bench.take_deeds(),
            [Action::Go(a.clone()), Action::Go(b.clone())]
        );
        for id in [a, b] {
            bench.input(Input::Running(id));
        }
        bench
    }

    /// The agent dies and starts again; what it had started is in these states.
    fn dies(&mut self, facts: &[(&LaunchId, ProcessFact)]) {
        let durable = self.core.durable().clone();
        self.core = Core::new(durable, Timing::STANDARD);
        let facts = facts.iter().map(|(id, fact)| ((*id).clone(), *fact));
        let facts = facts.collect();
        self.step(|core, cx| core.recover(BootId(1), &facts, cx));
    }

    fn last(&self, id: &LaunchId) -> crate::Update {
        let task = self.core.durable().tasks.get(id);
        let update = task.and_then(|task| task.updates.back());
        update.expect("an update").clone()
    }

    fn reasons(&self, id: &LaunchId) -> (TaskState, Option<Reason>) {
        let last = self.last(id);
        (last.state, last.reason)
    }

    /// Whether the executor ended, and how.
    fn end_of(&self, pod: &InstanceId) -> Option<Exit> {
        match self.core.durable().executors.get(pod)?.phase {
            crate::ExecutorPhase::Ended(exit) => Some(exit),
            _ => None,
        }
    }
}

#[test]
fn tasks_of_a_group_wait_for_each_other_and_start_in_one_step() {
    let (pod, a, b) = ids();
    let mut bench = Bench::preparing(|_| {});
    bench.input(Input::Prepared(b.clone(), PROCESS));
    assert_eq!(bench.take_deeds(), []);
    assert_eq!(bench.states(&b), <[&str; 0]>::default());
    bench.input(Input::Prepared(a.clone(), PROCESS));
    let sent = bench.take_sent();
    let [AgentMessage::Reports { reports, .. }] = &sent[..] else {
        panic!("{sent:?}");
    };
    let container = bench.core.durable().executors[&pod].container;
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!(report.latest_state, TaskState::Starting);
        assert_eq!(report.parent, Some(container));
        assert_eq!(report.executor, Some(pod.clone()));
    }
}

#[test]
fn one_that_fails_takes_the_others_with_it_and_the_executor_ends_last() {
    let (pod, a, b) = ids();
    let mut bench = Bench::group(|_| {});
    bench.actions.clear();
    bench.input(Input::Ended(a.clone(), Exit::Exited(3)));
    assert_eq!(bench.take_deeds(), [Action::Terminate(b.clone())]);
    assert_eq!(bench.reasons(&a), (TaskState::Failed, None));
    bench.wait(2_000);
    assert_eq!(bench.take_deeds(), [Action::Destroy(b.clone())]);
    assert_eq!(bench.end_of(&pod), None);
    bench.input(Input::Ended(b.clone(), Exit::Signaled(9)));
    assert_eq!(bench.reasons(&b), (TaskState::Killed, None));
    assert_eq!(bench.last(&b).source, Source::Executor);
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
    let sent = bench.take_sent();
    let [
        AgentMessage::Reports { .. },
        AgentMessage::ExecutorExit { exit, .. },
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    assert_eq!(*exit, Exit::Exited(0));
}

#[test]
fn one_that_finishes_leaves_the_others_alone() {
    let (pod, a, b) = ids();
    let mut bench = Bench::group(|_| {});
    bench.actions.clear();
    bench.input(Input::Ended(a, Exit::Exited(0)));
    assert_eq!(bench.take_deeds(), []);
    assert_eq!(bench.end_of(&pod), None);
    bench.input(Input::Ended(b, Exit::Exited(0)));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
}

#[test]
fn an_unhealthy_one_is_killed_and_then_the_others() {
    let (_, a, b) = ids();
    let mut bench = Bench::group(|members| {
        members[1].health = Some(HealthRule {
            consecutive_failures: 1,
            grace: DurationMs(0),
        });
    });
    bench.actions.clear();
    bench.input(Input::Found(b.clone(), Finding::Health(false)));
    assert_eq!(bench.take_deeds(), [Action::Terminate(b.clone())]);
    let told = bench.last(&b);
    let reason = Some(Reason::TaskHealthCheckStatusUpdated);
    assert_eq!(
        (told.state, told.healthy, told.reason),
        (TaskState::Running, Some(false), reason)
    );
    bench.input(Input::Ended(b.clone(), Exit::Signaled(15)));
    let told = bench.last(&b);
    assert_eq!((told.state, told.healthy), (TaskState::Killed, Some(false)));
    assert_eq!(bench.take_deeds(), [Action::Terminate(a.clone())]);
    // What it says of its end counts for nothing.
    bench.input(Input::Ended(a.clone(), Exit::Exited(0)));
    let told = bench.last(&a);
    assert_eq!((told.state, told.healthy), (TaskState::Killed, None));
}

#[test]
fn a_kill_before_the_start_drops_the_whole_group() {
    let (pod, a, b) = ids();
    let mut bench = Bench::preparing(|_| {});
    bench.input(Input::Prepared(b.clone(), PROCESS));
    let id = b.clone();
    bench.command(Command::Kill { id, grace: None });
    let aborted = [Action::Abort(a.clone()), Action::Abort(b.clone())];
    assert_eq!(bench.take_deeds(), aborted);
    let killed = (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch));
    assert_eq!((bench.reasons(&a), bench.reasons(&b)), (killed, killed));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
    // It came too late to be run.
    bench.input(Input::Prepared(a.clone(), PROCESS));
    assert_eq!(bench.take_deeds(), [Action::Abort(a)]);
}

#[test]
fn one_that_cannot_be_made_fails_and_the_others_never_start() {
    let (_, a, b) = ids();
    let mut bench = Bench::preparing(|_| {});
    bench.input(Input::Prepared(a.clone(), PROCESS));
    bench.input(Input::LaunchFailed(b.clone(), "no file".to_owned()));
    assert_eq!(bench.take_deeds(), [Action::Abort(a.clone())]);
    let failed = (TaskState::Failed, Some(Reason::ContainerLaunchFailed));
    assert_eq!(bench.reasons(&b), failed);
    let killed = (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch));
    assert_eq!(bench.reasons(&a), killed);
}

#[test]
fn a_group_whose_executor_cannot_be_made_fails() {
    let (pod, a, b) = ids();
    let mut bench = Bench::attached();
    bench.command(built_in(&pod));
    bench.command(launch_group(&pod, vec![member(&a), member(&b)]));
    bench.input(Input::LaunchFailed(pod.clone(), "no space".to_owned()));
    let failed = (TaskState::Failed, Some(Reason::ContainerLaunchFailed));
    assert_eq!((bench.reasons(&a), bench.reasons(&b)), (failed, failed));
    assert_eq!(bench.end_of(&pod), Some(Exit::NotStarted));
}

#[test]
fn a_crash_before_the_start_drops_all_and_after_it_all_go_on() {
    let (pod, a, b) = ids();
    let mut bench = Bench::preparing(|_| {});
    bench.input(Input::Prepared(a.clone(), PROCESS));
    bench.dies(&[]);
    let dropped = (TaskState::Dropped, Some(Reason::AgentRestarted));
    assert_eq!((bench.reasons(&a), bench.reasons(&b)), (dropped, dropped));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));

    let mut bench = Bench::group(|_| {});
    let alive = [(&a, ProcessFact::Alive), (&b, ProcessFact::Alive)];
    bench.dies(&alive);
    bench.actions.clear();
    bench.input(Input::Ended(a.clone(), Exit::Exited(1)));
    assert_eq!(bench.take_deeds(), [Action::Terminate(b.clone())]);
    // A kill that was decided goes on.
    bench.dies(&[(&b, ProcessFact::Alive)]);
    assert_eq!(bench.take_deeds(), [Action::Terminate(b.clone())]);
    bench.input(Input::Ended(b.clone(), Exit::Signaled(15)));
    assert_eq!(bench.reasons(&b), (TaskState::Killed, None));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
}

#[test]
fn an_end_while_the_agent_was_down_takes_the_others_with_it() {
    let (_, a, b) = ids();
    let mut bench = Bench::group(|_| {});
    bench.actions.clear();
    let ended = ProcessFact::Ended(Exit::Exited(2));
    bench.dies(&[(&a, ended), (&b, ProcessFact::Alive)]);
    assert_eq!(bench.take_deeds(), [Action::Terminate(b)]);
    assert_eq!(bench.reasons(&a), (TaskState::Failed, None));
}

#[test]
fn one_bad_description_is_told_for_all() {
    let (pod, a, b) = ids();
    let mut bench = Bench::attached();
    bench.command(built_in(&pod));
    let mut members = vec![member(&a), member(&b)];
    members[1].defect = Some("no images here".to_owned());
    bench.command(launch_group(&pod, members));
    bench.take_deeds();
    bench.input(Input::ExecutorReady(pod.clone()));
    assert_eq!(bench.take_deeds(), []);
    let invalid = (TaskState::Error, Some(Reason::TaskGroupInvalid));
    assert_eq!((bench.reasons(&a), bench.reasons(&b)), (invalid, invalid));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
}

#[test]
fn groups_of_one_executor_do_not_touch_each_other() {
    let (pod, a, b) = ids();
    let mut bench = Bench::group(|_| {});
    let c = launch_id("c", 4);
    bench.command(launch_group(&pod, vec![member(&c)]));
    assert_eq!(bench.take_deeds(), [Action::Prepare(c.clone())]);
    bench.input(Input::Prepared(c.clone(), PROCESS));
    assert_eq!(bench.take_deeds(), [Action::Go(c.clone())]);
    bench.input(Input::Ended(a, Exit::Exited(1)));
    assert_eq!(bench.take_deeds(), [Action::Terminate(b.clone())]);
    bench.input(Input::Ended(b, Exit::Signaled(15)));
    assert_eq!(bench.end_of(&pod), None);
    bench.input(Input::Ended(c, Exit::Exited(0)));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));

    // A later group was sent to an executor that is gone.
    let d = launch_id("d", 5);
    bench.command(launch_group(&pod, vec![member(&d)]));
    let dropped = (TaskState::Dropped, Some(Reason::ExecutorTerminated));
    assert_eq!(bench.reasons(&d), dropped);
}

#[test]
fn a_withdrawn_group_leaves_an_executor_without_work_which_ends() {
    let (pod, a, b) = ids();
    let mut bench = Bench::attached();
    bench.command(built_in(&pod));
    bench.input(Input::ExecutorReady(pod.clone()));
    assert_eq!(bench.end_of(&pod), None, "its group may come");
    bench.command(Command::DropGroup(vec![a.clone(), b.clone()]));
    let dropped = (TaskState::Dropped, Some(Reason::Reconciliation));
    assert_eq!((bench.reasons(&a), bench.reasons(&b)), (dropped, dropped));
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
    bench.take_deeds();
    bench.command(launch_group(&pod, vec![member(&a), member(&b)]));
    assert_eq!(bench.take_deeds(), []);
}

#[test]
fn a_shutdown_kills_all_within_the_grace_of_the_executor() {
    let (pod, a, b) = ids();
    let mut bench = Bench::group(|_| {});
    bench.actions.clear();
    bench.command(Command::ShutdownExecutor(pod.clone()));
    let both = [Action::Terminate(a.clone()), Action::Terminate(b.clone())];
    assert_eq!(bench.take_deeds(), both);
    bench.wait(1_000);
    let both = [Action::Destroy(a.clone()), Action::Destroy(b.clone())];
    assert_eq!(bench.take_deeds(), both);
    for id in [a, b] {
        bench.input(Input::Ended(id.clone(), Exit::Signaled(9)));
        assert_eq!(bench.reasons(&id), (TaskState::Killed, None));
    }
    assert_eq!(bench.end_of(&pod), Some(Exit::Exited(0)));
}

#[test]
fn a_framework_that_is_gone_takes_its_groups_with_it() {
    let (pod, a, b) = ids();
    let mut bench = Bench::group(|_| {});
    bench.take_deeds();
    bench.command(Command::ShutdownFramework(framework()));
    let deeds = bench.take_deeds();
    assert!(deeds.contains(&Action::Terminate(a.clone())), "{deeds:?}");
    assert!(deeds.contains(&Action::Terminate(b.clone())), "{deeds:?}");
    assert!(!bench.core.durable().executors.contains_key(&pod));
    for id in [a, b] {
        bench.input(Input::Ended(id, Exit::Signaled(15)));
    }
    assert!(bench.core.durable().tasks.is_empty());
    assert!(bench.core.durable().frameworks.is_empty());
}

#[test]
fn an_executor_of_the_framework_is_told_of_a_group_as_a_whole() {
    let (own, a, b) = ids();
    let mut bench = Bench::attached();
    bench.command(launch_executor(&own));
    bench.command(launch_group(&own, vec![member(&a), member(&b)]));
    bench.input(Input::Prepared(own.clone(), PROCESS));
    bench.take_deeds();
    let subscribe = |bench: &mut Bench| {
        let nothing = Subscription::default();
        bench.input(Input::ExecutorSubscribed(own.clone(), nothing));
        bench.take_told(&own)
    };
    let group = ExecutorEvent::LaunchGroup(vec![a.clone(), b.clone()]);
    let told = [ExecutorEvent::Subscribed, group.clone()];
    assert_eq!(subscribe(&mut bench), told);
    // It never heard of it.
    assert_eq!(subscribe(&mut bench), told);
    // One of them is killed before it hears of it.
    let id = a.clone();
    bench.command(Command::Kill { id, grace: None });
    bench.take_deeds();
    let told = subscribe(&mut bench);
    assert_eq!(told, [ExecutorEvent::Subscribed], "{told:?}");
    let killed = (TaskState::Killed, Some(Reason::TaskKilledDuringLaunch));
    assert_eq!((bench.reasons(&a), bench.reasons(&b)), (killed, killed));
}
