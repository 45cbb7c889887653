//! What an agent of a former cluster runs, taken over.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use regency_types::{AgentId, TaskState};

use crate::apply::Applied;
use crate::command::{InventoryTask, TakeInventory, TaskReport, TaskSpec};
use crate::commands::agent::{known, lose};
use crate::commands::drain;
use crate::commands::operation::make_room;
use crate::commands::report::{acknowledge_stale, apply_one};
use crate::effect::Effect;
use crate::model::{
    Agent, AgentCommand, AgentPhase, ExecutorKey, Framework, StatusReason, StatusRecord, Task,
    TaskExecutor,
};
use crate::outcome::Outcome;
use crate::state::State;

/// Takes over an agent's whole picture. What it does not name is gone. What it names and this
/// state does not know was launched after the state was taken: it becomes a task of its framework,
/// or is killed where that cannot be.
pub(crate) fn take(state: &mut State, command: &TakeInventory) -> Applied {
    let agent = match known(state, &command.agent, command.epoch) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    let mut effects = Vec::new();
    if agent.inventory_due {
        let named: BTreeSet<_> = command
            .tasks
            .iter()
            .map(|task| (&task.report.task, task.report.generation))
            .collect();
        // First what is gone, so that its resources are free for what came after it.
        for key in &agent.tasks {
            let Some(task) = state.tasks.get(key) else {
                continue;
            };
            if !named.contains(&(key, task.generation)) {
                lose(
                    state,
                    key,
                    StatusReason::Reconciliation,
                    "The agent does not know the task any more",
                    &mut effects,
                );
            }
        }
        if let Some(agent) = state.agent_mut(&command.agent) {
            agent.inventory_due = false;
            agent.suspect_since = None;
            agent.report_seq = agent.report_seq.max(command.report_seq);
        }
        let mut ended = BTreeSet::new();
        for task in &command.tasks {
            let framework = &task.report.task.framework;
            if state.frameworks.contains_key(framework) {
                take_task(state, &command.agent, task, &mut effects);
            } else if ended.insert(framework)
                && let Some(agent) = state.agent_mut(&command.agent)
            {
                agent.push(AgentCommand::ShutdownFramework {
                    framework: framework.clone(),
                });
            }
        }
        drain::go_on(state, &command.agent, &mut effects);
        effects.push(Effect::SyncAgent {
            agent: command.agent.clone(),
        });
        effects.push(Effect::WakeAllocator);
    }
    let report_seq = state.agents.get(&command.agent).map_or(0, |a| a.report_seq);
    Applied::ok(Outcome::ReportsApplied { report_seq }, effects)
}

fn take_task(state: &mut State, agent: &AgentId, task: &InventoryTask, effects: &mut Vec<Effect>) {
    let report = &task.report;
    let is_known = state
        .tasks
        .get(&report.task)
        .is_some_and(|t| t.generation == report.generation && &t.agent == agent && !t.lost);
    if is_known || add(state, agent, task) {
        apply_one(state, agent, report, effects);
        return;
    }
    if !report.latest_state.is_terminal()
        && let Some(record) = state.agent_mut(agent)
    {
        record.push(AgentCommand::Kill {
            task: report.task.clone(),
            generation: report.generation,
            grace: None,
        });
    }
    acknowledge_stale(state, agent, report, effects);
}

/// Adds a task that was launched by the former cluster. Not when its id is taken, it cannot be read,
/// it does not fit, or its end was told: that is final.
fn add(state: &mut State, agent: &AgentId, task: &InventoryTask) -> bool {
    let InventoryTask { report, spec, role } = task;
    let (Some(spec), Some(record), Some(framework)) = (
        spec,
        state.agents.get(agent),
        state.frameworks.get(&report.task.framework),
    ) else {
        return false;
    };
    let ended = |t: &Arc<Task>| t.key == report.task && t.generation == report.generation;
    if framework.completed_tasks.iter().any(ended)
        || matches!(record.phase, AgentPhase::Down { .. })
        || spec.task != report.task.task
        || state.tasks.contains_key(&report.task)
        || report.generation.0 > state.counters.generation
    {
        return false;
    }
    let (role, launch_seq, executor) = (
        role.clone().unwrap_or_else(|| role_of(framework)),
        record.confirmed_seq,
        executor_of(record, report, spec),
    );
    if !make_room(state, agent, &spec.resources) {
        return false;
    }
    let added = Task {
        key: report.task.clone(),
        generation: report.generation,
        agent: agent.clone(),
        role,
        name: spec.name.clone(),
        info: spec.info.clone(),
        resources: spec.resources.clone(),
        executor,
        launch_seq,
        state: TaskState::Staging,
        state_before_unreachable: None,
        unreachable: None,
        status: Bytes::new(),
        task_seq: 0,
        unacked: None,
        lost: false,
        kill: None,
        statuses: vec![StatusRecord {
            state: TaskState::Staging,
            wall: state.wall,
        }],
        launched: state.now,
    };
    state.insert_task(added);
    true
}

/// The executor that runs it, if it is one of those that were just taken over.
fn executor_of(agent: &Agent, report: &TaskReport, spec: &TaskSpec) -> Option<TaskExecutor> {
    let key = ExecutorKey {
        framework: report.task.framework.clone(),
        executor: spec.executor.as_ref()?.executor.clone(),
    };
    let executor = agent.executors.get(&key)?;
    Some(TaskExecutor {
        executor: key.executor,
        instance: executor.instance,
    })
}

/// Tasks of a framework with one role need not name it.
fn role_of(framework: &Arc<Framework>) -> String {
    let first = framework.spec.roles.first();
    first.cloned().unwrap_or_else(|| "*".to_owned())
}

#[cfg(test)]
mod tests {
    use regency_types::{AgentEpoch, ClusterId, FrameworkId, Generation, TaskKey};

    use super::*;
    use crate::command::{ApplyReports, ChangeCluster, Command};
    use crate::commands::fixture::{Given, resources, statuses};

    fn change(given: &mut Given) {
        given.ok(Command::ChangeCluster(ChangeCluster {
            from: ClusterId(7),
            to: ClusterId(8),
            index: 9,
        }));
    }

    fn spec(agent: &AgentId, key: &TaskKey, what: &str) -> TaskSpec {
        TaskSpec {
            task: key.task.clone(),
            agent: agent.clone(),
            name: "t".into(),
            resources: resources(what),
            executor: None,
            info: Bytes::from_static(b"info"),
        }
    }

    fn item(agent: &AgentId, report: TaskReport, what: &str) -> InventoryTask {
        InventoryTask {
            spec: Some(spec(agent, &report.task, what)),
            report,
            role: None,
        }
    }

    fn take(given: &mut Given, agent: &AgentId, tasks: Vec<InventoryTask>) -> Vec<Effect> {
        let (_, effects) = given.ok(Command::TakeInventory(TakeInventory {
            agent: agent.clone(),
            epoch: AgentEpoch(1),
            report_seq: 50,
            tasks,
        }));
        effects
    }

    #[test]
    fn a_task_of_a_known_framework_is_added_and_one_that_is_missing_is_gone() {
        let (mut given, agent, framework, old) = Given::with_task();
        change(&mut given);
        let new = Given::key(&framework, "later");
        let report = Given::news(&new, 77, 1, TaskState::Running);
        let effects = take(&mut given, &agent, vec![item(&agent, report, "cpus:1")]);
        assert_eq!(given.task_state(&new), Some(TaskState::Running));
        assert_eq!(given.task_state(&old), None);
        assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
        assert!(statuses(&effects).iter().any(|s| s.1 == TaskState::Gone));
        let record = given.state.agent(&agent).expect("kept");
        assert_eq!(record.allocated, resources("cpus:1"));
        assert_eq!(record.report_seq, 50);
        assert!(!record.inventory_due && record.outbox.is_empty());
        // A second one, from a repeated call, says nothing new.
        take(&mut given, &agent, Vec::new());
        assert_eq!(given.task_state(&new), Some(TaskState::Running));
    }

    #[test]
    fn what_cannot_be_taken_over_is_killed() {
        let (mut given, agent, framework, old) = Given::with_task();
        let total = given.state.agent(&agent).expect("there").spec.total.clone();
        change(&mut given);
        let too_big = Given::key(&framework, "big");
        let unread = Given::key(&framework, "unread");
        let stranger = Given::key(
            &FrameworkId::new("nobody").expect("valid"),
            "of-a-framework-unknown-here",
        );
        let running = |key: &TaskKey| Given::news(key, 70, 1, TaskState::Running);
        let mut big = item(&agent, running(&too_big), "cpus:1");
        big.spec.as_mut().expect("there").resources = {
            let mut more = total.clone();
            more += &resources("cpus:1");
            more
        };
        let mut garbled = item(&agent, running(&unread), "cpus:1");
        garbled.spec = None;
        // The same task, launched again by the former cluster.
        let again = item(&agent, running(&old), "cpus:1");
        let known = item(
            &agent,
            Given::news(&old, 1, 1, TaskState::Running),
            "cpus:1",
        );
        take(
            &mut given,
            &agent,
            vec![
                known,
                again,
                big,
                garbled,
                item(&agent, running(&stranger), "cpus:1"),
            ],
        );
        assert_eq!(given.task_state(&old), Some(TaskState::Running));
        let outbox = given.outbox(&agent);
        for (key, generation) in [(&too_big, 70), (&unread, 70), (&old, 70)] {
            let killed = AgentCommand::Kill {
                task: key.clone(),
                generation: Generation(generation),
                grace: None,
            };
            assert!(outbox.contains(&killed), "{key}: {outbox:?}");
        }
        assert!(outbox.contains(&AgentCommand::ShutdownFramework {
            framework: stranger.framework.clone()
        }));
    }

    #[test]
    fn a_reservation_comes_back_with_the_task_that_uses_it() {
        let (mut given, agent, framework, _) = Given::with_task();
        change(&mut given);
        let reserved = |text: &str| {
            resources(text).push_reservation(&regency_resources::Reservation::dynamic("eng", None))
        };
        let key = Given::key(&framework, "later");
        let report = Given::news(&key, 77, 1, TaskState::Running);
        let mut task = item(&agent, report, "cpus:1");
        task.spec.as_mut().expect("there").resources = reserved("cpus:1");
        let too_big = Given::key(&framework, "big");
        let report = Given::news(&too_big, 78, 1, TaskState::Running);
        let mut big = item(&agent, report, "cpus:1");
        big.spec.as_mut().expect("there").resources = reserved("cpus:1000");
        take(&mut given, &agent, vec![task, big]);
        let record = given.state.agent(&agent).expect("kept");
        assert_eq!(record.allocated, reserved("cpus:1"));
        assert_eq!(record.checkpointed, reserved("cpus:1"));
        assert_eq!(given.task_state(&too_big), None);
    }

    #[test]
    fn a_task_whose_end_was_told_does_not_come_back() {
        let (mut given, agent, framework, old) = Given::with_task();
        let generation = given.state.task(&old).expect("launched").generation;
        change(&mut given);
        take(&mut given, &agent, Vec::new());
        assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
        // The state changes hands once more, and this time the agent names it.
        given.ok(Command::ChangeCluster(ChangeCluster {
            from: ClusterId(8),
            to: ClusterId(9),
            index: 10,
        }));
        let report = Given::news(&old, generation.0, 1, TaskState::Running);
        take(&mut given, &agent, vec![item(&agent, report, "cpus:1")]);
        assert_eq!(given.task_state(&old), None);
        assert_eq!(given.completed_as(&framework), Some(TaskState::Gone));
        let killed = AgentCommand::Kill {
            task: old,
            generation,
            grace: None,
        };
        assert!(given.outbox(&agent).contains(&killed));
    }

    #[test]
    fn reports_that_come_before_the_inventory_wait_for_it() {
        let (mut given, agent, framework, _) = Given::with_task();
        change(&mut given);
        let new = Given::key(&framework, "later");
        let mut report = Given::news(&new, 77, 1, TaskState::Running);
        report.report_seq = 49;
        let before = given.outbox(&agent);
        given.ok(Command::ApplyReports(ApplyReports {
            agent: agent.clone(),
            epoch: AgentEpoch(1),
            command_seq: 0,
            reports: vec![report.clone()],
        }));
        // Not acknowledged as something nobody knows.
        assert_eq!(given.outbox(&agent), before);
        take(&mut given, &agent, vec![item(&agent, report, "cpus:1")]);
        assert_eq!(given.task_state(&new), Some(TaskState::Running));
    }
}
