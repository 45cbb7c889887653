//! Who is passed over, and which resources are kept from whom.

use regency_mutants::{Mutant, on};
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

    /// Whether any framework could get anything of the agent in some role. What depends on the role
    /// is asked later.
    pub(crate) fn suit_any(&self, frameworks: &[FrameworkCapabilities]) -> bool {
        frameworks.iter().any(|f| self.suit(f, ""))
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

/// Whether an offer of these resources of the agent could be made to a framework with these
/// capabilities, as far as capabilities decide that.
#[must_use]
pub fn suits(
    agent: &AgentView,
    role: &str,
    resources: &Resources,
    framework: &FrameworkCapabilities,
    options: &Options,
) -> bool {
    AgentTraits::new(agent, options).suit(framework, role)
        && takeable(resources, framework) == *resources
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
///
/// There can be a hundred of them for every agent, so they are found and sorted in as few steps as
/// their usual order, by agent within each framework, allows.
#[derive(Debug, Default)]
pub(crate) struct Declines<'a> {
    /// Client and what it refused, by agent and then client.
    filters: Vec<(usize, &'a Resources)>,
    /// For each agent, where its filters begin; one more at the end. Empty without filters.
    starts: Vec<usize>,
}

impl<'a> Declines<'a> {
    /// `client_of` says which client a framework (by position) is in a role.
    pub(crate) fn new(
        frameworks: &'a [FrameworkView],
        agents: &[AgentView],
        now: ClusterTime,
        client_of: impl Fn(usize, &str) -> Option<usize>,
    ) -> Self {
        let mut by_id: Vec<(&AgentId, usize)> = Vec::new();
        let mut found: Vec<(usize, usize, &'a Resources)> = Vec::new();
        for (position, framework) in frameworks.iter().enumerate() {
            let mut near = 0;
            let holds = |expires_at| {
                expires_at > now && !on(Mutant::IgnoreFilters) || on(Mutant::FiltersNeverExpire)
            };
            for filter in framework.filters.iter().filter(|f| holds(f.expires_at)) {
                if by_id.is_empty() {
                    by_id = agents.iter().enumerate().map(|(i, a)| (&a.id, i)).collect();
                    by_id.sort_unstable();
                }
                near = seek(&by_id, near, &filter.agent);
                let agent = by_id.get(near).filter(|(id, _)| **id == filter.agent);
                let client = client_of(position, &filter.role);
                if let (Some((_, agent)), Some(client)) = (agent, client) {
                    found.push((*agent, client, &filter.refused));
                }
            }
        }
        found.sort_by_key(|(agent, client, _)| (*agent, *client));
        let mut starts = Vec::new();
        if !found.is_empty() {
            starts = vec![0; agents.len() + 1];
            for (agent, _, _) in &found {
                starts[agent + 1] += 1;
            }
            for agent in 0..agents.len() {
                starts[agent + 1] += starts[agent];
            }
        }
        Self {
            filters: found
                .into_iter()
                .map(|(_, client, refused)| (client, refused))
                .collect(),
            starts,
        }
    }

    /// Whether the client declined this much or more of the agent.
    pub(crate) fn refuse(&self, agent: usize, client: usize, offer: &Resources) -> bool {
        if self.starts.is_empty() {
            return false;
        }
        let filters = &self.filters[self.starts[agent]..self.starts[agent + 1]];
        let from = filters.partition_point(|(other, _)| *other < client);
        filters[from..]
            .iter()
            .take_while(|(other, _)| *other == client)
            .any(|(_, refused)| refused.contains(offer))
    }
}

/// Where `id` is among sorted ids, or would be. Looks onwards from `near` in growing steps.
fn seek(by_id: &[(&AgentId, usize)], near: usize, id: &AgentId) -> usize {
    let (mut low, mut step) = (0, 1);
    if by_id.get(near).is_some_and(|(other, _)| *other <= id) {
        low = near;
        while by_id.get(low + step).is_some_and(|(other, _)| *other <= id) {
            low += step;
            step *= 2;
        }
    } else {
        step = by_id.len();
    }
    let high = (low + step).min(by_id.len());
    low + by_id[low..high].partition_point(|(other, _)| *other < id)
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
    fn seeking_finds_what_a_plain_search_finds() {
        let ids: Vec<AgentId> = (0..50)
            .map(|n| AgentId::new(format!("{n:03}")).unwrap())
            .collect();
        let by_id: Vec<(&AgentId, usize)> = ids.iter().step_by(2).zip(0..).collect();
        for id in &ids {
            let expected = by_id.partition_point(|(other, _)| *other < id);
            for near in 0..=by_id.len() {
                assert_eq!(seek(&by_id, near, id), expected, "{id} from {near}");
            }
        }
        assert_eq!(seek(&[], 0, &ids[0]), 0);
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
