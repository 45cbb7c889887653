//! Frameworks come, come back, leave and end.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use regency_mutants::{Mutant, on};
use regency_types::{AgentId, FrameworkId, TaskKey, TaskState, Term};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{
    ExpireFramework, FrameworkDisconnected, ReviveOffers, SubscribeFramework, SuppressOffers,
    TeardownFramework,
};
use crate::commands::agent::withdraw_launches;
use crate::commands::inverse_offer;
use crate::commands::{description, executor};
use crate::effect::{CloseReason, Effect};
use crate::model::{AgentCommand, CompletedFramework, Consumption, Framework, FrameworkPhase};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

/// Subscribes a framework. With an id it keeps its tasks, its updates and every offer that still
/// fits what it says of itself now.
pub(crate) fn subscribe(state: &mut State, command: &SubscribeFramework) -> Applied {
    let suppressed: BTreeSet<String> = command.suppressed.iter().cloned().collect();
    if let Some(role) = suppressed.iter().find(|r| !command.spec.roles.contains(*r)) {
        return Refusal::RoleNotSubscribed(role.clone()).into();
    }
    let id = match &command.framework {
        Some(id) if state.is_removed(id) => return Refusal::FrameworkRemoved.into(),
        Some(id) => id.clone(),
        None => {
            let Some(cluster) = state.cluster else {
                return Refusal::WrongCluster.into();
            };
            let newest = state.counters.framework;
            let reused = on(Mutant::ReuseFrameworkIds) && newest > 0;
            cluster.framework_id(newest - u64::from(reused))
        }
    };
    if let Some(n) = state.own_number(&id)
        && n >= state.counters.framework
    {
        // A new one, or one that this cluster gave out in a past that a restore has forgotten. A
        // number further away was never given out, and would only burn the numbers below it.
        if n - state.counters.framework >= bounds::FRAMEWORK_NUMBERS_ADOPTED_MAX {
            return Refusal::FrameworkUnknown(id).into();
        }
        let Some(next) = n.checked_add(1) else {
            return Refusal::FrameworkUnknown(id).into();
        };
        state.counters.framework = next;
    }
    match state.frameworks.get(&id).cloned() {
        None => {
            add(state, &id, command, suppressed);
            Applied::ok(
                Outcome::Subscribed { framework: id },
                vec![Effect::WakeAllocator],
            )
        }
        Some(old) => resubscribe(state, &old, command, suppressed),
    }
}

fn add(
    state: &mut State,
    id: &FrameworkId,
    command: &SubscribeFramework,
    suppressed: BTreeSet<String>,
) {
    let framework = Framework {
        id: id.clone(),
        spec: command.spec.clone(),
        suppressed,
        described: 0,
        phase: FrameworkPhase::Subscribed {
            stream: command.stream,
        },
        confirmed: command.framework.is_some(),
        subscribed_term: current_term(state),
        registered: state.wall,
        reregistered: None,
        tasks: OrdSet::new(),
        offers: OrdSet::new(),
        inverse_offers: OrdSet::new(),
        filters: OrdMap::new(),
        n_unacked: 0,
        completed_tasks: Vector::new(),
        retained: Vector::new(),
        refused_operations: Vector::new(),
    };
    state.frameworks.insert(id.clone(), Arc::new(framework));
}

fn resubscribe(
    state: &mut State,
    old: &Arc<Framework>,
    command: &SubscribeFramework,
    suppressed: BTreeSet<String>,
) -> Applied {
    if old.spec.principal != command.spec.principal {
        return Refusal::PrincipalChanged.into();
    }
    let mut effects = Vec::new();
    if let Some(stream) = old.stream()
        && stream != command.stream
    {
        effects.push(Effect::CloseStream {
            framework: old.id.clone(),
            stream,
            reason: CloseReason::FailedOver,
        });
    }
    for offer in &old.offers {
        let fits = state
            .offers
            .get(offer)
            .is_some_and(|o| command.spec.roles.contains(&o.role) && !suppressed.contains(&o.role));
        if !fits {
            state.consume_offer(*offer, Consumption::Rescinded);
        }
    }
    if let Some(kept) = &command.kept {
        // They are not sent on the new stream, which tells that they are gone.
        description::describe_anew(state, &old.id, &command.spec.roles, kept);
    }
    let (now, wall, term) = (state.now, state.wall, current_term(state));
    if let Some(framework) = state.framework_mut(&old.id) {
        let (user, checkpoint) = (old.spec.user.clone(), old.spec.checkpoint);
        framework.spec = command.spec.clone();
        // Mesos silently keeps the old value of these two.
        framework.spec.user = user;
        framework.spec.checkpoint = checkpoint;
        framework.suppressed = suppressed;
        framework.phase = FrameworkPhase::Subscribed {
            stream: command.stream,
        };
        framework.reregistered = Some(wall);
        framework.confirmed = true;
        if framework.subscribed_term != term {
            framework.subscribed_term = term;
            let latest = now + bounds::FILTER_LIFE_AT_FAILOVER_MAX;
            cap_filters(framework, latest);
        }
    }
    effects.push(Effect::WakeAllocator);
    Applied::ok(
        Outcome::Subscribed {
            framework: old.id.clone(),
        },
        effects,
    )
}

fn cap_filters(framework: &mut Framework, latest: regency_types::ClusterTime) {
    let agents: Vec<AgentId> = framework.filters.keys().cloned().collect();
    for agent in agents {
        if let Some(filters) = framework.filters.get_mut(&agent) {
            for filter in filters {
                filter.until = filter.until.min(latest);
            }
        }
    }
}

fn current_term(state: &State) -> Term {
    state.term.as_ref().map_or(Term(0), |t| t.term)
}

/// The framework's stream ended: offers and filters go, the failover deadline starts.
pub(crate) fn disconnected(state: &mut State, command: &FrameworkDisconnected) -> Applied {
    let Some(framework) = state.frameworks.get(&command.framework).cloned() else {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    };
    if framework.stream() != Some(command.stream) {
        return Refusal::StreamSuperseded.into();
    }
    for offer in &framework.offers {
        state.consume_offer(*offer, Consumption::Rescinded);
    }
    inverse_offer::leave(state, &command.framework);
    let now = state.now;
    if let Some(framework) = state.framework_mut(&command.framework) {
        framework.filters = OrdMap::new();
        let mut timeout = framework.spec.failover_timeout;
        if !framework.confirmed {
            timeout = timeout.min(bounds::UNCONFIRMED_LIFE_MAX);
        }
        framework.phase = FrameworkPhase::Disconnected {
            since: now,
            deadline: now + timeout,
        };
    }
    Applied::done(vec![Effect::WakeAllocator])
}

/// Removes a framework whose failover timeout ended, but never shortly after a change of leader:
/// its scheduler may be on its way.
pub(crate) fn expire(state: &mut State, command: &ExpireFramework) -> Applied {
    let Some(framework) = state.frameworks.get(&command.framework) else {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    };
    let began = state
        .term
        .as_ref()
        .map_or_else(Default::default, |t| t.began);
    match framework.phase {
        FrameworkPhase::Disconnected { since, deadline } => {
            // A disconnection this leader itself saw needs no grace.
            let graced = since >= began || state.now >= began + bounds::RESUBSCRIBE_GRACE;
            let graced = graced || on(Mutant::NoGraceAfterFailover);
            let is_early = state.now < deadline && !on(Mutant::ExpireFrameworksEarly);
            if is_early || !graced {
                return Refusal::DeadlineNotReached.into();
            }
        }
        FrameworkPhase::Subscribed { .. } => return Refusal::DeadlineNotReached.into(),
    }
    Applied::done(remove(state, &command.framework.clone()))
}

/// Removes a framework because it, or an operator, asked for it.
pub(crate) fn teardown(state: &mut State, command: &TeardownFramework) -> Applied {
    if !state.frameworks.contains_key(&command.framework) {
        return if state.is_removed(&command.framework) {
            Refusal::FrameworkRemoved.into()
        } else {
            Refusal::FrameworkUnknown(command.framework.clone()).into()
        };
    }
    Applied::done(remove(state, &command.framework.clone()))
}

/// Ends a framework: its offers go, its tasks count as killed, and every agent that has any of
/// them is told, for as long as it takes.
fn remove(state: &mut State, id: &FrameworkId) -> Vec<Effect> {
    let Some(framework) = state.frameworks.get(id).cloned() else {
        return Vec::new();
    };
    let mut effects = Vec::new();
    if let Some(stream) = framework.stream() {
        effects.push(Effect::CloseStream {
            framework: id.clone(),
            stream,
            reason: CloseReason::Removed,
        });
    }
    for offer in &framework.offers {
        state.consume_offer(*offer, Consumption::Rescinded);
    }
    inverse_offer::forget_framework(state, id);
    let mut agents = BTreeSet::new();
    for task in &framework.tasks {
        let key = TaskKey {
            framework: id.clone(),
            task: task.clone(),
        };
        state.set_task_state(&key, TaskState::Killed);
        if let Some(task) = state.task_mut(&key) {
            task.unacked = None;
            agents.insert(task.agent.clone());
        }
        state.complete_task(&key);
    }
    agents.extend(executor::remove_all_of(state, id));
    for agent in agents {
        if let Some(record) = state.agent_mut(&agent) {
            withdraw_launches(record, |task| &task.framework == id);
            if !on(Mutant::TeardownNotPassedOn) {
                record.push(AgentCommand::ShutdownFramework {
                    framework: id.clone(),
                });
            }
            effects.push(Effect::SyncAgent { agent });
        }
    }
    state.forget_operations(id);
    if let Some(framework) = state.frameworks.remove(id) {
        let mut framework = Framework::clone(&framework);
        framework.filters = OrdMap::new();
        framework.retained = Vector::new();
        framework.refused_operations = Vector::new();
        framework.n_unacked = 0;
        state.completed.push_back(Arc::new(CompletedFramework {
            framework,
            unregistered: state.wall,
        }));
        while state.completed.len() > bounds::COMPLETED_FRAMEWORKS_MAX {
            state.completed.pop_front();
        }
    }
    effects.push(Effect::WakeAllocator);
    effects
}

/// The framework wants offers again.
pub(crate) fn revive(state: &mut State, command: &ReviveOffers) -> Applied {
    let Some(framework) = state.framework_mut(&command.framework) else {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    };
    let roles = match named_roles(framework, &command.roles) {
        Ok(roles) => roles,
        Err(refusal) => return refusal.into(),
    };
    framework.suppressed.retain(|role| !roles.contains(role));
    let mut kept = OrdMap::new();
    for (agent, filters) in &framework.filters {
        let rest: Vec<_> = filters
            .iter()
            .filter(|f| !roles.contains(&f.role) || on(Mutant::ReviveKeepsFilters))
            .cloned()
            .collect();
        if !rest.is_empty() {
            kept.insert(agent.clone(), rest);
        }
    }
    framework.filters = kept;
    inverse_offer::ask_again(state, &command.framework);
    Applied::done(vec![Effect::WakeAllocator])
}

/// The framework wants no offers for some of its roles. Outstanding offers stay, as in Mesos.
pub(crate) fn suppress(state: &mut State, command: &SuppressOffers) -> Applied {
    let Some(framework) = state.framework_mut(&command.framework) else {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    };
    match named_roles(framework, &command.roles) {
        Ok(roles) => framework.suppressed.extend(roles),
        Err(refusal) => return refusal.into(),
    }
    Applied::done(Vec::new())
}

/// The roles a call means: those named, or all when none is. One stranger spoils the call.
fn named_roles(framework: &Framework, named: &[String]) -> Result<BTreeSet<String>, Refusal> {
    if named.is_empty() {
        return Ok(framework.spec.roles.clone());
    }
    match named.iter().find(|r| !framework.spec.roles.contains(*r)) {
        Some(role) => Err(Refusal::RoleNotSubscribed(role.clone())),
        None => Ok(named.iter().cloned().collect()),
    }
}

#[cfg(test)]
mod unconfirmed {
    use super::*;
    use crate::command::Command;
    use crate::commands::fixture::Given;
    use crate::model::FrameworkSpec;
    use regency_types::{DurationMs, StreamId};

    /// How long after its disconnection a framework with a week's failover timeout is removed.
    fn life(calls: bool) -> DurationMs {
        let mut given = Given::new();
        let spec = FrameworkSpec {
            failover_timeout: DurationMs::from_secs(7 * 24 * 3600),
            ..Given::framework_spec()
        };
        let (outcome, _) = given.ok(Command::SubscribeFramework(SubscribeFramework {
            framework: None,
            spec,
            suppressed: Vec::new(),
            stream: StreamId(1),
            kept: None,
        }));
        let Outcome::Subscribed { framework } = outcome else {
            panic!("{outcome:?}")
        };
        if calls {
            given.ok(Command::ReviveOffers(ReviveOffers {
                framework: framework.clone(),
                roles: Vec::new(),
            }));
        }
        given.ok(Command::FrameworkDisconnected(FrameworkDisconnected {
            framework: framework.clone(),
            stream: StreamId(1),
        }));
        match given
            .state
            .framework(&framework)
            .expect("it is awaited")
            .phase
        {
            FrameworkPhase::Disconnected { since, deadline } => deadline.since(since),
            FrameworkPhase::Subscribed { .. } => panic!("it is disconnected"),
        }
    }

    #[test]
    fn a_framework_that_never_used_its_id_is_not_awaited_for_its_whole_timeout() {
        assert_eq!(life(false), bounds::UNCONFIRMED_LIFE_MAX);
        assert_eq!(life(true), DurationMs::from_secs(7 * 24 * 3600));
    }
}

#[cfg(test)]
mod tests;
