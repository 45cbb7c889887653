//! Kills and acknowledgements.

use regency_mutants::{Mutant, on};
use regency_types::{DurationMs, Generation, TaskKey};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{AcknowledgeUpdate, KillTask};
use crate::effect::Effect;
use crate::model::{AgentCommand, PendingKill, Task};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

/// Asks the task's agent to kill it. The order waits for the agent as long as it takes; a
/// repetition with the same grace changes nothing. Of orders with ever another grace only so many
/// wait, so that no framework can fill the command stream of an agent that is away.
pub(crate) fn kill(state: &mut State, command: &KillTask) -> Applied {
    if !state.frameworks.contains_key(&command.task.framework) {
        return Refusal::FrameworkUnknown(command.task.framework.clone()).into();
    }
    let Some(task) = state.tasks.get(&command.task).cloned() else {
        return Applied::ok(Outcome::TaskUnknown, Vec::new());
    };
    let elsewhere = command.agent.as_ref().is_some_and(|a| a != &task.agent);
    let repeated = task.kill.as_ref().is_some_and(|k| k.grace == command.grace);
    if elsewhere || repeated || task.is_terminal() {
        return Applied::done(Vec::new());
    }
    let order = AgentCommand::Kill {
        task: command.task.clone(),
        generation: task.generation,
        grace: command.grace,
    };
    if !order_kill(state, &task, order, command.grace) {
        return Applied::done(Vec::new());
    }
    Applied::done(vec![Effect::SyncAgent {
        agent: task.agent.clone(),
    }])
}

/// Puts a kill of a task into the stream of its agent, if that is there. Only so many of one task
/// wait; a further one takes the place of the last.
pub(crate) fn order_kill(
    state: &mut State,
    task: &Task,
    order: AgentCommand,
    grace: Option<DurationMs>,
) -> bool {
    let Some(agent) = state.agent_mut(&task.agent) else {
        return false;
    };
    let waiting: Vec<u64> = agent
        .outbox
        .iter()
        .filter(|(_, waits)| is_kill_of(waits, &task.key, task.generation))
        .map(|(seq, _)| *seq)
        .collect();
    let command_seq = match waiting.last() {
        Some(last) if waiting.len() >= bounds::KILLS_WAITING_MAX => {
            agent.outbox.insert(*last, order);
            *last
        }
        _ if on(Mutant::ForgetKill) => agent.command_seq,
        _ if on(Mutant::DropKillForAbsent) && !agent.is_registered() => agent.command_seq,
        _ => agent.push(order),
    };
    if let Some(task) = state.task_mut(&task.key) {
        task.kill = Some(PendingKill { grace, command_seq });
    }
    true
}

/// Only of that launch: the agent may have noted the kills of earlier ones under these numbers.
fn is_kill_of(command: &AgentCommand, key: &TaskKey, launch: Generation) -> bool {
    matches!(
        command,
        AgentCommand::Kill { task, generation, .. }
        | AgentCommand::DrainTask { task, generation, .. }
            if task == key && *generation == launch
    )
}

/// Takes an update off the head of its task's stream. When it told the task's end, the task is
/// complete and its id may be used again.
pub(crate) fn acknowledge(state: &mut State, command: &AcknowledgeUpdate) -> Applied {
    if !state.frameworks.contains_key(&command.task.framework) {
        return Refusal::FrameworkUnknown(command.task.framework.clone()).into();
    }
    let Some(task) = state.tasks.get(&command.task).cloned() else {
        return Refusal::UpdateUnknown.into();
    };
    let Some(unacked) = task
        .unacked
        .as_ref()
        .filter(|u| u.uuid == command.uuid || on(Mutant::AcknowledgeAnyUpdate))
    else {
        return Refusal::UpdateUnknown.into();
    };
    if task.agent != command.agent {
        return Refusal::UpdateUnknown.into();
    }
    let mut effects = Vec::new();
    if let Some(task) = state.task_mut(&command.task) {
        task.unacked = None;
    }
    if let Some(framework) = state.framework_mut(&command.task.framework) {
        framework.n_unacked = framework.n_unacked.saturating_sub(1);
    }
    match state.agent_mut(&task.agent) {
        Some(agent) => {
            if !on(Mutant::AcknowledgementNotPassedOn) {
                agent.push(AgentCommand::Acknowledge {
                    task: command.task.clone(),
                    generation: task.generation,
                    uuid: command.uuid,
                });
            }
            effects.push(Effect::SyncAgent {
                agent: task.agent.clone(),
            });
            if unacked.state.is_terminal() || task.lost {
                state.complete_task(&command.task);
            }
        }
        // The agent was removed and nothing more will come of the task.
        None => state.complete_task(&command.task),
    }
    Applied::done(effects)
}

#[cfg(test)]
mod tests;
