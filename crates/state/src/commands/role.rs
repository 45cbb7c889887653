//! Roles: quotas and weights, as operators decide them.
//!
//! A quota is decided against the newest state: what a role has, and what the cluster has, at this
//! entry. Offers that are in the way of what was decided are taken back by the same entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regency_resources::{Milli, Quantities, role};
use regency_types::OfferId;

use crate::apply::Applied;
use crate::bounds;
use crate::command::{QuotaConfig, RemoveQuota, SetQuota, UpdateQuota, UpdateWeights};
use crate::consumed_quota::{ConsumedQuota, charged};
use crate::effect::Effect;
use crate::model::{Consumption, Offer, Quota, RoleConfig, check_weight};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

/// Gives each role named the quota named, all of them or none. An empty quota takes a role's away.
///
/// Refused is what cannot be a quota; without force also guarantees that are more than the cluster
/// has, and limits that are below what a role has for good.
pub(crate) fn update_quota(state: &mut State, command: &UpdateQuota) -> Applied {
    if let Err(refusal) = check(&command.configs) {
        return refusal.into();
    }
    let checked = if command.force {
        Ok(())
    } else {
        check_capacity(state, &command.configs)
            .and_then(|()| check_consumption(state, &command.configs))
    };
    match checked {
        Ok(()) => put(state, &command.configs),
        Err(refusal) => refusal.into(),
    }
}

/// The older form: a guarantee that is its own limit, for a role that has no quota. That the role
/// may have more already is not looked at, as in Mesos, where this form is older than limits.
pub(crate) fn set_quota(state: &mut State, command: &SetQuota) -> Applied {
    let configs = [QuotaConfig {
        role: command.role.clone(),
        quota: Quota {
            guarantees: command.guarantee.clone(),
            limits: command.guarantee.clone().into(),
        },
    }];
    if let Err(refusal) = check(&configs) {
        return refusal.into();
    }
    if command.guarantee.is_empty() {
        let why = format!("the guarantee of role '{}' is empty", command.role);
        return Refusal::RoleConfigInvalid(why).into();
    }
    if !state.quota_of(&command.role).is_empty() {
        return Refusal::QuotaExists(command.role.clone()).into();
    }
    let checked = if command.force {
        Ok(())
    } else {
        check_capacity(state, &configs)
    };
    match checked {
        Ok(()) => put(state, &configs),
        Err(refusal) => refusal.into(),
    }
}

/// Takes the quota of a role away.
pub(crate) fn remove_quota(state: &mut State, command: &RemoveQuota) -> Applied {
    if state.quota_of(&command.role).is_empty() {
        return Refusal::QuotaUnknown(command.role.clone()).into();
    }
    put(
        state,
        &[QuotaConfig {
            role: command.role.clone(),
            quota: Quota::default(),
        }],
    )
}

/// Gives roles weights. When one of them really changes for somebody who is subscribed, all offers
/// are taken back, so that the next ones follow the new weights (Mesos 1.11).
///
/// The weights that a new cluster begins with change nothing once any weight was given.
pub(crate) fn update_weights(state: &mut State, command: &UpdateWeights) -> Applied {
    for (role, weight) in &command.weights {
        if let Err(why) = check_weight(role, *weight) {
            return Refusal::RoleConfigInvalid(why).into();
        }
    }
    if command.initial && state.roles.values().any(|config| config.weight.is_some()) {
        return Applied::ok(Outcome::Removed { n: 0 }, Vec::new());
    }
    let named = command.weights.iter().map(|(role, _)| role.as_str());
    if let Err(refusal) = check_room(state, named) {
        return refusal.into();
    }
    let mut changed = BTreeSet::new();
    for (role, weight) in &command.weights {
        if state.weight_of(role) != *weight {
            changed.insert(role.as_str());
        }
        configure(state, role, |config| config.weight = Some(*weight));
    }
    let concerned = state
        .frameworks
        .values()
        .flat_map(|f| &f.spec.roles)
        .any(|of| {
            changed.contains(of.as_str())
                || role::ancestors(of).any(|above| changed.contains(above))
        });
    let mut effects = Vec::new();
    if concerned {
        let all: Vec<OfferId> = state.offers.keys().copied().collect();
        for id in all {
            rescind(state, id, &mut effects);
        }
    }
    let n = effects.len() as u64;
    if !changed.is_empty() {
        effects.push(Effect::WakeAllocator);
    }
    Applied::ok(Outcome::Removed { n }, effects)
}

/// What can be said without the state.
fn check(configs: &[QuotaConfig]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for config in configs {
        if !seen.insert(&config.role) {
            let why = format!("role '{}' is named twice", config.role);
            return Err(Refusal::RoleConfigInvalid(why));
        }
        let checked = config.quota.check(&config.role);
        checked.map_err(Refusal::RoleConfigInvalid)?;
    }
    Ok(())
}

/// Whether the guarantees of all roles, as they would be, are what the cluster has.
fn check_capacity(state: &State, configs: &[QuotaConfig]) -> Result<(), Refusal> {
    let named: BTreeMap<&str, &Quota> = configs
        .iter()
        .map(|c| (c.role.as_str(), &c.quota))
        .collect();
    let mut guaranteed = Quantities::new();
    for config in state.roles.values() {
        if !named.contains_key(config.role.as_str()) {
            guaranteed.add_all(&config.quota.guarantees);
        }
    }
    for quota in named.values() {
        guaranteed.add_all(&quota.guarantees);
    }
    let capacity = state.capacity();
    if capacity.contains(&guaranteed) {
        return Ok(());
    }
    // The words are those that Mesos' masters were seen to answer with.
    Err(Refusal::QuotaOvercommitted(format!(
        "total quota guarantees '{guaranteed}' exceed cluster capacity '{capacity}' (use 'force' \
         flag to bypass this check)"
    )))
}

/// Whether no role has for good more than it may.
fn check_consumption(state: &State, configs: &[QuotaConfig]) -> Result<(), Refusal> {
    let limited: BTreeMap<&str, &QuotaConfig> = configs
        .iter()
        .filter(|config| !config.quota.limits.is_empty())
        .map(|config| (config.role.as_str(), config))
        .collect();
    let roles = limited.keys().copied().collect();
    for (role, has) in state.consumed_quotas(&roles) {
        let consumed = has.for_good();
        let quota = &limited[role].quota;
        if exceeded(quota, &consumed).next().is_some() {
            return Err(Refusal::QuotaExceeded(format!(
                "role '{role}' already consumes '{consumed}', which exceeds the limits '{}' (use \
                 'force' flag to bypass this check)",
                quota.limits_text()
            )));
        }
    }
    Ok(())
}

/// The resources of which there is more than the quota allows.
fn exceeded<'a>(quota: &'a Quota, amounts: &'a Quantities) -> impl Iterator<Item = &'a str> {
    quota
        .limits
        .iter()
        .filter(|(name, limit)| amounts.get(name) > **limit)
        .map(|(name, _)| name.as_str())
}

/// Whether so many roles can be remembered.
fn check_room<'a>(state: &State, named: impl Iterator<Item = &'a str>) -> Result<(), Refusal> {
    let new: BTreeSet<&str> = named
        .filter(|role| !state.roles.contains_key(*role))
        .collect();
    let n = state.roles.len() + new.len();
    if n <= bounds::ROLES_CONFIGURED_MAX {
        return Ok(());
    }
    Err(Refusal::RoleConfigInvalid(format!(
        "{n} roles would have a quota or a weight, more than {}",
        bounds::ROLES_CONFIGURED_MAX
    )))
}

fn put(state: &mut State, configs: &[QuotaConfig]) -> Applied {
    let named = configs.iter().filter(|config| !config.quota.is_empty());
    if let Err(refusal) = check_room(state, named.map(|config| config.role.as_str())) {
        return refusal.into();
    }
    for config in configs {
        configure(state, &config.role, |there| {
            there.quota = config.quota.clone();
        });
    }
    let mut effects = Vec::new();
    for config in configs {
        keep_limits(state, config, &mut effects);
    }
    make_room(state, configs, &mut effects);
    let n = effects.len() as u64;
    effects.push(Effect::WakeAllocator);
    Applied::ok(Outcome::Removed { n }, effects)
}

/// Changes what was decided about a role; what says nothing any more is forgotten.
fn configure(state: &mut State, role: &str, change: impl FnOnce(&mut RoleConfig)) {
    let mut config = match state.roles.get(role) {
        Some(config) => RoleConfig::clone(config),
        None => RoleConfig::new(role),
    };
    change(&mut config);
    if config.is_empty() {
        state.roles.remove(role);
    } else {
        state.roles.insert(role.to_owned(), Arc::new(config));
    }
}

fn rescind(state: &mut State, id: OfferId, effects: &mut Vec<Effect>) {
    if let Some(offer) = state.consume_offer(id, Consumption::Rescinded) {
        effects.push(Effect::SendRescind {
            framework: offer.framework.clone(),
            offer: id,
        });
    }
}

/// Takes back offers of a role, the newest first, until what it has and is offered is within its
/// limits. What it has for good may be more than that, when the limits were forced.
fn keep_limits(state: &mut State, config: &QuotaConfig, effects: &mut Vec<Effect>) {
    if config.quota.limits.is_empty() {
        return;
    }
    let mut has = consumed_by(state, &config.role);
    let offers: Vec<Arc<Offer>> = state
        .offers
        .values()
        .rev()
        .filter(|offer| role::top(&offer.role) == config.role)
        .cloned()
        .collect();
    for offer in offers {
        let promised = has.promised();
        let counts = charged(&offer.resources);
        if exceeded(&config.quota, &promised).any(|name| counts.has(name)) {
            rescind(state, offer.id, effects);
            has.offered = has.offered.less(&counts);
        }
    }
}

fn consumed_by(state: &State, role: &str) -> ConsumedQuota {
    let mut all = state.consumed_quotas(&BTreeSet::from([role]));
    all.remove(role).unwrap_or_default()
}

/// Takes back offers of other roles, the newest first, until what guarantees lack is there and free,
/// or nothing more can be taken back without taking from another guarantee.
fn make_room(state: &mut State, configs: &[QuotaConfig], effects: &mut Vec<Effect>) {
    if configs
        .iter()
        .all(|config| config.quota.guarantees.is_empty())
    {
        return;
    }
    let guarantees: BTreeMap<String, Quantities> = state
        .roles
        .values()
        .filter(|config| !config.quota.guarantees.is_empty())
        .map(|config| (config.role.clone(), config.quota.guarantees.clone()))
        .collect();
    let roles = guarantees.keys().map(String::as_str).collect();
    let mut promised: BTreeMap<&str, Quantities> = state
        .consumed_quotas(&roles)
        .into_iter()
        .map(|(role, has)| (role, has.promised()))
        .collect();
    let mut lacking = Quantities::new();
    for (role, guarantee) in &guarantees {
        lacking.add_all(&guarantee.less(&promised[role.as_str()]));
    }
    let mut free = Quantities::new();
    for agent in state.agents.values().filter(|a| a.is_registered()) {
        free.add_all(&charged(&agent.unpromised()));
    }
    let offers: Vec<Arc<Offer>> = state.offers.values().rev().cloned().collect();
    for offer in offers {
        let counts = charged(&offer.resources);
        let is_wanted = |(name, _): (&str, Milli)| free.get(name) < lacking.get(name);
        if !counts.iter().any(is_wanted) {
            continue;
        }
        let role = role::top(&offer.role);
        if let Some(has) = promised.get_mut(role) {
            let rest = has.less(&counts);
            let guarantee = &guarantees[role];
            if guarantee.less(&rest) != guarantee.less(has) {
                continue;
            }
            *has = rest;
        }
        rescind(state, offer.id, effects);
        free.add_all(&counts);
    }
}

#[cfg(test)]
mod tests;
