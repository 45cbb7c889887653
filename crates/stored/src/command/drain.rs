//! Operators take agents out of use.

use regency_state::{
    AgentDrained, DeactivateAgent, DrainAgent, ForgetAgents, MarkAgentGone, ReactivateAgent,
};
use regency_types::DurationMs;

use crate::StoredError;
use crate::field::{Stored, id};
use crate::proto;

impl Stored for DrainAgent {
    type Message = proto::DrainAgent;

    fn store(&self) -> proto::DrainAgent {
        proto::DrainAgent {
            agent: self.agent.as_str().to_owned(),
            max_grace_ms: self.max_grace.map(|g| g.0),
            mark_gone: self.mark_gone,
        }
    }

    fn load(message: proto::DrainAgent) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "DrainAgent.agent")?,
            max_grace: message.max_grace_ms.map(DurationMs),
            mark_gone: message.mark_gone,
        })
    }
}

impl Stored for AgentDrained {
    type Message = proto::AgentDrained;

    fn store(&self) -> proto::AgentDrained {
        proto::AgentDrained {
            agent: self.agent.as_str().to_owned(),
        }
    }

    fn load(message: proto::AgentDrained) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "AgentDrained.agent")?,
        })
    }
}

impl Stored for DeactivateAgent {
    type Message = proto::DeactivateAgent;

    fn store(&self) -> proto::DeactivateAgent {
        proto::DeactivateAgent {
            agent: self.agent.as_str().to_owned(),
        }
    }

    fn load(message: proto::DeactivateAgent) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "DeactivateAgent.agent")?,
        })
    }
}

impl Stored for ReactivateAgent {
    type Message = proto::ReactivateAgent;

    fn store(&self) -> proto::ReactivateAgent {
        proto::ReactivateAgent {
            agent: self.agent.as_str().to_owned(),
        }
    }

    fn load(message: proto::ReactivateAgent) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "ReactivateAgent.agent")?,
        })
    }
}

impl Stored for MarkAgentGone {
    type Message = proto::MarkAgentGone;

    fn store(&self) -> proto::MarkAgentGone {
        proto::MarkAgentGone {
            agent: self.agent.as_str().to_owned(),
        }
    }

    fn load(message: proto::MarkAgentGone) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "MarkAgentGone.agent")?,
        })
    }
}

impl Stored for ForgetAgents {
    type Message = proto::ForgetAgents;

    fn store(&self) -> proto::ForgetAgents {
        proto::ForgetAgents {
            agents: self.agents.iter().map(|a| a.as_str().to_owned()).collect(),
        }
    }

    fn load(message: proto::ForgetAgents) -> Result<Self, StoredError> {
        let agents = message.agents.into_iter();
        let agents = agents.map(|agent| id(agent, "ForgetAgents.agents"));
        Ok(Self {
            agents: agents.collect::<Result<_, _>>()?,
        })
    }
}
