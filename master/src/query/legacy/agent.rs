//! `/slaves`, and agents within other answers.

use std::collections::BTreeMap;

use prost::Message;
use regency_resources::Resources;
use regency_state::model::{Agent, AgentPhase};
use regency_wire::v1::{self, AgentInfo, DomainInfo};
use serde::Serialize;

use super::List;
use super::resources::{Attributes, Model};
use crate::query::maintenance;
use crate::query::offer::split_address;
use crate::query::resource;
use crate::query::usage::{ByRole, Usage};
use crate::query::{MESOS_VERSION, View, agent_pid, v1::AGENT_CAPABILITIES};

#[derive(Serialize)]
pub(super) struct AgentJson<'a> {
    id: &'a str,
    hostname: &'a str,
    port: u16,
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainInfo>,
    pid: String,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    resources: Model,
    used_resources: Model,
    offered_resources: Model,
    reserved_resources: BTreeMap<&'a str, Model>,
    unreserved_resources: Model,
    active: bool,
    deactivated: bool,
    /// Clients compute with it, so it is Mesos'.
    version: &'static str,
    /// Version of the agent's program.
    regency_version: &'a str,
    capabilities: [&'static str; AGENT_CAPABILITIES.len()],
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_info: Option<v1::DrainInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_drain_start_time_seconds: Option<f64>,
}

impl<'a> AgentJson<'a> {
    pub(super) fn new(view: &View<'_>, agent: &'a Agent) -> Self {
        let info = AgentInfo::decode(agent.spec.info.clone()).unwrap_or_default();
        let total = &agent.total;
        Self {
            id: agent.id.as_str(),
            hostname: &agent.spec.hostname,
            port: split_address(&agent.spec.address).1,
            attributes: Attributes::new(info.attributes),
            domain: info.domain,
            pid: agent_pid(agent),
            registered_time: agent.registered.as_secs_f64(),
            reregistered_time: agent.reregistered.map(|at| at.as_secs_f64()),
            resources: Model(total.clone()),
            used_resources: Model(agent.allocated.clone()),
            offered_resources: Model(agent.offered.clone()),
            reserved_resources: reserved(total)
                .into_iter()
                .map(|(role, resources)| (role, Model(resources)))
                .collect(),
            unreserved_resources: Model(unreserved(total)),
            active: view.is_active(agent),
            deactivated: agent.deactivated,
            version: MESOS_VERSION,
            regency_version: &agent.spec.version,
            capabilities: AGENT_CAPABILITIES.map(|capability| capability.as_str_name()),
            drain_info: agent.drain.as_ref().map(maintenance::drain_info),
            estimated_drain_start_time_seconds: agent
                .drain
                .as_ref()
                .map(|drain| drain.since.as_secs_f64()),
        }
    }
}

/// Resources by the role they are reserved for.
pub(super) fn reserved(resources: &Resources) -> ByRole<'_> {
    let mut by_role = ByRole::new();
    for entry in resources.entries() {
        if let Some(role) = entry.key.reserved_role() {
            *by_role.entry(role).or_default() += Resources::from(vec![entry.clone()]);
        }
    }
    by_role
}

pub(super) fn unreserved(resources: &Resources) -> Resources {
    resources.filter(|entry| entry.key.reservations.is_empty())
}

/// An agent with its resources in full.
#[derive(Serialize)]
struct AgentFull<'a> {
    #[serde(flatten)]
    agent: AgentJson<'a>,
    reserved_resources_full: BTreeMap<&'a str, Vec<v1::Resource>>,
    unreserved_resources_full: Vec<v1::Resource>,
    used_resources_full: Vec<v1::Resource>,
    offered_resources_full: Vec<v1::Resource>,
}

impl<'a> AgentFull<'a> {
    fn new(view: &View<'a>, agent: &'a Agent) -> Self {
        let total = &agent.total;
        let usage = Usage::of_agent(view.state, agent);
        Self {
            agent: AgentJson::new(view, agent),
            reserved_resources_full: reserved(total)
                .into_iter()
                .map(|(role, part)| (role, resource::encode(&part)))
                .collect(),
            unreserved_resources_full: resource::encode(&unreserved(total)),
            used_resources_full: resource::encode_by_role(&usage.used),
            offered_resources_full: resource::encode_by_role(&usage.offered),
        }
    }
}

/// The answer of `/slaves`: all registered agents, or the one with this id.
pub fn slaves<'a>(view: &'a View<'a>, slave_id: Option<&'a str>) -> impl Serialize + 'a {
    #[derive(Serialize)]
    struct Slaves<A> {
        slaves: A,
        /// Agents not back since a change of leader: here there are none, ever.
        recovered_slaves: [(); 0],
    }
    Slaves {
        slaves: List(move || {
            registered(view)
                .filter(move |agent| slave_id.is_none_or(|id| agent.id.as_str() == id))
                .map(move |agent| AgentFull::new(view, agent))
        }),
        recovered_slaves: [],
    }
}

/// Whether an agent was given up because it was not heard.
pub(super) fn is_unreachable(agent: &Agent) -> bool {
    matches!(agent.phase, AgentPhase::Unreachable { .. })
}

/// The agents that count: unreachable ones are not shown, only counted.
pub(super) fn registered<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Agent> {
    view.state
        .agents()
        .map(AsRef::as_ref)
        .filter(|agent| agent.is_registered())
}
