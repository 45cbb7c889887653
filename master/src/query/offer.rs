//! Offers as frameworks see them.

use std::net::IpAddr;

use prost::Message;
use regency_state::State;
use regency_state::model::{Agent, Framework, Offer};
use regency_wire::resources::{ResourceFormat, to_wire};
use regency_wire::v1::{self, Address, AgentInfo, OfferId, Url};

use super::maintenance::unavailability;
use super::resource::allocation;

/// Path of the agent's API on its machine; part of its name in Mesos.
pub const AGENT_PATH: &str = "/slave(1)";

/// Encodes an outstanding offer for the framework it was made to, in the form that the
/// framework's present capabilities ask for.
///
/// `None` when its agent or framework is not in the state, or the state has no cluster yet; with
/// an offer out of the same state that cannot be.
#[must_use]
pub fn encode(state: &State, offer: &Offer) -> Option<v1::Offer> {
    let agent = state.agent(&offer.agent)?;
    let framework = state.framework(&offer.framework)?;
    let id = state.cluster()?.offer_id(offer.id);
    // What the agent says of itself beyond what rules read. An agent whose description cannot be
    // read is offered without attributes.
    let info = AgentInfo::decode(agent.spec.info.clone()).unwrap_or_default();
    let role = framework
        .spec
        .capabilities
        .multi_role
        .then_some(&offer.role);
    Some(v1::Offer {
        id: OfferId { value: id },
        framework_id: (&offer.framework).into(),
        agent_id: (&offer.agent).into(),
        hostname: agent.spec.hostname.clone(),
        url: Some(url(agent)),
        domain: info.domain,
        resources: to_wire(
            &offer.resources,
            format_for(framework),
            role.map(String::as_str),
        ),
        attributes: info.attributes,
        executor_ids: agent
            .executors
            .keys()
            .filter(|key| key.framework == offer.framework)
            .map(|key| (&key.executor).into())
            .collect(),
        unavailability: state.unavailability_of(&agent.spec).map(unavailability),
        allocation_info: role.map(|role| allocation(role)),
    })
}

/// How the framework reads reservations.
#[must_use]
pub fn format_for(framework: &Framework) -> ResourceFormat {
    if framework.spec.capabilities.reservation_refinement {
        ResourceFormat::PostReservationRefinement
    } else {
        ResourceFormat::PreReservationRefinement
    }
}

pub(super) fn url(agent: &Agent) -> Url {
    let (host, port) = split_address(&agent.spec.address);
    Url {
        scheme: "http".to_owned(),
        address: Address {
            hostname: Some(agent.spec.hostname.clone()),
            // Only an address belongs there; a name is in `hostname`.
            ip: host.parse::<IpAddr>().is_ok().then(|| host.to_owned()),
            port: i32::from(port),
        },
        path: Some(AGENT_PATH.to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}

/// Host and port of an advertised `host:port`; port 0 when there is none.
#[must_use]
pub fn split_address(address: &str) -> (&str, u16) {
    match address.rsplit_once(':') {
        Some((host, port)) => (
            host.trim_start_matches('[').trim_end_matches(']'),
            port.parse().unwrap_or(0),
        ),
        None => (address, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::model::Capabilities;

    fn offered(capabilities: Capabilities) -> String {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:2;mem:64");
        let framework = cluster.subscribe("eng", capabilities);
        let offer = cluster.offer(&framework, "eng", &agent, "cpus:1.5");
        let offer = cluster.state.offer(offer).expect("the offer was made");
        let wire = encode(&cluster.state, offer).expect("agent and framework are there");
        serde_json::to_string(&wire).expect("an offer is JSON")
    }

    #[test]
    fn a_plain_framework_sees_roles_and_no_allocation() {
        assert_eq!(
            offered(Capabilities::default()),
            concat!(
                r#"{"id":{"value":"00000000-0000-0000-0000-000000000007-O0"},"#,
                r#""framework_id":{"value":"00000000-0000-0000-0000-000000000007-0000"},"#,
                r#""agent_id":{"value":"00000000-0000-0000-0000-000000000007-S0"},"#,
                r#""hostname":"agent1.example","url":{"scheme":"http","address":"#,
                r#"{"hostname":"agent1.example","ip":"10.0.0.1","port":5051},"path":"/slave(1)"},"#,
                r#""resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.5},"role":"*"}],"#,
                r#""attributes":[{"name":"rack","type":"TEXT","text":{"value":"r1"}}]}"#
            )
        );
    }

    #[test]
    fn a_framework_of_many_roles_sees_the_allocation() {
        let text = offered(Capabilities {
            multi_role: true,
            reservation_refinement: true,
            ..Capabilities::default()
        });
        assert!(
            text.contains(
                r#""resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.5},"allocation_info":{"role":"eng"}}]"#
            ),
            "{text}"
        );
        assert!(
            text.ends_with(r#""allocation_info":{"role":"eng"}}"#),
            "{text}"
        );
    }

    #[test]
    fn reservations_are_written_as_the_framework_reads_them() {
        let resources = |reservation_refinement| {
            let mut cluster = Cluster::new();
            let agent = cluster.agent(1, "cpus(eng):2");
            let framework = cluster.subscribe(
                "eng",
                Capabilities {
                    reservation_refinement,
                    ..Capabilities::default()
                },
            );
            let offer = cluster.offer(&framework, "eng", &agent, "cpus(eng):2");
            let offer = cluster.state.offer(offer).expect("the offer was made");
            let wire = encode(&cluster.state, offer).expect("agent and framework are there");
            serde_json::to_value(&wire.resources[0]).expect("a resource is JSON")
        };
        let (older, newer) = (resources(false), resources(true));
        assert_eq!(older["role"], "eng");
        assert!(older.get("reservations").is_none(), "{older}");
        assert_eq!(newer["reservations"][0]["role"], "eng");
        assert_eq!(newer["reservations"][0]["type"], "STATIC");
        assert!(newer.get("role").is_none(), "{newer}");
    }

    #[test]
    fn addresses_split_at_the_last_colon() {
        assert_eq!(split_address("10.0.0.1:5051"), ("10.0.0.1", 5051));
        assert_eq!(split_address("[::1]:5051"), ("::1", 5051));
        assert_eq!(split_address("host"), ("host", 0));
    }
}
