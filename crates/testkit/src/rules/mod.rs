//! Rules that span entries of the log: what must hold of each committed entry, given the state on
//! either side of it and what was seen before. For every test that makes up histories.

mod fates;
mod frameworks;
mod ids;
mod launches;
mod offers;
mod quota;
mod tasks;
mod updates;

use regency_state::{Applied, Proposal, Refusal, State};

pub use fates::{Fates, LaunchKey};
pub use ids::Ids;
pub use launches::Launches;
pub use offers::Offers;

/// One entry, with the state on either side of it.
pub struct Step<'a> {
    /// The state before it.
    pub before: &'a State,
    /// The entry.
    pub proposal: &'a Proposal,
    /// What it gave.
    pub applied: &'a Applied,
    /// The state after it.
    pub after: &'a State,
}

/// I5: a task moves along the legal graph, each move is made by a command that may make it, and an
/// end is final.
///
/// # Errors
/// What the entry breaks.
pub fn tasks(step: &Step<'_>) -> Result<(), String> {
    tasks::check(step)
}

/// I4: an update that was applied waits for its framework until the framework acknowledges that
/// very one or ends.
///
/// # Errors
/// What the entry breaks.
pub fn updates(step: &Step<'_>) -> Result<(), String> {
    updates::check(step)
}

/// I15: a framework is removed by its own entry only, when it or an operator asked for it, or when
/// its own failover timeout ended in cluster time while a leader served.
///
/// # Errors
/// What the entry breaks.
pub fn frameworks(step: &Step<'_>) -> Result<(), String> {
    frameworks::check(step)
}

/// I14: quotas and weights change only when somebody decides it, and no offer, and nothing that is
/// made of an offer, ever gets a role above its limit.
///
/// # Errors
/// What the entry breaks.
pub fn quotas(step: &Step<'_>) -> Result<(), String> {
    quota::check(step)
}

/// A refusal changes nothing but the time; only an ACCEPT gives up the offers it named.
///
/// # Errors
/// When it changed something.
pub fn refused_changes_nothing(step: &Step<'_>) -> Result<(), String> {
    let Step { before, after, .. } = step;
    if after.now() < before.now() {
        return Err(format!("time went back to {}", after.now()));
    }
    if step.applied.verdict.is_ok()
        || matches!(step.applied.verdict, Err(Refusal::OffersInvalid(_)))
    {
        return Ok(());
    }
    let same = before.agents().eq(after.agents())
        && before.frameworks().eq(after.frameworks())
        && before
            .completed_frameworks()
            .eq(after.completed_frameworks())
        && before.tasks().eq(after.tasks())
        && before.offers().eq(after.offers())
        && before.operations().eq(after.operations())
        && before.inverse_offers().eq(after.inverse_offers())
        && before.maintenance_windows().eq(after.maintenance_windows())
        && before.machines().eq(after.machines())
        && before.gone_agents().eq(after.gone_agents())
        && before.role_configs().eq(after.role_configs())
        && before.n_consumed() == after.n_consumed()
        && before.counters() == after.counters()
        && before.term() == after.term()
        && before.cluster() == after.cluster();
    if !same {
        return Err("a refused command changed the state".to_owned());
    }
    if !step.applied.effects.is_empty() {
        return Err(format!(
            "a refused command has effects: {:?}",
            step.applied.effects
        ));
    }
    Ok(())
}
