//! `/state` in the form that Mesos' web UI and tools read.

use regency_resources::{Resources, Value};
use regency_types::WallTime;
use regency_wire::resources::{ResourceFormat, to_wire};
use regency_wire::{WireMessage, v1};
use serde_json::{Map, Value as Json, json};

use super::drain;
use super::model::{self, Executor, Framework};
use super::version::{self, MESOS_VERSION};
use crate::description::Description;
use crate::directory::{Paths, container_name};
use crate::driver::View;

/// What Mesos agents of this version say they can do, as far as this one can.
const CAPABILITIES: [&str; 3] = ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"];

/// What a state is made of besides what runs.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) description: &'a Description,
    pub(super) paths: &'a Paths,
    pub(super) started: WallTime,
    pub(super) flags: &'a std::collections::BTreeMap<String, String>,
}

pub(super) fn state(about: &About<'_>, view: &View) -> Json {
    let description = about.description;
    let total = &description.resources;
    let attributes = description.info.attributes.iter();
    let attributes: Map<String, Json> = attributes
        .filter_map(|attribute| Some((attribute.name.clone(), attribute_value(attribute)?)))
        .collect();
    let mut allocated = Resources::empty();
    let (mut frameworks, mut completed) = (Vec::new(), Vec::new());
    for framework in model::frameworks(view, about.paths).values() {
        for executor in &framework.executors {
            allocated += &executor.allocated();
        }
        let shown = shown_framework(framework);
        if framework.executors.is_empty() {
            completed.push(shown);
        } else {
            frameworks.push(shown);
        }
    }
    let mut state = json!({
        "version": MESOS_VERSION,
        "regency_version": version::OWN,
        "start_time": about.started.as_secs_f64(),
        "id": model::agent_id(view),
        "pid": format!("slave(1)@{}", description.address),
        "hostname": description.info.hostname,
        "capabilities": CAPABILITIES,
        "resources": sums(total),
        "reserved_resources": by_role(total, sums),
        "unreserved_resources": sums(&total.unreserved()),
        "reserved_resources_full": by_role(total, |part| json!(full(part))),
        "unreserved_resources_full": full(&total.unreserved()),
        "reserved_resources_allocated": by_role(&allocated, sums),
        "unreserved_resources_allocated": sums(&allocated.unreserved()),
        "resource_providers": [],
        "attributes": attributes,
        "attached": view.attached_to.is_some(),
        "term": view.durable.highest_term.0,
        "flags": about.flags,
        "frameworks": frameworks,
        "completed_frameworks": completed,
    });
    if let Some(drain) = view.drain {
        state["drain_config"] = as_json(&drain::config(drain));
        state["estimated_drain_start_time_seconds"] = json!(drain.since.as_secs_f64());
    }
    if let Some(domain) = &description.info.domain {
        state["domain"] = as_json(domain);
    }
    if let Some(file) = about.flags.get("external_log_file") {
        state["external_log_file"] = json!(file);
    }
    state
}

/// Sums by name: numbers for scalars, text for the rest, as Mesos shows resources.
fn sums(resources: &Resources) -> Json {
    let mut sums = Map::new();
    for name in ["cpus", "gpus", "mem", "disk"] {
        sums.insert(name.to_owned(), json!(0.0));
    }
    for (key, value) in resources.iter() {
        let shown = match value {
            Value::Scalar(_) => json!(resources.scalar(&key.name).to_f64()),
            Value::Ranges(ranges) => json!(ranges.to_string()),
            Value::Set(set) => json!(set.to_string()),
        };
        sums.insert(key.name.clone(), shown);
    }
    Json::Object(sums)
}

fn by_role(resources: &Resources, show: impl Fn(&Resources) -> Json) -> Json {
    let by_role = resources.reservations();
    let shown = by_role
        .iter()
        .map(|(role, part)| (role.clone(), show(part)));
    Json::Object(shown.collect())
}

fn full(resources: &Resources) -> Vec<Json> {
    let wire = to_wire(resources, ResourceFormat::Endpoint, None);
    wire.iter().map(as_json).collect()
}

pub(super) fn as_json<M: WireMessage>(message: &M) -> Json {
    // What was written as JSON reads as JSON.
    serde_json::from_slice(&regency_wire::json::to_vec(message)).unwrap_or_default()
}

fn attribute_value(attribute: &v1::Attribute) -> Option<Json> {
    let shown = as_json(attribute);
    let text = shown
        .pointer("/text/value")
        .or_else(|| shown.pointer("/scalar/value"));
    text.or_else(|| shown.get("ranges"))
        .or_else(|| shown.get("set"))
        .cloned()
}

fn shown_framework(framework: &Framework) -> Json {
    let info = &framework.info;
    let executors = |list: &[Executor]| -> Vec<Json> { list.iter().map(shown_executor).collect() };
    let mut shown = json!({
        "id": info.id.as_ref().map_or("", |id| &id.value),
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout.unwrap_or(0.0),
        "checkpoint": info.checkpoint.unwrap_or(false),
        "hostname": info.hostname.as_deref().unwrap_or_default(),
        "principal": info.principal.as_deref().unwrap_or_default(),
        "executors": executors(&framework.executors),
        "completed_executors": executors(&framework.completed),
    });
    if info.roles.is_empty() {
        shown["role"] = json!(info.role());
    } else {
        shown["roles"] = json!(info.roles);
    }
    shown
}

fn shown_executor(executor: &Executor) -> Json {
    let info = &executor.info;
    let tasks = |list: &[v1::Task]| -> Vec<Json> { list.iter().map(shown_task).collect() };
    let ended: Vec<Json> = executor
        .terminated
        .iter()
        .chain(&executor.completed)
        .map(shown_task)
        .collect();
    let mut shown = json!({
        "id": info.executor_id.value,
        "name": info.name.as_deref().unwrap_or_default(),
        "source": info.source.as_deref().unwrap_or_default(),
        "container": container_name(executor.container),
        "directory": executor.directory.display().to_string(),
        "resources": sums(&model::sum(&info.resources)),
        "role": executor.role().unwrap_or("*"),
        "tasks": tasks(&executor.launched),
        "queued_tasks": tasks(&executor.queued),
        "completed_tasks": ended,
    });
    if !executor.command_task {
        let kind = info
            .r#type
            .map_or("CUSTOM", |_| info.r#type().as_str_name());
        shown["type"] = json!(kind);
    }
    if let Some(process) = executor.process {
        shown["executor_pid"] = json!(process.pid);
    }
    if let Some(labels) = &info.labels {
        shown["labels"] = labels_json(labels);
    }
    shown
}

fn labels_json(labels: &v1::Labels) -> Json {
    json!(labels.labels.iter().map(as_json).collect::<Vec<_>>())
}

fn shown_task(task: &v1::Task) -> Json {
    let executor = task.executor_id.as_ref();
    let mut shown = json!({
        "id": task.task_id.value,
        "name": task.name,
        "framework_id": task.framework_id.value,
        "executor_id": executor.map_or("", |id| &id.value),
        "slave_id": task.agent_id.value,
        "state": task.state().as_str_name(),
        "resources": sums(&model::sum(&task.resources)),
        "role": model::role(&task.resources).unwrap_or("*"),
        "statuses": task.statuses.iter().map(shown_status).collect::<Vec<_>>(),
    });
    let optional = [
        ("labels", task.labels.as_ref().map(labels_json)),
        ("discovery", task.discovery.as_ref().map(as_json)),
        ("container", task.container.as_ref().map(as_json)),
        ("health_check", task.health_check.as_ref().map(as_json)),
        ("user", task.user.as_ref().map(|user| json!(user))),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            shown[name] = value;
        }
    }
    if !task.limits.is_empty() {
        let limits = task.limits.iter();
        shown["limits"] = limits
            .map(|(name, limit)| (name.clone(), json!(limit.value)))
            .collect();
    }
    shown
}

fn shown_status(status: &v1::TaskStatus) -> Json {
    let mut shown = json!({
        "state": status.state().as_str_name(),
        "timestamp": status.timestamp.unwrap_or_default(),
    });
    if let Some(labels) = &status.labels {
        shown["labels"] = labels_json(labels);
    }
    if let Some(container) = &status.container_status {
        shown["container_status"] = as_json(container);
    }
    if let Some(healthy) = status.healthy {
        shown["healthy"] = json!(healthy);
    }
    shown
}
