//! Agents come, change, fall silent and are given up.

use regency_state::model::AgentSpec;
use regency_state::{
    ClearSuspicion, MarkAgentUnreachable, RegisterAgent, ReregisterAgent, SuspectAgents,
};
use regency_types::{AgentEpoch, BootId, ClusterTime};

use crate::StoredError;
use crate::field::{Stored, id, load_u128, required, store_u128};
use crate::proto;

impl Stored for RegisterAgent {
    type Message = proto::RegisterAgent;

    fn store(&self) -> proto::RegisterAgent {
        proto::RegisterAgent {
            epoch: store_u128(self.epoch.0),
            boot: store_u128(self.boot.0),
            spec: Some(self.spec.store()),
        }
    }

    fn load(message: proto::RegisterAgent) -> Result<Self, StoredError> {
        Ok(Self {
            epoch: AgentEpoch(load_u128(&message.epoch, "RegisterAgent.epoch")?),
            boot: BootId(load_u128(&message.boot, "RegisterAgent.boot")?),
            spec: AgentSpec::load(required(message.spec, "RegisterAgent.spec")?)?,
        })
    }
}

impl Stored for ReregisterAgent {
    type Message = proto::ReregisterAgent;

    fn store(&self) -> proto::ReregisterAgent {
        proto::ReregisterAgent {
            agent: self.agent.as_str().to_owned(),
            epoch: store_u128(self.epoch.0),
            boot: store_u128(self.boot.0),
            spec: Some(self.spec.store()),
        }
    }

    fn load(message: proto::ReregisterAgent) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "ReregisterAgent.agent")?,
            epoch: AgentEpoch(load_u128(&message.epoch, "ReregisterAgent.epoch")?),
            boot: BootId(load_u128(&message.boot, "ReregisterAgent.boot")?),
            spec: AgentSpec::load(required(message.spec, "ReregisterAgent.spec")?)?,
        })
    }
}

impl Stored for SuspectAgents {
    type Message = proto::SuspectAgents;

    fn store(&self) -> proto::SuspectAgents {
        proto::SuspectAgents {
            agents: self
                .agents
                .iter()
                .map(|(agent, since)| proto::suspect_agents::Suspect {
                    agent: agent.as_str().to_owned(),
                    since_ms: since.0,
                })
                .collect(),
        }
    }

    fn load(message: proto::SuspectAgents) -> Result<Self, StoredError> {
        let agents = message
            .agents
            .into_iter()
            .map(|m| {
                let agent = id(m.agent, "SuspectAgents.Suspect.agent")?;
                Ok((agent, ClusterTime(m.since_ms)))
            })
            .collect::<Result<_, StoredError>>()?;
        Ok(Self { agents })
    }
}

impl Stored for ClearSuspicion {
    type Message = proto::ClearSuspicion;

    fn store(&self) -> proto::ClearSuspicion {
        proto::ClearSuspicion {
            agents: self.agents.iter().map(|a| a.as_str().to_owned()).collect(),
        }
    }

    fn load(message: proto::ClearSuspicion) -> Result<Self, StoredError> {
        let agents = message
            .agents
            .into_iter()
            .map(|agent| id(agent, "ClearSuspicion.agents"))
            .collect::<Result<_, _>>()?;
        Ok(Self { agents })
    }
}

impl Stored for MarkAgentUnreachable {
    type Message = proto::MarkAgentUnreachable;

    fn store(&self) -> proto::MarkAgentUnreachable {
        proto::MarkAgentUnreachable {
            agent: self.agent.as_str().to_owned(),
        }
    }

    fn load(message: proto::MarkAgentUnreachable) -> Result<Self, StoredError> {
        Ok(Self {
            agent: id(message.agent, "MarkAgentUnreachable.agent")?,
        })
    }
}
