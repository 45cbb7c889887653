//! Executors: launched with their first task, shut down, gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use regency_mutants::{Mutant, on};
use regency_resources::Resources;
use regency_types::{AgentId, FrameworkId, Generation};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{EndExecutors, ReportedExecutor, ResyncExecutors, ShutdownExecutor, TaskSpec};
use crate::commands::agent::known;
use crate::commands::offer::AcceptCx;
use crate::effect::Effect;
use crate::model::{Agent, AgentCommand, AgentPhase, Executor, ExecutorKey, TaskExecutor};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

/// What is left of the offers for a task itself, once its executor has what it needs: that is
/// nothing when it is on the agent already.
///
/// # Errors
/// When its executor is there and is another one, or does not fit.
pub(crate) fn left_for(
    state: &State,
    framework: &FrameworkId,
    cx: &AcceptCx,
    task: &TaskSpec,
) -> Result<Resources, String> {
    let Some(spec) = &task.executor else {
        return Ok(cx.remaining.clone());
    };
    let key = ExecutorKey {
        framework: framework.clone(),
        executor: spec.executor.clone(),
    };
    let agent = state.agents.get(&cx.agent);
    match agent.and_then(|a| a.executors.get(&key)) {
        Some(there) if there.info != spec.info => Err(format!(
            "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID '{}'",
            spec.executor
        )),
        Some(_) => Ok(cx.remaining.clone()),
        None => cx.remaining.without_used(&spec.resources).map_err(|_| {
            format!(
                "Executor uses more resources {} than available {}",
                spec.resources, cx.remaining
            )
        }),
    }
}

/// The executor that runs a task which is about to be launched; started before it when there is
/// none. What is left of the offers was found to contain what it needs.
pub(crate) fn of_task(
    state: &mut State,
    framework: &FrameworkId,
    cx: &mut AcceptCx,
    task: &TaskSpec,
) -> Option<TaskExecutor> {
    let spec = task.executor.as_ref()?;
    let key = ExecutorKey {
        framework: framework.clone(),
        executor: spec.executor.clone(),
    };
    let there = state
        .agents
        .get(&cx.agent)
        .and_then(|a| a.executors.get(&key));
    let instance = match there {
        Some(executor) => {
            let (instance, resources) = (executor.instance, executor.resources.clone());
            if on(Mutant::ChargeExecutorTwice)
                && let Some(agent) = state.agent_mut(&cx.agent)
            {
                agent.allocated += &resources;
            }
            instance
        }
        None => {
            cx.remaining = cx
                .remaining
                .without_used(&spec.resources)
                .expect("what is left was just found to contain the executor's resources");
            state.counters.generation += 1;
            let instance = Generation(state.counters.generation);
            let now = state.now;
            let agent = state
                .agent_mut(&cx.agent)
                .expect("an offer that was usable has its agent");
            let launch_seq = agent.push(AgentCommand::LaunchExecutor {
                executor: key.clone(),
                instance,
            });
            let executor = Executor {
                key: key.clone(),
                instance,
                role: cx.role.clone(),
                info: spec.info.clone(),
                resources: spec.resources.clone(),
                launch_seq,
                shutdown: false,
                launched: now,
            };
            insert(agent, executor);
            instance
        }
    };
    Some(TaskExecutor {
        executor: key.executor,
        instance,
    })
}

fn insert(agent: &mut Agent, executor: Executor) {
    agent.allocated += &executor.resources;
    agent
        .executors
        .insert(executor.key.clone(), Arc::new(executor));
}

/// Takes an executor off its agent, if it is still that instance.
fn remove(
    state: &mut State,
    agent: &AgentId,
    key: &ExecutorKey,
    instance: Generation,
) -> Option<Arc<Executor>> {
    let record = state.agent_mut(agent)?;
    if record.executors.get(key)?.instance != instance {
        return None;
    }
    let executor = record.executors.remove(key)?;
    if !on(Mutant::LeakExecutor) {
        state.free(agent, &executor.resources);
    }
    Some(executor)
}

/// Takes an executor off an agent that does not count any more. Should the agent come back, the
/// executor is shut down.
pub(crate) fn forget(
    state: &mut State,
    agent: &AgentId,
    key: &ExecutorKey,
    instance: Generation,
    effects: &mut Vec<Effect>,
) {
    if remove(state, agent, key, instance).is_none() {
        return;
    }
    if let Some(agent) = state.agent_mut(agent) {
        agent.push(AgentCommand::ShutdownExecutor {
            executor: key.clone(),
            instance,
        });
    }
    gone(agent, key, None, effects);
}

/// Takes all executors of a framework off their agents; gives those agents.
pub(crate) fn remove_all_of(state: &mut State, framework: &FrameworkId) -> BTreeSet<AgentId> {
    let all: Vec<_> = state
        .executors_of(framework)
        .map(|(agent, e)| (agent.clone(), e.key.clone(), e.instance))
        .collect();
    let mut agents = BTreeSet::new();
    for (agent, key, instance) in all {
        remove(state, &agent, &key, instance);
        agents.insert(agent);
    }
    agents
}

/// Frees what executors used that are gone. What was told before is skipped by its number.
pub(crate) fn end(state: &mut State, command: &EndExecutors) -> Applied {
    if let Err(refusal) = known(state, &command.agent, command.epoch) {
        return refusal.into();
    }
    let mut effects = Vec::new();
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.confirm(command.command_seq);
        agent.suspect_since = None;
    }
    for exit in &command.exits {
        let Some(agent) = state.agent_mut(&command.agent) else {
            break;
        };
        if agent.inventory_due {
            // The inventory says who is there.
            break;
        }
        if exit.report_seq <= agent.report_seq {
            continue;
        }
        agent.report_seq = exit.report_seq;
        if remove(state, &command.agent, &exit.executor, exit.instance).is_some() {
            gone(&command.agent, &exit.executor, exit.status, &mut effects);
        }
    }
    let report_seq = state.agents.get(&command.agent).map_or(0, |a| a.report_seq);
    Applied::ok(Outcome::ReportsApplied { report_seq }, effects)
}

fn gone(agent: &AgentId, key: &ExecutorKey, status: Option<i32>, effects: &mut Vec<Effect>) {
    effects.push(Effect::SendExecutorExit {
        executor: key.clone(),
        agent: agent.clone(),
        status,
    });
    effects.push(Effect::WakeAllocator);
}

/// Follows an agent's whole picture of its executors. One that the masters launched there, whose
/// launch the agent noted, and which it does not name any more is gone. One that it names and
/// nobody here knows is shut down; from an agent of a former cluster it is taken over where that
/// can be.
pub(crate) fn resync(state: &mut State, command: &ResyncExecutors) -> Applied {
    let agent = match known(state, &command.agent, command.epoch) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    let mut effects = Vec::new();
    let noted = command.command_seq.min(bounds::COMMAND_SEQ_BELIEVED_MAX);
    let named: BTreeSet<_> = command
        .executors
        .iter()
        .map(|reported| (&reported.key, reported.instance))
        .collect();
    for (key, executor) in &agent.executors {
        let told = agent.inventory_due || executor.launch_seq <= noted;
        if told
            && !named.contains(&(key, executor.instance))
            && remove(state, &command.agent, key, executor.instance).is_some()
        {
            gone(&command.agent, key, None, &mut effects);
        }
    }
    for reported in &command.executors {
        let is_known = state.agents.get(&command.agent).is_some_and(|a| {
            let there = a.executors.get(&reported.key);
            there.is_some_and(|e| e.instance == reported.instance)
        });
        if is_known || (agent.inventory_due && take_over(state, &command.agent, reported)) {
            continue;
        }
        if let Some(agent) = state.agent_mut(&command.agent) {
            agent.push(AgentCommand::ShutdownExecutor {
                executor: reported.key.clone(),
                instance: reported.instance,
            });
        }
        effects.push(Effect::SyncAgent {
            agent: command.agent.clone(),
        });
    }
    Applied::done(effects)
}

/// Adds an executor that was launched by the former cluster. Not when its framework is not known,
/// its id is taken, it cannot be read, or it does not fit.
fn take_over(state: &mut State, agent: &AgentId, reported: &ReportedExecutor) -> bool {
    let (Some(spec), Some(record), Some(framework)) = (
        &reported.spec,
        state.agents.get(agent),
        state.frameworks.get(&reported.key.framework),
    ) else {
        return false;
    };
    let fits = record
        .total
        .without_used(&record.allocated)
        .is_ok_and(|rest| rest.contains(&spec.resources));
    if !fits
        || matches!(record.phase, AgentPhase::Down { .. })
        || spec.executor != reported.key.executor
        || record.executors.contains_key(&reported.key)
        || reported.instance.0 > state.counters.generation
    {
        return false;
    }
    let first = framework.spec.roles.first();
    let role = reported.role.as_ref().or(first).cloned();
    let executor = Executor {
        key: reported.key.clone(),
        instance: reported.instance,
        role: role.unwrap_or_else(|| "*".to_owned()),
        info: spec.info.clone(),
        resources: spec.resources.clone(),
        launch_seq: record.confirmed_seq,
        shutdown: false,
        launched: state.now,
    };
    if let Some(agent) = state.agent_mut(agent) {
        insert(agent, executor);
    }
    true
}

/// Asks the agent to shut an executor down. The order waits for the agent as long as it takes; a
/// repetition, or an executor that is not there, changes nothing, as in Mesos.
pub(crate) fn shutdown(state: &mut State, command: &ShutdownExecutor) -> Applied {
    if !state.frameworks.contains_key(&command.executor.framework) {
        return Refusal::FrameworkUnknown(command.executor.framework.clone()).into();
    }
    let Some(agent) = state.agent_mut(&command.agent) else {
        return Applied::done(Vec::new());
    };
    let there = agent.executors.get_mut(&command.executor);
    let Some(executor) = there.filter(|executor| !executor.shutdown) else {
        return Applied::done(Vec::new());
    };
    Arc::make_mut(executor).shutdown = true;
    let instance = executor.instance;
    agent.push(AgentCommand::ShutdownExecutor {
        executor: command.executor.clone(),
        instance,
    });
    Applied::done(vec![Effect::SyncAgent {
        agent: command.agent.clone(),
    }])
}

#[cfg(test)]
mod tests;
