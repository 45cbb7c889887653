use super::*;
use crate::command::{Command, KillTask};
use crate::commands::fixture::{Given, statuses};
use crate::outcome::Refusal;
use regency_types::{AgentEpoch, Generation, UpdateUuid};

fn reports(agent: &AgentId, command_seq: u64, reports: Vec<TaskReport>) -> Command {
    Command::ApplyReports(ApplyReports {
        agent: agent.clone(),
        epoch: AgentEpoch(1),
        command_seq,
        reports,
    })
}

#[test]
fn a_report_is_applied_once() {
    let (mut given, agent, _, key) = Given::with_task();
    let news = || vec![Given::news(&key, 1, 5, TaskState::Running)];
    let (outcome, effects) = given.ok(reports(&agent, 1, news()));
    assert_eq!(outcome, Outcome::ReportsApplied { report_seq: 5 });
    assert_eq!(effects, [Effect::SendUpdate { task: key.clone() }]);
    let (outcome, effects) = given.ok(reports(&agent, 1, news()));
    assert_eq!(outcome, Outcome::ReportsApplied { report_seq: 5 });
    assert_eq!(effects, Vec::new());
    let late = vec![Given::news(&key, 1, 4, TaskState::Starting)];
    given.ok(reports(&agent, 1, late));
    assert_eq!(given.task_state(&key), Some(TaskState::Running));
}

#[test]
fn reports_without_news_only_move_the_cursor() {
    let (mut given, agent, ..) = Given::with_task();
    assert_eq!(given.outbox(&agent).len(), 1);
    let (_, effects) = given.ok(reports(&agent, 1, Vec::new()));
    assert_eq!(effects, Vec::new());
    assert_eq!(given.outbox(&agent), []);
    // What was never minted cannot be noted.
    given.ok(reports(&agent, 99, Vec::new()));
    let agent = given.state.agent(&agent).expect("it is there");
    assert_eq!((agent.command_seq, agent.confirmed_seq), (1, 1));
}

#[test]
fn only_the_agent_itself_reports() {
    let (mut given, agent, _, key) = Given::with_task();
    let other_epoch = Command::ApplyReports(ApplyReports {
        agent: agent.clone(),
        epoch: AgentEpoch(2),
        command_seq: 1,
        reports: vec![Given::news(&key, 1, 1, TaskState::Running)],
    });
    assert_eq!(
        given.refused(other_epoch),
        Refusal::AgentEpochDiffers(agent.clone())
    );
    let other_picture = Command::ResyncAgent(ResyncAgent {
        agent: agent.clone(),
        epoch: AgentEpoch(2),
        command_seq: 1,
        report_seq: 1,
        tasks: Vec::new(),
    });
    assert_eq!(
        given.refused(other_picture),
        Refusal::AgentEpochDiffers(agent)
    );
    let nobody = AgentId::new("nobody").expect("a valid id");
    assert_eq!(
        given.refused(reports(&nobody, 1, Vec::new())),
        Refusal::AgentUnknown(nobody)
    );
}

#[test]
fn news_of_a_launch_that_is_nobodys_are_acknowledged_and_not_forwarded() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.confirm_all(&agent);
    let unknown = Given::key(&framework, "unknown");
    let stale = vec![
        Given::news(&key, 7, 1, TaskState::Finished),
        Given::news(&unknown, 1, 2, TaskState::Running),
    ];
    let (_, effects) = given.ok(reports(&agent, 1, stale));
    let sync = Effect::SyncAgent {
        agent: agent.clone(),
    };
    assert_eq!(effects, [sync.clone(), sync]);
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
    assert_eq!(
        given.outbox(&agent),
        [
            AgentCommand::Acknowledge {
                task: key.clone(),
                generation: Generation(7),
                uuid: UpdateUuid(1),
            },
            AgentCommand::Acknowledge {
                task: unknown,
                generation: Generation(1),
                uuid: UpdateUuid(2),
            },
        ]
    );
    // One that has nothing to acknowledge needs no answer.
    let mut silent = Given::news(&key, 7, 3, TaskState::Finished);
    silent.head = None;
    let (_, effects) = given.ok(reports(&agent, 1, vec![silent]));
    assert_eq!(effects, Vec::new());
}

#[test]
fn an_agent_cannot_speak_of_another_ones_task() {
    let (mut given, _, _, key) = Given::with_task();
    let other = given.agent(2, "cpus:1");
    given.ok(Command::ApplyReports(ApplyReports {
        agent: other,
        epoch: AgentEpoch(2),
        command_seq: 0,
        reports: vec![Given::news(&key, 1, 1, TaskState::Finished)],
    }));
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
}

#[test]
fn the_newest_state_frees_resources_while_older_updates_wait() {
    let (mut given, agent, framework, key) = Given::with_task();
    let mut news = Given::news(&key, 1, 1, TaskState::Running);
    news.latest_state = TaskState::Finished;
    let (_, effects) = given.ok(reports(&agent, 1, vec![news]));
    assert!(effects.contains(&Effect::WakeAllocator));
    let task = given.state.task(&key).expect("it is there");
    assert_eq!(task.state, TaskState::Finished);
    let waiting = task.unacked.as_ref().map(|u| u.state);
    assert_eq!(waiting, Some(TaskState::Running));
    let record = given.state.agent(&agent).expect("it is there");
    assert!(record.allocated.is_empty());
    // The end itself is still to come and to be acknowledged.
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.task_state(&key), Some(TaskState::Finished));
    given.report(&agent, &key, 2, TaskState::Finished);
    given
        .acknowledge(&agent, &key, 2)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Finished));
}

#[test]
fn an_update_seen_before_is_not_sent_again() {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    // The agent did not get the acknowledgement yet.
    let mut picture = Given::news(&key, 1, 1, TaskState::Running);
    picture.report_seq = 0;
    picture.latest_state = TaskState::Killing;
    let effects = given.resync(&agent, 1, vec![picture]);
    assert!(!effects.contains(&Effect::SendUpdate { task: key.clone() }));
    let task = given.state.task(&key).expect("it is there");
    assert_eq!((task.state, &task.unacked), (TaskState::Killing, &None));
}

#[test]
fn agents_are_not_believed_what_only_masters_say() {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    let states = [
        TaskState::Staging,
        TaskState::Unreachable,
        TaskState::Unknown,
    ];
    for (seq, state) in (2..).zip(states) {
        given.report(&agent, &key, seq, state);
        assert_eq!(given.task_state(&key), Some(TaskState::Running));
    }
}

#[test]
fn an_end_is_final() {
    let (mut given, agent, framework, key) = Given::with_task();
    let mut news = Given::news(&key, 1, 1, TaskState::Failed);
    news.latest_state = TaskState::Running;
    given.ok(reports(&agent, 1, vec![news]));
    assert_eq!(given.task_state(&key), Some(TaskState::Failed));
    let applied = given.report(&agent, &key, 2, TaskState::Finished);
    // Told, since the agent says so, but it changes nothing.
    assert!(
        applied
            .effects
            .contains(&Effect::SendUpdate { task: key.clone() })
    );
    assert_eq!(given.task_state(&key), Some(TaskState::Failed));
    given
        .acknowledge(&agent, &key, 2)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Failed));
}

#[test]
fn what_an_agent_noted_and_does_not_name_is_gone() {
    let (mut given, agent, framework, key) = Given::with_task();
    let effects = given.resync(&agent, 1, Vec::new());
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
    assert!(given.state.task(&key).is_none());
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
    let framework = given.state.framework(&framework).expect("it is there");
    assert_eq!(framework.retained.len(), 1, "told again at a subscription");
}

#[test]
fn a_launch_that_the_agent_has_not_noted_is_kept() {
    let (mut given, agent, _, key) = Given::with_task();
    let effects = given.resync(&agent, 0, Vec::new());
    assert_eq!(statuses(&effects), []);
    assert_eq!(given.task_state(&key), Some(TaskState::Staging));
    assert!(effects.contains(&Effect::SyncAgent {
        agent: agent.clone()
    }));
    assert!(matches!(
        given.outbox(&agent)[..],
        [AgentCommand::Launch { .. }]
    ));
}

#[test]
fn a_named_task_is_kept_and_one_of_another_launch_is_not_it() {
    let (mut given, agent, _, key) = Given::with_task();
    given.resync(&agent, 1, vec![Given::news(&key, 1, 1, TaskState::Running)]);
    assert_eq!(given.task_state(&key), Some(TaskState::Running));
    let effects = given.resync(&agent, 1, vec![Given::news(&key, 9, 1, TaskState::Running)]);
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
}

#[test]
fn a_gone_task_completes_with_the_update_that_waits() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    let effects = given.resync(&agent, 1, Vec::new());
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
    assert_eq!(given.task_state(&key), Some(TaskState::Gone));
    let effects = given.resync(&agent, 1, Vec::new());
    assert_eq!(statuses(&effects), [], "told once");
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
}

#[test]
fn a_machine_that_went_down_tells_the_end_of_its_tasks_itself() {
    let (mut given, agent, framework, key) = Given::with_task();
    let mut news = Given::news(&key, 1, 1, TaskState::Running);
    news.latest_state = TaskState::Gone;
    given.ok(reports(&agent, 1, vec![news]));
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(
        given.task_state(&key),
        Some(TaskState::Gone),
        "the agent has an update yet to come"
    );
    given.report(&agent, &key, 2, TaskState::Gone);
    given
        .acknowledge(&agent, &key, 2)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
}

/// An agent is ahead of a state that was restored from a backup. It may have run a launch that this
/// state still means to send, and have forgotten it: sent again, the task would run twice.
#[test]
fn a_launch_is_never_sent_to_an_agent_that_is_ahead() {
    let (mut given, agent, framework, key) = Given::with_task();
    let generation = given.state.task(&key).expect("it is there").generation;
    given.ok(Command::KillTask(KillTask {
        task: key.clone(),
        agent: None,
        grace: None,
    }));
    let effects = given.resync(&agent, 40, Vec::new());
    assert_eq!(statuses(&effects), [("t", TaskState::Gone)]);
    assert_eq!(
        given.outbox(&agent),
        [AgentCommand::Kill {
            task: key,
            generation,
            grace: None
        }]
    );
    let record = given.state.agent(&agent).expect("it is there");
    assert_eq!((record.confirmed_seq, record.command_seq), (40, 41));
    assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
}

#[test]
fn a_task_that_an_agent_ahead_names_goes_on_there() {
    let (mut given, agent, _, key) = Given::with_task();
    given.ok(Command::KillTask(KillTask {
        task: key.clone(),
        agent: None,
        grace: None,
    }));
    let mut picture = Given::news(&key, 1, 1, TaskState::Running);
    picture.report_seq = 0;
    given.resync(&agent, 40, vec![picture]);
    let task = given.state.task(&key).expect("it runs");
    assert_eq!(task.state, TaskState::Running);
    assert_eq!(task.launch_seq, 40);
    assert_eq!(
        task.kill.as_ref().map(|k| k.command_seq),
        Some(41),
        "its kill is sent anew"
    );
}

#[test]
fn an_agent_cannot_use_the_numbers_up() {
    let (mut given, agent, _, key) = Given::with_task();
    given.ok(Command::KillTask(KillTask {
        task: key,
        agent: None,
        grace: None,
    }));
    given.resync(&agent, u64::MAX, Vec::new());
    let record = given.state.agent(&agent).expect("it is there");
    assert_eq!(
        record.command_seq,
        bounds::COMMAND_SEQ_BELIEVED_MAX + 1,
        "the kill that waits"
    );
}

#[test]
fn a_launch_that_ended_before_it_was_confirmed_is_withdrawn() {
    let (mut given, agent, _, key) = Given::with_task();
    given.ok(reports(
        &agent,
        0,
        vec![Given::news(&key, 1, 1, TaskState::Finished)],
    ));
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert!(matches!(
        given.outbox(&agent)[..],
        [
            AgentCommand::DropLaunch { .. },
            AgentCommand::Acknowledge { .. }
        ]
    ));
}

#[test]
fn an_agent_that_counts_anew_can_still_tell_the_end() {
    let (mut given, agent, framework, key) = Given::with_task();
    given.report(&agent, &key, 7, TaskState::Running);
    let tombstone = || {
        let mut tombstone = Given::news(&key, 1, 1, TaskState::Killed);
        tombstone.report_seq = 0;
        vec![tombstone]
    };
    // What waits is not pushed aside.
    let effects = given.resync(&agent, 1, tombstone());
    assert!(!effects.contains(&Effect::SendUpdate { task: key.clone() }));
    given
        .acknowledge(&agent, &key, 7)
        .verdict
        .expect("the update waits");
    let effects = given.resync(&agent, 1, tombstone());
    assert!(effects.contains(&Effect::SendUpdate { task: key.clone() }));
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    assert_eq!(given.completed_as(&framework), Some(TaskState::Killed));
}

#[test]
fn what_comes_after_a_task_was_told_as_gone_is_not_forwarded() {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    given.resync(&agent, 1, Vec::new());
    let applied = given.report(&agent, &key, 2, TaskState::Finished);
    assert_eq!(
        applied.effects,
        [Effect::SyncAgent {
            agent: agent.clone()
        }]
    );
    let task = given.state.task(&key).expect("its update waits");
    assert_eq!(task.state, TaskState::Gone);
    assert_eq!(task.unacked.as_ref().map(|u| u.uuid), Some(UpdateUuid(1)));
}
