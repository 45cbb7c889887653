//! Kills: their graces, their repetition, and what they find.

use regency_types::DurationMs;

use super::{Bench, framework, launch, launch_id};
use crate::{Action, Command, Exit, Input, LaunchId, Reason};

fn kill(id: &crate::LaunchId, grace_ms: Option<u64>) -> Command {
    Command::Kill {
        id: id.clone(),
        grace: grace_ms.map(DurationMs),
    }
}

#[test]
fn a_kill_is_sigterm_then_sigkill_after_the_tasks_own_grace_and_again_until_it_is_gone() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    bench.command(kill(&id, None));
    assert_eq!(bench.take_deeds(), [Action::Terminate(id.clone())]);
    bench.wait(1_999);
    assert_eq!(bench.take_deeds(), []);
    assert_eq!(bench.core.next_tick_ms(), Some(bench.now_ms + 1));
    bench.wait(1);
    assert_eq!(bench.take_deeds(), [Action::Destroy(id.clone())]);
    bench.wait(5_000);
    assert!(bench.take_deeds().contains(&Action::Destroy(id.clone())));
    bench.input(Input::Ended(id.clone(), Exit::Signaled(9)));
    let states = [
        "TASK_STARTING",
        "TASK_RUNNING",
        "TASK_KILLING",
        "TASK_KILLED",
    ];
    assert_eq!(bench.states(&id), states);
    bench.wait(60_000);
    assert!(!bench.take_deeds().contains(&Action::Destroy(id)));
}

#[test]
fn a_second_kill_can_only_shorten_the_wait_and_tells_killing_once() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    bench.command(kill(&id, Some(1_000)));
    bench.command(kill(&id, Some(5_000)));
    bench.take_deeds();
    bench.wait(1_000);
    assert_eq!(bench.take_deeds(), [Action::Destroy(id.clone())]);
    let other = bench.running("u");
    bench.command(kill(&other, Some(5_000)));
    bench.command(kill(&other, Some(100)));
    bench.take_deeds();
    bench.wait(100);
    assert_eq!(bench.take_deeds(), [Action::Destroy(other.clone())]);
    assert_eq!(
        bench.states(&other),
        ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"]
    );
}

#[test]
fn a_kill_before_the_start_means_that_it_never_starts() {
    let mut bench = Bench::attached();
    let id = launch_id("t", 1);
    bench.command(launch(&id));
    bench.command(kill(&id, None));
    let deeds = [Action::Prepare(id.clone()), Action::Abort(id.clone())];
    assert_eq!(bench.take_deeds(), deeds);
    assert_eq!(bench.states(&id), ["TASK_KILLED"]);
}

#[test]
fn a_kill_of_an_older_launch_than_the_known_one_does_nothing() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    let older = launch_id("t", 0);
    bench.command(kill(&older, None));
    assert_eq!(bench.take_deeds(), []);
    assert_eq!(bench.states(&older), [""; 0]);
    assert_eq!(bench.states(&id).len(), 2);
}

#[test]
fn a_launch_that_was_killed_unseen_is_refused_when_it_comes() {
    let mut bench = Bench::attached();
    let id = launch_id("t", 5);
    bench.command(kill(&id, None));
    bench.command(launch(&id));
    assert_eq!(bench.take_deeds(), []);
    assert_eq!(bench.states(&id), ["TASK_KILLED"]);
}

#[test]
fn a_framework_that_is_gone_has_its_tasks_killed_and_nothing_told() {
    let mut bench = Bench::attached();
    let running = bench.running("running");
    let preparing = launch_id("preparing", 2);
    bench.command(launch(&preparing));
    bench.actions.clear();
    bench.command(Command::ShutdownFramework(framework()));
    let deeds = bench.take_deeds();
    assert!(deeds.contains(&Action::Terminate(running.clone())));
    assert!(deeds.contains(&Action::Abort(preparing.clone())));
    assert!(!bench.core.durable().tasks.contains_key(&preparing));
    bench.wait(5_000);
    assert_eq!(bench.take_deeds(), [Action::Destroy(running.clone())]);
    bench.input(Input::Ended(running, Exit::Signaled(9)));
    assert_eq!(bench.take_sent(), []);
    assert!(bench.core.durable().tasks.is_empty());
    assert!(bench.core.durable().frameworks.is_empty());
}

#[test]
fn an_exit_without_a_kill_is_told_by_its_status() {
    for (exit, state) in [
        (Exit::Exited(0), "TASK_FINISHED"),
        (Exit::Exited(1), "TASK_FAILED"),
        (Exit::Signaled(9), "TASK_FAILED"),
        (Exit::Lost, "TASK_FAILED"),
    ] {
        let mut bench = Bench::attached();
        let id = bench.running("t");
        bench.input(Input::Ended(id.clone(), exit));
        assert_eq!(bench.states(&id).last(), Some(&state), "{exit:?}");
    }
}

#[test]
fn a_framework_that_does_not_know_killing_is_not_told_it() {
    let mut bench = Bench::attached();
    let id = bench.running_as("t", |id| {
        let mut command = launch(id);
        if let Command::Launch { killing_state, .. } = &mut command {
            *killing_state = false;
        }
        command
    });
    bench.command(kill(&id, None));
    bench.input(Input::Ended(id.clone(), Exit::Signaled(15)));
    let states = ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLED"];
    assert_eq!(bench.states(&id), states);
}

fn drain(id: &LaunchId, max_grace_ms: Option<u64>, gone: bool) -> Command {
    Command::DrainTask {
        id: id.clone(),
        max_grace: max_grace_ms.map(DurationMs),
        gone,
    }
}

impl Bench {
    /// Reasons of the waiting updates of a launch, oldest first.
    fn whys(&self, id: &LaunchId) -> Vec<Option<Reason>> {
        let task = self.core.durable().tasks.get(id);
        let updates = task.into_iter().flat_map(|task| &task.updates);
        updates.map(|update| update.reason).collect()
    }
}

#[test]
fn a_drain_kills_with_the_shorter_grace_and_says_why() {
    for (max_grace, wait) in [(Some(500), 500), (Some(9_000), 2_000), (None, 2_000)] {
        let mut bench = Bench::attached();
        let id = bench.running("t");
        bench.command(drain(&id, max_grace, false));
        assert_eq!(bench.take_deeds(), [Action::Terminate(id.clone())]);
        bench.wait(wait - 1);
        assert_eq!(bench.take_deeds(), []);
        bench.wait(1);
        assert_eq!(bench.take_deeds(), [Action::Destroy(id.clone())]);
        bench.input(Input::Ended(id.clone(), Exit::Signaled(9)));
        let states = bench.states(&id);
        assert_eq!(states[2..], ["TASK_KILLING", "TASK_KILLED"]);
        let why = Some(Reason::AgentDraining);
        assert_eq!(bench.whys(&id)[2..], [why, why]);
    }
}

#[test]
fn a_drain_of_an_agent_that_is_to_be_gone_tells_so() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    bench.command(drain(&id, None, true));
    bench.input(Input::Ended(id.clone(), Exit::Signaled(15)));
    assert_eq!(
        bench.states(&id)[2..],
        ["TASK_KILLING", "TASK_GONE_BY_OPERATOR"]
    );
    let (waits, unseen) = (launch_id("waits", 7), launch_id("unseen", 8));
    bench.command(launch(&waits));
    bench.command(drain(&waits, None, true));
    bench.command(drain(&unseen, None, true));
    bench.command(launch(&unseen));
    for id in [waits, unseen] {
        assert_eq!(bench.states(&id), ["TASK_GONE_BY_OPERATOR"]);
        assert_eq!(bench.whys(&id), [Some(Reason::AgentDraining)]);
    }
}

#[test]
fn a_drain_of_a_task_that_is_killed_already_shortens_its_wait() {
    let mut bench = Bench::attached();
    let id = bench.running("t");
    bench.command(kill(&id, Some(5_000)));
    bench.command(drain(&id, Some(100), false));
    bench.take_deeds();
    bench.wait(100);
    assert_eq!(bench.take_deeds(), [Action::Destroy(id.clone())]);
    // One that ends by itself in time has not been killed.
    let other = bench.running("u");
    bench.input(Input::Ended(other.clone(), Exit::Exited(0)));
    bench.command(drain(&other, None, false));
    assert_eq!(bench.take_deeds(), []);
    assert_eq!(bench.states(&other).last(), Some(&"TASK_FINISHED"));
}
