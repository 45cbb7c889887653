//! Operators take agents out of use: deactivated, drained, gone.

use std::sync::Arc;

use regency_types::{AgentId, TaskState};

use crate::apply::Applied;
use crate::command::{
    AgentDrained, DeactivateAgent, DrainAgent, ForgetAgents, MarkAgentGone, ReactivateAgent,
};
use crate::commands::agent::{remove, rescind_all};
use crate::commands::task::order_kill;
use crate::effect::Effect;
use crate::model::{Agent, AgentCommand, AgentPhase, Drain, DrainProgress, StatusReason, Task};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

impl State {
    /// Whether nothing of any framework is left on an agent: no task, not even one whose end is not
    /// acknowledged, and no operation that its framework has not heard of.
    #[must_use]
    pub fn is_empty_of_work(&self, agent: &Agent) -> bool {
        agent.tasks.is_empty()
            && !agent.inventory_due
            && self.operations.values().all(|o| o.agent != agent.id)
    }
}

/// Takes an agent out of use and has everything on it killed. What waits there still is killed
/// when it comes back, if it is away. A repetition changes nothing; another grace holds from then
/// on.
pub(crate) fn drain(state: &mut State, command: &DrainAgent) -> Applied {
    let agent = match counted(state, &command.agent) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    if state.machine_of(&agent.spec).is_some() {
        return Refusal::AgentScheduled(command.agent.clone()).into();
    }
    let drain = Drain {
        progress: DrainProgress::Draining,
        max_grace: command.max_grace,
        mark_gone: command.mark_gone,
        since: state.wall,
    };
    let before = agent.drain.filter(|_| agent.is_draining());
    let since = before.map_or(drain.since, |before| before.since);
    let drain = Drain { since, ..drain };
    let repeated = before == Some(drain);
    let mut effects = Vec::new();
    rescind_all(state, &command.agent, &mut effects);
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.deactivated = true;
        agent.drain = Some(drain);
    }
    let which = |task: &Task| !repeated || task.kill.is_none();
    kill_all(state, &command.agent, which, &mut effects);
    Applied::done(effects)
}

/// Has tasks of a draining agent killed, where `which` says so.
fn kill_all(
    state: &mut State,
    id: &AgentId,
    which: impl Fn(&Task) -> bool,
    effects: &mut Vec<Effect>,
) {
    let Some(agent) = state.agents.get(id).cloned() else {
        return;
    };
    let Some(drain) = agent.drain else { return };
    for key in &agent.tasks {
        let Some(task) = state.tasks.get(key).cloned() else {
            continue;
        };
        if task.is_terminal() || task.lost || !which(&task) {
            continue;
        }
        let framework = state.frameworks.get(&key.framework);
        let aware = framework.is_some_and(|f| f.spec.capabilities.partition_aware);
        let order = AgentCommand::DrainTask {
            task: key.clone(),
            generation: task.generation,
            max_grace: drain.max_grace,
            gone: drain.mark_gone && aware,
        };
        order_kill(state, &task, order, drain.max_grace);
    }
    effects.push(Effect::SyncAgent { agent: id.clone() });
}

/// Tasks that were taken over from an agent are killed, too, when it is one that is drained.
pub(crate) fn go_on(state: &mut State, id: &AgentId, effects: &mut Vec<Effect>) {
    let Some(agent) = state.agents.get(id) else {
        return;
    };
    if agent.drain.is_none() || agent.tasks.is_empty() {
        return;
    }
    if let Some(agent) = state.agent_mut(id)
        && let Some(drain) = &mut agent.drain
    {
        drain.progress = DrainProgress::Draining;
    }
    kill_all(state, id, |task| task.kill.is_none(), effects);
}

/// Notes that a draining agent is empty. One that is to be marked gone then, is.
pub(crate) fn drained(state: &mut State, command: &AgentDrained) -> Applied {
    let agent = match counted(state, &command.agent) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    let empty = agent.is_registered() && agent.is_draining() && state.is_empty_of_work(&agent);
    let Some(drain) = agent.drain.filter(|_| empty) else {
        return Refusal::AgentNotEmpty(command.agent.clone()).into();
    };
    let mut effects = Vec::new();
    if drain.mark_gone {
        gone(state, &command.agent, &mut effects);
    } else if let Some(agent) = state.agent_mut(&command.agent) {
        let progress = DrainProgress::Drained;
        agent.drain = Some(Drain { progress, ..drain });
    }
    Applied::done(effects)
}

/// Nothing is offered on the agent from now on; what runs there goes on.
pub(crate) fn deactivate(state: &mut State, command: &DeactivateAgent) -> Applied {
    if let Err(refusal) = counted(state, &command.agent) {
        return refusal.into();
    }
    let mut effects = Vec::new();
    rescind_all(state, &command.agent, &mut effects);
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.deactivated = true;
    }
    Applied::done(effects)
}

/// The agent is used again, also one that was drained. Not while it is draining: nobody can take
/// back the kills.
pub(crate) fn reactivate(state: &mut State, command: &ReactivateAgent) -> Applied {
    let agent = match counted(state, &command.agent) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    if !agent.deactivated {
        return Refusal::AgentNotDeactivated(command.agent.clone()).into();
    }
    if agent.is_draining() {
        return Refusal::AgentDraining(command.agent.clone()).into();
    }
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.deactivated = false;
        agent.drain = None;
    }
    Applied::done(vec![
        // It shows that it is not drained any more.
        Effect::SyncAgent {
            agent: command.agent.clone(),
        },
        Effect::WakeAllocator,
    ])
}

/// Removes an agent for good. A repetition changes nothing.
pub(crate) fn mark_gone(state: &mut State, command: &MarkAgentGone) -> Applied {
    let mut effects = Vec::new();
    if state.agents.contains_key(&command.agent) {
        gone(state, &command.agent, &mut effects);
    } else if !state.is_gone(&command.agent) {
        return Refusal::AgentUnknown(command.agent.clone()).into();
    }
    Applied::done(effects)
}

fn gone(state: &mut State, id: &AgentId, effects: &mut Vec<Effect>) {
    remove(
        state,
        id,
        TaskState::GoneByOperator,
        StatusReason::AgentRemovedByOperator,
        "Agent has been marked gone",
        effects,
    );
    state.note_gone(id.clone());
}

/// Forgets agents that are gone, and gives up those that are unreachable: their tasks are gone, and
/// they never come back under these ids. What does not fit is left alone: one that came back counts.
pub(crate) fn forget(state: &mut State, command: &ForgetAgents) -> Applied {
    let mut effects = Vec::new();
    let mut n = 0;
    for id in &command.agents {
        let phase = state.agents.get(id).map(|agent| &agent.phase);
        if matches!(phase, Some(AgentPhase::Unreachable { .. })) {
            remove(
                state,
                id,
                TaskState::Gone,
                StatusReason::AgentRemoved,
                "The agent was unreachable for too long",
                &mut effects,
            );
            n += 1;
        } else if state.gone.remove(id).is_some() {
            n += 1;
        }
    }
    Applied::ok(Outcome::Removed { n }, effects)
}

/// An agent that operators can speak of: one that counts, or is only not heard.
fn counted(state: &State, id: &AgentId) -> Result<Arc<Agent>, Refusal> {
    let agent = state.agents.get(id);
    let counted = agent.filter(|agent| !matches!(agent.phase, AgentPhase::Down { .. }));
    counted
        .cloned()
        .ok_or_else(|| Refusal::AgentUnknown(id.clone()))
}

#[cfg(test)]
mod tests;
