//! I9: no agent is given up, and no task lost, because of an election: it takes the whole timeout in
//! which nobody who served heard the agent, a third of it under the leader that gives it up.

use std::collections::BTreeMap;

use regency_state::Command;
use regency_types::AgentId;

use super::{Broken, Checked, Entry};
use crate::model::AGENT_TIMEOUT;

/// When each agent was last heard by a leader that served, in milliseconds in which anybody did.
#[derive(Debug, Default)]
pub struct Silence(BTreeMap<AgentId, u64>);

impl Silence {
    pub(super) fn heard(&mut self, agent: &AgentId, served_ms: u64) {
        self.0.insert(agent.clone(), served_ms);
    }

    pub(super) fn unheard_ms(&self, agent: &AgentId, served_ms: u64) -> u64 {
        served_ms - self.0.get(agent).copied().unwrap_or_default()
    }
}

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    let (Command::MarkAgentUnreachable(_), Ok(_)) =
        (&entry.step.proposal.command, &entry.step.applied.verdict)
    else {
        return Ok(());
    };
    let Some(evidence) = entry.evidence else {
        return Err(Broken::new("I9", "an agent is given up by nobody"));
    };
    let timeout_ms = AGENT_TIMEOUT.as_millis() as u64;
    if evidence.silent_ms < timeout_ms / 3 {
        let what = format!(
            "{} is given up by a leader that heard nothing of it for {} ms only",
            evidence.agent, evidence.silent_ms
        );
        return Err(Broken::new("I9", what));
    }
    if evidence.unheard_ms < timeout_ms {
        let what = format!(
            "{} is given up after {} ms of silence",
            evidence.agent, evidence.unheard_ms
        );
        return Err(Broken::new("I9", what));
    }
    Ok(())
}
