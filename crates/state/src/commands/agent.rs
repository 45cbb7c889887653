//! Agents come, change, fall silent and are given up.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use regency_mutants::{Mutant, on};
use regency_resources::Resources;
use regency_types::{AgentId, TaskKey, TaskState};

use crate::apply::Applied;
use crate::command::{
    ClearSuspicion, MarkAgentUnreachable, RegisterAgent, ReregisterAgent, SuspectAgents,
};
use crate::commands::inverse_offer::take_back as take_back_inverse;
use crate::effect::Effect;
use crate::model::{
    Agent, AgentCommand, AgentPhase, AgentSpec, Consumption, MasterStatus, StatusReason, Task,
};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

/// Gives an agent its id. The same epoch always gets the same id, so a repetition is harmless; a
/// new epoch on a known address supersedes the agent that was there.
pub(crate) fn register(state: &mut State, command: &RegisterAgent) -> Applied {
    if let Some(agent) = state.agent_of_epoch(command.epoch) {
        return Applied::ok(
            Outcome::AgentRegistered {
                agent: agent.id.clone(),
            },
            Vec::new(),
        );
    }
    let Some(cluster) = state.cluster else {
        return Refusal::WrongCluster.into();
    };
    if let Some(refusal) = machine_down(state, &command.spec) {
        return refusal.into();
    }
    let mut effects = Vec::new();
    let superseded: Vec<AgentId> = state
        .agents
        .values()
        .filter(|a| a.spec.address == command.spec.address)
        .map(|a| a.id.clone())
        .collect();
    for id in superseded {
        let (end, reason) = (TaskState::Gone, StatusReason::AgentRemoved);
        let message = "The agent lost its checkpoints and registered anew";
        remove(state, &id, end, reason, message, &mut effects);
    }
    let id = cluster.agent_id(state.counters.agent);
    state.counters.agent += 1;
    state.epochs.insert(command.epoch, id.clone());
    state.agents.insert(
        id.clone(),
        Arc::new(Agent {
            id: id.clone(),
            epoch: command.epoch,
            boot: command.boot,
            spec: command.spec.clone(),
            checkpointed: Resources::default(),
            total: command.spec.total.clone(),
            phase: AgentPhase::Registered,
            suspect_since: None,
            // It may be an agent of a former cluster that this state never knew.
            inventory_due: !state.ancestors.is_empty(),
            deactivated: false,
            drain: None,
            answers: OrdMap::new(),
            registered: state.wall,
            reregistered: None,
            report_seq: 0,
            command_seq: 0,
            confirmed_seq: 0,
            outbox: OrdMap::new(),
            executors: OrdMap::new(),
            allocated: Resources::default(),
            offered: Resources::default(),
            tasks: OrdSet::new(),
            offers: OrdSet::new(),
            inverse_offers: OrdSet::new(),
        }),
    );
    effects.push(Effect::WakeAllocator);
    Applied::ok(Outcome::AgentRegistered { agent: id }, effects)
}

/// Why an agent of this description may not register now.
fn machine_down(state: &State, spec: &AgentSpec) -> Option<Refusal> {
    let (name, machine) = state.machine_of(spec)?;
    machine.down.then(|| Refusal::MachineDown(name.to_string()))
}

/// An agent that never comes back under this id will not report its tasks any more: they ended
/// with it, as `end`.
pub(crate) fn remove(
    state: &mut State,
    id: &AgentId,
    end: TaskState,
    reason: StatusReason,
    message: &str,
    effects: &mut Vec<Effect>,
) {
    rescind_all(state, id, effects);
    let Some(agent) = state.agents.get(id).cloned() else {
        return;
    };
    for key in &agent.tasks {
        lose_as(state, key, end, reason, message, effects);
    }
    state.epochs.remove(&agent.epoch);
    state.agents.remove(id);
    effects.push(Effect::SendFailure { agent: id.clone() });
    effects.push(Effect::DetachAgent { agent: id.clone() });
}

/// Ends a task of which its agent will say nothing more. Its framework is told how it ended: as
/// the agent said last, or that it is gone.
pub(crate) fn lose(
    state: &mut State,
    key: &TaskKey,
    reason: StatusReason,
    message: &str,
    effects: &mut Vec<Effect>,
) {
    lose_as(state, key, TaskState::Gone, reason, message, effects);
}

/// As [`lose`], for a task that counts as ended like this.
pub(crate) fn lose_as(
    state: &mut State,
    key: &TaskKey,
    end: TaskState,
    reason: StatusReason,
    message: &str,
    effects: &mut Vec<Effect>,
) {
    state.set_task_state(key, end);
    let Some(task) = state.tasks.get(key).cloned() else {
        return;
    };
    if task.lost {
        return;
    }
    if let Some(task) = state.task_mut(key) {
        task.lost = true;
    }
    if task.unacked.as_ref().is_some_and(|u| u.state.is_terminal()) {
        // The head of its stream tells the end; its acknowledgement completes the task.
        return;
    }
    let status = master_status(key, Some(&task.agent), task.state, reason, message);
    state.retain_status(&key.framework, status.clone());
    effects.push(Effect::SendStatus {
        framework: key.framework.clone(),
        status,
    });
    if task.unacked.is_none() {
        state.complete_task(key);
    }
}

/// A known agent attaches with a changed description or boot, or after it was given up.
pub(crate) fn reregister(state: &mut State, command: &ReregisterAgent) -> Applied {
    let agent = match known(state, &command.agent, command.epoch) {
        Ok(agent) => agent,
        Err(refusal) => return refusal.into(),
    };
    if let Some(refusal) = machine_down(state, &command.spec) {
        return refusal.into();
    }
    // What operations made belongs to it, whatever it says of itself now.
    let total = command.spec.total.with_checkpointed(&agent.checkpointed);
    let fits = |total: Resources| total.without_used(&agent.allocated).map(|_| total);
    let total = match total.and_then(fits) {
        Ok(total) => total,
        Err(shortage) => return Refusal::TotalBelowUsed(shortage.to_string()).into(),
    };
    let mut effects = Vec::new();
    let moved = state.unavailability_of(&agent.spec) != state.unavailability_of(&command.spec);
    if moved || agent.spec.total != command.spec.total || agent.spec.info != command.spec.info {
        rescind_all(state, &command.agent, &mut effects);
    }
    // Programs before level 2 keep them.
    if agent.spec.info != command.spec.info && state.feature_level() >= 2 {
        forget_filters(state, &command.agent);
    }
    let wall = state.wall;
    let Some(agent) = state.agent_mut(&command.agent) else {
        return Refusal::AgentUnknown(command.agent.clone()).into();
    };
    if moved {
        // They were about another machine.
        agent.answers = OrdMap::new();
    }
    agent.spec = command.spec.clone();
    agent.total = total;
    agent.boot = command.boot;
    agent.suspect_since = None;
    agent.reregistered = Some(wall);
    let was_unreachable = !agent.is_registered();
    agent.phase = AgentPhase::Registered;
    if was_unreachable {
        let tasks = agent.tasks.clone();
        for key in &tasks {
            restore(state, key, &mut effects);
        }
    }
    effects.push(Effect::SyncAgent {
        agent: command.agent.clone(),
    });
    effects.push(Effect::WakeAllocator);
    Applied::ok(
        Outcome::AgentRegistered {
            agent: command.agent.clone(),
        },
        effects,
    )
}

/// An unreachable task of an agent that is back is what it was; Mesos tells so without a uuid.
fn restore(state: &mut State, key: &TaskKey, effects: &mut Vec<Effect>) {
    let Some(task) = state.tasks.get(key).cloned() else {
        return;
    };
    let Some(before) = task.state_before_unreachable else {
        return;
    };
    state.set_task_state(key, before);
    if before != TaskState::Staging {
        effects.push(Effect::SendStatus {
            framework: key.framework.clone(),
            status: master_status(
                key,
                Some(&task.agent),
                before,
                StatusReason::AgentReregistered,
                "The agent is back",
            ),
        });
    }
}

pub(crate) fn suspect(state: &mut State, command: &SuspectAgents) -> Applied {
    let now = state.now;
    let mut n = 0;
    for (id, since) in &command.agents {
        if let Some(agent) = state.agent_mut(id)
            && agent.is_registered()
            && agent.suspect_since.is_none()
        {
            // A time ahead of the entry's own would make the agent overdue too late.
            agent.suspect_since = Some((*since).min(now));
            n += 1;
        }
    }
    Applied::ok(Outcome::Removed { n }, Vec::new())
}

pub(crate) fn clear_suspicion(state: &mut State, command: &ClearSuspicion) -> Applied {
    let mut n = 0;
    for id in &command.agents {
        if let Some(agent) = state.agent_mut(id)
            && agent.suspect_since.take().is_some()
        {
            n += 1;
        }
    }
    Applied::ok(Outcome::Removed { n }, Vec::new())
}

/// An agent is given up: its tasks are unreachable, launches it never confirmed are withdrawn.
///
/// How long silence may last is the leader's to judge; that the agent was noted as silent, and
/// not heard since, is checked here.
pub(crate) fn mark_unreachable(state: &mut State, command: &MarkAgentUnreachable) -> Applied {
    let Some(agent) = state.agents.get(&command.agent).cloned() else {
        return Refusal::AgentUnknown(command.agent.clone()).into();
    };
    if !agent.is_registered() || agent.suspect_since.is_none() {
        return Refusal::AgentNotOverdue(command.agent.clone()).into();
    }
    let mut effects = Vec::new();
    rescind_all(state, &command.agent, &mut effects);
    let (now, wall) = (state.now, state.wall);
    if let Some(agent) = state.agent_mut(&command.agent) {
        agent.phase = AgentPhase::Unreachable { since: now, wall };
        withdraw_launches(agent, |_| !on(Mutant::NoWithdrawal));
    }
    for key in &agent.tasks {
        let Some(before) = state.tasks.get(key).map(|t| t.state) else {
            continue;
        };
        if on(Mutant::UnreachableIsGone) {
            state.set_task_state(key, TaskState::Gone);
            continue;
        }
        if !state.set_task_state(key, TaskState::Unreachable) {
            continue;
        }
        if let Some(task) = state.task_mut(key) {
            task.state_before_unreachable = Some(before);
            task.unreachable = Some(wall);
        }
        let mut status = master_status(
            key,
            Some(&command.agent),
            TaskState::Unreachable,
            StatusReason::AgentRemoved,
            "The agent is unreachable",
        );
        status.unreachable = Some(wall);
        effects.push(Effect::SendStatus {
            framework: key.framework.clone(),
            status,
        });
    }
    effects.push(Effect::SendFailure {
        agent: command.agent.clone(),
    });
    Applied::done(effects)
}

/// Turns launches the agent has not confirmed into withdrawals, where `which` says so.
pub(crate) fn withdraw_launches(agent: &mut Agent, which: impl Fn(&TaskKey) -> bool) {
    let withdrawn: Vec<u64> = agent
        .outbox
        .iter()
        .filter(|(_, command)| command.launches().any(|(task, _)| which(task)))
        .map(|(seq, _)| *seq)
        .collect();
    for seq in withdrawn {
        agent.withdraw(seq);
    }
}

/// Takes back all offers on an agent, and the inverse offers for it.
pub(crate) fn rescind_all(state: &mut State, id: &AgentId, effects: &mut Vec<Effect>) {
    let Some(agent) = state.agents.get(id).cloned() else {
        return;
    };
    for offer in &agent.offers {
        if let Some(offer) = state.consume_offer(*offer, Consumption::Rescinded) {
            effects.push(Effect::SendRescind {
                framework: offer.framework.clone(),
                offer: offer.id,
            });
        }
    }
    for offer in &agent.inverse_offers {
        take_back_inverse(state, *offer, effects);
    }
}

/// The agent is not what frameworks declined any more: they are asked again, as in Mesos.
fn forget_filters(state: &mut State, id: &AgentId) {
    let declined =
        |framework: &&std::sync::Arc<crate::model::Framework>| framework.filters.contains_key(id);
    let frameworks: Vec<_> = state
        .frameworks
        .values()
        .filter(declined)
        .map(|framework| framework.id.clone())
        .collect();
    for framework in frameworks {
        if let Some(framework) = state.framework_mut(&framework) {
            framework.filters.remove(id);
        }
    }
}

/// The agent with this id, if it is the one with this checkpoint directory.
pub(crate) fn known(
    state: &State,
    id: &AgentId,
    epoch: regency_types::AgentEpoch,
) -> Result<Arc<Agent>, Refusal> {
    match state.agents.get(id) {
        None => Err(Refusal::AgentUnknown(id.clone())),
        Some(agent) if agent.epoch != epoch && !on(Mutant::DropEpochCheck) => {
            Err(Refusal::AgentEpochDiffers(id.clone()))
        }
        Some(agent) => Ok(agent.clone()),
    }
}

pub(crate) fn master_status(
    key: &TaskKey,
    agent: Option<&AgentId>,
    state: TaskState,
    reason: StatusReason,
    message: &str,
) -> MasterStatus {
    MasterStatus {
        task_id: key.task.as_str().to_owned(),
        agent: agent.cloned(),
        state,
        reason,
        message: message.to_owned(),
        unreachable: None,
    }
}

/// What an agent of this task would have to do to start it.
pub(crate) fn launch_command(task: &Task) -> AgentCommand {
    AgentCommand::Launch {
        task: task.key.clone(),
        generation: task.generation,
    }
}

#[cfg(test)]
mod tests;
