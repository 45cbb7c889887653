//! Which agents the offer constraints of frameworks exclude, remembered from one allocation to the
//! next: patterns are compiled and tried again only when a framework or an agent says something new.

use std::collections::BTreeMap;

use bytes::Bytes;
use regency_allocator::ClusterView;
use regency_allocator::constraints::AgentFacts;
use regency_state::State;
use regency_state::model::{Agent, Framework};
use regency_types::{AgentId, FrameworkId};

use crate::offer_constraints::{self, Excluded};

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Exclusions {
    agents: BTreeMap<AgentId, Known>,
    /// Counts the changes of `agents`.
    version: u64,
    frameworks: BTreeMap<FrameworkId, Remembered>,
}

#[derive(Debug)]
struct Known {
    info: Bytes,
    facts: AgentFacts,
}

#[derive(Debug)]
struct Remembered {
    /// As the framework described itself when these were found.
    described: u64,
    constraints: Bytes,
    /// Of the agents.
    version: u64,
    excluded: Excluded,
}

impl Exclusions {
    /// Notes in a view of this state which agents are excluded from which roles.
    pub(crate) fn note(&mut self, state: &State, view: &mut ClusterView) {
        let constrained =
            |framework: &&std::sync::Arc<Framework>| !framework.spec.offer_constraints.is_empty();
        if !state.frameworks().any(|f| constrained(&f)) {
            *self = Self::default();
            return;
        }
        self.look_at_agents(state);
        let mut frameworks = std::mem::take(&mut self.frameworks);
        for framework in state.frameworks().filter(constrained) {
            let remembered = match frameworks.remove(&framework.id) {
                Some(known) if self.is_fresh(&known, framework) => known,
                _ => self.find(framework),
            };
            if let Some(shown) = view.frameworks.iter_mut().find(|f| f.id == framework.id) {
                for role in &mut shown.roles {
                    if let Some(excluded) = remembered.excluded.get(&role.role) {
                        role.excluded_agents.clone_from(excluded);
                    }
                }
            }
            self.frameworks.insert(framework.id.clone(), remembered);
        }
    }

    fn is_fresh(&self, known: &Remembered, framework: &Framework) -> bool {
        known.version == self.version
            && known.described == framework.described
            && known.constraints == framework.spec.offer_constraints
    }

    fn look_at_agents(&mut self, state: &State) {
        let mut before = std::mem::take(&mut self.agents);
        let mut changed = false;
        for agent in state.agents().filter(|agent| agent.is_registered()) {
            let known = match before.remove(&agent.id) {
                Some(known) if known.info == agent.spec.info && is_at(agent, &known) => known,
                _ => {
                    changed = true;
                    Known {
                        info: agent.spec.info.clone(),
                        facts: offer_constraints::facts(agent),
                    }
                }
            };
            self.agents.insert(agent.id.clone(), known);
        }
        if changed || !before.is_empty() {
            self.version += 1;
        }
    }

    fn find(&self, framework: &Framework) -> Remembered {
        let agents = self.agents.iter().map(|(id, known)| (id, &known.facts));
        let excluded = match offer_constraints::of_framework(&framework.spec) {
            Ok(constraints) => offer_constraints::excluded(&framework.spec, &constraints, agents),
            Err(error) => {
                // It was taken by a master that could read it. Better no offers than wrong ones.
                tracing::error!(framework_id = %framework.id, %error, "offer constraints cannot be read");
                let all = || agents.clone().map(|(id, _)| id.clone()).collect();
                let roles = framework.spec.roles.iter();
                roles.map(|role| (role.clone(), all())).collect()
            }
        };
        Remembered {
            described: framework.described,
            constraints: framework.spec.offer_constraints.clone(),
            version: self.version,
            excluded,
        }
    }
}

fn is_at(agent: &Agent, known: &Known) -> bool {
    agent.spec.hostname == known.facts.hostname
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::model::{Capabilities, FrameworkSpec};
    use std::collections::BTreeSet;

    /// Constraints that want offers of agents with this host name only.
    fn only(hostname: &str) -> String {
        format!(
            r#"{{"role_constraints":{{"eng":{{"groups":[{{"attribute_constraints":[{{
                "selector":{{"pseudoattribute_type":"HOSTNAME"}},
                "predicate":{{"text_equals":{{"value":"{hostname}"}}}}}}]}}]}}}}}}"#
        )
    }

    /// The agents that the framework would be offered nothing of.
    fn excluded(
        exclusions: &mut Exclusions,
        cluster: &Cluster,
        framework: &FrameworkId,
    ) -> BTreeSet<AgentId> {
        let agents = cluster.state.agents().map(|a| a.id.clone()).collect();
        let frameworks = BTreeSet::from([framework.clone()]);
        let mut view = super::super::allocation::view(&cluster.state, &agents, &frameworks, None);
        exclusions.note(&cluster.state, &mut view);
        view.frameworks[0].roles[0].excluded_agents.clone()
    }

    #[test]
    fn what_a_framework_or_an_agent_says_anew_counts_at_once() {
        let mut cluster = Cluster::new();
        let (one, two) = (cluster.agent(1, "cpus:1"), cluster.agent(2, "cpus:1"));
        let hostname = |cluster: &Cluster, id: &AgentId| {
            cluster
                .state
                .agent(id)
                .expect("known")
                .spec
                .hostname
                .clone()
        };
        assert_ne!(hostname(&cluster, &one), hostname(&cluster, &two));
        let framework = cluster.subscribe("eng", Capabilities::default());
        let mut exclusions = Exclusions::default();
        assert!(excluded(&mut exclusions, &cluster, &framework).is_empty());
        for (wanted, other) in [(&one, &two), (&two, &one)] {
            let wanted = hostname(&cluster, wanted);
            cluster.constrain(&framework, &only(&wanted));
            let not_wanted = BTreeSet::from([other.clone()]);
            // The second look is answered from memory.
            for _ in 0..2 {
                assert_eq!(excluded(&mut exclusions, &cluster, &framework), not_wanted);
            }
        }
        let three = cluster.agent(3, "cpus:1");
        assert_eq!(
            excluded(&mut exclusions, &cluster, &framework),
            BTreeSet::from([one, three])
        );
        cluster.constrain(&framework, "{}");
        assert!(excluded(&mut exclusions, &cluster, &framework).is_empty());
    }

    #[test]
    fn constraints_that_cannot_be_read_exclude_all() {
        let mut cluster = Cluster::new();
        let one = cluster.agent(1, "cpus:1");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let spec = FrameworkSpec {
            offer_constraints: Bytes::from_static(b"\xff"),
            ..cluster
                .state
                .framework(&framework)
                .expect("known")
                .spec
                .clone()
        };
        cluster.update(&framework, spec);
        let mut exclusions = Exclusions::default();
        assert_eq!(
            excluded(&mut exclusions, &cluster, &framework),
            BTreeSet::from([one])
        );
    }
}
