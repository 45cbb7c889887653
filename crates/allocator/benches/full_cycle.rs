//! Prints how long full cycles take on a large cluster. It asserts nothing about time.

use std::time::Instant;

use regency_allocator::{
    AgentView, ClusterView, Cycle, DeclineFilter, FrameworkRole, FrameworkView, OfferPlan, Options,
    RoleView, allocate,
};
use regency_resources::{Milli, Quantities, parse};
use regency_types::{AgentId, ClusterTime, FrameworkId};

const N_AGENTS: usize = 10_000;
const N_FRAMEWORKS: usize = 1_000;
const N_ROUNDS: u32 = 5;

fn agent_id(n: usize) -> AgentId {
    AgentId::new(format!("f2a5cf40-1f2e-4c1b-9b3e-000000000000-S{n}")).expect("a good id")
}

fn framework_id(n: usize) -> FrameworkId {
    FrameworkId::new(format!("f2a5cf40-1f2e-4c1b-9b3e-000000000000-{n:04}")).expect("a good id")
}

/// Agents of one size; frameworks spread over `n_roles` roles.
fn cluster(n_roles: usize, resources: &str) -> ClusterView {
    let total = parse::resources(resources, "*").expect("good resources");
    ClusterView {
        agents: (0..N_AGENTS)
            .map(|n| AgentView::new(agent_id(n), total.clone()))
            .collect(),
        frameworks: (0..N_FRAMEWORKS)
            .map(|n| {
                let role = format!("group{}/role{}", n % 10, n % n_roles);
                let mut framework = FrameworkView::new(framework_id(n), []);
                framework.roles.push(FrameworkRole::new(&role));
                framework
            })
            .collect(),
        roles: Vec::new(),
    }
}

/// Each agent was declined by `n` frameworks.
fn decline(view: &mut ClusterView, n: usize) {
    for (place, framework) in view.frameworks.iter_mut().enumerate() {
        let role = framework.roles[0].role.clone();
        framework.filters = view
            .agents
            .iter()
            .enumerate()
            .filter(|(at, _)| (at + place) % N_FRAMEWORKS < n)
            .map(|(_, agent)| agent)
            .map(|agent| DeclineFilter {
                role: role.clone(),
                agent: agent.id.clone(),
                // A copy of its own, as filters of different declines have.
                refused: parse::resources(&agent.total.to_string(), "*").expect("good resources"),
                expires_at: ClusterTime(1),
            })
            .collect();
    }
}

fn measure(name: &str, view: &ClusterView) {
    let options = Options::default();
    let mut times = Vec::new();
    let mut plans: Vec<OfferPlan> = Vec::new();
    for seed in 0..N_ROUNDS {
        let cycle = Cycle {
            now: ClusterTime(0),
            seed: u64::from(seed),
        };
        #[allow(clippy::disallowed_methods, reason = "a bench measures time")]
        let start = Instant::now();
        plans = allocate(view, &options, &cycle);
        times.push(start.elapsed());
    }
    times.sort();
    println_line(&format!(
        "{name}: {} offers, median {:?}, worst {:?}",
        plans.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    ));
}

#[allow(clippy::print_stdout, reason = "a bench prints its figures")]
fn println_line(line: &str) {
    println!("{line}");
}

fn main() {
    let plain = "cpus:32;mem:131072;disk:1000000;ports:[31000-32000]";
    measure("empty cluster, 100 roles", &cluster(100, plain));
    measure("empty cluster, 1000 roles", &cluster(1000, plain));
    let reserved = "cpus:32;mem:131072;disk:1000000;ports:[31000-32000];cpus(idle):4;mem(idle):64";
    measure("idle reservations, 1000 roles", &cluster(1000, reserved));
    measure(
        "full agents, 1000 roles",
        &cluster(1000, "disk:1000000;ports:[31000-32000]"),
    );
    let gpus = cluster(1000, "cpus:32;mem:131072;gpus:8");
    measure("nobody can use the agents", &gpus);
    let mut promised = cluster(1000, plain);
    let mut owed = RoleView::new("nobody");
    owed.guarantees = Quantities::from(
        &parse::resources("cpus:400000;mem:9000000000", "*").expect("good resources"),
    );
    promised.roles = vec![owed];
    measure("everything owed to somebody else", &promised);
    let mut limited = cluster(1000, plain);
    for (n, framework) in limited.frameworks.iter_mut().enumerate() {
        let role = format!("r{n}");
        framework.roles = vec![FrameworkRole::new(&role)];
        let mut view = RoleView::new(&role);
        view.limits
            .insert("cpus".to_owned(), Milli::from_units(100));
        view.limits
            .insert("mem".to_owned(), Milli::from_units(1_000_000));
        limited.roles.push(view);
    }
    measure("1000 roles up to their limits", &limited);
    for n in [6, 100] {
        let mut declined = cluster(100, plain);
        decline(&mut declined, n);
        measure(&format!("each agent declined by {n}"), &declined);
    }
}
