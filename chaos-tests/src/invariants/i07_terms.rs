//! I7: a deposed leader is harmless, and nothing is told that is not committed. That agents follow no
//! master of a lower term is checked where the model hands them its messages.

use std::collections::BTreeSet;

use regency_resources::Resources;
use regency_state::{Outcome, State};
use regency_types::{AgentId, OfferId, TaskKey, UpdateUuid};

use super::{Broken, Checked, Entry};

/// What was ever committed of the kinds that are told.
#[derive(Debug, Default)]
pub struct Terms {
    agents: BTreeSet<AgentId>,
    updates: BTreeSet<UpdateUuid>,
}

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    if entry.term < entry.newest_term {
        let what = format!(
            "an entry of {} after one of {}",
            entry.term, entry.newest_term
        );
        return Err(Broken::new("I7", what));
    }
    Ok(())
}

impl Terms {
    pub(super) fn follow(&mut self, entry: &Entry<'_>) {
        if let Ok(Outcome::AgentRegistered { agent }) = &entry.step.applied.verdict {
            self.agents.insert(agent.clone());
        }
        for effect in &entry.step.applied.effects {
            if let regency_state::Effect::SendUpdate { task } = effect {
                let task = entry.step.after.task(task);
                let waiting = task.and_then(|task| task.unacked.as_ref());
                self.updates.extend(waiting.map(|update| update.uuid));
            }
        }
    }

    pub(super) fn attached(&self, id: &AgentId) -> Checked {
        if self.agents.contains(id) {
            return Ok(());
        }
        Err(Broken::new(
            "I7",
            format!("{id} was told before it was committed"),
        ))
    }

    pub(super) fn update_sent(&self, task: &TaskKey, uuid: UpdateUuid) -> Checked {
        if self.updates.contains(&uuid) {
            return Ok(());
        }
        let what = format!(
            "update {} of {task} was told before it was committed",
            uuid.0
        );
        Err(Broken::new("I7", what))
    }
}

pub(super) fn commands_sent(state: &State, id: &AgentId, last: u64) -> Checked {
    match state.agent(id) {
        Some(agent) if agent.command_seq < last => {
            let what = format!("command {last} of {id} was told before it was committed");
            Err(Broken::new("I7", what))
        }
        _ => Ok(()),
    }
}

pub(super) fn offers_sent(state: &State, offers: &[(OfferId, AgentId, Resources)]) -> Checked {
    let unknown = |id: OfferId| state.offer(id).is_none() && state.consumed(id).is_none();
    match offers.iter().find(|(id, ..)| unknown(*id)) {
        Some((id, ..)) => {
            let what = format!("offer {} was told before it was committed", id.0);
            Err(Broken::new("I7", what))
        }
        None => Ok(()),
    }
}
