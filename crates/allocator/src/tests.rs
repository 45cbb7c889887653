//! Runs over small clusters, and properties over random ones.

mod filters;
mod order;
mod properties;
mod quota;

use std::collections::BTreeMap;

use regency_resources::{Resources, parse};
use regency_types::{AgentId, ClusterTime, FrameworkId};

use crate::{
    AgentView, ClusterView, Cycle, FrameworkCapabilities, FrameworkView, OfferPlan, Options,
    RoleView, allocate,
};

fn text(text: &str) -> Resources {
    parse::resources(text, "*").unwrap()
}

fn agent(id: &str, total: &str) -> AgentView {
    AgentView::new(AgentId::new(id).unwrap(), text(total))
}

fn framework(id: &str, roles: &[&str]) -> FrameworkView {
    FrameworkView::new(FrameworkId::new(id).unwrap(), roles.iter().copied())
}

fn role(role: &str, guarantees: &str, limits: &str) -> RoleView {
    RoleView {
        guarantees: parse::quantities(guarantees).unwrap(),
        limits: limits
            .split(';')
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let (name, amount) = piece.split_once(':').unwrap();
                (name.to_owned(), amount.parse().unwrap())
            })
            .collect(),
        ..RoleView::new(role)
    }
}

const EVERYTHING: FrameworkCapabilities = FrameworkCapabilities {
    gpu_resources: true,
    revocable_resources: true,
    shared_resources: true,
    reservation_refinement: true,
    multi_role: true,
    region_aware: true,
};

fn view(agents: Vec<AgentView>, frameworks: Vec<FrameworkView>) -> ClusterView {
    ClusterView {
        agents,
        frameworks,
        roles: Vec::new(),
    }
}

const NOW: ClusterTime = ClusterTime(1000);

fn cycle(seed: u64) -> Cycle {
    Cycle { now: NOW, seed }
}

fn run(view: &ClusterView) -> Vec<OfferPlan> {
    allocate(view, &Options::default(), &cycle(7))
}

/// The plans as `framework role agent resources`, sorted.
fn lines(plans: &[OfferPlan]) -> Vec<String> {
    let mut lines: Vec<String> = plans
        .iter()
        .map(|p| format!("{} {} {} {}", p.framework, p.role, p.agent, p.resources))
        .collect();
    lines.sort();
    lines
}

/// The view after the offers were made.
fn after(view: &ClusterView, plans: &[OfferPlan]) -> ClusterView {
    let mut next = view.clone();
    for plan in plans {
        let agent = next.agents.iter_mut().find(|a| a.id == plan.agent).unwrap();
        let taken = plan.resources.non_shared();
        agent.available = agent.available.checked_sub(&taken).unwrap();
        let framework = next
            .frameworks
            .iter_mut()
            .find(|f| f.id == plan.framework)
            .unwrap();
        let role = framework
            .roles
            .iter_mut()
            .find(|r| r.role == plan.role)
            .unwrap();
        role.charge(&plan.resources);
    }
    next
}

/// How many agents each framework was offered.
fn n_offers(plans: &[OfferPlan]) -> BTreeMap<String, usize> {
    let mut n_offers = BTreeMap::new();
    for plan in plans {
        *n_offers.entry(plan.framework.to_string()).or_default() += 1;
    }
    n_offers
}
