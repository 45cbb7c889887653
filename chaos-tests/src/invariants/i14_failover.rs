//! I14: a change of leader changes nothing but who leads: not what is reserved, offered, filtered or
//! used, and not the time. What is decided about roles changes only when somebody decides it.

use regency_state::{Command, State};
use regency_testkit::rules;

use super::{Broken, Checked, Entry, broken};

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    rules::quotas(&entry.step).map_err(broken("I14"))?;
    if !matches!(entry.step.proposal.command, Command::BeginTerm(_)) {
        return Ok(());
    }
    let (before, after) = (entry.step.before, entry.step.after);
    let changed = what_changed(before, after);
    match changed {
        Some(what) => Err(Broken::new(
            "I14",
            format!("a change of leader changes {what}"),
        )),
        None => Ok(()),
    }
}

fn what_changed(before: &State, after: &State) -> Option<&'static str> {
    let same = [
        (before.now() == after.now(), "the time"),
        (before.counters() == after.counters(), "the counters"),
        (before.agents().eq(after.agents()), "agents"),
        (before.frameworks().eq(after.frameworks()), "frameworks"),
        (before.tasks().eq(after.tasks()), "tasks"),
        (before.offers().eq(after.offers()), "offers"),
        (before.operations().eq(after.operations()), "operations"),
        (
            before.maintenance_windows().eq(after.maintenance_windows())
                && before.machines().eq(after.machines()),
            "the maintenance schedule",
        ),
        (
            before.inverse_offers().eq(after.inverse_offers()),
            "inverse offers",
        ),
        (
            before.gone_agents().eq(after.gone_agents()),
            "agents that are gone",
        ),
        (
            before.role_configs().eq(after.role_configs()),
            "quotas or weights",
        ),
        (
            before.consumed_offers().eq(after.consumed_offers()),
            "what is remembered of offers",
        ),
        (
            before
                .completed_frameworks()
                .eq(after.completed_frameworks()),
            "completed frameworks",
        ),
    ];
    same.into_iter()
        .find(|(same, _)| !same)
        .map(|(_, what)| what)
}
