//! `/allocator/offer_constraints_debug`: which agents the constraints of frameworks exclude.

use std::collections::{BTreeMap, BTreeSet};

use regency_types::AgentId;
use serde::Serialize;

use crate::offer_constraints::{all_facts, excluded, of_framework};
use crate::query::View;

#[derive(Serialize)]
struct Debug<'a> {
    frameworks: BTreeMap<&'a str, Roles>,
}

#[derive(Serialize)]
struct Roles {
    roles: BTreeMap<String, Role>,
}

#[derive(Serialize)]
struct Role {
    excluded_agents: Vec<String>,
}

/// All frameworks, with those of their roles that have constraints.
pub fn offer_constraints_debug<'a>(view: &View<'a>) -> impl Serialize + 'a {
    let facts = all_facts(view.state);
    let agents = || facts.iter().map(|(id, facts)| (id, facts));
    let frameworks = view.state.frameworks().map(|framework| {
        let found = of_framework(&framework.spec)
            .map(|constraints| excluded(&framework.spec, &constraints, agents()))
            // None of them can be read: nothing is offered.
            .unwrap_or_else(|_| {
                let all: BTreeSet<AgentId> = agents().map(|(id, _)| id.clone()).collect();
                let roles = framework.spec.roles.iter();
                roles.map(|role| (role.clone(), all.clone())).collect()
            });
        let roles = found.into_iter().map(|(role, agents)| {
            let excluded_agents = agents.iter().map(ToString::to_string).collect();
            (role, Role { excluded_agents })
        });
        let roles = roles.collect();
        (framework.id.as_str(), Roles { roles })
    });
    Debug {
        frameworks: frameworks.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Live;
    use crate::query::fixture::{Cluster, identity};
    use regency_state::model::Capabilities;

    #[test]
    fn the_agents_excluded_are_listed_by_framework_and_role() {
        let mut cluster = Cluster::new();
        let (_, two) = (cluster.agent(1, "cpus:1"), cluster.agent(2, "cpus:1"));
        let framework = cluster.subscribe("eng", Capabilities::default());
        cluster.constrain(
            &framework,
            r#"{"role_constraints":{"eng":{"groups":[{"attribute_constraints":[{
                "selector":{"pseudoattribute_type":"HOSTNAME"},
                "predicate":{"text_equals":{"value":"agent1.example"}}}]}]}}}"#,
        );
        let (live, identity) = (Live::default(), identity());
        let view = View {
            state: &cluster.state,
            live: &live,
            identity: &identity,
        };
        let json = serde_json::to_value(offer_constraints_debug(&view)).expect("it is JSON");
        let expected = serde_json::json!({"frameworks": {framework.as_str(): {"roles": {
            "eng": {"excluded_agents": [two.as_str()]}}}}});
        assert_eq!(json, expected);
    }
}
