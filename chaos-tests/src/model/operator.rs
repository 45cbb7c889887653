//! Operators of the model: they take agents out of use and give them back, and the leader notices that
//! a draining agent is empty.

use regency_leader_core::maintenance;
use regency_state::{Command, DeactivateAgent, DrainAgent, MarkAgentGone, ReactivateAgent};
use regency_types::{AgentId, DurationMs};

use super::World;
use super::log::Caller;
use super::op::Kind;
use crate::invariants::Checked;

/// The longest grace that a drain leaves tasks.
const GRACE_MAX_MS: u64 = 10_000;

impl World {
    /// An operator says something of an agent, not always what can be.
    pub(super) fn operator_acts(&mut self, kind: Kind, a: u32, b: u32) -> Checked {
        let Some(term) = self.leader.as_ref().map(|leader| leader.term) else {
            return Ok(());
        };
        let mut agents: Vec<AgentId> = self.log.state.agents().map(|a| a.id.clone()).collect();
        if kind == Kind::Reactivate {
            let known = |id: &AgentId| self.log.state.agent(id);
            agents.retain(|id| known(id).is_some_and(|agent| agent.deactivated));
        }
        if agents.is_empty() {
            return Ok(());
        }
        let agent = agents[a as usize % agents.len()].clone();
        let command = match kind {
            Kind::Drain => Command::DrainAgent(DrainAgent {
                agent,
                max_grace: (b & 1 == 0).then(|| DurationMs(u64::from(b >> 8) % GRACE_MAX_MS)),
                mark_gone: b.is_multiple_of(8),
            }),
            Kind::Deactivate => Command::DeactivateAgent(DeactivateAgent { agent }),
            Kind::Reactivate => Command::ReactivateAgent(ReactivateAgent { agent }),
            _ => Command::MarkAgentGone(MarkAgentGone { agent }),
        };
        self.propose(term, command, Caller::Operator)
    }

    /// The leader looks for draining agents that are empty.
    pub(super) fn look_at_drains(&mut self) -> Checked {
        let Some(leader) = &self.leader else {
            return Ok(());
        };
        let (term, commands) = (leader.term, maintenance::drained(&leader.state));
        self.duty(term, commands)
    }

    /// Agents that are out of use and not draining any more are given back.
    pub(super) fn give_back_agents(&mut self) -> Checked {
        let Some(term) = self.leader.as_ref().map(|leader| leader.term) else {
            return Ok(());
        };
        let agents = self.log.state.agents();
        let out = agents.filter(|agent| agent.deactivated && !agent.is_draining());
        let out: Vec<AgentId> = out.map(|agent| agent.id.clone()).collect();
        for agent in out {
            let command = Command::ReactivateAgent(ReactivateAgent { agent });
            self.propose(term, command, Caller::Operator)?;
        }
        Ok(())
    }
}
