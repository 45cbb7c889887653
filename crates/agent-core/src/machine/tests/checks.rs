//! What checks and time limits do.

use regency_types::DurationMs;

use crate::{Action, CheckStatus, Command, Exit, Finding, HealthRule, Input, LaunchId, Reason};

use super::{Bench, launch};

/// A launch with everything that is checked: two failures in a row, one second of grace.
fn checked(id: &LaunchId) -> Command {
    let mut command = launch(id);
    if let Command::Launch { health, check, .. } = &mut command {
        *health = Some(HealthRule {
            consecutive_failures: 2,
            grace: DurationMs(1_000),
        });
        *check = Some(CheckStatus::Http(None));
    }
    command
}

fn limited(id: &LaunchId) -> Command {
    let mut command = launch(id);
    if let Command::Launch { max_completion, .. } = &mut command {
        *max_completion = Some(DurationMs(500));
    }
    command
}

impl Bench {
    fn health(&mut self, id: &LaunchId, healthy: bool) {
        self.input(Input::Found(id.clone(), Finding::Health(healthy)));
    }

    fn status(&mut self, id: &LaunchId, code: u32) {
        let finding = Finding::Check(CheckStatus::Http(Some(code)));
        self.input(Input::Found(id.clone(), finding));
    }

    /// State, health and status code of every update of a launch.
    fn said(&self, id: &LaunchId) -> Vec<(&'static str, Option<bool>, Option<u32>)> {
        let task = &self.core.durable().tasks[id];
        let updates = task.updates.iter();
        updates
            .map(|update| {
                let code = match update.check_status {
                    Some(CheckStatus::Http(code)) => code,
                    _ => None,
                };
                (update.state.name(), update.healthy, code)
            })
            .collect()
    }

    fn last_reason(&self, id: &LaunchId) -> Option<Reason> {
        self.core.durable().tasks[id].updates.back()?.reason
    }
}

const STARTING: (&str, Option<bool>, Option<u32>) = ("TASK_STARTING", None, None);
const RUNNING: (&str, Option<bool>, Option<u32>) = ("TASK_RUNNING", None, None);

#[test]
fn checks_begin_with_the_command_and_only_where_there_are_some() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", checked);
    assert!(bench.take_deeds().contains(&Action::Check(id.clone())));
    bench.running_as("plain", launch);
    let asked = |action: &Action| matches!(action, Action::Check(_));
    assert!(!bench.take_deeds().iter().any(asked));
    // An agent that comes back hears again that it runs.
    bench.input(Input::Running(id.clone()));
    assert_eq!(bench.take_deeds(), [Action::Check(id.clone())]);
    assert_eq!(bench.said(&id), [STARTING, RUNNING]);
}

#[test]
fn health_is_told_when_it_changes_and_at_first() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", checked);
    bench.health(&id, true);
    assert_eq!(
        bench.last_reason(&id),
        Some(Reason::TaskHealthCheckStatusUpdated)
    );
    bench.health(&id, true);
    bench.health(&id, false);
    bench.health(&id, true);
    let expect = [
        STARTING,
        RUNNING,
        ("TASK_RUNNING", Some(true), None),
        ("TASK_RUNNING", Some(false), None),
        ("TASK_RUNNING", Some(true), None),
    ];
    assert_eq!(bench.said(&id), expect);
    assert_eq!(bench.core.durable().tasks[&id].kill, None);
}

#[test]
fn two_failures_in_a_row_kill_and_the_end_says_why() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", checked);
    bench.health(&id, true);
    bench.health(&id, false);
    bench.health(&id, true);
    bench.health(&id, false);
    bench.take_deeds();
    bench.health(&id, false);
    assert_eq!(bench.take_deeds(), [Action::Terminate(id.clone())]);
    // Late findings mean nothing.
    bench.health(&id, true);
    bench.status(&id, 200);
    bench.wait(2_000);
    assert_eq!(bench.take_deeds(), [Action::Destroy(id.clone())]);
    bench.input(Input::Ended(id.clone(), Exit::Signaled(9)));
    let said = bench.said(&id);
    let end = [
        ("TASK_RUNNING", Some(false), None),
        ("TASK_KILLING", None, None),
        ("TASK_KILLED", Some(false), None),
    ];
    assert_eq!(said[said.len() - 3..], end);
}

#[test]
fn failures_in_the_grace_period_do_not_count_until_the_first_success() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", checked);
    for _ in 0..5 {
        bench.health(&id, false);
    }
    assert_eq!(bench.said(&id), [STARTING, RUNNING]);
    bench.health(&id, true);
    bench.health(&id, false);
    assert_eq!(bench.said(&id).len(), 4, "a success ends the grace period");
    let late = bench.running_as("late", checked);
    bench.wait(1_000);
    bench.health(&late, false);
    assert_eq!(
        bench.said(&late).last(),
        Some(&("TASK_RUNNING", Some(false), None))
    );
}

#[test]
fn a_check_is_told_when_it_finds_something_else_and_stays_said() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", checked);
    bench.status(&id, 200);
    assert_eq!(bench.last_reason(&id), Some(Reason::TaskCheckStatusUpdated));
    bench.status(&id, 200);
    bench.health(&id, true);
    bench.status(&id, 500);
    bench.input(Input::Ended(id.clone(), Exit::Exited(0)));
    let expect = [
        STARTING,
        RUNNING,
        ("TASK_RUNNING", None, Some(200)),
        ("TASK_RUNNING", Some(true), Some(200)),
        ("TASK_RUNNING", Some(true), Some(500)),
        ("TASK_FINISHED", None, Some(500)),
    ];
    assert_eq!(bench.said(&id), expect);
}

#[test]
fn a_framework_that_does_not_listen_is_not_told_for_ever() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", checked);
    for round in 0..500 {
        bench.status(&id, 200 + round % 2);
    }
    assert_eq!(
        bench.said(&id).len(),
        crate::machine::checks::UPDATES_WAITING_MAX
    );
}

#[test]
fn what_runs_too_long_is_killed_at_once_and_has_failed() {
    let mut bench = Bench::attached();
    let id = bench.running_as("c", limited);
    assert!(
        bench
            .core
            .next_tick_ms()
            .is_some_and(|at| at <= bench.now_ms + 500)
    );
    bench.wait(499);
    assert_eq!(bench.core.durable().tasks[&id].kill, None);
    bench.take_deeds();
    bench.wait(1);
    // SIGKILL follows at once.
    let expect = [Action::Terminate(id.clone()), Action::Destroy(id.clone())];
    assert_eq!(bench.take_deeds(), expect);
    bench.input(Input::Ended(id.clone(), Exit::Signaled(9)));
    assert_eq!(bench.states(&id).last(), Some(&"TASK_FAILED"));
    assert_eq!(
        bench.last_reason(&id),
        Some(Reason::MaxCompletionTimeReached)
    );
    // Killed before: the limit does not matter any more.
    let id = bench.running_as("k", limited);
    bench.command(Command::Kill {
        id: id.clone(),
        grace: Some(DurationMs(9_000)),
    });
    bench.wait(1_000);
    bench.input(Input::Ended(id.clone(), Exit::Signaled(15)));
    assert_eq!(bench.states(&id).last(), Some(&"TASK_KILLED"));
}

#[test]
fn a_limit_counts_from_the_start_of_the_command_also_after_a_restart() {
    use crate::{Core, Cx, ProcessFact, Step, Timing};
    use regency_types::{BootId, WallTime};
    let mut bench = Bench::attached();
    let id = bench.running_as("c", limited);
    // A new run of the agent, 400 ms later by the wall clock.
    let mut core = Core::new(bench.core.durable().clone(), Timing::STANDARD);
    let mut step = Step::default();
    let mut cx = Cx {
        now_ms: 7,
        wall: WallTime(bench.now_ms + 400),
        mint: &mut bench.mint,
        step: &mut step,
    };
    let facts = [(id.clone(), ProcessFact::Alive)].into();
    core.recover(BootId(1), &facts, &mut cx);
    core.handle(Input::Running(id), &mut cx);
    assert_eq!(core.next_tick_ms(), Some(107));
}
