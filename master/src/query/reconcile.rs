//! Answers to RECONCILE.
//!
//! Mesos stays silent about tasks of agents that have not come back since the last change of
//! leader. Here the masters know every task and every agent at all times, so every question gets
//! an answer, the first time.
//!
//! One difference more: a task that ended and was acknowledged is told as it ended for as long
//! as it is kept, where Mesos would say that the agent does not know it.

use std::collections::BTreeMap;

use regency_state::State;
use regency_state::model::{AgentPhase, Framework, Task};
use regency_types::{AgentId, TaskId, TaskKey, TaskState, WallTime};
use regency_wire::v1::task_status::Reason;
use regency_wire::v1::{self, TaskStatus};

use super::status::{time, told};
use super::task::{forwarded_state, info, sent};

/// A question of an explicit reconciliation, as the framework wrote it: the task id, and the
/// agent it believes the task to be on. Neither needs to be valid.
pub type Item = (String, Option<String>);

/// Answers an explicit reconciliation: one status per item, in the order of the items.
///
/// `at` is the time the statuses are stamped with.
#[must_use]
pub fn explicit(
    state: &State,
    framework: &Framework,
    items: &[Item],
    at: WallTime,
) -> Vec<TaskStatus> {
    // The newest of an id wins, and the list is in the order in which tasks ended.
    let completed: BTreeMap<&TaskId, &Task> = framework
        .completed_tasks
        .iter()
        .map(|task| (&task.key.task, task.as_ref()))
        .collect();
    items
        .iter()
        .map(|(task_id, agent)| {
            let key = TaskId::new(task_id).ok().map(|task| TaskKey {
                framework: framework.id.clone(),
                task,
            });
            let known = key.as_ref().and_then(|key| {
                state
                    .task(key)
                    .map(AsRef::as_ref)
                    .or_else(|| completed.get(&key.task).copied())
            });
            match known {
                Some(task) => of_task(framework, task, at),
                None => of_stranger(state, framework, task_id, agent.as_deref(), at),
            }
        })
        .collect()
}

/// Answers an implicit reconciliation: one status for each task of the framework that is not
/// completed. Unreachable ones are left out, as Mesos does.
#[must_use]
pub fn implicit(state: &State, framework: &Framework, at: WallTime) -> Vec<TaskStatus> {
    state
        .tasks_of(framework)
        .filter(|task| task.state != TaskState::Unreachable)
        .map(|task| of_task(framework, task, at))
        .collect()
}

fn of_task(framework: &Framework, task: &Task, at: WallTime) -> TaskStatus {
    let state = forwarded_state(task);
    let mut status = TaskStatus::by_master(
        (&task.key.task).into(),
        Some((&task.agent).into()),
        told(state, &framework.spec.capabilities),
        Reason::Reconciliation,
        "Reconciliation: the newest state of the task",
        at.as_secs_f64(),
    );
    if state == TaskState::Unreachable {
        status.unreachable_time = task.unreachable.map(time);
    }
    status.executor_id = info(task).executor.map(|executor| executor.executor_id);
    if let Some(sent) = sent(task) {
        status.healthy = sent.healthy;
        status.check_status = sent.check_status;
        status.container_status = sent.container_status;
    }
    status
}

fn of_stranger(
    state: &State,
    framework: &Framework,
    task_id: &str,
    agent: Option<&str>,
    at: WallTime,
) -> TaskStatus {
    let known = agent
        .and_then(|text| AgentId::new(text).ok())
        .map(|id| (state.agent(&id), was_registered(state, &id)));
    let is_gone = || {
        let id = agent.and_then(|text| AgentId::new(text).ok());
        id.is_some_and(|id| state.is_gone(&id))
    };
    let (verdict, message, unreachable) = match known {
        Some((Some(agent), _)) => match &agent.phase {
            AgentPhase::Registered => (
                TaskState::Gone,
                "Reconciliation: the agent has no such task",
                None,
            ),
            AgentPhase::Unreachable { wall, .. } => (
                TaskState::Unreachable,
                "Reconciliation: the agent is unreachable",
                Some(time(*wall)),
            ),
            AgentPhase::Down { .. } => (
                TaskState::Gone,
                "Reconciliation: the agent's machine was taken down",
                None,
            ),
        },
        Some((None, _)) if is_gone() => (
            TaskState::GoneByOperator,
            "Reconciliation: the agent was marked gone",
            None,
        ),
        // An agent is removed only when nothing of it runs any more.
        Some((None, true)) => (
            TaskState::Gone,
            "Reconciliation: the agent was removed",
            None,
        ),
        Some((None, false)) | None => (
            TaskState::Unknown,
            "Reconciliation: the task is not known",
            None,
        ),
    };
    let mut status = TaskStatus::by_master(
        v1::TaskId {
            value: task_id.to_owned(),
        },
        agent.map(|value| v1::AgentId {
            value: value.to_owned(),
        }),
        told(verdict, &framework.spec.capabilities),
        Reason::Reconciliation,
        message,
        at.as_secs_f64(),
    );
    status.unreachable_time = unreachable;
    status
}

/// Whether this cluster gave out the id, to an agent that may be gone by now.
fn was_registered(state: &State, id: &AgentId) -> bool {
    let Some(cluster) = state.cluster() else {
        return false;
    };
    let number = id
        .as_str()
        .strip_prefix(&cluster.to_string())
        .and_then(|rest| rest.strip_prefix("-S"))
        .and_then(|digits| digits.parse::<u64>().ok());
    number.is_some_and(|n| n < state.counters().agent && cluster.agent_id(n) == *id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::model::Capabilities;

    const AT: WallTime = WallTime(5_000);

    /// States answered to questions about (task, agent).
    fn ask(cluster: &Cluster, items: &[(&str, Option<&str>)]) -> Vec<v1::TaskState> {
        let framework = cluster
            .state
            .frameworks()
            .next()
            .expect("there is a framework");
        let items: Vec<Item> = items
            .iter()
            .map(|(task, agent)| ((*task).to_owned(), agent.map(str::to_owned)))
            .collect();
        let statuses = explicit(&cluster.state, framework, &items, AT);
        assert_eq!(statuses.len(), items.len());
        for (status, (task, agent)) in statuses.iter().zip(&items) {
            assert_eq!(&status.task_id.value, task);
            assert_eq!(status.reason(), Reason::Reconciliation);
            assert_eq!(status.uuid, None);
            assert_eq!(status.timestamp, Some(5.0));
            if agent.is_some() {
                assert!(status.agent_id.is_some());
            }
        }
        statuses.iter().map(TaskStatus::state).collect()
    }

    #[test]
    fn every_question_gets_the_answer_of_the_table() {
        use v1::TaskState::{TaskGone, TaskRunning, TaskUnknown};
        let (mut cluster, key) = Cluster::with_task();
        let (agent, removed) = cluster.supersede_an_agent();
        cluster.report(&key, 1, TaskState::Running);
        let never = agent.replace("-S0", "-S99");
        assert_eq!(
            ask(
                &cluster,
                &[
                    ("t", Some(&agent)),
                    ("t", None),
                    ("t", Some("elsewhere")),
                    ("other", Some(&agent)),
                    ("other", Some(&removed)),
                    ("other", Some(&never)),
                    ("other", Some("foreign-S1")),
                    ("other", None),
                    ("not/valid", None),
                    ("", Some(&agent)),
                ]
            ),
            [
                TaskRunning,
                TaskRunning,
                TaskRunning,
                TaskGone,
                TaskGone,
                TaskUnknown,
                TaskUnknown,
                TaskUnknown,
                TaskUnknown,
                TaskGone
            ]
        );
    }

    #[test]
    fn tasks_of_an_unreachable_agent_are_unreachable_since_then() {
        let (mut cluster, key) = Cluster::with_task();
        cluster.report(&key, 1, TaskState::Running);
        cluster.acknowledge(&key, 1);
        let agent = cluster.lose_agent(&key);
        assert_eq!(
            ask(&cluster, &[("t", None), ("other", Some(&agent))]),
            [v1::TaskState::TaskUnreachable; 2]
        );
        let framework = cluster
            .state
            .framework(&key.framework)
            .expect("it is there");
        let statuses = explicit(&cluster.state, framework, &[("t".into(), None)], AT);
        assert!(statuses[0].unreachable_time.is_some());
        assert_eq!(implicit(&cluster.state, framework, AT), []);
    }

    #[test]
    fn frameworks_that_are_not_partition_aware_are_told_lost() {
        let (mut cluster, key) = Cluster::with_task_for(Capabilities::default());
        cluster.report(&key, 1, TaskState::Running);
        cluster.acknowledge(&key, 1);
        cluster.lose_agent(&key);
        assert_eq!(
            ask(&cluster, &[("t", None), ("other", None)]),
            [v1::TaskState::TaskLost; 2]
        );
    }

    #[test]
    fn the_capabilities_of_the_present_decide_what_is_told_of_the_past() {
        let (mut cluster, key) = Cluster::with_task();
        cluster.lose_agent(&key);
        assert_eq!(
            ask(&cluster, &[("t", None)]),
            [v1::TaskState::TaskUnreachable]
        );
        let framework = cluster.state.framework(&key.framework).expect("known");
        let mut spec = framework.spec.clone();
        spec.capabilities.partition_aware = false;
        cluster.update(&key.framework, spec);
        assert_eq!(ask(&cluster, &[("t", None)]), [v1::TaskState::TaskLost]);
    }

    #[test]
    fn a_state_that_waits_behind_an_update_is_not_told_yet() {
        let (mut cluster, key) = Cluster::with_task();
        cluster.report_head(&key, 1, TaskState::Running, TaskState::Finished);
        let framework = cluster
            .state
            .framework(&key.framework)
            .expect("it is there");
        let told = implicit(&cluster.state, framework, AT);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].state(), v1::TaskState::TaskRunning);
    }

    #[test]
    fn a_completed_task_is_told_as_it_ended() {
        let (mut cluster, key) = Cluster::with_task();
        cluster.report(&key, 1, TaskState::Finished);
        cluster.acknowledge(&key, 1);
        assert!(cluster.state.task(&key).is_none(), "it is completed");
        assert_eq!(ask(&cluster, &[("t", None)]), [v1::TaskState::TaskFinished]);
        let framework = cluster
            .state
            .framework(&key.framework)
            .expect("it is there");
        assert_eq!(implicit(&cluster.state, framework, AT), []);
    }
}
