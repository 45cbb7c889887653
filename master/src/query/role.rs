//! Totals of roles.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities, Resources, Value, role};
use regency_state::is_charged;

use super::View;
use super::usage::uses_resources;

/// What belongs to a role and the roles below it.
#[derive(Debug, Default)]
pub(crate) struct RoleTotals<'a> {
    /// Used by tasks.
    pub(crate) allocated: Quantities,
    /// The part of it that counts against a quota.
    pub(crate) allocated_unreserved: Quantities,
    /// In outstanding offers.
    pub(crate) offered: Quantities,
    /// Reserved on registered agents, used or not.
    pub(crate) reserved: Quantities,
    /// Frameworks that subscribe to this very role, in the order of their ids.
    pub(crate) frameworks: Vec<&'a str>,
}

/// All roles that are known: because a framework subscribes to them, something is allocated,
/// offered or reserved, they have a quota or a weight, or they are above one of those.
pub(crate) fn totals<'a>(view: &View<'a>) -> BTreeMap<&'a str, RoleTotals<'a>> {
    let mut roles: BTreeMap<&'a str, RoleTotals<'a>> = BTreeMap::new();
    for framework in view.state.frameworks() {
        for name in &framework.spec.roles {
            let role = roles.entry(name).or_default();
            role.frameworks.push(framework.id.as_str());
        }
    }
    for task in view.state.tasks().filter(|task| uses_resources(task)) {
        let role = roles.entry(&task.role).or_default();
        add(&mut role.allocated, &task.resources);
        let unreserved = task.resources.filter(is_charged);
        add(&mut role.allocated_unreserved, &unreserved);
    }
    for agent in view.state.agents().filter(|agent| agent.is_registered()) {
        for executor in agent.executors.values() {
            let role = roles.entry(&executor.role).or_default();
            add(&mut role.allocated, &executor.resources);
            let unreserved = executor.resources.filter(is_charged);
            add(&mut role.allocated_unreserved, &unreserved);
        }
    }
    for offer in view.state.offers() {
        add(
            &mut roles.entry(&offer.role).or_default().offered,
            &offer.resources,
        );
    }
    for agent in view.state.agents().filter(|agent| agent.is_registered()) {
        for entry in agent.total.entries() {
            if let Some(name) = entry.key.reserved_role() {
                let one = Resources::from(vec![entry.clone()]);
                add(&mut roles.entry(name).or_default().reserved, &one);
            }
        }
    }
    for config in view.state.role_configs() {
        roles.entry(&config.role).or_default();
    }
    add_to_ancestors(&mut roles);
    roles
}

/// Deepest roles first, so that each passes on what it was given from below.
fn add_to_ancestors<'a>(roles: &mut BTreeMap<&'a str, RoleTotals<'a>>) {
    let mut names: Vec<&'a str> = roles
        .keys()
        .flat_map(|name| std::iter::once(*name).chain(role::ancestors(name)))
        .collect();
    names.sort_unstable_by_key(|name| (std::cmp::Reverse(name.matches('/').count()), *name));
    names.dedup();
    for name in names {
        let child = roles.entry(name).or_default();
        let Some(parent) = role::parent(name) else {
            continue;
        };
        let passed = [
            child.allocated.clone(),
            child.allocated_unreserved.clone(),
            child.offered.clone(),
            child.reserved.clone(),
        ];
        let parent = roles.entry(parent).or_default();
        for (sum, part) in [
            &mut parent.allocated,
            &mut parent.allocated_unreserved,
            &mut parent.offered,
            &mut parent.reserved,
        ]
        .into_iter()
        .zip(&passed)
        {
            sum.add_all(part);
        }
    }
}

/// Adds amounts by name; of ranges and sets, how many things are in them.
pub(crate) fn add(sum: &mut Quantities, resources: &Resources) {
    sum.add_resources(resources);
    for entry in resources.entries() {
        let count = match &entry.value {
            Value::Scalar(_) => continue,
            Value::Ranges(ranges) => i64::try_from(ranges.count()).unwrap_or(i64::MAX),
            Value::Set(set) => i64::try_from(set.iter().count()).unwrap_or(i64::MAX),
        };
        sum.add(&entry.key.name, Milli::from_units(count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Live;
    use crate::query::fixture::{Cluster, identity, resources};
    use regency_state::model::Capabilities;
    use regency_state::{Command, UpdateWeights};

    #[test]
    fn quantities_count_ports() {
        let mut sum = Quantities::new();
        add(&mut sum, &resources("cpus:2;ports:[31000-31001]"));
        add(&mut sum, &resources("ports:[31005-31005]"));
        assert_eq!(sum.get("cpus"), Milli::from_units(2));
        assert_eq!(sum.get("ports"), Milli::from_units(3));
    }

    #[test]
    fn a_role_includes_the_roles_below_it() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:8;cpus(ops):2;mem:64");
        let framework = cluster.subscribe("eng/web/blue", Capabilities::default());
        let task = (Cluster::task_info("t"), "cpus:2");
        cluster.launch(&framework, "eng/web/blue", &agent, vec![task]);
        cluster.offer(&framework, "eng/web/blue", &agent, "cpus:1;mem:32");
        cluster.ok(Command::UpdateWeights(UpdateWeights {
            weights: vec![("heavy".into(), Milli(2000))],
            initial: false,
        }));
        let (live, identity) = (Live::default(), identity());
        let view = View {
            state: &cluster.state,
            live: &live,
            identity: &identity,
        };
        let roles = totals(&view);
        let names: Vec<_> = roles.keys().copied().collect();
        assert_eq!(names, ["eng", "eng/web", "eng/web/blue", "heavy", "ops"]);
        for name in ["eng", "eng/web", "eng/web/blue"] {
            assert_eq!(
                roles[name].allocated.get("cpus"),
                Milli::from_units(2),
                "{name}"
            );
            assert_eq!(
                roles[name].offered.get("mem"),
                Milli::from_units(32),
                "{name}"
            );
        }
        assert_eq!(roles["eng/web/blue"].frameworks, [framework.as_str()]);
        assert!(roles["eng"].frameworks.is_empty());
        assert_eq!(roles["ops"].reserved.get("cpus"), Milli::from_units(2));
    }
}
