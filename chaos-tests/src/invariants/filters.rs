//! What allocations promise beside I3: filters are heeded, and offers come from agents that are there.

use regency_state::{Command, State};
use regency_types::{AgentId, ClusterTime};

use super::{Broken, Checked, Entry};

/// A filter lasts no longer than was asked for.
pub(super) fn check(entry: &Entry<'_>) -> Checked {
    revived(entry)?;
    let (framework, refuse) = match &entry.step.proposal.command {
        Command::AcceptOffers(c) => (&c.framework, c.refuse),
        Command::DeclineOffers(c) => (&c.framework, c.refuse),
        _ => return Ok(()),
    };
    let filters_of = |state: &State| {
        let framework = state.framework(framework);
        let filters = framework.map(|f| f.filters.values().flatten().cloned().collect::<Vec<_>>());
        filters.unwrap_or_default()
    };
    let before = filters_of(entry.step.before);
    let latest = entry.step.after.now() + refuse;
    let new = filters_of(entry.step.after);
    let mut new = new.iter().filter(|filter| !before.contains(filter));
    match new.find(|filter| filter.until > latest) {
        Some(filter) => {
            let what = format!(
                "a filter until {} where {latest} was asked for",
                filter.until
            );
            Err(Broken::new("filters", what))
        }
        None => Ok(()),
    }
}

/// REVIVE clears filters.
fn revived(entry: &Entry<'_>) -> Checked {
    let (Command::ReviveOffers(revive), Ok(_)) =
        (&entry.step.proposal.command, &entry.step.applied.verdict)
    else {
        return Ok(());
    };
    let framework = entry.step.after.framework(&revive.framework);
    let mut filters = framework
        .into_iter()
        .flat_map(|f| f.filters.values().flatten());
    let is_revived =
        |role: &String| revive.roles.is_empty() || revive.roles.iter().any(|named| named == role);
    if filters.any(|filter| is_revived(&filter.role)) {
        return Err(Broken::new("filters", "a filter outlives REVIVE"));
    }
    Ok(())
}

pub(super) fn planned(
    state: &State,
    attached: &[AgentId],
    commands: &[Command],
    now: ClusterTime,
) -> Checked {
    let issued = commands.iter().filter_map(|command| match command {
        Command::IssueOffers(issue) => Some(&issue.plans),
        _ => None,
    });
    for plan in issued.flatten() {
        if !attached.contains(&plan.agent) {
            let what = format!("{} is offered and is not there", plan.agent);
            return Err(Broken::new("filters", what));
        }
        if !state.agent(&plan.agent).is_some_and(|a| a.is_active()) {
            let what = format!("{} is offered and is out of use", plan.agent);
            return Err(Broken::new("filters", what));
        }
        let filters = state
            .framework(&plan.framework)
            .and_then(|f| f.filters.get(&plan.agent));
        let holds = filters.into_iter().flatten().find(|filter| {
            filter.role == plan.role
                && filter.until > now
                && filter.refused.contains(&plan.resources)
        });
        if let Some(filter) = holds {
            let what = format!(
                "{} of {} is offered to {}, which does not want it until {}",
                plan.resources, plan.agent, plan.framework, filter.until
            );
            return Err(Broken::new("filters", what));
        }
    }
    Ok(())
}
