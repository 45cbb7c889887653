//! One run: who is offered what.
//!
//! First the guarantees of quotas are served, then what is left goes by fair share. In both stages
//! agents are visited in a shuffled order; on each, roles and frameworks are asked in the order of
//! the tree, and the first that can take it gets all of what remains for it. Allocations of one
//! visit move the order for the next visit.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use regency_resources::{Milli, Quantities, Resources, role};

use crate::amounts::{Amounts, Names};
use crate::filters::{self, AgentTraits, Declines};
use crate::quota::{Minimum, Quotas};
use crate::remainder::Remainder;
use crate::shuffle::Shuffler;
use crate::tree::{Client, Tree};
use crate::view::{
    ClusterView, Cycle, FrameworkCapabilities, FrameworkRole, FrameworkView, OfferPlan, Options,
};

/// The offers to make now. Same view, same options, same cycle: same plans, in the same order.
///
/// There is at most one offer for each agent, framework and role. On each agent the offers together
/// never exceed what is available.
#[must_use]
pub fn allocate(view: &ClusterView, options: &Options, cycle: &Cycle) -> Vec<OfferPlan> {
    let mut run = Run::new(view, options, cycle);
    let mut shuffler = Shuffler::new(cycle.seed);
    let mut agents: Vec<usize> = (0..view.agents.len())
        .filter(|at| view.agents[*at].candidate && !view.agents[*at].available.is_empty())
        .collect();
    for stage in [Stage::Guarantees, Stage::FairShare] {
        shuffler.shuffle(&mut agents);
        for agent in &agents {
            if stage == Stage::Guarantees && !run.quotas.lack_anything(&run.tree) {
                break;
            }
            run.visit(*agent, stage);
        }
    }
    run.plans
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Guarantees,
    FairShare,
}

/// Roles that quotas leave too little for an offer. Quotas only ever leave less during a run, so
/// they need not be asked again about these.
#[derive(Default)]
struct Spent {
    by_role: Vec<bool>,
    n_roles: usize,
}

/// A framework in one of its roles.
struct Subscription<'a> {
    framework: usize,
    role: &'a FrameworkRole,
}

/// What does not change during a run.
struct Setting<'a> {
    view: &'a ClusterView,
    options: &'a Options,
    names: Names<'a>,
    /// By client number.
    subscriptions: Vec<Subscription<'a>>,
    declines: Declines<'a>,
    /// What an offer must contain to be worth making to anybody.
    loosest_minimum: Vec<Quantities>,
    /// The same by number of name.
    loosest_amounts: Minimum,
    /// Roles with active clients, sorted.
    active_roles: Vec<&'a str>,
    /// What active frameworks can do, each combination once.
    active_capabilities: Vec<FrameworkCapabilities>,
}

struct Run<'a> {
    setting: Setting<'a>,
    tree: Tree<'a>,
    quotas: Quotas,
    spent: Spent,
    /// Agents that were visited, as they are now.
    remainders: BTreeMap<usize, Remainder>,
    /// New offers by framework.
    n_offers: Vec<u32>,
    plans: Vec<OfferPlan>,
    /// Where in `plans` the offer for a client and an agent is.
    places: BTreeMap<(usize, usize), usize>,
}

impl<'a> Run<'a> {
    fn new(view: &'a ClusterView, options: &'a Options, cycle: &Cycle) -> Self {
        let loosest_minimum = filters::loosest_minimum(options, &view.frameworks);
        let names = note_names(view, options);
        let mut totals = names.zero();
        for agent in &view.agents {
            totals.add_resources(&names, &agent.total);
        }
        for excluded in &options.fair_sharing_excluded {
            if let Some(number) = names.number(excluded) {
                totals.clear(number);
            }
        }
        let weights: BTreeMap<&str, Milli> = view
            .roles
            .iter()
            .map(|role| (role.role.as_str(), role.weight))
            .collect();
        let (subscriptions, first_of_framework) = subscribe(&view.frameworks);
        let clients = clients(view, &subscriptions, &names);
        let tree = Tree::new(&clients, &weights, totals, &names.zero());
        let quotas = Quotas::new(view, &names, tree.roles());
        let declines = Declines::new(
            &view.frameworks,
            &view.agents,
            cycle.now,
            |framework, role| {
                let roles = &view.frameworks[framework].roles;
                let place = roles.iter().position(|r| r.role == role)?;
                Some(first_of_framework[framework] + place)
            },
        );
        let active_roles = (0..tree.roles().len())
            .filter(|role| tree.is_active(*role))
            .map(|role| tree.roles()[role])
            .collect();
        let mut active_capabilities: Vec<FrameworkCapabilities> = Vec::new();
        for framework in view.frameworks.iter().filter(|f| f.active) {
            if !active_capabilities.contains(&framework.capabilities) {
                active_capabilities.push(framework.capabilities);
            }
        }
        Self {
            setting: Setting {
                view,
                options,
                subscriptions,
                declines,
                loosest_amounts: loosest_minimum
                    .iter()
                    .map(|set| {
                        set.iter()
                            .filter_map(|(name, amount)| Some((names.number(name)?, amount.0)))
                            .collect()
                    })
                    .collect(),
                loosest_minimum,
                active_roles,
                active_capabilities,
                names,
            },
            spent: Spent {
                by_role: vec![false; tree.roles().len()],
                n_roles: 0,
            },
            tree,
            quotas,
            remainders: BTreeMap::new(),
            n_offers: vec![0; view.frameworks.len()],
            plans: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    /// Offers what is left of one agent.
    fn visit(&mut self, agent: usize, stage: Stage) {
        let traits = AgentTraits::new(&self.setting.view.agents[agent], self.setting.options);
        if !traits.suit_any(&self.setting.active_capabilities) {
            return;
        }
        let mut remainder = self
            .remainders
            .remove(&agent)
            .unwrap_or_else(|| Remainder::new(self.setting.view.agents[agent].available.clone()));
        let mut visit = Visit {
            setting: &self.setting,
            tree: &self.tree,
            quotas: &mut self.quotas,
            spent: &mut self.spent,
            n_offers: &mut self.n_offers,
            agent,
            traits,
            stage,
            scalars: None,
            remainder: &mut remainder,
            granted: Vec::new(),
        };
        visit.ask_roles();
        let granted = visit.granted;
        self.remainders.insert(agent, remainder);
        for (client, offer) in granted {
            self.tree
                .allocate(client, &self.setting.names.of_resources(&offer));
            self.plan(client, agent, offer);
        }
    }

    fn plan(&mut self, client: usize, agent: usize, offer: Resources) {
        if let Some(place) = self.places.get(&(client, agent)) {
            self.plans[*place].resources += &offer;
            return;
        }
        let subscription = &self.setting.subscriptions[client];
        self.places.insert((client, agent), self.plans.len());
        self.plans.push(OfferPlan {
            framework: self.setting.view.frameworks[subscription.framework]
                .id
                .clone(),
            role: subscription.role.role.clone(),
            agent: self.setting.view.agents[agent].id.clone(),
            resources: offer,
        });
    }
}

/// One visit to one agent.
struct Visit<'r, 'a> {
    setting: &'r Setting<'a>,
    tree: &'r Tree<'a>,
    quotas: &'r mut Quotas,
    spent: &'r mut Spent,
    n_offers: &'r mut Vec<u32>,
    agent: usize,
    traits: AgentTraits,
    stage: Stage,
    remainder: &'r mut Remainder,
    /// The unreserved scalars of the remainder, once they were needed.
    scalars: Option<Amounts>,
    /// Clients and what they get, in the order they got it.
    granted: Vec<(usize, Resources)>,
}

impl Visit<'_, '_> {
    fn ask_roles(&mut self) {
        if self.can_serve_anybody() {
            // Running to the end and stopping early both leave what was granted.
            let _ = self.tree.visit_roles(|role| self.ask_role(role));
        }
    }

    fn ask_role(&mut self, role: usize) -> ControlFlow<()> {
        if self.stage == Stage::Guarantees && !self.quotas.lacks(role) {
            return ControlFlow::Continue(());
        }
        let name = self.tree.roles()[role];
        if self.stage == Stage::FairShare
            && !self.remainder.is_beyond_quota(name)
            && self.is_held_back(role)
        {
            return ControlFlow::Continue(());
        }
        let mut offerable = self.remainder.for_role(name);
        for client in self.tree.clients(role) {
            if !filters::meets(&offerable, &self.setting.loosest_minimum) {
                return ControlFlow::Continue(());
            }
            let Some(offer) = self.offer_for(client, role, &offerable) else {
                continue;
            };
            self.remainder
                .take(&offer)
                .expect("an offer is a part of what remains");
            self.scalars = None;
            self.quotas.commit(role, &offer, &self.setting.names);
            self.n_offers[self.setting.subscriptions[client].framework] += 1;
            self.granted.push((client, offer));
            if !self.can_serve_anybody() {
                return ControlFlow::Break(());
            }
            offerable = self.remainder.for_role(name);
        }
        ControlFlow::Continue(())
    }

    /// Whether quotas keep so much of the remainder from the role that no offer comes out of it.
    fn is_held_back(&mut self, role: usize) -> bool {
        if self.quotas.is_empty() || self.spent.by_role[role] {
            return self.spent.by_role[role];
        }
        let minimum = &self.setting.loosest_amounts;
        if !self.quotas.leave(role, minimum, None) {
            self.spent.by_role[role] = true;
            self.spent.n_roles += 1;
            return true;
        }
        let scalars = self
            .scalars
            .get_or_insert_with(|| self.setting.names.of_resources(self.remainder.unreserved()));
        !self.quotas.leave(role, minimum, Some(scalars))
    }

    /// What the client would get; `None` when it is to get nothing.
    fn offer_for(&self, client: usize, role: usize, offerable: &Resources) -> Option<Resources> {
        let setting = self.setting;
        let subscription = &setting.subscriptions[client];
        let framework = &setting.view.frameworks[subscription.framework];
        let made = self.n_offers[subscription.framework];
        if framework.new_offers_max.is_some_and(|max| made >= max)
            || !self
                .traits
                .suit(&framework.capabilities, &subscription.role.role)
            || (!subscription.role.excluded_agents.is_empty()
                && subscription
                    .role
                    .excluded_agents
                    .contains(&setting.view.agents[self.agent].id))
        {
            return None;
        }
        let takeable = filters::takeable(offerable, &framework.capabilities);
        let offer = match self.stage {
            Stage::Guarantees => self.quotas.guaranteed(role, &takeable, &setting.names),
            Stage::FairShare => self.quotas.fair(role, &takeable, &setting.names),
        };
        let minimum = subscription
            .role
            .min_allocatable
            .as_ref()
            .unwrap_or(&setting.options.min_allocatable);
        let worth_it = !offer.is_empty()
            && filters::meets(&offer, minimum)
            && !setting.declines.refuse(self.agent, client, &offer);
        worth_it.then_some(offer)
    }

    /// Whether what remains could be worth an offer to anybody at all. Without this question every
    /// full agent would be put to every framework in vain.
    fn can_serve_anybody(&self) -> bool {
        let setting = self.setting;
        let enough = |resources: &Resources| filters::meets(resources, &setting.loosest_minimum);
        let for_all = !self.remainder.unreserved().is_empty()
            && enough(self.remainder.unreserved())
            && (self.stage == Stage::Guarantees
                || self.remainder.has_free_scalar()
                || self.spent.n_roles < setting.active_roles.len());
        for_all
            || (enough(self.remainder.all())
                && self
                    .remainder
                    .reserved_roles()
                    .any(|role| setting.has_active_within(role)))
    }
}

impl Setting<'_> {
    fn has_active_within(&self, role: &str) -> bool {
        let from = |start: &str| {
            let at = self.active_roles.partition_point(|other| *other < start);
            self.active_roles.get(at).copied()
        };
        from(role) == Some(role)
            || from(&format!("{role}/")).is_some_and(|next| role::is_below(next, role))
    }
}

/// Every scalar name that a share, a quota or an offer may speak of.
fn note_names<'a>(view: &'a ClusterView, options: &'a Options) -> Names<'a> {
    let mut names = Names::default();
    let minimums = view
        .frameworks
        .iter()
        .flat_map(|f| &f.roles)
        .filter_map(|r| r.min_allocatable.as_ref())
        .chain([&options.min_allocatable]);
    for (name, _) in minimums.flatten().flat_map(Quantities::iter) {
        names.note(name);
    }
    for agent in &view.agents {
        for (name, _) in agent
            .total
            .scalar_sums()
            .chain(agent.available.scalar_sums())
        {
            names.note(name);
        }
    }
    for held in view.frameworks.iter().flat_map(|f| &f.roles) {
        for (name, _) in held.allocated.iter().chain(held.charged.iter()) {
            names.note(name);
        }
    }
    for role in &view.roles {
        for (name, _) in role.guarantees.iter() {
            names.note(name);
        }
        for name in role.limits.keys() {
            names.note(name);
        }
    }
    names
}

/// All frameworks in all their roles, and where each framework's begin.
fn subscribe(frameworks: &[FrameworkView]) -> (Vec<Subscription<'_>>, Vec<usize>) {
    let mut subscriptions = Vec::new();
    let mut first_of_framework = Vec::with_capacity(frameworks.len());
    for (position, framework) in frameworks.iter().enumerate() {
        first_of_framework.push(subscriptions.len());
        subscriptions.extend(framework.roles.iter().map(|role| Subscription {
            framework: position,
            role,
        }));
    }
    (subscriptions, first_of_framework)
}

fn clients<'a>(
    view: &'a ClusterView,
    subscriptions: &[Subscription<'a>],
    names: &Names<'a>,
) -> Vec<Client<'a>> {
    let mut by_id: Vec<usize> = (0..view.frameworks.len()).collect();
    by_id.sort_by_key(|at| &view.frameworks[*at].id);
    let mut ranks = vec![0; by_id.len()];
    for (rank, at) in by_id.into_iter().enumerate() {
        ranks[at] = rank as u32;
    }
    subscriptions
        .iter()
        .map(|subscription| Client {
            role: &subscription.role.role,
            rank: ranks[subscription.framework],
            active: subscription.role.active && view.frameworks[subscription.framework].active,
            allocated: allocated(subscription.role, names),
            allocations: subscription.role.allocations,
        })
        .collect()
}

fn allocated(role: &FrameworkRole, names: &Names<'_>) -> Amounts {
    names.of_quantities(&role.allocated)
}
