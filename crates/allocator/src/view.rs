//! The allocator's vocabulary: plain data, built by the master from a snapshot of the state and
//! written as literals in tests.

use std::collections::{BTreeMap, BTreeSet};

use regency_resources::{Milli, Quantities, Resources};
use regency_types::{AgentId, ClusterTime, FrameworkId};

/// What is different from one run to the next though the cluster is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// Against which decline filters expire.
    pub now: ClusterTime,
    /// Decides the order in which agents are visited, so that no agent is always first.
    pub seed: u64,
}

/// What the operator decides for all runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// An offer must contain one of these; an empty list lets every offer pass. Default:
    /// `cpus:0.01` or `mem:32`, as `--min_allocatable_resources` has it.
    pub min_allocatable: Vec<Quantities>,
    /// Whether agents with GPUs are kept for frameworks with GPU_RESOURCES. Default: yes.
    pub filter_gpu_resources: bool,
    /// Names of scalars that do not count towards shares. Default: none.
    pub fair_sharing_excluded: BTreeSet<String>,
}

impl Default for Options {
    fn default() -> Self {
        let at_least = |name: &str, amount| {
            let mut quantities = Quantities::new();
            quantities.add(name, amount);
            quantities
        };
        Self {
            min_allocatable: vec![
                at_least("cpus", Milli(10)),
                at_least("mem", Milli::from_units(32)),
            ],
            filter_gpu_resources: true,
            fair_sharing_excluded: BTreeSet::new(),
        }
    }
}

/// The cluster as the allocator sees it. Ids are unique in each list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Every registered agent, for the totals; offers come from the candidates among them.
    pub agents: Vec<AgentView>,
    /// Every framework that holds anything or may be offered something.
    pub frameworks: Vec<FrameworkView>,
    /// Roles with a weight or a quota. A role that is not listed has weight 1 and no quota.
    pub roles: Vec<RoleView>,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// Its id.
    pub id: AgentId,
    /// Whether this run may make offers from it. One that is left out still counts for totals and
    /// for the headroom that quotas need.
    pub candidate: bool,
    /// Everything it has.
    pub total: Resources,
    /// What is neither used nor offered, and shared resources, which always are available. Empty
    /// for an agent from which nobody may be offered anything (deactivated, draining, away).
    pub available: Resources,
    /// What it can do.
    pub capabilities: AgentCapabilities,
    /// Whether it is in another region than the masters: then it is for REGION_AWARE frameworks.
    pub remote: bool,
}

impl AgentView {
    /// A candidate of this region from which nothing is taken yet.
    #[must_use]
    pub fn new(id: AgentId, total: Resources) -> Self {
        Self {
            id,
            candidate: true,
            available: total.clone(),
            total,
            capabilities: AgentCapabilities::default(),
            remote: false,
        }
    }
}

/// Agent capabilities that decide who may be offered an agent. The default has them all, as every
/// agent of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentCapabilities {
    /// MULTI_ROLE; without it the agent is not for MULTI_ROLE frameworks.
    pub multi_role: bool,
    /// HIERARCHICAL_ROLE; without it the agent is not for roles with a slash.
    pub hierarchical_role: bool,
}

impl Default for AgentCapabilities {
    fn default() -> Self {
        Self {
            multi_role: true,
            hierarchical_role: true,
        }
    }
}

/// One framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkView {
    /// Its id.
    pub id: FrameworkId,
    /// Whether it may get offers at all: connected or awaited, and not behind with
    /// acknowledgements.
    pub active: bool,
    /// What it can take.
    pub capabilities: FrameworkCapabilities,
    /// The roles it subscribes to or still holds something in, each once.
    pub roles: Vec<FrameworkRole>,
    /// What it declined.
    pub filters: Vec<DeclineFilter>,
    /// The most new offers it may get in this run; no bound when absent.
    pub new_offers_max: Option<u32>,
}

impl FrameworkView {
    /// An active framework with no capabilities that subscribes to these roles and holds nothing.
    pub fn new<'a>(id: FrameworkId, roles: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            id,
            active: true,
            capabilities: FrameworkCapabilities::default(),
            roles: roles.into_iter().map(FrameworkRole::new).collect(),
            filters: Vec::new(),
            new_offers_max: None,
        }
    }
}

/// Framework capabilities that decide what may be offered. The default has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FrameworkCapabilities {
    /// GPU_RESOURCES.
    pub gpu_resources: bool,
    /// REVOCABLE_RESOURCES.
    pub revocable_resources: bool,
    /// SHARED_RESOURCES.
    pub shared_resources: bool,
    /// RESERVATION_REFINEMENT.
    pub reservation_refinement: bool,
    /// MULTI_ROLE.
    pub multi_role: bool,
    /// REGION_AWARE.
    pub region_aware: bool,
}

/// A framework in one of its roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkRole {
    /// The role.
    pub role: String,
    /// Whether it wants offers in this role: subscribed and not suppressed.
    pub active: bool,
    /// Scalars that it uses or is offered in this role: what its share is made of.
    pub allocated: Quantities,
    /// The part of them that is neither reserved nor revocable: what is charged against a quota.
    pub charged: Quantities,
    /// How often it was allocated something; the fewer, the sooner among equal shares. Any count
    /// serves that is kept in the same way for all frameworks.
    pub allocations: u64,
    /// What an offer must contain instead of [`Options::min_allocatable`], if the framework says
    /// so in its offer filters.
    pub min_allocatable: Option<Vec<Quantities>>,
    /// Agents that its offer constraints exclude.
    pub excluded_agents: BTreeSet<AgentId>,
}

impl FrameworkRole {
    /// A role in which the framework wants offers and holds nothing.
    #[must_use]
    pub fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            active: true,
            allocated: Quantities::new(),
            charged: Quantities::new(),
            allocations: 0,
            min_allocatable: None,
            excluded_agents: BTreeSet::new(),
        }
    }

    /// Counts resources that the framework uses or is offered in this role.
    pub fn charge(&mut self, resources: &Resources) {
        self.allocations += 1;
        for entry in resources.entries() {
            let Some(one) = entry.value.as_scalar() else {
                continue;
            };
            // However many hold a shared resource, it is there once.
            let copies = if entry.key.shared { 1 } else { entry.copies };
            let amount = Milli(one.0.saturating_mul(i64::from(copies)));
            self.allocated.add(&entry.key.name, amount);
            if entry.key.reservations.is_empty() && !entry.key.revocable {
                self.charged.add(&entry.key.name, amount);
            }
        }
    }
}

/// Resources that a framework does not want again for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclineFilter {
    /// The role in which it was offered them.
    pub role: String,
    /// The agent they are on.
    pub agent: AgentId,
    /// What it declined. An offer that is contained in it is not made; one with more of anything
    /// breaks through.
    pub refused: Resources,
    /// From this time on the filter means nothing.
    pub expires_at: ClusterTime,
}

/// A role with a weight or a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleView {
    /// The role.
    pub role: String,
    /// Its weight among its siblings; anything below a thousandth counts as a thousandth.
    pub weight: Milli,
    /// What is held back for it and its descendants. Only at the top level; ignored elsewhere.
    pub guarantees: Quantities,
    /// The most it and its descendants may have, by name; a name that is absent is unlimited.
    /// Only at the top level; ignored elsewhere.
    pub limits: BTreeMap<String, Milli>,
}

impl RoleView {
    /// A role of weight 1 without quota.
    #[must_use]
    pub fn new(role: &str) -> Self {
        Self {
            role: role.to_owned(),
            weight: Milli::from_units(1),
            guarantees: Quantities::new(),
            limits: BTreeMap::new(),
        }
    }
}

/// An offer to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferPlan {
    /// To whom.
    pub framework: FrameworkId,
    /// In which of its roles.
    pub role: String,
    /// From which agent.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
}
