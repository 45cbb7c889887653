//! GET_AGENTS.

use prost::Message;
use regency_state::model::Agent;
use regency_wire::resources::{ResourceFormat, to_wire};
use regency_wire::v1::AgentInfo;
use regency_wire::v1::agent_info::Capability;
use regency_wire::v1::master::response::{GetAgents, get_agents};

use super::AGENT_CAPABILITIES;
use crate::query::maintenance;
use crate::query::offer::split_address;
use crate::query::resource;
use crate::query::status::time;
use crate::query::usage::Usage;
use crate::query::{MESOS_VERSION, View, agent_pid};

/// All registered agents. None is ever waiting to be recovered.
pub(super) fn get(view: &View<'_>) -> GetAgents {
    GetAgents {
        agents: view
            .state
            .agents()
            .filter(|agent| agent.is_registered())
            .map(|agent| encode(view, agent))
            .collect(),
        recovered_agents: Vec::new(),
    }
}

pub(super) fn encode(view: &View<'_>, agent: &Agent) -> get_agents::Agent {
    let usage = Usage::of_agent(view.state, agent);
    let total = &agent.total;
    let said = AgentInfo::decode(agent.spec.info.clone()).unwrap_or_default();
    get_agents::Agent {
        agent_info: AgentInfo {
            hostname: agent.spec.hostname.clone(),
            port: Some(i32::from(split_address(&agent.spec.address).1)),
            resources: to_wire(total, ResourceFormat::PostReservationRefinement, None),
            id: Some((&agent.id).into()),
            // Ours always do.
            checkpoint: Some(true),
            ..said
        },
        active: view.is_active(agent),
        deactivated: Some(agent.deactivated),
        version: MESOS_VERSION.to_owned(),
        pid: Some(agent_pid(agent)),
        registered_time: Some(time(agent.registered)),
        reregistered_time: agent.reregistered.map(time),
        total_resources: resource::encode(total),
        allocated_resources: resource::encode_by_role(&usage.used),
        offered_resources: resource::encode_by_role(&usage.offered),
        capabilities: AGENT_CAPABILITIES
            .iter()
            .map(|capability| Capability {
                r#type: Some(*capability as i32),
            })
            .collect(),
        resource_providers: Vec::new(),
        drain_info: agent.drain.as_ref().map(maintenance::drain_info),
        estimated_drain_start_time: agent.drain.as_ref().map(|drain| time(drain.since)),
    }
}
