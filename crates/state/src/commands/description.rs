//! Frameworks that describe themselves anew while they are there.

use std::collections::BTreeSet;

use imbl::OrdMap;
use regency_types::{FrameworkId, OfferId};

use crate::apply::Applied;
use crate::command::UpdateFramework;
use crate::effect::Effect;
use crate::model::Consumption;
use crate::outcome::Refusal;
use crate::state::State;

/// A subscribed framework says something else of itself. Its offers for roles it left, and those that
/// the command does not name as fitting, are taken back by the same entry; offers for roles that it
/// suppresses stay, as after SUPPRESS.
pub(crate) fn update(state: &mut State, command: &UpdateFramework) -> Applied {
    let Some(framework) = state.frameworks.get(&command.framework) else {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    };
    let (old, new) = (&framework.spec, &command.spec);
    if old.principal != new.principal {
        return Refusal::PrincipalChanged.into();
    }
    for (field, differs) in [
        ("user", old.user != new.user),
        ("checkpoint", old.checkpoint != new.checkpoint),
    ] {
        if differs {
            return Refusal::FieldImmutable(field.to_owned()).into();
        }
    }
    let suppressed: BTreeSet<String> = command.suppressed.iter().cloned().collect();
    if let Some(role) = suppressed.iter().find(|role| !new.roles.contains(*role)) {
        return Refusal::RoleNotSubscribed(role.clone()).into();
    }
    let mut effects: Vec<Effect> =
        describe_anew(state, &command.framework, &new.roles, &command.kept)
            .into_iter()
            .map(|offer| Effect::SendRescind {
                framework: command.framework.clone(),
                offer,
            })
            .collect();
    if let Some(framework) = state.framework_mut(&command.framework) {
        framework.spec = command.spec.clone();
        framework.suppressed = suppressed;
    }
    effects.push(Effect::WakeAllocator);
    Applied::done(effects)
}

/// Takes back the offers of a framework that do not fit what it says of itself now, forgets what it
/// declined in roles that it left, and makes offers void that are planned for what it said before.
/// Gives the offers taken back.
pub(crate) fn describe_anew(
    state: &mut State,
    id: &FrameworkId,
    roles: &BTreeSet<String>,
    kept: &[OfferId],
) -> Vec<OfferId> {
    let kept: BTreeSet<OfferId> = kept.iter().copied().collect();
    let Some(framework) = state.frameworks.get(id) else {
        return Vec::new();
    };
    let fits = |offer: &OfferId| {
        kept.contains(offer)
            && state
                .offers
                .get(offer)
                .is_some_and(|offer| roles.contains(&offer.role))
    };
    let unfit: Vec<OfferId> = framework
        .offers
        .iter()
        .filter(|offer| !fits(offer))
        .copied()
        .collect();
    for offer in &unfit {
        state.consume_offer(*offer, Consumption::Rescinded);
    }
    if let Some(framework) = state.framework_mut(id) {
        framework.described += 1;
        let mut rest = OrdMap::new();
        for (agent, filters) in &framework.filters {
            let filters: Vec<_> = filters
                .iter()
                .filter(|filter| roles.contains(&filter.role))
                .cloned()
                .collect();
            if !filters.is_empty() {
                rest.insert(agent.clone(), filters);
            }
        }
        framework.filters = rest;
    }
    unfit
}

#[cfg(test)]
mod tests;
