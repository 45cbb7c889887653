//! What is counted of each entry, by every master that applies it.

use regency_state::State;
use regency_types::{AgentId, TaskState};
use regency_wire::v1::master::Event;

use super::{Count, count, count_end, of_framework};
use crate::query::v1::events::Told;

/// Counts what one entry changed.
pub(crate) fn applied(before: &State, after: &State, told: &[Told]) {
    for one in told {
        match one {
            Told::Event(event) => of_agent(before, after, event),
            Told::TaskAdded { .. } => {}
            Told::TaskUpdated { .. } => {
                if let Some(update) = one.event().task_updated
                    && let Some(state) = TaskState::from_number(update.status.state)
                    && state.is_terminal()
                {
                    count_end(state, &update.status);
                    if let Told::TaskUpdated { task, .. } = one {
                        of_framework(&task.key.framework, after).end_of_task(state);
                    }
                }
            }
        }
    }
}

fn of_agent(before: &State, after: &State, event: &Event) {
    if let Some(added) = &event.agent_added {
        let info = &added.agent.agent_info;
        let id = info.id.as_ref().and_then(|id| AgentId::new(&id.value).ok());
        let known = id.is_some_and(|id| before.agent(&id).is_some());
        count(if known {
            Count::AgentReregistrations
        } else {
            Count::AgentRegistrations
        });
    }
    if let Some(removed) = &event.agent_removed
        && let Ok(id) = AgentId::new(&removed.agent_id.value)
    {
        count(Count::AgentRemovals);
        if after.agent(&id).is_some() {
            count(Count::AgentsUnhealthy);
            count(Count::UnreachableScheduled);
            count(Count::UnreachableCompleted);
            return;
        }
        let address = before.agent(&id).map(|agent| &agent.spec.address);
        let in_its_place = after
            .agents()
            .any(|other| Some(&other.spec.address) == address && before.agent(&other.id).is_none());
        count(if in_its_place {
            Count::AgentsSuperseded
        } else {
            Count::AgentsLeft
        });
    }
}
