//! What is held back: limits of a role, and headroom for guarantees that are not yet met.
//!
//! Quotas exist for top-level roles and cover all their descendants. Consumed is what is reserved
//! for the subtree plus what it was allocated of unreserved, non-revocable scalars. Only such
//! scalars are ever held back; reserved and revocable resources and those without an amount
//! (ports) follow freely.
//!
//! What a guarantee lacks is kept from other roles, not from the descendants of its own.
//!
//! A limit binds the whole subtree at each allocation. Mesos checks it only for the top-level role
//! itself, so that there a nested role can exceed it.

use std::collections::BTreeMap;

use regency_resources::{Milli, Resource, Resources, Value, role};

use crate::amounts::{Amounts, Names};
use crate::tree::Tree;
use crate::view::ClusterView;

/// How much may be taken of each scalar, by the number of its name; unlimited when `None`.
type Budget = Vec<Option<i64>>;

/// Alternatives of which an offer must meet one, by the number of the scalar's name. An empty list
/// asks for nothing.
pub(crate) type Minimum = Vec<Vec<(usize, i64)>>;

#[derive(Debug)]
struct Quota {
    guarantees: Amounts,
    limits: Budget,
    consumed: Amounts,
}

/// Quotas and headroom during a run.
#[derive(Debug)]
pub(crate) struct Quotas {
    quotas: Vec<Quota>,
    /// For each role number: the quota it falls under, and whether it is that quota's own role.
    of_role: Vec<Option<(usize, bool)>>,
    /// The role numbers of the roles that quotas are for.
    own_roles: Vec<usize>,
    /// Sum of what guarantees still lack.
    required: Amounts,
    /// Unreserved, non-revocable scalars that nobody has.
    headroom: Amounts,
}

impl Quotas {
    /// `roles` are the names by role number.
    pub(crate) fn new(view: &ClusterView, names: &Names<'_>, roles: &[&str]) -> Self {
        let mut quotas = Vec::new();
        let mut place: BTreeMap<&str, usize> = BTreeMap::new();
        for role in &view.roles {
            let has_quota = !role.guarantees.is_empty() || !role.limits.is_empty();
            if !has_quota || role::parent(&role.role).is_some() {
                continue;
            }
            let mut limits = vec![None; names.zero().iter().count()];
            for (name, limit) in &role.limits {
                if let Some(number) = names.number(name) {
                    limits[number] = Some(limit.0);
                }
            }
            place.insert(role.role.as_str(), quotas.len());
            quotas.push(Quota {
                guarantees: names.of_quantities(&role.guarantees),
                limits,
                consumed: names.zero(),
            });
        }
        let of_role: Vec<Option<(usize, bool)>> = roles
            .iter()
            .map(|name| {
                let top = role::top(name);
                place.get(top).map(|quota| (*quota, top == *name))
            })
            .collect();
        let mut book = Self {
            own_roles: (0..of_role.len())
                .filter(|role| matches!(of_role[*role], Some((_, true))))
                .collect(),
            of_role,
            quotas,
            required: names.zero(),
            headroom: names.zero(),
        };
        if !book.quotas.is_empty() {
            book.count_consumed(view, names, &place);
        }
        book
    }

    fn count_consumed(
        &mut self,
        view: &ClusterView,
        names: &Names<'_>,
        place: &BTreeMap<&str, usize>,
    ) {
        for agent in &view.agents {
            for entry in agent.total.entries() {
                let top = entry.key.reserved_role().map(role::top);
                if let Some(quota) = top.and_then(|top| place.get(top)) {
                    let one: Resources = std::iter::once(entry.clone()).collect();
                    self.quotas[*quota].consumed.add_resources(names, &one);
                }
            }
            let free = agent.available.filter(is_held_back);
            self.headroom.add_resources(names, &free);
        }
        for held in view.frameworks.iter().flat_map(|f| &f.roles) {
            if let Some(quota) = place.get(role::top(&held.role)) {
                let charged = names.of_quantities(&held.charged);
                self.quotas[*quota].consumed.add(&charged);
            }
        }
        for quota in &self.quotas {
            self.required.add(&quota.guarantees.less(&quota.consumed));
        }
    }

    /// Whether some guarantee is not met of a role in which a framework wants offers.
    pub(crate) fn lack_anything(&self, tree: &Tree<'_>) -> bool {
        self.own_roles
            .iter()
            .any(|role| tree.is_active(*role) && self.lacks(*role))
    }

    /// Whether the role has a guarantee of its own that is not met.
    pub(crate) fn lacks(&self, role: usize) -> bool {
        matches!(self.of_role[role], Some((quota, true)) if self.quotas[quota].lack().any())
    }

    /// What to offer towards the guarantee of a role out of what it may use: up to what the
    /// guarantee lacks, and then more as far as limit and headroom allow. Empty when nothing there
    /// serves the guarantee.
    pub(crate) fn guaranteed(
        &self,
        role: usize,
        offerable: &Resources,
        names: &Names<'_>,
    ) -> Resources {
        let Some((quota, true)) = self.of_role[role] else {
            return Resources::empty();
        };
        let quota = &self.quotas[quota];
        let held_back = offerable.filter(is_held_back);
        let mut lack: Budget = quota.lack().iter().map(Some).collect();
        let guaranteed = shrink(&held_back, names, &mut lack);
        if guaranteed.is_empty() {
            return guaranteed;
        }
        let rest = held_back
            .checked_sub(&guaranteed)
            .expect("what was shrunk is contained in what it was shrunk from");
        let mut consumed = quota.consumed.clone();
        consumed.add_resources(names, &guaranteed);
        // Of a scalar that is left over the guarantee lacks nothing any more, so only what others
        // are owed counts; what went to the guarantee lowered headroom and requirement alike.
        let mut budget = self.surplus(None);
        limit(&mut budget, &quota.limits, &consumed);
        let burst = shrink(&rest, names, &mut budget);
        offerable.filter(|entry| !is_held_back(entry)) + &guaranteed + &burst
    }

    /// What to offer to a role by fair share out of what it may use.
    pub(crate) fn fair(&self, role: usize, offerable: &Resources, names: &Names<'_>) -> Resources {
        if self.quotas.is_empty() {
            return offerable.clone();
        }
        let own = self.of_role[role].map(|(quota, _)| &self.quotas[quota]);
        let mut budget = self.surplus(own);
        if let Some(quota) = own {
            limit(&mut budget, &quota.limits, &quota.consumed);
        }
        if budget.iter().all(Option::is_none) {
            return offerable.clone();
        }
        let held_back = offerable.filter(is_held_back);
        offerable.filter(|entry| !is_held_back(entry)) + &shrink(&held_back, names, &mut budget)
    }

    /// Whether there are no quotas at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.quotas.is_empty()
    }

    /// Whether quotas leave a role enough unreserved scalars to meet the minimum: out of `there`, or
    /// out of the whole cluster. Once it is not so for the cluster, it never is again in the run.
    pub(crate) fn leave(&self, role: usize, minimum: &Minimum, there: Option<&Amounts>) -> bool {
        if self.quotas.is_empty() || minimum.is_empty() {
            return true;
        }
        let quota = self.of_role[role].map(|(quota, _)| &self.quotas[quota]);
        let enough = |(number, amount): &(usize, i64)| {
            let above = self
                .surplus_of(*number, quota)
                .is_none_or(|surplus| surplus >= *amount);
            let below = quota.is_none_or(|quota| {
                quota.limits[*number].is_none_or(|limit| {
                    limit.saturating_sub(quota.consumed.get(*number)) >= *amount
                })
            });
            above && below && there.is_none_or(|there| there.get(*number) >= *amount)
        };
        minimum.iter().any(|set| set.iter().all(enough))
    }

    /// Counts what a role was given.
    pub(crate) fn commit(&mut self, role: usize, offer: &Resources, names: &Names<'_>) {
        if self.quotas.is_empty() {
            return;
        }
        let charged = names.of_resources(&offer.filter(is_held_back));
        self.headroom = self.headroom.less(&charged);
        if let Some((quota, _)) = self.of_role[role] {
            let quota = &mut self.quotas[quota];
            let before = quota.lack();
            quota.consumed.add(&charged);
            self.required = self.required.less(&before.less(&quota.lack()));
        }
    }

    /// What may be taken without touching the headroom that guarantees need.
    fn surplus(&self, own: Option<&Quota>) -> Budget {
        (0..self.required.iter().count())
            .map(|number| self.surplus_of(number, own))
            .collect()
    }

    /// The same for one scalar. One that no guarantee lacks is not held back at all; what the taker's
    /// own quota lacks is not held back from the taker.
    fn surplus_of(&self, number: usize, own: Option<&Quota>) -> Option<i64> {
        let required = self.required.get(number);
        if required <= 0 {
            return None;
        }
        let own_lack = own.map_or(0, |quota| quota.lack_of(number));
        let required = required.saturating_sub(own_lack);
        (required > 0).then(|| self.headroom.get(number).saturating_sub(required).max(0))
    }
}

impl Quota {
    fn lack_of(&self, number: usize) -> i64 {
        self.guarantees
            .get(number)
            .saturating_sub(self.consumed.get(number))
            .max(0)
    }

    fn lack(&self) -> Amounts {
        self.guarantees.less(&self.consumed)
    }
}

/// Whether quotas have a say about it.
pub(crate) fn is_held_back(entry: &Resource) -> bool {
    entry.key.reservations.is_empty()
        && !entry.key.revocable
        && !entry.key.shared
        && entry.value.as_scalar().is_some()
}

/// Narrows a budget to what limits leave.
fn limit(budget: &mut Budget, limits: &Budget, consumed: &Amounts) {
    for (number, limit) in limits.iter().enumerate() {
        if let Some(limit) = limit {
            let left = limit.saturating_sub(consumed.get(number)).max(0);
            let narrow = budget[number].map_or(left, |already| already.min(left));
            budget[number] = Some(narrow);
        }
    }
}

/// As much of the scalars as the budget allows, and takes it from the budget. Disks that cannot be
/// divided are taken whole or left.
fn shrink(scalars: &Resources, names: &Names<'_>, budget: &mut Budget) -> Resources {
    scalars
        .entries()
        .iter()
        .filter_map(|entry| {
            let amount = entry.value.as_scalar()?;
            let left = names
                .number(&entry.key.name)
                .and_then(|number| budget[number].as_mut());
            let Some(left) = left else {
                return Some(entry.clone());
            };
            let mut taken = entry.clone();
            if entry.key.is_whole() {
                let fitting = u32::try_from(*left / amount.0.max(1)).unwrap_or(u32::MAX);
                taken.copies = entry.copies.min(fitting);
                *left -= amount.0 * i64::from(taken.copies);
            } else {
                let part = amount.0.min(*left);
                taken.value = Value::Scalar(Milli(part));
                *left -= part;
            }
            Some(taken)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use regency_resources::{DiskInfo, DiskSource, DiskSourceKind, ResourceKey, parse};

    use super::*;

    #[test]
    fn shrinking_divides_what_is_divisible_only() {
        let mount: Resources = [(
            ResourceKey {
                disk: Some(Box::new(DiskInfo {
                    source: Some(DiskSource {
                        kind: DiskSourceKind::Mount,
                        root: Some("/mnt/a".to_owned()),
                        id: None,
                        profile: None,
                        vendor: None,
                        metadata: Vec::new(),
                    }),
                    ..DiskInfo::default()
                })),
                ..ResourceKey::new("disk")
            },
            Value::units(100),
        )]
        .into_iter()
        .collect();
        let text = |text| parse::resources(text, "*").unwrap();
        let all = text("cpus:8;disk:50;mem:64") + &mount;
        let mut names = Names::default();
        for name in ["cpus", "disk", "mem"] {
            names.note(name);
        }
        // The plain disk comes before the mount in canonical order.
        let mut budget = vec![Some(2500), Some(120_000), None];
        assert_eq!(
            shrink(&all, &names, &mut budget),
            text("cpus:2.5;disk:50;mem:64")
        );
        assert_eq!(budget, [Some(0), Some(70_000), None]);
        let mut budget = vec![Some(0), Some(150_000), None];
        assert_eq!(
            shrink(&all, &names, &mut budget),
            text("disk:50;mem:64") + &mount
        );
    }
}
