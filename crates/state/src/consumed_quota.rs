//! How much of its quota a role has.

use std::collections::{BTreeMap, BTreeSet};

use regency_resources::{Milli, Quantities, Resource, Resources, role};
use regency_types::TaskState;

use crate::state::State;

/// What counts against the quota of a top-level role: its own and that of the roles below it.
///
/// Scalars only, nothing that is revocable. What is on an agent that was given up does not count,
/// as the agent's resources do not count as the cluster's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumedQuota {
    /// What is reserved, used or not.
    pub reserved: Quantities,
    /// What tasks and executors use of what is not reserved.
    pub allocated: Quantities,
    /// What is offered of what is not reserved.
    pub offered: Quantities,
}

impl ConsumedQuota {
    /// What the role has for good: its reservations, and what it uses besides.
    #[must_use]
    pub fn for_good(&self) -> Quantities {
        let mut sum = self.reserved.clone();
        sum.add_all(&self.allocated);
        sum
    }

    /// The same with what it is offered, which it may use at any moment.
    #[must_use]
    pub fn promised(&self) -> Quantities {
        let mut sum = self.for_good();
        sum.add_all(&self.offered);
        sum
    }
}

/// Whether a quota has a say about it when it is offered or used.
#[must_use]
pub fn is_charged(entry: &Resource) -> bool {
    entry.key.reservations.is_empty() && !entry.key.revocable && !entry.key.shared
}

/// The part of resources that counts against the quota of whoever is offered or uses them.
#[must_use]
pub fn charged(resources: &Resources) -> Quantities {
    Quantities::from(&resources.filter(is_charged))
}

impl State {
    /// What counts against the quotas of these top-level roles. Each of them is in the answer.
    ///
    /// Costs O(size of the state).
    #[must_use]
    pub fn consumed_quotas<'a>(
        &self,
        roles: &BTreeSet<&'a str>,
    ) -> BTreeMap<&'a str, ConsumedQuota> {
        let mut all: BTreeMap<&'a str, ConsumedQuota> = roles
            .iter()
            .map(|role| (*role, ConsumedQuota::default()))
            .collect();
        if all.is_empty() {
            return all;
        }
        for task in self.tasks.values() {
            if let Some(of_role) = all.get_mut(role::top(&task.role))
                && !task.is_terminal()
                && task.state != TaskState::Unreachable
            {
                of_role.allocated.add_all(&charged(&task.resources));
            }
        }
        for agent in self.agents.values().filter(|a| a.is_registered()) {
            for executor in agent.executors.values() {
                if let Some(of_role) = all.get_mut(role::top(&executor.role)) {
                    of_role.allocated.add_all(&charged(&executor.resources));
                }
            }
            for entry in agent.total.entries() {
                if let Some(reserved_for) = entry.key.reserved_role()
                    && !entry.key.revocable
                    && let Some(of_role) = all.get_mut(role::top(reserved_for))
                {
                    let one = std::iter::once(entry.clone()).collect::<Resources>();
                    of_role.reserved.add_resources(&one);
                }
            }
        }
        for offer in self.offers.values() {
            if let Some(of_role) = all.get_mut(role::top(&offer.role)) {
                of_role.offered.add_all(&charged(&offer.resources));
            }
        }
        all
    }

    /// All non-revocable scalars of the agents that are registered.
    #[must_use]
    pub fn capacity(&self) -> Quantities {
        let mut sum = Quantities::new();
        for agent in self.agents.values().filter(|a| a.is_registered()) {
            sum.add_resources(&agent.total.non_revocable());
        }
        sum
    }
}

/// What limits leave to roles while offers are made.
pub(crate) struct LimitsLeft(BTreeMap<String, BTreeMap<String, Milli>>);

impl LimitsLeft {
    /// What is left of the limits of those among these roles that have any.
    pub(crate) fn of<'a>(state: &State, roles: impl Iterator<Item = &'a str>) -> Self {
        let limited: BTreeSet<&str> = roles
            .map(role::top)
            .filter(|role| {
                let config = state.roles.get(*role);
                config.is_some_and(|config| !config.quota.limits.is_empty())
            })
            .collect();
        let left = state
            .consumed_quotas(&limited)
            .into_iter()
            .map(|(role, has)| {
                let promised = has.promised();
                let limits = &state.roles[role].quota.limits;
                let left = limits
                    .iter()
                    .map(|(name, limit)| (name.clone(), *limit - promised.get(name)))
                    .collect();
                (role.to_owned(), left)
            });
        Self(left.collect())
    }

    /// Takes what an offer to the role would count from what is left; `false`, and nothing is taken,
    /// when that is not enough.
    pub(crate) fn take(&mut self, role: &str, resources: &Resources) -> bool {
        let Some(left) = self.0.get_mut(role::top(role)) else {
            return true;
        };
        let charged = charged(resources);
        let enough = charged
            .iter()
            .all(|(name, amount)| left.get(name).is_none_or(|left| amount <= *left));
        if enough {
            for (name, amount) in charged.iter() {
                if let Some(left) = left.get_mut(name) {
                    *left = *left - amount;
                }
            }
        }
        enough
    }
}
