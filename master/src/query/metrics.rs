//! Mesos' metric keys: the gauges follow from the state, the rest is what this process counted and
//! measured (see [`crate::counters`]). A key that would have to be made up is left out; Mesos
//! itself leaves out what it cannot compute in time.

use std::collections::BTreeMap;

use regency_resources::{Quantities, Resources};
use regency_state::model::AgentPhase;
use regency_types::TaskState;

use super::View;
use super::role;
use super::usage::uses_resources;

/// Resources that have keys of their own, there or not.
const NAMED: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

/// Keys of states that count tasks at present.
const TASK_GAUGES: [(&str, TaskState); 5] = [
    ("master/tasks_staging", TaskState::Staging),
    ("master/tasks_starting", TaskState::Starting),
    ("master/tasks_running", TaskState::Running),
    ("master/tasks_killing", TaskState::Killing),
    ("master/tasks_unreachable", TaskState::Unreachable),
];

/// All keys with their values.
#[must_use]
pub fn snapshot(view: &View<'_>) -> BTreeMap<String, f64> {
    let mut keys = view.live.measured.clone();
    let mut set = |key: &str, value: f64| keys.insert(key.to_owned(), value);
    set("master/elected", f64::from(u8::from(view.live.leader)));
    let uptime_ms = view.live.now.0.saturating_sub(view.identity.started.0);
    set("master/uptime_secs", uptime_ms as f64 / 1000.0);
    set(
        "master/outstanding_offers",
        view.state.offers().count() as f64,
    );

    let mut frameworks = (0_u64, 0_u64);
    for framework in view.state.frameworks() {
        if view.is_connected(framework) {
            frameworks.0 += 1;
        } else {
            frameworks.1 += 1;
        }
    }
    for (key, n) in [
        ("master/frameworks_active", frameworks.0),
        ("master/frameworks_connected", frameworks.0),
        ("master/frameworks_inactive", frameworks.1),
        ("master/frameworks_disconnected", frameworks.1),
    ] {
        set(key, n as f64);
    }

    let mut tasks: BTreeMap<TaskState, u64> = BTreeMap::new();
    let mut used = Sum::default();
    for task in view.state.tasks() {
        *tasks.entry(task.state).or_default() += 1;
        if uses_resources(task) {
            used.add(&task.resources);
        }
    }
    for (key, state) in TASK_GAUGES {
        set(key, tasks.get(&state).copied().unwrap_or(0) as f64);
    }

    let mut agents = [0_u64; 4];
    let mut total = Sum::default();
    for agent in view.state.agents() {
        match agent.phase {
            AgentPhase::Unreachable { .. } => agents[2] += 1,
            // As if it were removed.
            AgentPhase::Down { .. } => {}
            AgentPhase::Registered => {
                agents[usize::from(!view.is_attached(agent))] += 1;
                agents[3] += u64::from(view.is_active(agent));
                total.add(&agent.total);
                for executor in agent.executors.values() {
                    used.add(&executor.resources);
                }
            }
        }
    }
    for (key, n) in [
        ("master/slaves_active", agents[3]),
        ("master/slaves_connected", agents[0]),
        ("master/slaves_inactive", agents[0] + agents[1] - agents[3]),
        ("master/slaves_disconnected", agents[1]),
        ("master/slaves_unreachable", agents[2]),
    ] {
        set(key, n as f64);
    }

    for name in NAMED {
        for (infix, total, used) in [
            ("", &total.firm, &used.firm),
            ("_revocable", &total.revocable, &used.revocable),
        ] {
            let (total, used) = (total.get(name).to_f64(), used.get(name).to_f64());
            set(&format!("master/{name}{infix}_total"), total);
            set(&format!("master/{name}{infix}_used"), used);
            let share = if total > 0.0 { used / total } else { 0.0 };
            set(&format!("master/{name}{infix}_percent"), share);
        }
    }
    allocator(view, &mut keys);
    keys
}

/// Keys of what Mesos' allocator counts, which here is the state as well.
fn allocator(view: &View<'_>, keys: &mut BTreeMap<String, f64>) {
    let mut total = Quantities::new();
    let mut promised = Quantities::new();
    for agent in view.state.agents().filter(|agent| agent.is_registered()) {
        total.add_resources(&agent.total);
        promised.add_resources(&agent.allocated);
        promised.add_resources(&agent.offered);
    }
    for (name, amount) in total.iter() {
        let prefix = format!("allocator/mesos/resources/{name}");
        keys.insert(format!("{prefix}/total"), amount.to_f64());
        keys.insert(
            format!("{prefix}/offered_or_allocated"),
            promised.get(name).to_f64(),
        );
    }
    let mut filters: BTreeMap<&str, u64> = BTreeMap::new();
    for framework in view.state.frameworks() {
        for role in &framework.spec.roles {
            filters.entry(role).or_default();
        }
        for filter in framework.filters.values().flatten() {
            *filters.entry(&filter.role).or_default() += 1;
        }
    }
    quotas_and_shares(view, &total, keys);
    for (role, n) in filters {
        let key = format!("allocator/mesos/offer_filters/roles/{role}/active");
        keys.insert(key, n as f64);
    }
}

/// What roles have of their quotas and of the cluster. Mesos gives the sum over all roles under the
/// role without a name.
fn quotas_and_shares(view: &View<'_>, total: &Quantities, keys: &mut BTreeMap<String, f64>) {
    let roles = role::totals(view);
    for (name, totals) in roles.iter().filter(|(_, t)| !t.frameworks.is_empty()) {
        let share = total.iter().map(|(resource, all)| {
            let held = totals.allocated.get(resource) + totals.offered.get(resource);
            held.to_f64() / all.to_f64()
        });
        let share = share.fold(0.0, f64::max) / view.state.weight_of(name).to_f64();
        keys.insert(
            format!("allocator/mesos/roles/{name}/shares/dominant"),
            share,
        );
    }
    let top = roles.keys().map(|name| regency_resources::role::top(name));
    let mut all = Quantities::new();
    for (name, has) in view.state.consumed_quotas(&top.collect()) {
        let consumed = has.for_good();
        all.add_all(&consumed);
        consumed_keys(name, &consumed, keys);
        let quota = view.state.quota_of(name);
        let guarantees = &quota.guarantees;
        let key = |resource: &str, what: &str| {
            format!("allocator/mesos/quota/roles/{name}/resources/{resource}/{what}")
        };
        for (resource, guarantee) in guarantees.iter() {
            keys.insert(key(resource, "guarantee"), guarantee.to_f64());
        }
        for (resource, limit) in &quota.limits {
            keys.insert(key(resource, "limit"), limit.to_f64());
        }
        let Some(totals) = roles.get(name) else {
            continue;
        };
        let named = guarantees.iter().map(|(resource, _)| resource);
        for resource in named.chain(quota.limits.keys().map(String::as_str)) {
            keys.insert(
                key(resource, "offered_or_allocated"),
                (totals.allocated.get(resource) + totals.offered.get(resource)).to_f64(),
            );
        }
    }
    consumed_keys("", &all, keys);
}

fn consumed_keys(role: &str, consumed: &Quantities, keys: &mut BTreeMap<String, f64>) {
    for (resource, amount) in consumed.iter() {
        let key = format!("allocator/mesos/quota/roles/{role}/resources/{resource}/consumed");
        keys.insert(key, amount.to_f64());
    }
}

/// Scalars, those that may be taken away apart from the others.
#[derive(Default)]
struct Sum {
    firm: Quantities,
    revocable: Quantities,
}

impl Sum {
    fn add(&mut self, resources: &Resources) {
        self.firm
            .add_resources(&resources.filter(|entry| !entry.key.revocable));
        self.revocable
            .add_resources(&resources.filter(|entry| entry.key.revocable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::Live;
    use crate::query::fixture::{Cluster, identity};

    #[test]
    fn keys_follow_the_state() {
        let (mut cluster, key) = Cluster::with_task();
        cluster.agent(2, "cpus:4;mem:512");
        cluster.report(&key, 1, TaskState::Running);
        let identity = identity();
        let first = cluster
            .state
            .agents()
            .next()
            .expect("there are two")
            .id
            .clone();
        let live = Live {
            leader: true,
            attached: [first].into(),
            connected: [].into(),
            now: regency_types::WallTime(identity.started.0 + 2_500),
            ..Live::default()
        };
        let keys = snapshot(&View {
            state: &cluster.state,
            live: &live,
            identity: &identity,
        });
        for (key, value) in [
            ("master/elected", 1.0),
            ("master/uptime_secs", 2.5),
            ("master/slaves_active", 1.0),
            ("master/slaves_inactive", 1.0),
            ("master/frameworks_active", 0.0),
            ("master/frameworks_disconnected", 1.0),
            ("master/tasks_running", 1.0),
            ("master/tasks_staging", 0.0),
            ("master/cpus_total", 8.0),
            ("master/cpus_used", 1.0),
            ("master/cpus_percent", 0.125),
            ("master/gpus_percent", 0.0),
            ("master/cpus_revocable_total", 0.0),
            ("allocator/mesos/resources/mem/total", 1536.0),
            ("allocator/mesos/resources/mem/offered_or_allocated", 32.0),
            ("allocator/mesos/offer_filters/roles/eng/active", 0.0),
        ] {
            assert_eq!(keys.get(key), Some(&value), "{key}");
        }
    }
}
