//! I15: a framework is removed by its own entry only, when it or an operator asked for it, or
//! when its own failover timeout ended in cluster time while a leader served.

use regency_state::bounds::{RESUBSCRIBE_GRACE, UNCONFIRMED_LIFE_MAX};
use regency_state::model::{Framework, FrameworkPhase};
use regency_state::{Command, State};

use super::Step;

pub(super) fn check(step: &Step<'_>) -> Result<(), String> {
    for old in step.before.frameworks() {
        match step.after.framework(&old.id) {
            Some(new) => deadline_is_its_own(old, new)?,
            None => removed(step, old)?,
        }
    }
    Ok(())
}

fn removed(step: &Step<'_>, old: &Framework) -> Result<(), String> {
    match &step.proposal.command {
        Command::TeardownFramework(c) if c.framework == old.id => Ok(()),
        Command::ExpireFramework(c) if c.framework == old.id => expired(old, step.after),
        _ => Err(format!("{} was removed by another entry", old.id)),
    }
}

fn expired(old: &Framework, after: &State) -> Result<(), String> {
    let FrameworkPhase::Disconnected { since, deadline } = old.phase else {
        return Err(format!("{} expired while it was subscribed", old.id));
    };
    if after.now() < deadline {
        return Err(format!("{} expired before {deadline}", old.id));
    }
    let began = after.term().map(|t| t.began).unwrap_or_default();
    if since < began && after.now() < began + RESUBSCRIBE_GRACE {
        return Err(format!("{} expired right after an election", old.id));
    }
    Ok(())
}

fn deadline_is_its_own(old: &Framework, new: &Framework) -> Result<(), String> {
    let FrameworkPhase::Disconnected { since, deadline } = new.phase else {
        return Ok(());
    };
    let mut timeout = new.spec.failover_timeout;
    if !new.confirmed {
        timeout = timeout.min(UNCONFIRMED_LIFE_MAX);
    }
    if old.phase != new.phase && deadline != since + timeout {
        return Err(format!("{} has a deadline that is not its own", new.id));
    }
    Ok(())
}
