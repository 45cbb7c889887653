//! The cluster as the allocator is to see it, and its plans cut into entries of bounded size.

use std::collections::BTreeSet;

use regency_allocator::{
    AgentCapabilities, AgentView, ClusterView, DeclineFilter, FrameworkCapabilities, FrameworkRole,
    FrameworkView, RoleView,
};
use regency_mutants::{Mutant, on};
use regency_resources::Resources;
use regency_state::model::{Agent, Capabilities, Framework};
use regency_state::{IssueOffers, OfferPlan, State, bounds};
use regency_types::{AgentId, DurationMs, FrameworkId, TaskState};

/// About how many bytes of offers one entry may carry; the log accepts four times as much.
pub const ENTRY_BYTES_MAX: usize = 200 * 1024;

/// The cluster as the allocator is to see it: offers come from agents attached to this leader
/// only, and go to frameworks whose stream is open here.
#[must_use]
pub fn view(
    state: &State,
    attached: &BTreeSet<AgentId>,
    connected: &BTreeSet<FrameworkId>,
    is_remote: impl Fn(&Agent) -> bool,
) -> ClusterView {
    let agents = state
        .agents()
        .filter(|agent| agent.is_registered())
        .map(|agent| {
            let is_there = attached.contains(&agent.id) || on(Mutant::OfferAbsentAgents);
            let usable = is_there && agent.is_active() && agent.suspect_since.is_none();
            AgentView {
                id: agent.id.clone(),
                candidate: usable,
                total: agent.total.clone(),
                available: if usable {
                    agent.available()
                } else {
                    Resources::default()
                },
                capabilities: AgentCapabilities::default(),
                remote: is_remote(agent),
            }
        })
        .collect();
    let frameworks = state
        .frameworks()
        .map(|framework| framework_view(state, framework, connected.contains(&framework.id)))
        .collect();
    let roles = state
        .role_configs()
        .map(|config| RoleView {
            role: config.role.clone(),
            weight: state.weight_of(&config.role),
            guarantees: config.quota.guarantees.clone(),
            limits: config.quota.limits.clone(),
        })
        .collect();
    ClusterView {
        agents,
        frameworks,
        roles,
    }
}

/// What the allocator asks of a framework's capabilities.
#[must_use]
pub fn capabilities(of: &Capabilities) -> FrameworkCapabilities {
    FrameworkCapabilities {
        gpu_resources: of.gpu_resources,
        revocable_resources: of.revocable_resources,
        shared_resources: of.shared_resources,
        reservation_refinement: of.reservation_refinement,
        multi_role: of.multi_role,
        region_aware: of.region_aware,
    }
}

fn framework_view(state: &State, framework: &Framework, connected: bool) -> FrameworkView {
    let mut roles: Vec<FrameworkRole> = framework
        .spec
        .roles
        .iter()
        .map(|role| FrameworkRole {
            active: !framework.suppressed.contains(role),
            ..FrameworkRole::new(role)
        })
        .collect();
    let mut charge = |role: &str, resources: &Resources| {
        let index = roles
            .iter()
            .position(|r| r.role == role)
            .unwrap_or_else(|| {
                // A role it left while tasks run in it.
                roles.push(FrameworkRole {
                    active: false,
                    ..FrameworkRole::new(role)
                });
                roles.len() - 1
            });
        roles[index].charge(resources);
    };
    // What is on an agent that was given up counts for nobody, as its resources do not count as the
    // cluster's: a framework may replace it.
    for task in state.tasks_of(framework) {
        if !task.is_terminal() && task.state != TaskState::Unreachable {
            charge(&task.role, &task.resources);
        }
    }
    for (agent, executor) in state.executors_of(&framework.id) {
        if state.agent(agent).is_some_and(|a| a.is_registered()) {
            charge(&executor.role, &executor.resources);
        }
    }
    for offer in framework.offers.iter().filter_map(|id| state.offer(*id)) {
        charge(&offer.role, &offer.resources);
    }
    FrameworkView {
        id: framework.id.clone(),
        active: connected
            && framework.is_subscribed()
            && framework.n_unacked <= bounds::UNACKED_UPDATES_MAX,
        capabilities: capabilities(&framework.spec.capabilities),
        roles,
        filters: framework
            .filters
            .iter()
            .flat_map(|(agent, filters)| filters.iter().map(move |filter| (agent, filter)))
            .map(|(agent, filter)| DeclineFilter {
                role: filter.role.clone(),
                agent: agent.clone(),
                refused: filter.refused.clone(),
                expires_at: filter.until,
            })
            .collect(),
        new_offers_max: None,
    }
}

/// The plans of the allocator for the state that it saw.
#[must_use]
pub fn plans(state: &State, plans: Vec<regency_allocator::OfferPlan>) -> Vec<OfferPlan> {
    let plans = plans.into_iter();
    plans
        .map(|plan| OfferPlan {
            described: state
                .framework(&plan.framework)
                .map_or(0, |framework| framework.described),
            framework: plan.framework,
            role: plan.role,
            agent: plan.agent,
            resources: plan.resources,
        })
        .collect()
}

/// Cuts a round into entries of bounded size.
#[must_use]
pub fn entries(plans: Vec<OfferPlan>, timeout: Option<DurationMs>) -> Vec<IssueOffers> {
    let mut entries = Vec::new();
    let mut current = Vec::new();
    let mut bytes = 0;
    for plan in plans {
        let size = size(&plan);
        if bytes + size > ENTRY_BYTES_MAX && !current.is_empty() {
            entries.push(IssueOffers {
                plans: std::mem::take(&mut current),
                timeout,
            });
            bytes = 0;
        }
        bytes += size;
        current.push(plan);
    }
    if !current.is_empty() {
        entries.push(IssueOffers {
            plans: current,
            timeout,
        });
    }
    entries
}

/// About how many bytes a plan takes in the log; the text form is never the shorter one.
#[must_use]
pub fn size(plan: &OfferPlan) -> usize {
    plan.framework.as_str().len()
        + plan.agent.as_str().len()
        + plan.role.len()
        + 2 * plan.resources.to_string().len()
        + 48
}
