//! `/metrics/snapshot`: Mesos' metric keys, as far as there is a true value for them.

use std::collections::BTreeMap;

use regency_resources::Resources;
use regency_types::TaskState;

use super::model;
use crate::directory::Paths;
use crate::driver::View;
use crate::metrics;

/// Resources that have keys of their own, there or not.
const NAMED: [&str; 4] = ["cpus", "gpus", "mem", "disk"];

/// Keys of states that count tasks at present.
const TASK_GAUGES: [(&str, TaskState); 4] = [
    ("slave/tasks_staging", TaskState::Staging),
    ("slave/tasks_starting", TaskState::Starting),
    ("slave/tasks_running", TaskState::Running),
    ("slave/tasks_killing", TaskState::Killing),
];

/// Keys of states that count ends since the start.
const TASK_COUNTERS: [(&str, TaskState); 5] = [
    ("slave/tasks_finished", TaskState::Finished),
    ("slave/tasks_failed", TaskState::Failed),
    ("slave/tasks_killed", TaskState::Killed),
    ("slave/tasks_lost", TaskState::Lost),
    ("slave/tasks_gone", TaskState::Gone),
];

/// All keys with their values. `own` are this process' metrics in the text form of Prometheus.
pub(super) fn snapshot(
    view: &View,
    paths: &Paths,
    total: &Resources,
    uptime_seconds: f64,
    own: &str,
) -> BTreeMap<String, f64> {
    let mut keys = BTreeMap::new();
    let mut set = |key: &str, value: f64| keys.insert(key.to_owned(), value);
    set(
        "slave/registered",
        f64::from(u8::from(view.attached_to.is_some())),
    );
    set("slave/uptime_secs", uptime_seconds);

    let frameworks = model::frameworks(view, paths);
    let active = frameworks.values().filter(|f| !f.executors.is_empty());
    set("slave/frameworks_active", active.count() as f64);
    let states = model::count_states(view);
    for (key, state) in TASK_GAUGES {
        set(key, states.get(&state).copied().unwrap_or(0) as f64);
    }
    for (key, state) in TASK_COUNTERS {
        let labels = format!("{{{}=\"{}\"}}", metrics::STATE, state.name());
        set(key, counted(own, metrics::UPDATES_TOTAL, &labels));
    }

    let mut used = Resources::empty();
    for executor in frameworks.values().flat_map(|f| &f.executors) {
        used += &executor.allocated();
    }
    // A command is its own executor from its first moment.
    let commands = view.durable.tasks.values();
    let commands = commands.filter(|task| task.launch.executor.is_none() && task.is_started());
    let executors = || view.durable.executors.values().filter(|e| e.is_started());
    let running = commands.count() + executors().filter(|e| e.used && !e.ending).count();
    let registering = executors().filter(|e| !e.used && !e.ending).count();
    let terminating = executors().filter(|e| e.ending).count();
    set("slave/executors_running", running as f64);
    set("slave/executors_registering", registering as f64);
    set("slave/executors_terminating", terminating as f64);

    for (infix, revocable) in [("", false), ("_revocable", true)] {
        let part = |all: &Resources| all.filter(|entry| entry.key.revocable == revocable);
        let (total, used) = (part(total), part(&used));
        for name in NAMED {
            let (total, used) = (total.scalar(name).to_f64(), used.scalar(name).to_f64());
            set(&format!("slave/{name}{infix}_total"), total);
            set(&format!("slave/{name}{infix}_used"), used);
            let share = if total > 0.0 { used / total } else { 0.0 };
            set(&format!("slave/{name}{infix}_percent"), share);
        }
    }
    set(
        "containerizer/fetcher/cache_size_total_bytes",
        counted(own, metrics::FETCH_CACHE_LIMIT_BYTES, ""),
    );
    set(
        "containerizer/fetcher/cache_size_used_bytes",
        counted(own, metrics::FETCH_CACHE_BYTES, ""),
    );
    machine(&mut keys);
    keys
}

/// Of the machine as a whole. What it does not tell is left out.
fn machine(keys: &mut BTreeMap<String, f64>) {
    let mut set = |key: &str, value: f64| keys.insert(key.to_owned(), value);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    set("system/cpus_total", cpus as f64);
    if let Ok(load) = sysinfo::System::load_average() {
        set("system/load_1min", load.one);
        set("system/load_5min", load.five);
        set("system/load_15min", load.fifteen);
    }
    if let Ok(mut system) = sysinfo::System::new() {
        system.refresh_memory();
        set("system/mem_total_bytes", system.total_memory() as f64);
        set("system/mem_free_bytes", system.free_memory() as f64);
    }
}

/// One of our own metrics; one that was not set yet is 0.
fn counted(own: &str, name: &str, labels: &str) -> f64 {
    let start = format!("{name}{labels} ");
    let mut lines = own.lines();
    let value = lines.find_map(|line| line.strip_prefix(start.as_str()));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_metrics_are_found_by_name_and_label() {
        let own = "# TYPE a counter\na{state=\"X\"} 3\na{state=\"XY\"} 4\nab 5\n";
        assert!((counted(own, "a", "{state=\"X\"}") - 3.0).abs() < 1e-9);
        assert!((counted(own, "ab", "") - 5.0).abs() < 1e-9);
        assert!(counted(own, "a", "").abs() < 1e-9);
    }
}
