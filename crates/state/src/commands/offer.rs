//! Offers: made, used, given back, taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use regency_mutants::{Mutant, on};
use regency_resources::{Resource, Resources};
use regency_types::{
    AgentId, ClusterTime, DurationMs, FrameworkId, Generation, OfferId, TaskId, TaskKey, TaskState,
};

use crate::apply::Applied;
use crate::bounds;
use crate::command::{
    AcceptOffers, DeclineOffers, ExpireOffers, IssueOffers, LaunchSpec, OfferPlan, Operation,
    RescindOffers, TaskSpec,
};
use crate::commands::agent::launch_command;
use crate::commands::executor;
use crate::commands::group;
use crate::commands::inverse_offer;
use crate::commands::operation;
use crate::consumed_quota::LimitsLeft;
use crate::effect::Effect;
use crate::model::{
    Consumption, Filter, Framework, MasterStatus, Offer, StatusReason, StatusRecord, Task,
    TaskExecutor,
};
use crate::outcome::{Outcome, Refusal};
use crate::state::State;

/// Makes the planned offers that still fit. A plan was made against an older state; other
/// entries came first. No role gets more by it than its quota's limit.
pub(crate) fn issue(state: &mut State, command: &IssueOffers) -> Applied {
    let mut issued = Vec::new();
    let mut by_framework: BTreeMap<FrameworkId, Vec<OfferId>> = BTreeMap::new();
    let roles = command.plans.iter().map(|plan| plan.role.as_str());
    let mut limits = LimitsLeft::of(state, roles);
    for plan in &command.plans {
        if !fits(state, plan) || !limits.take(&plan.role, &plan.resources) {
            continue;
        }
        let id = OfferId(state.counters.offer);
        state.counters.offer += 1;
        state.insert_offer(Offer {
            id,
            framework: plan.framework.clone(),
            role: plan.role.clone(),
            agent: plan.agent.clone(),
            resources: plan.resources.clone(),
            deadline: command.timeout.map(|t| state.now + t),
            made: state.wall,
        });
        issued.push(id);
        by_framework
            .entry(plan.framework.clone())
            .or_default()
            .push(id);
    }
    let n_skipped = (command.plans.len() - issued.len()) as u64;
    let effects = by_framework
        .into_iter()
        .map(|(framework, offers)| Effect::SendOffers { framework, offers })
        .collect();
    Applied::ok(
        Outcome::OffersIssued {
            offers: issued,
            n_skipped,
        },
        effects,
    )
}

fn fits(state: &State, plan: &OfferPlan) -> bool {
    let framework = state.frameworks.get(&plan.framework).is_some_and(|f| {
        let is_there = f.is_subscribed() || on(Mutant::OfferToTheAbsent);
        is_there
            && f.described == plan.described
            && f.spec.roles.contains(&plan.role)
            && !f.suppressed.contains(&plan.role)
    });
    let agent = state.agents.get(&plan.agent).is_some_and(|a| {
        let fits = a.available().contains(&plan.resources) || on(Mutant::OfferTwice);
        a.is_active() && fits
    });
    let usable = |entry: &Resource| entry.key.is_allocatable_to(&plan.role);
    framework
        && agent
        && !is_only_shared_again(state, plan)
        && !plan.resources.is_empty()
        && plan.resources.entries().iter().all(usable)
}

/// Whether a plan has nothing but shared resources, and the framework is offered some of them
/// already. Those are always available: without this there would be another offer in every round.
fn is_only_shared_again(state: &State, plan: &OfferPlan) -> bool {
    let of_framework = |offer: &Arc<Offer>| {
        offer.framework == plan.framework && offer.resources.shares_any(&plan.resources)
    };
    plan.resources.non_shared().is_empty()
        && state.agents.get(&plan.agent).is_some_and(|agent| {
            let offers = agent.offers.iter();
            offers
                .filter_map(|id| state.offers.get(id))
                .any(of_framework)
        })
}

/// Uses offers. A repetition of a call that was applied gets the first verdict and does nothing.
pub(crate) fn accept(state: &mut State, command: &AcceptOffers) -> Applied {
    let Some(framework) = state.frameworks.get(&command.framework).cloned() else {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    };
    if let Some(verdict) = repeated(state, command).filter(|_| !on(Mutant::AcceptNotRemembered)) {
        return Applied {
            verdict,
            effects: Vec::new(),
        };
    }
    let offers = match usable(state, &framework, command) {
        Ok(offers) => offers,
        Err(reason) => return refuse_all(state, command, reason),
    };
    let (agent, role) = (offers[0].agent.clone(), offers[0].role.clone());
    let mut remaining = Resources::default();
    for offer in &offers {
        remaining += &offer.resources;
    }
    // Consumed first, so that what is launched is never counted as offered too. The verdict is
    // filled in below.
    for offer in &offers {
        if !on(Mutant::OfferOutlivesAccept) {
            state.consume_offer(offer.id, Consumption::Rescinded);
        }
    }
    let mut cx = AcceptCx {
        agent,
        role,
        remaining,
        converted: Resources::default(),
        launched: 0,
        refused: 0,
        effects: Vec::new(),
    };
    for operation in &command.operations {
        match operation {
            Operation::Launch(tasks) => {
                for task in tasks {
                    launch_one(state, &command.framework, &mut cx, task);
                }
            }
            Operation::LaunchGroup(tasks) => {
                group::launch(state, &command.framework, &mut cx, tasks);
            }
            Operation::Convert(spec) => operation::convert(state, &framework, &mut cx, spec),
        }
    }
    let AcceptCx {
        agent,
        role,
        remaining,
        converted,
        launched,
        refused,
        mut effects,
    } = cx;
    // What was converted is offered again at once (Mesos 1.11); a filter on the rest does not hold
    // back an offer that has it.
    let refused_resources =
        remaining.filter(|e| !converted.entries().iter().any(|c| c.key == e.key));
    add_filter(
        state,
        &command.framework,
        &agent,
        &role,
        refused_resources,
        command.refuse,
    );
    let verdict = Ok(Outcome::Accepted {
        n_launched: launched,
        n_refused: refused,
    });
    for offer in &offers {
        if let Some(consumed) = state.consumed.get_mut(&offer.id) {
            consumed.consumption = Consumption::Call {
                content: command.content,
                verdict: verdict.clone(),
            };
        }
    }
    if !converted.is_empty() {
        effects.push(Effect::WakeAllocator);
    }
    if launched > 0 || !converted.is_empty() {
        effects.push(Effect::SyncAgent { agent });
    }
    Applied { verdict, effects }
}

/// The first verdict, when this very call was applied before.
fn repeated(state: &State, command: &AcceptOffers) -> Option<Result<Outcome, Refusal>> {
    let mut first = None;
    for offer in &command.offers {
        let consumed = state.consumed.get(&(*offer)?)?;
        match &consumed.consumption {
            Consumption::Call { content, verdict }
                if *content == command.content && consumed.framework == command.framework =>
            {
                first = Some(verdict.clone());
            }
            _ => return None,
        }
    }
    first
}

/// The offers named, if they can be used together (Mesos 1.11 offer validation).
fn usable(
    state: &State,
    framework: &Framework,
    command: &AcceptOffers,
) -> Result<Vec<Arc<Offer>>, String> {
    if framework.n_unacked > bounds::UNACKED_UPDATES_MAX {
        return Err(format!(
            "the framework has {} unacknowledged updates, more than {}",
            framework.n_unacked,
            bounds::UNACKED_UPDATES_MAX
        ));
    }
    let mut offers: Vec<Arc<Offer>> = Vec::new();
    for id in &command.offers {
        let offer = id
            .and_then(|id| state.offers.get(&id))
            .filter(|o| o.framework == framework.id || on(Mutant::AcceptForeignOffers));
        let Some(offer) = offer else {
            return Err("an offer is no longer valid".to_owned());
        };
        if offers.iter().any(|o| o.id == offer.id) {
            return Err("an offer is named twice".to_owned());
        }
        offers.push(offer.clone());
    }
    let Some(first) = offers.first() else {
        return Err("no offer is named".to_owned());
    };
    if offers.iter().any(|o| o.agent != first.agent) {
        return Err("the offers are of different agents".to_owned());
    }
    if offers.iter().any(|o| o.role != first.role) {
        return Err("the offers are for different roles".to_owned());
    }
    Ok(offers)
}

/// Nothing can be used: the other, still valid offers of the call are given up without a filter,
/// and each task is told (Mesos 1.11).
fn refuse_all(state: &mut State, command: &AcceptOffers, reason: String) -> Applied {
    let mut effects = Vec::new();
    let refusal = Refusal::OffersInvalid(reason.clone());
    for id in command.offers.iter().flatten() {
        if state
            .offers
            .get(id)
            .is_some_and(|o| o.framework == command.framework)
        {
            let how = Consumption::Call {
                content: command.content,
                verdict: Err(refusal.clone()),
            };
            state.consume_offer(*id, how);
        }
    }
    for operation in &command.operations {
        match operation {
            Operation::Launch(tasks) | Operation::LaunchGroup(tasks) => {
                for task in tasks {
                    let status = invalid_offers(task, &reason);
                    refuse_task(state, &command.framework, status, &mut effects);
                }
            }
            Operation::Convert(spec) => operation::refuse(
                state,
                &command.framework,
                spec.feedback.as_ref(),
                format!("Operation attempted with invalid offers: {reason}"),
                &mut effects,
            ),
        }
    }
    effects.push(Effect::WakeAllocator);
    Applied {
        verdict: Err(refusal),
        effects,
    }
}

fn invalid_offers(task: &LaunchSpec, reason: &str) -> MasterStatus {
    let (task_id, agent) = match task {
        LaunchSpec::Valid(t) => (t.task.as_str(), Some(t.agent.clone())),
        LaunchSpec::Invalid { task_id, agent, .. } => (task_id.as_str(), agent.clone()),
    };
    MasterStatus {
        task_id: task_id.to_owned(),
        agent,
        state: TaskState::Dropped,
        reason: StatusReason::InvalidOffers,
        message: format!("Task launched with invalid offers: {reason}"),
        unreachable: None,
    }
}

/// Tells the refusal of a launch, unless a task of that id lives: a terminal status would be
/// taken for the end of that one.
pub(crate) fn refuse_task(
    state: &mut State,
    framework: &FrameworkId,
    status: MasterStatus,
    effects: &mut Vec<Effect>,
) {
    let live = regency_types::TaskId::new(&status.task_id).is_ok_and(|task| {
        state.tasks.contains_key(&TaskKey {
            framework: framework.clone(),
            task,
        })
    });
    if live {
        return;
    }
    state.retain_status(framework, status.clone());
    effects.push(Effect::SendStatus {
        framework: framework.clone(),
        status,
    });
}

/// An ACCEPT while it is applied.
pub(crate) struct AcceptCx {
    /// Whose resources were offered.
    pub(crate) agent: AgentId,
    /// To which role.
    pub(crate) role: String,
    /// What is left of them.
    pub(crate) remaining: Resources,
    /// What operations made.
    pub(crate) converted: Resources,
    /// Tasks launched.
    pub(crate) launched: u64,
    /// Tasks refused.
    pub(crate) refused: u64,
    /// What the leader shall do.
    pub(crate) effects: Vec<Effect>,
}

fn launch_one(state: &mut State, framework: &FrameworkId, cx: &mut AcceptCx, task: &LaunchSpec) {
    let (task_id, agent, message) = match task {
        LaunchSpec::Valid(spec) => match why_not(state, framework, cx, spec) {
            None => {
                launch(state, framework, cx, spec);
                return;
            }
            Some(message) => (
                spec.task.as_str().to_owned(),
                Some(spec.agent.clone()),
                message,
            ),
        },
        LaunchSpec::Invalid {
            task_id,
            agent,
            message,
        } => (task_id.clone(), agent.clone(), message.clone()),
    };
    cx.refused += 1;
    let status = MasterStatus {
        task_id,
        agent,
        state: TaskState::Error,
        reason: StatusReason::TaskInvalid,
        message,
        unreachable: None,
    };
    refuse_task(state, framework, status, &mut cx.effects);
}

/// Why a task cannot be launched with what is left of the offers.
fn why_not(
    state: &State,
    framework: &FrameworkId,
    cx: &AcceptCx,
    spec: &TaskSpec,
) -> Option<String> {
    if let Some(reason) = why_not_alone(state, framework, cx, spec) {
        return Some(reason);
    }
    if !operation::conversion::are_unique(&spec.resources) {
        return Some("Task uses duplicate persistence IDs".to_owned());
    }
    let left = match executor::left_for(state, framework, cx, spec) {
        Ok(left) => left,
        Err(reason) => return Some(reason),
    };
    if !left.contains(&spec.resources) {
        return Some(format!(
            "Task uses more resources {} than available {left}",
            spec.resources
        ));
    }
    None
}

/// Why a task cannot be launched here, however much is left of the offers.
pub(crate) fn why_not_alone(
    state: &State,
    framework: &FrameworkId,
    cx: &AcceptCx,
    spec: &TaskSpec,
) -> Option<String> {
    let key = TaskKey {
        framework: framework.clone(),
        task: spec.task.clone(),
    };
    if state.tasks.contains_key(&key) {
        return Some(format!("Task has duplicate ID: {}", spec.task));
    }
    if spec.agent != cx.agent {
        return Some(format!(
            "Task uses invalid agent {} while agent {} is expected",
            spec.agent, cx.agent
        ));
    }
    spec.resources
        .is_empty()
        .then(|| "Task uses no resources".to_owned())
}

fn launch(state: &mut State, framework: &FrameworkId, cx: &mut AcceptCx, spec: &TaskSpec) {
    let executor = executor::of_task(state, framework, cx, spec);
    let mut task = make(state, framework, cx, spec, executor);
    let command = launch_command(&task);
    let agent = state
        .agent_mut(&cx.agent)
        .expect("an offer that was usable has its agent");
    task.launch_seq = agent.push(command);
    place(state, cx, task);
}

/// A task with what it takes of the offers, which were found to contain it.
pub(crate) fn make(
    state: &mut State,
    framework: &FrameworkId,
    cx: &mut AcceptCx,
    spec: &TaskSpec,
    executor: Option<TaskExecutor>,
) -> Task {
    cx.remaining = cx
        .remaining
        .without_used(&spec.resources)
        .expect("what is left was just found to contain the task's resources");
    state.counters.generation += 1;
    Task {
        key: TaskKey {
            framework: framework.clone(),
            task: spec.task.clone(),
        },
        generation: Generation(state.counters.generation),
        agent: cx.agent.clone(),
        role: cx.role.clone(),
        name: spec.name.clone(),
        info: spec.info.clone(),
        resources: spec.resources.clone(),
        executor,
        launch_seq: 0,
        state: TaskState::Staging,
        state_before_unreachable: None,
        unreachable: None,
        status: bytes::Bytes::new(),
        task_seq: 0,
        unacked: None,
        lost: false,
        kill: None,
        statuses: vec![StatusRecord {
            state: TaskState::Staging,
            wall: state.wall,
        }],
        launched: state.now,
    }
}

/// Counts a task whose launch is on its way.
pub(crate) fn place(state: &mut State, cx: &mut AcceptCx, task: Task) {
    let key = task.key.clone();
    state.insert_task(task);
    cx.launched += 1;
    forget_refusals(state, &key.framework, cx, &key.task);
}

/// A task of this id lives from now on: a refusal of an earlier launch of the id, told or told
/// again after this, would be taken for its end.
fn forget_refusals(state: &mut State, framework: &FrameworkId, cx: &mut AcceptCx, task: &TaskId) {
    cx.effects.retain(|effect| {
        !matches!(effect, Effect::SendStatus { status, .. } if status.task_id == task.as_str())
    });
    if let Some(framework) = state.framework_mut(framework)
        && !framework.retained.is_empty()
    {
        framework
            .retained
            .retain(|(_, status)| status.task_id != task.as_str());
    }
}

/// Gives offers back.
pub(crate) fn decline(state: &mut State, command: &DeclineOffers) -> Applied {
    if !state.frameworks.contains_key(&command.framework) {
        return Refusal::FrameworkUnknown(command.framework.clone()).into();
    }
    let mut n = 0;
    for id in &command.offers {
        if state
            .offers
            .get(id)
            .is_none_or(|o| o.framework != command.framework)
        {
            continue;
        }
        let how = Consumption::Call {
            content: 0,
            verdict: Ok(Outcome::Done),
        };
        if let Some(offer) = state.consume_offer(*id, how) {
            let resources = offer.resources.clone();
            let (agent, role) = (&offer.agent, &offer.role);
            add_filter(
                state,
                &command.framework,
                agent,
                role,
                resources,
                command.refuse,
            );
            n += 1;
        }
    }
    Applied::ok(Outcome::Removed { n }, Vec::new())
}

fn add_filter(
    state: &mut State,
    framework: &FrameworkId,
    agent: &AgentId,
    role: &str,
    refused: Resources,
    refuse: DurationMs,
) {
    if refused.is_empty() || refuse.0 == 0 {
        return;
    }
    let now = state.now;
    let until = if on(Mutant::FilterForever) {
        regency_types::ClusterTime(u64::MAX)
    } else {
        now + refuse.min(bounds::REFUSE_MAX)
    };
    let Some(framework) = state.framework_mut(framework) else {
        return;
    };
    let mut filters = framework.filters.get(agent).cloned().unwrap_or_default();
    filters.retain(|f| f.until > now);
    if filters.len() == bounds::FILTERS_PER_AGENT_MAX {
        filters.remove(0);
    }
    filters.push(Filter {
        role: role.to_owned(),
        refused,
        until,
    });
    framework.filters.insert(agent.clone(), filters);
}

/// The leader takes offers and inverse offers back.
pub(crate) fn rescind(state: &mut State, command: &RescindOffers) -> Applied {
    take_back(state, &command.offers, |_| true)
}

/// Offers and inverse offers whose deadline came are taken back.
pub(crate) fn expire(state: &mut State, command: &ExpireOffers) -> Applied {
    let now = state.now;
    take_back(state, &command.offers, |deadline| {
        deadline.is_some_and(|d| d <= now || on(Mutant::ExpireOffersEarly))
    })
}

/// Takes those back whose deadline is one of `which`.
fn take_back(
    state: &mut State,
    offers: &[OfferId],
    which: impl Fn(Option<ClusterTime>) -> bool,
) -> Applied {
    let mut effects = Vec::new();
    for id in offers {
        let inverse = state.inverse_offers.get(id);
        if inverse.is_some_and(|o| which(o.deadline)) {
            inverse_offer::take_back(state, *id, &mut effects);
        }
        if !state.offers.get(id).is_some_and(|o| which(o.deadline)) {
            continue;
        }
        if let Some(offer) = state.consume_offer(*id, Consumption::Rescinded) {
            effects.push(Effect::SendRescind {
                framework: offer.framework.clone(),
                offer: *id,
            });
        }
    }
    let n = effects.len() as u64;
    Applied::ok(Outcome::Removed { n }, effects)
}

/// Forgets filters whose time is over.
pub(crate) fn expire_filters(state: &mut State) -> Applied {
    let now = state.now;
    let mut n = 0;
    let ids: Vec<FrameworkId> = state
        .frameworks
        .values()
        .filter(|f| {
            f.filters
                .values()
                .flatten()
                .any(|filter| filter.until <= now)
        })
        .map(|f| f.id.clone())
        .collect();
    for id in ids {
        let Some(framework) = state.framework_mut(&id) else {
            continue;
        };
        let mut kept = OrdMap::new();
        for (agent, filters) in &framework.filters {
            let rest: Vec<Filter> = filters.iter().filter(|f| f.until > now).cloned().collect();
            n += (filters.len() - rest.len()) as u64;
            if !rest.is_empty() {
                kept.insert(agent.clone(), rest);
            }
        }
        framework.filters = kept;
    }
    Applied::ok(Outcome::Removed { n }, vec![Effect::WakeAllocator])
}

#[cfg(test)]
mod tests;
