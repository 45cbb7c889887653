use proptest::prelude::*;
use regency_resources::{Milli, Quantities, ResourceKey, Value};

use super::*;
use crate::{AgentCapabilities, DeclineFilter, FrameworkRole};

const ROLES: [&str; 5] = ["a", "a/x", "a/y", "b", "c"];

prop_compose! {
    fn some_resources()(
        cpus in 0_i64..4000,
        mem in 0_i64..200_000,
        ports in 0_u64..3,
        reserved in prop::collection::vec((prop::sample::select(ROLES.to_vec()), 1_i64..2000), 0..3),
        revocable in prop_oneof![3 => Just(0_i64), 1 => 1_i64..1000],
        shared in prop_oneof![3 => Just(0_i64), 1 => 1_i64..1000],
        gpus in prop_oneof![4 => Just(0_i64), 1 => Just(1_i64)],
    ) -> Resources {
        let mut resources = Resources::new();
        resources.insert(ResourceKey::new("cpus"), Value::Scalar(Milli(cpus)));
        resources.insert(ResourceKey::new("mem"), Value::Scalar(Milli(mem)));
        resources.insert(ResourceKey::new("gpus"), Value::units(gpus));
        if ports > 0 {
            resources += text(&format!("ports:[1-{ports}]"));
        }
        for (role, amount) in reserved {
            resources.insert(ResourceKey::fixed("cpus", role), Value::Scalar(Milli(amount)));
        }
        let key = ResourceKey { revocable: true, ..ResourceKey::new("cpus") };
        resources.insert(key, Value::Scalar(Milli(revocable)));
        let key = ResourceKey { shared: true, ..ResourceKey::fixed("disk", "a") };
        resources.insert(key, Value::Scalar(Milli(shared)));
        resources
    }
}

prop_compose! {
    fn some_agent()(
        total in some_resources(),
        hidden in prop::bool::weighted(0.1),
        old in prop::bool::weighted(0.1),
    ) -> AgentView {
        let mut agent = agent("unnamed", "cpus:1");
        agent.available = total.clone();
        agent.total = total;
        agent.candidate = !hidden;
        agent.capabilities = AgentCapabilities { multi_role: !old, hierarchical_role: !old };
        agent
    }
}

prop_compose! {
    fn some_framework(n_agents: usize)(
        roles in prop::collection::btree_set(prop::sample::select(ROLES.to_vec()), 1..3),
        suppressed in prop::bool::weighted(0.2),
        inactive in prop::bool::weighted(0.1),
        held in some_resources(),
        capabilities in any::<[bool; 6]>(),
        filters in prop::collection::vec((0..n_agents, some_resources(), 0_u64..2000), 0..6),
        new_offers_max in prop_oneof![3 => Just(None), 1 => (0_u32..3).prop_map(Some)],
    ) -> FrameworkView {
        let mut framework = framework("unnamed", &roles.into_iter().collect::<Vec<_>>());
        framework.active = !inactive;
        framework.roles[0].active = !suppressed;
        framework.roles[0].charge(&held.unreserved());
        let [gpu_resources, revocable_resources, shared_resources, reservation_refinement,
            multi_role, region_aware] = capabilities;
        framework.capabilities = FrameworkCapabilities {
            gpu_resources, revocable_resources, shared_resources, reservation_refinement,
            multi_role, region_aware,
        };
        framework.filters = filters
            .into_iter()
            .map(|(agent, refused, expires_at)| DeclineFilter {
                role: framework.roles[0].role.clone(),
                agent: AgentId::new(format!("s{agent}")).unwrap(),
                refused,
                expires_at: ClusterTime(expires_at),
            })
            .collect();
        framework.new_offers_max = new_offers_max;
        framework
    }
}

fn some_quota() -> impl Strategy<Value = RoleView> {
    (
        prop::sample::select(ROLES.to_vec()),
        prop::option::of(0_i64..5000),
        prop::option::of(0_i64..8000),
        1_i64..5000,
    )
        .prop_map(|(name, guarantee, limit, weight)| RoleView {
            weight: Milli(weight),
            guarantees: guarantee
                .map(|amount| {
                    (
                        "cpus".to_owned(),
                        Milli(amount.min(limit.unwrap_or(amount))),
                    )
                })
                .into_iter()
                .collect::<Quantities>(),
            limits: limit
                .map(|amount| ("cpus".to_owned(), Milli(amount)))
                .into_iter()
                .collect(),
            ..RoleView::new(name)
        })
}

fn some_view() -> impl Strategy<Value = ClusterView> {
    const N_AGENTS: usize = 6;
    (
        prop::collection::vec(some_agent(), 1..=N_AGENTS),
        prop::collection::vec(some_framework(N_AGENTS), 0..5),
        prop::collection::vec(some_quota(), 0..3),
    )
        .prop_map(|(mut agents, mut frameworks, mut roles)| {
            for (n, agent) in agents.iter_mut().enumerate() {
                agent.id = AgentId::new(format!("s{n}")).unwrap();
            }
            for (n, framework) in frameworks.iter_mut().enumerate() {
                framework.id = FrameworkId::new(format!("f{n}")).unwrap();
            }
            roles.sort_by(|a, b| a.role.cmp(&b.role));
            roles.dedup_by(|a, b| a.role == b.role);
            ClusterView {
                agents,
                frameworks,
                roles,
            }
        })
}

fn role_of<'v>(view: &'v ClusterView, plan: &OfferPlan) -> (&'v FrameworkView, &'v FrameworkRole) {
    let framework = view
        .frameworks
        .iter()
        .find(|f| f.id == plan.framework)
        .unwrap();
    let role = framework
        .roles
        .iter()
        .find(|r| r.role == plan.role)
        .unwrap();
    (framework, role)
}

/// Unreserved, non-revocable cpus that the subtree of a top-level role has, and what is reserved
/// for it.
fn consumed(view: &ClusterView, top: &str) -> Milli {
    let charged: Milli = view
        .frameworks
        .iter()
        .flat_map(|f| &f.roles)
        .filter(|r| regency_resources::role::is_within(&r.role, top))
        .map(|r| r.charged.get("cpus"))
        .sum();
    let reserved: Milli = view
        .agents
        .iter()
        .flat_map(|a| a.total.reservations())
        .filter(|(role, _)| regency_resources::role::is_within(role, top))
        .map(|(_, resources)| resources.scalar("cpus"))
        .sum();
    charged + reserved
}

/// What could still be offered, worked out anew by the plainest means. Quotas are on cpus only.
fn missed(
    view: &ClusterView,
    agent: &AgentView,
    framework: &FrameworkView,
    role: &FrameworkRole,
) -> Option<Resources> {
    let (able, roomy) = (framework.capabilities, agent.capabilities);
    if (agent.total.scalar("gpus").0 > 0 && !able.gpu_resources)
        || (able.multi_role && !roomy.multi_role)
        || (role.role.contains('/') && !roomy.hierarchical_role)
    {
        return None;
    }
    let takeable = agent.available.allocatable_to(&role.role).filter(|e| {
        (able.revocable_resources || !e.key.revocable) && (able.shared_resources || !e.key.shared)
    });
    let mut cpus = agent.available.unreserved().non_revocable().scalar("cpus");
    let top = regency_resources::role::top(&role.role);
    let others = view.roles.iter().filter(|r| r.role != top);
    let lacking = lacking(view, others);
    if !lacking.is_zero() {
        cpus = cpus.min(free(view).less(lacking));
    }
    if let Some(limit) = view
        .roles
        .iter()
        .find(|r| r.role == top)
        .and_then(|r| r.limits.get("cpus"))
    {
        cpus = cpus.min(limit.less(consumed(view, top)));
    }
    let mut offer = takeable
        .filter(|e| e.key.name != "cpus" || !e.key.reservations.is_empty() || e.key.revocable);
    offer.insert(ResourceKey::new("cpus"), Value::Scalar(cpus));
    let worth_it =
        offer.scalar("cpus") >= Milli(10) || offer.scalar("mem") >= Milli::from_units(32);
    let refused = framework.filters.iter().any(|f| {
        f.agent == agent.id
            && f.role == role.role
            && f.expires_at > NOW
            && f.refused.contains(&offer)
    });
    (worth_it && !refused).then_some(offer)
}

/// What guarantees of some roles lack in cpus.
fn lacking<'v>(view: &'v ClusterView, roles: impl Iterator<Item = &'v RoleView>) -> Milli {
    roles
        .filter(|r| !r.role.contains('/'))
        .map(|r| r.guarantees.get("cpus").less(consumed(view, &r.role)))
        .sum()
}

/// Cpus that nobody has and anybody could get.
fn free(view: &ClusterView) -> Milli {
    view.agents
        .iter()
        .map(|a| a.available.unreserved().non_revocable().scalar("cpus"))
        .sum()
}

proptest! {
    #[test]
    fn no_agent_gives_more_than_it_has(view in some_view(), seed: u64) {
        let plans = allocate(&view, &Options::default(), &cycle(seed));
        for agent in &view.agents {
            let offered: Resources = plans
                .iter()
                .filter(|p| p.agent == agent.id)
                .map(|p| &p.resources)
                .sum();
            prop_assert!(agent.available.contains(&offered), "{} of {}", offered, agent.available);
            prop_assert!(agent.candidate || offered.is_empty());
        }
    }

    #[test]
    fn only_those_are_served_who_may_be(view in some_view(), seed: u64) {
        let plans = allocate(&view, &Options::default(), &cycle(seed));
        for plan in &plans {
            let (framework, role) = role_of(&view, plan);
            prop_assert!(framework.active && role.active);
            prop_assert_eq!(plan.resources.allocatable_to(&role.role), plan.resources.clone());
            prop_assert!(framework.capabilities.revocable_resources
                || plan.resources.revocable().is_empty());
            prop_assert!(framework.capabilities.shared_resources
                || plan.resources.shared().is_empty());
            let agent = view.agents.iter().find(|a| a.id == plan.agent).unwrap();
            prop_assert!(framework.capabilities.gpu_resources
                || agent.total.scalar("gpus").is_zero());
            for filter in &framework.filters {
                let concerned = filter.agent == plan.agent
                    && filter.role == plan.role
                    && filter.expires_at > NOW;
                prop_assert!(!concerned || !filter.refused.contains(&plan.resources));
            }
            prop_assert!(plan.resources.scalar("cpus") >= Milli(10)
                || plan.resources.scalar("mem") >= Milli::from_units(32));
        }
        for framework in &view.frameworks {
            let n_offers = plans.iter().filter(|p| p.framework == framework.id).count();
            prop_assert!(framework.new_offers_max.is_none_or(|max| n_offers <= max as usize));
        }
        let mut keys: Vec<_> = plans.iter().map(|p| (&p.framework, &p.role, &p.agent)).collect();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), plans.len());
    }

    #[test]
    fn the_same_input_gives_the_same_plans(view in some_view(), seed: u64) {
        let options = Options::default();
        let plans = allocate(&view, &options, &cycle(seed));
        prop_assert_eq!(allocate(&view.clone(), &options, &cycle(seed)), plans);
    }

    #[test]
    fn a_second_run_after_the_offers_gives_nothing_new(view in some_view(), seed: u64) {
        // Shared resources stay available, and a bound on new offers is per run.
        let mut view = view;
        for framework in &mut view.frameworks {
            framework.new_offers_max = None;
            framework.capabilities.shared_resources = false;
        }
        let options = Options::default();
        let plans = allocate(&view, &options, &cycle(seed));
        let next = after(&view, &plans);
        let again = allocate(&next, &options, &cycle(seed.wrapping_add(1)));
        prop_assert_eq!(lines(&again), Vec::<String>::new());
    }

    #[test]
    fn nobody_is_left_out(view in some_view(), seed: u64) {
        let mut view = view;
        for framework in &mut view.frameworks {
            framework.new_offers_max = None;
            framework.capabilities.shared_resources = false;
        }
        let next = after(&view, &allocate(&view, &Options::default(), &cycle(seed)));
        for agent in next.agents.iter().filter(|a| a.candidate) {
            for framework in next.frameworks.iter().filter(|f| f.active) {
                for role in framework.roles.iter().filter(|r| r.active) {
                    let missed = missed(&next, agent, framework, role);
                    prop_assert!(missed.is_none(), "{:?}", missed);
                }
            }
        }
    }

    #[test]
    fn limits_hold(view in some_view(), seed: u64) {
        let next = after(&view, &allocate(&view, &Options::default(), &cycle(seed)));
        for role in view.roles.iter().filter(|r| !r.role.contains('/')) {
            if let Some(limit) = role.limits.get("cpus") {
                let (before, now) = (consumed(&view, &role.role), consumed(&next, &role.role));
                prop_assert!(now <= *limit || now == before, "{now} of {limit}, was {before}");
            }
        }
    }

    #[test]
    fn fair_sharing_leaves_every_guarantee_within_reach(view in some_view(), seed: u64) {
        // What guarantees lack was lacking before and cannot exceed what is left, unless there
        // already was too little.
        let short = |view: &ClusterView| lacking(view, view.roles.iter()).less(free(view));
        let next = after(&view, &allocate(&view, &Options::default(), &cycle(seed)));
        prop_assert!(short(&next) <= short(&view));
    }
}
