//! The maintenance schedule, and machines that go down and come up.

use std::collections::{BTreeMap, BTreeSet};

use imbl::{OrdMap, Vector};
use regency_types::{AgentId, TaskState};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{StartMaintenance, StopMaintenance, UpdateMaintenance};
use crate::commands::agent::{lose_as, rescind_all, withdraw_launches};
use crate::commands::executor;
use crate::effect::Effect;
use crate::model::{
    AgentCommand, AgentPhase, MachineId, MaintenanceWindow, StatusReason, Unavailability,
};
use crate::outcome::Refusal;
use crate::state::State;

/// Takes another schedule. Offers on agents that become unavailable at another time than was told
/// are taken back, so that new ones tell it. A machine that is down stays in the schedule.
pub(crate) fn update(state: &mut State, command: &UpdateMaintenance) -> Applied {
    if let Err(why) = check(state, &command.windows) {
        return Refusal::MaintenanceInvalid(why).into();
    }
    let mut effects = Vec::new();
    let windows = command.windows.iter().cloned().collect();
    replace(state, windows, &[], &mut effects);
    Applied::done(effects)
}

/// What is wrong with a schedule.
fn check(state: &State, windows: &[MaintenanceWindow]) -> Result<(), String> {
    let mut named = BTreeSet::new();
    for window in windows {
        if window.machines.is_empty() {
            return Err("List of machines in the maintenance window is empty".to_owned());
        }
        if window.unavailability.duration_ns.is_some_and(|ns| ns < 0) {
            return Err("Unavailability 'duration' is negative".to_owned());
        }
        for name in &window.machines {
            if name.hostname.is_none() && name.ip.is_none() {
                return Err("Both 'hostname' and 'ip' for a machine are empty".to_owned());
            }
            if !named.insert(name) {
                return Err(format!(
                    "Machine '{name}' appears more than once in the schedule"
                ));
            }
        }
    }
    if named.len() > bounds::MACHINES_MAX {
        return Err(format!(
            "{} machines are more than {} in the schedule",
            named.len(),
            bounds::MACHINES_MAX
        ));
    }
    let mut down = state.machines.iter().filter(|(_, machine)| machine.down);
    match down.find(|(name, _)| !named.contains(name)) {
        Some((name, _)) => Err(format!(
            "Machine '{name}' is deactivated and cannot be removed from the schedule"
        )),
        None => Ok(()),
    }
}

/// Puts another schedule in the place of the present one; of its machines `up` are not down any more.
fn replace(
    state: &mut State,
    windows: Vector<MaintenanceWindow>,
    up: &[MachineId],
    effects: &mut Vec<Effect>,
) {
    let told = |state: &State| -> BTreeMap<AgentId, Unavailability> {
        let agents = state.agents.values();
        agents
            .filter_map(|agent| {
                let unavailability = state.unavailability_of(&agent.spec)?;
                Some((agent.id.clone(), unavailability))
            })
            .collect()
    };
    let before = told(state);
    let was = state.machines.clone();
    state.set_windows(windows, |name| {
        was.get(name).is_some_and(|machine| machine.down) && !up.contains(name)
    });
    let after = told(state);
    let concerned: BTreeSet<&AgentId> = before.keys().chain(after.keys()).collect();
    for id in concerned {
        if before.get(id) == after.get(id) {
            continue;
        }
        rescind_all(state, id, effects);
        if let Some(agent) = state.agent_mut(id) {
            agent.answers = OrdMap::new();
        }
    }
    effects.push(Effect::WakeAllocator);
}

/// Takes machines of the schedule down, all or none. Agents on them count no more: what they ran is
/// lost, and ends there. They may come back when the machines do.
pub(crate) fn start(state: &mut State, command: &StartMaintenance) -> Applied {
    let wrong = "is not in DRAINING mode and cannot be brought down";
    if let Err(why) = check_all(state, &command.machines, false, wrong) {
        return Refusal::MaintenanceInvalid(why).into();
    }
    for name in &command.machines {
        if let Some(machine) = state.machines.get_mut(name) {
            machine.down = true;
        }
    }
    let there: Vec<AgentId> = state
        .agents
        .values()
        .filter(|agent| agent.is_registered())
        .filter(|agent| {
            let machine = state.machine_of(&agent.spec);
            machine.is_some_and(|(_, machine)| machine.down)
        })
        .map(|agent| agent.id.clone())
        .collect();
    let mut effects = Vec::new();
    for id in there {
        take_down(state, &id, &mut effects);
    }
    Applied::done(effects)
}

/// Whether these are machines of the schedule that are down, or are not.
fn check_all(state: &State, machines: &[MachineId], down: bool, wrong: &str) -> Result<(), String> {
    if machines.is_empty() {
        return Err("List of machines is empty".to_owned());
    }
    let mut named = BTreeSet::new();
    for name in machines {
        let Some(machine) = state.machines.get(name) else {
            return Err(format!(
                "Machine '{name}' is not part of a maintenance schedule"
            ));
        };
        if machine.down != down {
            return Err(format!("Machine '{name}' {wrong}"));
        }
        if !named.insert(name) {
            return Err(format!(
                "Machine '{name}' appears more than once in the list of machines"
            ));
        }
    }
    Ok(())
}

fn take_down(state: &mut State, id: &AgentId, effects: &mut Vec<Effect>) {
    rescind_all(state, id, effects);
    let since = state.now;
    let Some(agent) = state.agent_mut(id) else {
        return;
    };
    agent.phase = AgentPhase::Down { since };
    agent.suspect_since = None;
    withdraw_launches(agent, |_| true);
    let (tasks, executors) = (agent.tasks.clone(), agent.executors.clone());
    for key in &tasks {
        let Some(task) = state.tasks.get(key) else {
            continue;
        };
        let (lives, generation) = (!task.is_terminal(), task.generation);
        if lives && let Some(agent) = state.agent_mut(id) {
            // Should it come back without having been told to end what it runs.
            agent.push(AgentCommand::Kill {
                task: key.clone(),
                generation,
                grace: None,
            });
        }
        lose_as(
            state,
            key,
            TaskState::Lost,
            StatusReason::AgentRemoved,
            "The machine was taken down for maintenance",
            effects,
        );
    }
    for (key, there) in &executors {
        executor::forget(state, id, key, there.instance, effects);
    }
    effects.push(Effect::SendFailure { agent: id.clone() });
    effects.push(Effect::DetachAgent { agent: id.clone() });
}

/// Machines that were down leave the schedule: agents may register there again.
pub(crate) fn stop(state: &mut State, command: &StopMaintenance) -> Applied {
    let wrong = "is not in DOWN mode and cannot be brought up";
    if let Err(why) = check_all(state, &command.machines, true, wrong) {
        return Refusal::MaintenanceInvalid(why).into();
    }
    let up: BTreeSet<&MachineId> = command.machines.iter().collect();
    let windows = state
        .windows
        .iter()
        .map(|window| {
            let rest = window.machines.iter().filter(|name| !up.contains(name));
            MaintenanceWindow {
                machines: rest.cloned().collect(),
                unavailability: window.unavailability,
            }
        })
        .filter(|window| !window.machines.is_empty())
        .collect();
    let mut effects = Vec::new();
    replace(state, windows, &command.machines, &mut effects);
    Applied::done(effects)
}

#[cfg(test)]
mod tests;
