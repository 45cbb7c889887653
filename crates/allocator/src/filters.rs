//! Who is passed over, and which resources are kept from whom.

use std::collections::BTreeMap;

use regency_resources::{Quantities, Resources};
use regency_types::{AgentId, ClusterTime};

use crate::view::{AgentView, FrameworkCapabilities, FrameworkView, Options};

/// What about an agent decides who may be offered anything of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgentTraits {
    has_gpus: bool,
    remote: bool,
    multi_role: bool,
    hierarchical_role: bool,
}

impl AgentTraits {
    pub(crate) fn new(agent: &AgentView, options: &Options) -> Self {
        Self {
            // Switched off, the filter sees no GPUs.
            has_gpus: options.filter_gpu_resources && agent.total.scalar("gpus").0 > 0,
            remote: agent.remote,
            multi_role: agent.capabilities.multi_role,
            hierarchical_role: agent.capabilities.hierarchical_role,
        }
    }

    /// Whether a framework with these capabilities may get anything of the agent in this role. An
    /// agent with GPUs is withheld whole, not just its GPUs, as in Mesos: else frameworks without
    /// use for them would fill it.
    pub(crate) fn suit(&self, framework: &FrameworkCapabilities, role: &str) -> bool {
        (!self.has_gpus || framework.gpu_resources)
            && (!self.remote || framework.region_aware)
            && (self.multi_role || !framework.multi_role)
            && (self.hierarchical_role || !role.contains('/'))
    }
}

/// The part of the resources that a framework with these capabilities can take.
pub(crate) fn takeable(resources: &Resources, framework: &FrameworkCapabilities) -> Resources {
    resources.filter(|entry| {
        (framework.revocable_resources || !entry.key.revocable)
            && (framework.shared_resources || !entry.key.shared)
            && (framework.reservation_refinement || entry.key.reservations.len() <= 1)
    })
}

/// Whether the resources contain one of the sets; an empty list asks for nothing.
pub(crate) fn meets(resources: &Resources, sets: &[Quantities]) -> bool {
    sets.is_empty()
        || sets.iter().any(|set| {
            set.iter()
                .all(|(name, amount)| resources.scalar(name) >= amount)
        })
}

/// The sets of which an offer must meet one to be worth making to anybody: if even these are not
/// met, no framework needs to be asked.
pub(crate) fn loosest_minimum(options: &Options, frameworks: &[FrameworkView]) -> Vec<Quantities> {
    let mut loosest = options.min_allocatable.clone();
    for own in frameworks
        .iter()
        .flat_map(|f| &f.roles)
        .filter_map(|r| r.min_allocatable.as_ref())
    {
        if own.is_empty() || loosest.is_empty() {
            return Vec::new();
        }
        for set in own {
            if !loosest.contains(set) {
                loosest.push(set.clone());
            }
        }
    }
    loosest
}

/// The decline filters that hold now, by agent.
#[derive(Debug, Default)]
pub(crate) struct Declines<'a> {
    /// For each agent, refused resources by client, in order of clients. Empty without filters.
    by_agent: Vec<Vec<(usize, &'a Resources)>>,
}

impl<'a> Declines<'a> {
    /// `client_of` says which client a framework (by position) is in a role.
    pub(crate) fn new(
        frameworks: &'a [FrameworkView],
        agents: &[AgentView],
        now: ClusterTime,
        client_of: impl Fn(usize, &str) -> Option<usize>,
    ) -> Self {
        let mut declines = Self::default();
        let mut places: BTreeMap<&AgentId, usize> = BTreeMap::new();
        for (position, framework) in frameworks.iter().enumerate() {
            for filter in framework.filters.iter().filter(|f| f.expires_at > now) {
                if places.is_empty() {
                    places = agents.iter().enumerate().map(|(i, a)| (&a.id, i)).collect();
                    declines.by_agent = vec![Vec::new(); agents.len()];
                }
                let place = places.get(&filter.agent);
                let client = client_of(position, &filter.role);
                if let (Some(place), Some(client)) = (place, client) {
                    declines.by_agent[*place].push((client, &filter.refused));
                }
            }
        }
        for filters in &mut declines.by_agent {
            filters.sort_unstable_by_key(|(client, _)| *client);
        }
        declines
    }

    /// Whether the client declined this much or more of the agent.
    pub(crate) fn refuse(&self, agent: usize, client: usize, offer: &Resources) -> bool {
        let Some(filters) = self.by_agent.get(agent) else {
            return false;
        };
        let from = filters.partition_point(|(other, _)| *other < client);
        filters[from..]
            .iter()
            .take_while(|(other, _)| *other == client)
            .any(|(_, refused)| refused.contains(offer))
    }
}

#[cfg(test)]
mod tests {
    use regency_resources::{Reservation, ResourceKey, Value, parse};

    use super::*;

    #[test]
    fn what_a_framework_cannot_take_is_stripped() {
        let plain = parse::resources("cpus:1;mem(a):2", "*").unwrap();
        let refined = parse::resources("cpus(a):4", "*")
            .unwrap()
            .push_reservation(&Reservation::dynamic("a/b", None));
        let revocable: Resources = [(
            ResourceKey {
                revocable: true,
                ..ResourceKey::new("cpus")
            },
            Value::units(8),
        )]
        .into_iter()
        .collect();
        let shared: Resources = [(
            ResourceKey {
                shared: true,
                ..ResourceKey::fixed("disk", "a")
            },
            Value::units(16),
        )]
        .into_iter()
        .collect();
        let all = &(&plain + &refined) + &(&revocable + &shared);
        let none = FrameworkCapabilities::default();
        assert_eq!(takeable(&all, &none), plain);
        for (capabilities, more) in [
            (
                FrameworkCapabilities {
                    reservation_refinement: true,
                    ..none
                },
                &refined,
            ),
            (
                FrameworkCapabilities {
                    revocable_resources: true,
                    ..none
                },
                &revocable,
            ),
            (
                FrameworkCapabilities {
                    shared_resources: true,
                    ..none
                },
                &shared,
            ),
        ] {
            assert_eq!(takeable(&all, &capabilities), &plain + more);
        }
    }

    #[test]
    fn one_of_the_minimums_is_enough() {
        let sets = parse::quantity_sets("cpus:1;mem:10|mem:100").unwrap();
        for (text, enough) in [
            ("cpus:1;mem:10", true),
            ("mem:100", true),
            ("cpus(a):0.5;cpus:0.5;mem:10", true),
            ("cpus:9;mem:9", false),
            ("disk:1000", false),
        ] {
            assert_eq!(
                meets(&parse::resources(text, "*").unwrap(), &sets),
                enough,
                "{text}"
            );
        }
        assert!(meets(&Resources::empty(), &[]));
    }
}
