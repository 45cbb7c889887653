use super::*;
use std::sync::Arc;

use crate::bounds;
use crate::command::{ApplyReports, Command};
use crate::commands::fixture::{Given, statuses};
use regency_types::{AgentEpoch, AgentId, DurationMs, FrameworkId, TaskKey, TaskState};

fn kill_command(task: &TaskKey, agent: Option<&AgentId>, grace_ms: Option<u64>) -> Command {
    Command::KillTask(KillTask {
        task: task.clone(),
        agent: agent.cloned(),
        grace: grace_ms.map(DurationMs),
    })
}

fn n_kills(given: &Given, agent: &AgentId) -> usize {
    let is_kill = |command: &&AgentCommand| matches!(command, AgentCommand::Kill { .. });
    given.outbox(agent).iter().filter(is_kill).count()
}

#[test]
fn a_repeated_kill_is_one_kill_and_another_grace_is_another() {
    let (mut given, agent, _, key) = Given::with_task();
    let generation = given.state.task(&key).expect("it is there").generation;
    let (_, effects) = given.ok(kill_command(&key, None, None));
    assert_eq!(
        effects,
        [Effect::SyncAgent {
            agent: agent.clone()
        }]
    );
    assert_eq!(
        given.outbox(&agent).last(),
        Some(&AgentCommand::Kill {
            task: key.clone(),
            generation,
            grace: None
        })
    );
    let (_, effects) = given.ok(kill_command(&key, None, None));
    assert_eq!((effects, n_kills(&given, &agent)), (Vec::new(), 1));
    given.ok(kill_command(&key, Some(&agent), Some(5)));
    assert_eq!(n_kills(&given, &agent), 2);
    let pending = given.state.task(&key).and_then(|t| t.kill.clone());
    assert_eq!(
        pending,
        Some(PendingKill {
            grace: Some(DurationMs(5)),
            command_seq: 3
        })
    );
}

#[test]
fn only_so_many_kills_of_a_task_wait_and_the_last_one_counts() {
    let (mut given, agent, _, key) = Given::with_task();
    for grace in 0..100 {
        given.ok(kill_command(&key, None, Some(grace)));
    }
    assert_eq!(n_kills(&given, &agent), bounds::KILLS_WAITING_MAX);
    let Some(AgentCommand::Kill { grace, .. }) = given.outbox(&agent).pop() else {
        panic!("{:?}", given.outbox(&agent))
    };
    assert_eq!(grace, Some(DurationMs(99)));
    let record = given.state.agent(&agent).expect("it is there");
    let pending = given.state.task(&key).and_then(|t| t.kill.clone());
    assert_eq!(pending.map(|k| k.command_seq), Some(record.command_seq));
}

#[test]
fn a_kill_never_takes_the_place_of_one_of_an_earlier_launch() {
    let (mut given, agent, framework, key) = Given::with_task();
    for grace in 0..bounds::KILLS_WAITING_MAX as u64 {
        given.ok(kill_command(&key, None, Some(grace)));
    }
    let earlier = given.state.task(&key).expect("it is there").generation;
    // The agent has noted all of that, which the masters do not know.
    given.ok(Command::ApplyReports(ApplyReports {
        agent: agent.clone(),
        epoch: AgentEpoch(1),
        command_seq: 0,
        reports: vec![Given::news(&key, earlier.0, 1, TaskState::Finished)],
    }));
    let uuid = given.state.task(&key).and_then(|t| t.unacked.clone());
    let uuid = uuid.expect("its end waits").uuid;
    assert!(given.acknowledge(&agent, &key, uuid.0).verdict.is_ok());
    let offer = given.offer(&framework, &agent, "cpus:1;mem:32");
    let task = Given::task("t", &agent, "cpus:1;mem:32");
    given.ok(Given::accept(&framework, &[offer], vec![task]));
    let later = given.state.task(&key).expect("it is there").generation;
    given.ok(kill_command(&key, None, None));
    let Some(AgentCommand::Kill { generation, .. }) = given.outbox(&agent).pop() else {
        panic!("{:?}", given.outbox(&agent))
    };
    assert!(later > earlier);
    assert_eq!(generation, later);
    assert_eq!(n_kills(&given, &agent), bounds::KILLS_WAITING_MAX + 1);
}

#[test]
fn a_kill_of_what_is_not_there_changes_nothing() {
    let (mut given, agent, framework, key) = Given::with_task();
    let elsewhere = AgentId::new("elsewhere").expect("a valid id");
    let (outcome, effects) = given.ok(kill_command(&key, Some(&elsewhere), None));
    assert_eq!((outcome, effects), (Outcome::Done, Vec::new()));
    let unknown = Given::key(&framework, "unknown");
    let (outcome, effects) = given.ok(kill_command(&unknown, None, None));
    assert_eq!((outcome, effects), (Outcome::TaskUnknown, Vec::new()));
    assert_eq!(n_kills(&given, &agent), 0);
    let stranger = FrameworkId::new("stranger").expect("a valid id");
    let refusal = given.refused(kill_command(&Given::key(&stranger, "t"), None, None));
    assert_eq!(refusal, Refusal::FrameworkUnknown(stranger));
}

#[test]
fn a_kill_ends_only_with_the_task() {
    let (mut given, agent, _, key) = Given::with_task();
    given.ok(kill_command(&key, None, None));
    given.report(&agent, &key, 1, TaskState::Running);
    assert!(given.state.task(&key).is_some_and(|t| t.kill.is_some()));
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    given.report(&agent, &key, 2, TaskState::Killed);
    assert!(given.state.task(&key).is_some_and(|t| t.kill.is_none()));
    let (_, effects) = given.ok(kill_command(&key, None, None));
    assert_eq!(effects, Vec::new(), "it has ended");
}

#[test]
fn a_kill_waits_for_an_agent_that_is_away() {
    let (mut given, agent, _, key) = Given::with_task();
    given.confirm_all(&agent);
    given.give_up(&agent);
    given.ok(kill_command(&key, None, None));
    given.reregister(&agent, "cpus:4;mem:1024");
    assert_eq!(n_kills(&given, &agent), 1);
    assert!(given.state.task(&key).is_some_and(|t| t.kill.is_some()));
}

#[test]
fn an_update_is_acknowledged_while_its_agent_is_away() {
    let (mut given, agent, _, key) = Given::with_task();
    given.report(&agent, &key, 1, TaskState::Running);
    given.confirm_all(&agent);
    given.give_up(&agent);
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the masters hold the update");
    let waits = |command: &AgentCommand| matches!(command, AgentCommand::Acknowledge { .. });
    assert!(given.outbox(&agent).iter().any(waits), "until it is back");
    assert!(given.state.task(&key).is_some_and(|t| t.unacked.is_none()));
}

#[test]
fn only_the_waiting_update_can_be_acknowledged() {
    let (mut given, agent, framework, key) = Given::with_task();
    let acknowledge = |task: &TaskKey, agent: &AgentId, uuid| {
        Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: task.clone(),
            agent: agent.clone(),
            uuid: regency_types::UpdateUuid(uuid),
        })
    };
    let none = given.refused(acknowledge(&key, &agent, 1));
    assert_eq!(none, Refusal::UpdateUnknown, "nothing waits yet");
    given.report(&agent, &key, 1, TaskState::Running);
    let elsewhere = AgentId::new("elsewhere").expect("a valid id");
    let other_task = Given::key(&framework, "other");
    for wrong in [
        acknowledge(&key, &agent, 2),
        acknowledge(&key, &elsewhere, 1),
        acknowledge(&other_task, &agent, 1),
    ] {
        assert_eq!(given.refused(wrong), Refusal::UpdateUnknown);
    }
    let stranger = FrameworkId::new("stranger").expect("a valid id");
    assert_eq!(
        given.refused(acknowledge(&Given::key(&stranger, "t"), &agent, 1)),
        Refusal::FrameworkUnknown(stranger)
    );
    let generation = given.state.task(&key).expect("it is there").generation;
    let (_, effects) = given.ok(acknowledge(&key, &agent, 1));
    assert_eq!(
        effects,
        [Effect::SyncAgent {
            agent: agent.clone()
        }]
    );
    assert_eq!(
        given.outbox(&agent),
        [AgentCommand::Acknowledge {
            task: key.clone(),
            generation,
            uuid: regency_types::UpdateUuid(1)
        }]
    );
    let framework = given.state.framework(&framework).expect("it is there");
    assert_eq!(framework.n_unacked, 0);
    assert_eq!(given.task_state(&key), Some(TaskState::Running));
    let again = given.refused(acknowledge(&key, &agent, 1));
    assert_eq!(again, Refusal::UpdateUnknown);
}

#[test]
fn an_end_that_is_not_acknowledged_keeps_the_task_id_in_use() {
    let (mut given, agent, framework, key) = Given::with_task();
    let first = given.state.task(&key).expect("it is there").generation;
    given.report(&agent, &key, 1, TaskState::Finished);
    let launch = |given: &mut Given| {
        let offer = given.offer(&framework, &agent, "cpus:1");
        let task = Given::task("t", &agent, "cpus:1");
        given.ok(Given::accept(&framework, &[offer], vec![task]))
    };
    let (outcome, effects) = launch(&mut given);
    assert_eq!(
        outcome,
        Outcome::Accepted {
            n_launched: 0,
            n_refused: 1
        }
    );
    assert_eq!(statuses(&effects), []);
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    let (outcome, _) = launch(&mut given);
    assert_eq!(
        outcome,
        Outcome::Accepted {
            n_launched: 1,
            n_refused: 0
        }
    );
    let second = given.state.task(&key).expect("it is there").generation;
    assert!(second > first);
}

#[test]
fn completed_tasks_are_bounded_and_the_oldest_go_first() {
    let (mut given, agent, framework, key) = Given::with_task();
    let task = given.state.task(&key).expect("it is there").clone();
    let record = given.state.framework_mut(&framework).expect("it is there");
    for n in 0..bounds::COMPLETED_TASKS_PER_FRAMEWORK_MAX {
        let mut old = crate::model::Task::clone(&task);
        old.key = Given::key(&framework, &format!("old{n}"));
        record.completed_tasks.push_back(Arc::new(old));
    }
    given.report(&agent, &key, 1, TaskState::Finished);
    given
        .acknowledge(&agent, &key, 1)
        .verdict
        .expect("the update waits");
    let framework = given.state.framework(&framework).expect("it is there");
    let kept = &framework.completed_tasks;
    assert_eq!(kept.len(), bounds::COMPLETED_TASKS_PER_FRAMEWORK_MAX);
    assert_eq!(kept[0].key.task.as_str(), "old1");
    assert_eq!(kept.last().map(|t| &t.key), Some(&key));
}

#[test]
fn the_history_of_a_task_is_bounded() {
    let (mut given, agent, _, key) = Given::with_task();
    for seq in 1..=2 * bounds::STATUS_HISTORY_MAX as u64 {
        let states = [TaskState::Running, TaskState::Killing];
        given.report(&agent, &key, seq, states[seq as usize % 2]);
    }
    let task = given.state.task(&key).expect("it is there");
    assert_eq!(task.statuses.len(), bounds::STATUS_HISTORY_MAX);
    assert_eq!(task.statuses.last().map(|s| s.state), Some(task.state));
}
