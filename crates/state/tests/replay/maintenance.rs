//! What operators said of agents and machines holds until they say something else, and an agent that
//! was marked gone never comes back.

use std::collections::BTreeSet;

use regency_state::{Command, State};
use regency_types::AgentId;

use crate::Step;

/// All agents that were ever marked gone.
#[derive(Default)]
pub(crate) struct Maintenance {
    gone: BTreeSet<AgentId>,
}

impl Maintenance {
    pub(crate) fn follow(&mut self, step: &Step<'_>) -> Result<(), String> {
        let Step { before, after, .. } = step;
        self.gone
            .extend(after.gone_agents().map(|(id, _)| id.clone()));
        if let Some(id) = self.gone.iter().find(|id| after.agent(id).is_some()) {
            return Err(format!("{id} was marked gone and is back"));
        }
        let (command, accepted) = (&step.proposal.command, step.applied.verdict.is_ok());
        for old in before.agents() {
            let Some(new) = after.agent(&old.id) else {
                continue;
            };
            let may = match command {
                Command::DrainAgent(c) => c.agent == old.id,
                Command::AgentDrained(c) => c.agent == old.id,
                Command::DeactivateAgent(c) => c.agent == old.id,
                Command::ReactivateAgent(c) => c.agent == old.id,
                // What was taken over is drained, too.
                Command::TakeInventory(c) => c.agent == old.id && new.is_draining(),
                _ => false,
            };
            let same = old.deactivated == new.deactivated && old.drain == new.drain;
            if !(same || may && accepted) {
                return Err(format!("{command:?} changed the use of {}", old.id));
            }
        }
        let scheduled = matches!(
            command,
            Command::UpdateMaintenance(_)
                | Command::StartMaintenance(_)
                | Command::StopMaintenance(_)
        );
        if !scheduled && !before.machines().eq(after.machines()) {
            return Err(format!("{command:?} changed the schedule"));
        }
        Ok(())
    }
}

/// To be called when nothing is on its way any more.
pub(crate) fn check_all_emptied(state: &State) -> Result<(), String> {
    let mut draining = state.agents().filter(|agent| agent.is_draining());
    match draining.find(|agent| !agent.tasks.is_empty()) {
        Some(agent) => Err(format!(
            "{} is drained, and {:?} are left",
            agent.id, agent.tasks
        )),
        None => Ok(()),
    }
}
