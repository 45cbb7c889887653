//! Containers with what they use: `/containers`, `/monitor/statistics` and GET_CONTAINERS.

use regency_resources::Resources;
use regency_wire::v1;
use regency_wire::v1::agent::response::get_containers::Container;
use serde_json::{Value as Json, json};

use super::model;
use super::state::as_json;
use super::usage::{Processes, Usage, statistics};
use crate::directory::{Paths, container_name};
use crate::driver::View;

/// A container as it is shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) id: v1::ContainerId,
    /// Framework, executor, its name and source: of the container it is in, for a nested one.
    pub(super) owner: Option<Owner>,
    pub(super) status: v1::ContainerStatus,
    pub(super) statistics: v1::ResourceStatistics,
}

/// Whose container it is.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) framework: String,
    pub(super) executor: String,
    pub(super) name: String,
    pub(super) source: String,
}

/// The containers of all running tasks and executors, those of tasks of groups within their
/// executor's.
pub(super) fn of_frameworks(
    view: &View,
    paths: &Paths,
    processes: &Processes,
    timestamp: f64,
) -> Vec<Shown> {
    let ip = view.constants.address.ip();
    let mut shown = Vec::new();
    for (framework, has) in model::frameworks(view, paths) {
        for executor in &has.executors {
            // One that the agent plays has no process but those of its tasks.
            let own = executor.process.into_iter();
            let all: Vec<_> = own
                .chain(executor.members.iter().map(|m| m.process))
                .collect();
            if all.is_empty() {
                continue;
            }
            let id = v1::ContainerId {
                value: container_name(executor.container),
                parent: None,
            };
            let info = &executor.info;
            let owner = Some(Owner {
                framework: framework.to_string(),
                executor: info.executor_id.value.clone(),
                name: info.name.clone().unwrap_or_default(),
                source: info.source.clone().unwrap_or_default(),
            });
            let usage = all
                .into_iter()
                .filter_map(|process| processes.usage(process));
            let usage = usage.reduce(Usage::and);
            shown.push(Shown {
                owner: owner.clone(),
                status: executor.status(id.clone(), ip),
                statistics: statistics(usage, &executor.allocated(), timestamp),
                id: id.clone(),
            });
            shown.extend(executor.members.iter().map(|member| {
                let own = v1::ContainerId {
                    value: container_name(member.container),
                    parent: Some(Box::new(id.clone())),
                };
                let process = Some(member.process);
                Shown {
                    owner: owner.clone(),
                    status: v1::ContainerStatus {
                        executor_pid: Some(member.process.pid),
                        ..executor.status(own.clone(), ip)
                    },
                    statistics: of_process(processes, process, &member.resources, timestamp),
                    id: own,
                }
            }));
        }
    }
    shown
}

/// Statistics of one process with everything below it.
pub(super) fn of_process(
    processes: &Processes,
    process: Option<regency_agent_core::ProcessRef>,
    limits: &Resources,
    timestamp: f64,
) -> v1::ResourceStatistics {
    let usage = process.and_then(|process| processes.usage(process));
    statistics(usage, limits, timestamp)
}

/// An entry of `/containers`; of `/monitor/statistics` with the keys of that.
pub(super) fn legacy(shown: &Shown, monitor: bool) -> Json {
    let mut entry = json!({ "statistics": as_json(&shown.statistics) });
    if let Some(owner) = &shown.owner {
        entry["framework_id"] = json!(owner.framework);
        entry["executor_id"] = json!(owner.executor);
        entry["executor_name"] = json!(owner.name);
        entry["source"] = json!(owner.source);
    }
    if !monitor {
        entry["container_id"] = json!(shown.id.value);
        entry["status"] = as_json(&shown.status);
    }
    entry
}

/// An entry of GET_CONTAINERS.
pub(super) fn message(shown: Shown) -> Container {
    let owner = shown.owner;
    Container {
        framework_id: owner.as_ref().map(|owner| v1::FrameworkId {
            value: owner.framework.clone(),
        }),
        executor_id: owner.as_ref().map(|owner| v1::ExecutorId {
            value: owner.executor.clone(),
        }),
        executor_name: owner.map(|owner| owner.name),
        container_id: shown.id,
        container_status: Some(shown.status),
        resource_statistics: Some(shown.statistics),
    }
}
