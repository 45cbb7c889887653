//! I4: no update that a master acknowledged to an agent is lost, each reaches its framework at least
//! once, and nothing is told that is not durable.

use regency_agent_core::Record;
use regency_agent_core::message::Report;
use regency_state::State;
use regency_testkit::agent::Machine;
use regency_testkit::rules;

use super::{Broken, Checked, Entry, broken};
use crate::model::framework::SimFramework;

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    rules::updates(&entry.step).map_err(broken("I4"))
}

pub(super) fn reported(machine: &Machine, reports: &[Report]) -> Checked {
    for head in reports.iter().filter_map(|report| report.head.as_ref()) {
        let durable = machine.disk().iter().rev().any(
            |record| matches!(record, Record::Updated { update, .. } if update.uuid == head.uuid),
        );
        if !durable {
            let what = format!("update {} was told before it was durable", head.uuid.0);
            return Err(Broken::new("I4", what));
        }
    }
    Ok(())
}

pub(super) fn healed(state: &State, machines: &[&Machine], frameworks: &[SimFramework]) -> Checked {
    for machine in machines {
        // Of an agent that was removed nobody hears any more.
        let id = machine.core().durable().agent_id.as_ref();
        if id.is_none_or(|id| state.agent(id).is_none()) {
            continue;
        }
        for record in machine.disk() {
            let Record::Updated { id, update, .. } = record else {
                continue;
            };
            let framework = frameworks
                .iter()
                .find(|f| f.id.as_ref() == Some(&id.key.framework) && !f.is_over);
            if let Some(framework) = framework
                && !framework.updates.contains(&update.uuid)
            {
                let (uuid, told) = (update.uuid.0, update.state.name());
                let what = format!("update {uuid} of {id}, {told}, never reached its framework");
                return Err(Broken::new("I4", what));
            }
        }
    }
    Ok(())
}
