//! I14: quotas and weights change only when somebody decides it, and no offer, and nothing that is
//! made of an offer, ever gets a role above its limit.
//!
//! A role can have more than its limit nevertheless: when an operator forces it or reserves for it,
//! or an agent comes (back) with what it has. Then the role is given nothing more.

use std::collections::BTreeMap;

use regency_resources::{Milli, Resource, Resources, role};
use regency_state::{Command, State};
use regency_types::TaskState;

use super::Step;

pub(super) fn check(step: &Step<'_>) -> Result<(), String> {
    decided_only(step)?;
    for config in step.after.role_configs() {
        for (name, limit) in &config.quota.limits {
            let had = promised(step.before, &config.role, name);
            let has = promised(step.after, &config.role, name);
            if has > *limit && has > had && !may_exceed(&step.proposal.command) {
                return Err(format!(
                    "role {} has {has} {name}, {had} before, of {limit}",
                    config.role
                ));
            }
        }
    }
    Ok(())
}

/// What gives a role more without an offer.
fn may_exceed(command: &Command) -> bool {
    matches!(
        command,
        Command::RegisterAgent(_)
            | Command::ReregisterAgent(_)
            | Command::ResyncAgent(_)
            | Command::TakeInventory(_)
            | Command::ResyncExecutors(_)
            | Command::ApplyOperation(_)
    )
}

/// Counted in another way than the state does it: by agents, and by single resources.
fn promised(state: &State, top: &str, name: &str) -> Milli {
    let within = |of: &str| role::is_within(of, top);
    let mut sum = Milli::ZERO;
    let mut add = |resources: &Resources, counts: &dyn Fn(&Resource) -> bool| {
        for entry in resources.entries() {
            if entry.key.name == name && !entry.key.revocable && counts(entry) {
                let one = std::iter::once(entry.clone()).collect::<Resources>();
                sum += one.scalar(name);
            }
        }
    };
    let unreserved = |entry: &Resource| entry.key.reservations.is_empty() && !entry.key.shared;
    for agent in state.agents().filter(|a| a.is_registered()) {
        add(&agent.total, &|entry| {
            entry.key.reserved_role().is_some_and(within)
        });
        for task in agent.tasks.iter().filter_map(|key| state.task(key)) {
            let lives = !task.is_terminal() && task.state != TaskState::Unreachable;
            if lives && within(&task.role) {
                add(&task.resources, &unreserved);
            }
        }
        for executor in agent.executors.values().filter(|e| within(&e.role)) {
            add(&executor.resources, &unreserved);
        }
        for offer in agent.offers.iter().filter_map(|id| state.offer(*id)) {
            if within(&offer.role) {
                add(&offer.resources, &unreserved);
            }
        }
    }
    sum
}

/// Nothing but the commands for it changes what was decided, and of those only what they name.
fn decided_only(step: &Step<'_>) -> Result<(), String> {
    let configs = |state: &State| -> BTreeMap<String, _> {
        let all = state.role_configs();
        all.map(|config| (config.role.clone(), config.clone()))
            .collect()
    };
    let (before, after) = (configs(step.before), configs(step.after));
    let named: Vec<&String> = match &step.proposal.command {
        Command::UpdateQuota(c) => c.configs.iter().map(|config| &config.role).collect(),
        Command::SetQuota(c) => vec![&c.role],
        Command::RemoveQuota(c) => vec![&c.role],
        Command::UpdateWeights(c) => c.weights.iter().map(|(role, _)| role).collect(),
        _ => Vec::new(),
    };
    let others = |all: BTreeMap<String, _>| -> Vec<_> {
        all.into_iter()
            .filter(|(role, _)| !named.contains(&role))
            .collect()
    };
    if others(before) == others(after) {
        Ok(())
    } else {
        Err("what was decided about a role changed".to_owned())
    }
}
