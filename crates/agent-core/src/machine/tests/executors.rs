//! Executors: started once, tasks handed over once, updates taken once, ends told once.

use std::collections::BTreeSet;

use regency_types::{ExecutorId, TaskState};

use super::*;
use crate::{ExecutorEvent, ExecutorUpdate, Exit, InstanceId, ProcessFact, Subscription};

pub(super) const PROCESS: ProcessRef = ProcessRef {
    pid: 7,
    start_ticks: 7,
    boot: BootId(1),
};

pub(super) fn executor(instance: u64) -> InstanceId {
    launch_id("e", instance)
}

pub(super) fn launch_executor(id: &InstanceId) -> Command {
    Command::LaunchExecutor {
        id: id.clone(),
        built_in: false,
        framework_info: Bytes::from_static(b"f"),
        executor_info: Bytes::from_static(b"e"),
        shutdown_grace: Some(DurationMs(1_000)),
    }
}

fn launch_in(id: &LaunchId, executor: &InstanceId) -> Command {
    match launch(id) {
        Command::Launch {
            id,
            framework_info,
            task_info,
            kill_grace,
            killing_state,
            health,
            check,
            max_completion,
            defect,
            ..
        } => Command::Launch {
            id,
            framework_info,
            task_info,
            kill_grace,
            killing_state,
            health,
            check,
            max_completion,
            executor: Some(executor.clone()),
            defect,
        },
        other => panic!("{other:?}"),
    }
}

fn news(task: &str, uuid: u128, state: TaskState) -> ExecutorUpdate {
    ExecutorUpdate {
        task: TaskId::new(task).expect("an id"),
        uuid: UpdateUuid(uuid),
        state,
        status: Bytes::from_static(b"status"),
    }
}

fn acknowledged(task: &str, uuid: u128) -> ExecutorEvent {
    ExecutorEvent::Acknowledged(TaskId::new(task).expect("an id"), UpdateUuid(uuid))
}

impl Bench {
    /// An executor whose process runs, with one task that waits for it.
    fn started() -> (Self, InstanceId, LaunchId) {
        let mut bench = Self::attached();
        let (instance, task) = (executor(1), launch_id("t", 2));
        bench.command(launch_executor(&instance));
        bench.command(launch_in(&task, &instance));
        assert_eq!(bench.take_deeds(), [Action::Prepare(instance.clone())]);
        bench.input(Input::Prepared(instance.clone(), PROCESS));
        assert_eq!(bench.take_deeds(), [Action::Go(instance.clone())]);
        (bench, instance, task)
    }

    /// As [`Self::started`], and it subscribed.
    fn subscribed() -> (Self, InstanceId, LaunchId) {
        let (mut bench, instance, task) = Self::started();
        bench.input(Input::ExecutorSubscribed(
            instance.clone(),
            Subscription::default(),
        ));
        let told = [
            ExecutorEvent::Subscribed,
            ExecutorEvent::Launch(task.clone()),
        ];
        assert_eq!(bench.take_told(&instance), told);
        (bench, instance, task)
    }

    pub(super) fn take_told(&mut self, id: &InstanceId) -> Vec<ExecutorEvent> {
        let deeds = self.take_deeds().into_iter();
        let told = deeds.filter_map(|action| match action {
            Action::Tell(to, event) => {
                assert_eq!(to, *id);
                Some(event)
            }
            _ => None,
        });
        told.collect()
    }

    /// The agent dies and starts again; the executor's process is in this state.
    fn restart(&mut self, id: &InstanceId, fact: ProcessFact) {
        let durable = self.core.durable().clone();
        self.core = Core::new(durable, Timing::STANDARD);
        let facts = BTreeMap::from([(id.clone(), fact)]);
        self.step(|core, cx| core.recover(BootId(1), &facts, cx));
    }
}

#[test]
fn tasks_wait_for_the_subscription_and_are_handed_over_in_the_order_of_their_launches() {
    let (mut bench, instance, first) = Bench::started();
    // Its id comes before that of the first one.
    let second = launch_id("a", 3);
    bench.command(launch_in(&second, &instance));
    assert_eq!(bench.take_deeds(), []);
    bench.input(Input::ExecutorSubscribed(
        instance.clone(),
        Subscription::default(),
    ));
    let told = [
        ExecutorEvent::Subscribed,
        ExecutorEvent::Launch(first),
        ExecutorEvent::Launch(second),
    ];
    assert_eq!(bench.take_told(&instance), told);
    let third = launch_id("b", 4);
    bench.command(launch_in(&third, &instance));
    assert_eq!(bench.take_told(&instance), [ExecutorEvent::Launch(third)]);
}

#[test]
fn an_update_is_taken_once_and_acknowledged_each_time() {
    let (mut bench, instance, task) = Bench::subscribed();
    for _ in 0..2 {
        bench.input(Input::ExecutorUpdated(
            instance.clone(),
            news("t", 90, TaskState::Running),
        ));
        assert_eq!(bench.take_told(&instance), [acknowledged("t", 90)]);
    }
    assert_eq!(bench.states(&task), ["TASK_RUNNING"]);
    // Also when the framework acknowledged it meanwhile, and the executor repeats it after a break.
    bench.command(Command::Acknowledge {
        id: task.clone(),
        uuid: UpdateUuid(90),
    });
    bench.input(Input::ExecutorSubscribed(
        instance.clone(),
        Subscription {
            tasks: BTreeSet::new(),
            updates: vec![
                news("t", 90, TaskState::Running),
                news("t", 91, TaskState::Finished),
            ],
        },
    ));
    let told = [
        ExecutorEvent::Subscribed,
        acknowledged("t", 90),
        acknowledged("t", 91),
    ];
    assert_eq!(bench.take_told(&instance), told);
    assert_eq!(bench.states(&task), ["TASK_FINISHED"]);
    // Nothing follows the end.
    bench.input(Input::ExecutorUpdated(
        instance.clone(),
        news("t", 92, TaskState::Running),
    ));
    assert_eq!(bench.take_told(&instance), [acknowledged("t", 92)]);
    assert_eq!(bench.states(&task), ["TASK_FINISHED"]);
}

#[test]
fn a_task_that_the_executor_does_not_know_of_is_handed_over_again() {
    let (mut bench, instance, task) = Bench::subscribed();
    bench.restart(&instance, ProcessFact::Alive);
    bench.take_deeds();
    let listing = |tasks: &[&str]| Subscription {
        tasks: tasks
            .iter()
            .map(|task| TaskId::new(task).expect("an id"))
            .collect(),
        updates: Vec::new(),
    };
    bench.input(Input::ExecutorSubscribed(instance.clone(), listing(&["t"])));
    assert_eq!(bench.take_told(&instance), [ExecutorEvent::Subscribed]);
    bench.input(Input::ExecutorSubscribed(instance.clone(), listing(&[])));
    let told = [
        ExecutorEvent::Subscribed,
        ExecutorEvent::Launch(task.clone()),
    ];
    assert_eq!(bench.take_told(&instance), told);
    // Once it told of it, it need not list it.
    bench.input(Input::ExecutorUpdated(
        instance.clone(),
        news("t", 90, TaskState::Running),
    ));
    bench.take_deeds();
    bench.input(Input::ExecutorSubscribed(instance.clone(), listing(&[])));
    assert_eq!(bench.take_told(&instance), [ExecutorEvent::Subscribed]);
}

#[test]
fn a_kill_reaches_the_executor_and_is_told_again() {
    let (mut bench, instance, task) = Bench::subscribed();
    let kill = ExecutorEvent::Kill(task.clone(), Some(DurationMs(2_000)));
    bench.command(Command::Kill {
        id: task.clone(),
        grace: None,
    });
    assert_eq!(bench.take_told(&instance), std::slice::from_ref(&kill));
    bench.input(Input::ExecutorUnsubscribed(instance.clone()));
    bench.input(Input::ExecutorSubscribed(
        instance.clone(),
        Subscription {
            tasks: BTreeSet::from([task.key.task]),
            updates: Vec::new(),
        },
    ));
    assert_eq!(
        bench.take_told(&instance),
        [ExecutorEvent::Subscribed, kill]
    );
}

#[test]
fn an_executor_whose_first_task_was_killed_before_it_came_is_shut_down() {
    let (mut bench, instance, task) = Bench::started();
    bench.command(Command::Kill {
        id: task.clone(),
        grace: None,
    });
    assert_eq!(bench.states(&task), ["TASK_KILLED"]);
    bench.input(Input::ExecutorSubscribed(
        instance.clone(),
        Subscription::default(),
    ));
    let told = [ExecutorEvent::Subscribed, ExecutorEvent::Shutdown];
    assert_eq!(bench.take_told(&instance), told);
    bench.wait(1_000);
    assert_eq!(bench.take_deeds(), [Action::Destroy(instance)]);
}

#[test]
fn an_executor_that_ends_takes_its_tasks_with_it_and_is_forgotten_once_the_masters_know() {
    let (mut bench, instance, task) = Bench::subscribed();
    bench.take_sent();
    bench.input(Input::Ended(instance.clone(), Exit::Exited(3)));
    let sent = bench.take_sent();
    let [
        AgentMessage::Reports { reports, .. },
        AgentMessage::ExecutorExit {
            report_seq, exit, ..
        },
    ] = &sent[..]
    else {
        panic!("{sent:?}");
    };
    let head = reports[0].head.as_ref().expect("an update");
    assert_eq!(head.state, TaskState::Failed);
    assert_eq!(
        head.message.as_deref(),
        Some("Executor exited with status 3")
    );
    assert!(reports[0].report_seq < *report_seq);
    assert_eq!(*exit, Exit::Exited(3));
    // A launch that comes too late is dropped, and starts nothing.
    let late = launch_id("late", 9);
    bench.command(launch_in(&late, &instance));
    assert_eq!(bench.states(&late), ["TASK_DROPPED"]);
    assert_eq!(bench.states(&task), ["TASK_FAILED"]);
    bench.take_deeds();
    let told = MasterMessage::ReportsCommitted(*report_seq);
    bench.say(FENCE, told);
    assert!(bench.core.durable().executors.is_empty());
    assert!(matches!(&bench.take_deeds()[..], [Action::Forget(id, _)] if *id == instance));
}

#[test]
fn an_end_that_the_masters_do_not_know_is_told_at_the_next_attachment() {
    let (mut bench, instance, _) = Bench::subscribed();
    bench.restart(&instance, ProcessFact::Ended(Exit::Signaled(9)));
    bench.actions.clear();
    bench.input(Input::StreamOpened(StreamNo(2)));
    bench.input(Input::Received(StreamNo(2), FENCE, attached_at(0)));
    let sent = bench.take_sent();
    let told = sent
        .iter()
        .any(|message| matches!(message, AgentMessage::ExecutorExit { .. }));
    assert!(told, "{sent:?}");
}

#[test]
fn an_executor_that_does_not_subscribe_in_time_is_killed() {
    let (mut bench, instance, task) = Bench::started();
    bench.wait(60_000);
    assert!(
        bench
            .take_deeds()
            .contains(&Action::Destroy(instance.clone()))
    );
    bench.input(Input::Ended(instance, Exit::Signaled(9)));
    let update = bench.core.durable().tasks[&task].updates[0].clone();
    assert_eq!(
        (update.state, update.reason),
        (
            TaskState::Failed,
            Some(crate::Reason::ExecutorRegistrationTimeout)
        )
    );
}

#[test]
fn an_executor_that_does_not_come_back_in_time_is_killed() {
    let (mut bench, instance, task) = Bench::subscribed();
    bench.restart(&instance, ProcessFact::Alive);
    bench.take_deeds();
    bench.wait(19_999);
    assert_eq!(bench.take_deeds(), []);
    bench.wait(1);
    assert_eq!(bench.take_deeds(), [Action::Destroy(instance.clone())]);
    bench.input(Input::Ended(instance, Exit::Signaled(9)));
    let update = bench.core.durable().tasks[&task].updates[0].clone();
    assert_eq!(
        (update.state, update.reason),
        (
            TaskState::Gone,
            Some(crate::Reason::ExecutorReregistrationTimeout)
        )
    );
}

#[test]
fn an_executor_that_was_not_started_before_a_crash_is_not_started_after_it() {
    let mut bench = Bench::attached();
    let (instance, task) = (executor(1), launch_id("t", 2));
    bench.command(launch_executor(&instance));
    bench.command(launch_in(&task, &instance));
    bench.restart(&instance, ProcessFact::Ended(Exit::NotStarted));
    assert_eq!(bench.states(&task), ["TASK_DROPPED"]);
    bench.input(Input::Prepared(instance.clone(), PROCESS));
    assert!(!bench.take_deeds().contains(&Action::Go(instance)));
}

#[test]
fn a_framework_that_is_gone_takes_its_executors_with_it_silently() {
    let (mut bench, instance, _) = Bench::subscribed();
    bench.command(Command::ShutdownFramework(framework()));
    assert!(
        bench
            .take_told(&instance)
            .contains(&ExecutorEvent::Shutdown)
    );
    assert!(bench.core.durable().tasks.is_empty());
    bench.actions.clear();
    bench.input(Input::Ended(instance, Exit::Exited(0)));
    let sent = bench.take_sent();
    assert_eq!(sent, []);
    let durable = bench.core.durable();
    assert!(durable.executors.is_empty() && durable.frameworks.is_empty());
}

#[test]
fn messages_pass_in_both_directions_while_there_is_somebody_to_hear_them() {
    let (mut bench, instance, _) = Bench::started();
    let say = || MasterMessage::ExecutorMessage {
        framework: framework(),
        executor: ExecutorId::new("e").expect("an id"),
        data: Bytes::from_static(b"hello"),
    };
    bench.say(FENCE, say());
    assert_eq!(bench.take_deeds(), []);
    bench.input(Input::ExecutorSubscribed(
        instance.clone(),
        Subscription::default(),
    ));
    bench.take_deeds();
    bench.say(FENCE, say());
    let heard = ExecutorEvent::Message(Bytes::from_static(b"hello"));
    assert_eq!(bench.take_told(&instance), [heard]);
    let data = Bytes::from_static(b"hi");
    bench.input(Input::ExecutorSpoke(instance.clone(), data.clone()));
    let passed = AgentMessage::ExecutorMessage {
        executor: instance,
        data,
    };
    assert_eq!(bench.take_sent(), [passed]);
}

#[test]
fn a_drain_is_passed_on_and_what_the_executor_says_of_it_gets_its_reason() {
    let (mut bench, instance, task) = Bench::subscribed();
    bench.command(Command::DrainTask {
        id: task.clone(),
        max_grace: Some(DurationMs(700)),
        gone: true,
    });
    let asked = ExecutorEvent::Kill(task.clone(), Some(DurationMs(700)));
    assert_eq!(bench.take_told(&instance), [asked]);
    for (uuid, state) in [(91, TaskState::Killing), (92, TaskState::Killed)] {
        let update = news("t", uuid, state);
        bench.input(Input::ExecutorUpdated(instance.clone(), update));
    }
    assert_eq!(
        bench.states(&task),
        ["TASK_KILLING", "TASK_GONE_BY_OPERATOR"]
    );
    let updates = &bench.core.durable().tasks[&task].updates;
    let why = Some(crate::Reason::AgentDraining);
    assert!(updates.iter().all(|update| update.reason == why));
}
