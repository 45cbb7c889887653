//! Frameworks that are to leave agents whose machines are going to be unavailable, and draining agents
//! that are empty. Both are read from the state again and again, so that a new leader goes on where the
//! last one was.

use std::collections::BTreeSet;

use regency_state::{AgentDrained, Command, IssueInverseOffers, State};
use regency_types::{AgentId, ClusterTime, DurationMs, FrameworkId};

/// Inverse offers in one entry.
const PLANS_MAX: usize = 1000;

/// Draining agents on which nothing is left.
#[must_use]
pub fn drained(state: &State) -> Vec<Command> {
    let draining = state.agents().filter(|agent| agent.is_draining());
    let empty = draining.filter(|agent| agent.is_registered() && state.is_empty_of_work(agent));
    empty
        .map(|agent| {
            Command::AgentDrained(AgentDrained {
                agent: agent.id.clone(),
            })
        })
        .collect()
}

/// Whom to ask at `now` to leave which agent. Whoever has no stream here could not be told, and an
/// agent that is not attached may be gone before anybody answers.
#[must_use]
pub fn asks(
    state: &State,
    now: ClusterTime,
    attached: &BTreeSet<AgentId>,
    connected: &BTreeSet<FrameworkId>,
    timeout: Option<DurationMs>,
) -> Vec<Command> {
    if state.machines().next().is_none() {
        return Vec::new();
    }
    let mut plans = Vec::new();
    for agent in state.agents().filter(|agent| attached.contains(&agent.id)) {
        let asked = state.to_be_asked(agent, now).into_iter();
        let asked = asked.filter(|framework| connected.contains(framework));
        plans.extend(asked.map(|framework| (framework, agent.id.clone())));
    }
    let entries = plans.chunks(PLANS_MAX).map(|plans| {
        Command::IssueInverseOffers(IssueInverseOffers {
            plans: plans.to_vec(),
            timeout,
        })
    });
    entries.collect()
}
