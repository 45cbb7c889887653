//! Agents that were marked gone, or are unreachable, are remembered only for so long, and only so many.
//!
//! A time in the state is that of the entry which noted it, and ages in cluster time: nobody is forgotten
//! for a while in which nobody led.

use regency_state::model::{Agent, AgentPhase};
use regency_state::{ForgetAgents, State};
use regency_types::{AgentId, ClusterTime, DurationMs};

/// Agents in one entry.
const FORGOTTEN_MAX: usize = 1000;

/// How long, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryLimits {
    /// After this an agent is forgotten.
    pub max_age: DurationMs,
    /// Of each kind; those that are older than so many others are forgotten.
    pub max_count: usize,
}

/// One that is remembered.
struct Remembered<'a> {
    since: ClusterTime,
    agent: &'a AgentId,
    /// Whether age alone is no reason to forget it.
    keeps: bool,
}

/// What to propose so that no more is remembered than the limits allow.
///
/// Age is no reason to give up an agent with persistent volumes: with its id their data would be lost,
/// and a framework may still wait for it.
#[must_use]
pub fn forgotten(state: &State, now: ClusterTime, limits: RegistryLimits) -> Vec<ForgetAgents> {
    let gone = state.gone_agents().map(|(agent, since)| Remembered {
        since,
        agent,
        keeps: false,
    });
    let mut forgotten = beyond(gone, now, limits);
    let unreachable = state.agents().filter_map(|agent| unreachable(agent));
    forgotten.extend(beyond(unreachable, now, limits));
    let entries = forgotten.chunks(FORGOTTEN_MAX);
    entries
        .map(|agents| ForgetAgents {
            agents: agents.to_vec(),
        })
        .collect()
}

fn unreachable(agent: &Agent) -> Option<Remembered<'_>> {
    let AgentPhase::Unreachable { since, .. } = agent.phase else {
        return None;
    };
    Some(Remembered {
        since,
        agent: &agent.id,
        keeps: !agent.checkpointed.persistent_volumes().is_empty(),
    })
}

/// Those of one kind that are too old or too many, the oldest first.
fn beyond<'a>(
    all: impl Iterator<Item = Remembered<'a>>,
    now: ClusterTime,
    limits: RegistryLimits,
) -> Vec<AgentId> {
    let mut all: Vec<Remembered<'_>> = all.collect();
    all.sort_by_key(|one| (one.since, one.agent));
    let n_too_many = all.len().saturating_sub(limits.max_count);
    let too_old = |one: &Remembered<'_>| !one.keeps && now.since(one.since) >= limits.max_age;
    let beyond = all.iter().enumerate();
    let beyond = beyond.filter(|(at, one)| *at < n_too_many || too_old(one));
    beyond.map(|(_, one)| one.agent.clone()).collect()
}
