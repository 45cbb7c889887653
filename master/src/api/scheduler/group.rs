//! From LAUNCH_GROUP to what the rules read. One task that cannot be is told for all of them.

use prost::Message;
use regency_resources::Milli;
use regency_state::{ExecutorSpec, LaunchSpec, TaskSpec};
use regency_types::{AgentId, FrameworkId};
use regency_wire::v1::executor_info::Type;
use regency_wire::v1::offer::Operation as WireOperation;
use regency_wire::v1::{ExecutorInfo, TaskInfo};

use super::{executor, launch};

/// Least processors of the executor of a group (Mesos).
const CPUS_MIN: Milli = Milli(10);
/// Least memory of the executor of a group, in thousandths of a megabyte (Mesos).
const MEM_MIN: Milli = Milli(32_000);

/// The tasks of a LAUNCH_GROUP, each with the executor of the group.
pub(super) fn tasks(
    operation: WireOperation,
    framework: &FrameworkId,
    role: &str,
) -> Vec<LaunchSpec> {
    let has_id = operation.id.is_some();
    let group = operation.launch_group.unwrap_or_default();
    let executor = if has_id {
        Err("The 'id' field cannot be set for LAUNCH_GROUP operations".to_owned())
    } else {
        self::executor(&group.executor, framework, role)
    };
    let tasks = group.task_group.tasks.into_iter();
    tasks
        .map(|mut task| {
            let spec = executor
                .clone()
                .and_then(|executor| spec(&mut task, &group.executor, executor, role));
            match spec {
                Ok(spec) => LaunchSpec::Valid(spec),
                Err(message) => LaunchSpec::Invalid {
                    agent: AgentId::new(&task.agent_id.value).ok(),
                    task_id: task.task_id.value,
                    message,
                },
            }
        })
        .collect()
}

fn executor(
    info: &ExecutorInfo,
    framework: &FrameworkId,
    role: &str,
) -> Result<ExecutorSpec, String> {
    let id = &info.executor_id.value;
    if info.r#type() == Type::Unknown {
        return Err(format!(
            "'ExecutorInfo.type' of executor '{id}' must be set to launch a task group"
        ));
    }
    let spec = executor::any(info, framework, role)?;
    let has = |name: &str| spec.resources.scalar(name);
    for (name, least) in [("cpus", CPUS_MIN), ("mem", MEM_MIN), ("disk", Milli(1))] {
        if has(name) < least {
            return Err(format!(
                "Executor '{id}' uses {} {name}, less than a task group needs",
                has(name).to_f64()
            ));
        }
    }
    Ok(spec)
}

/// A task of the group, which from now on carries the executor (Mesos).
fn spec(
    task: &mut TaskInfo,
    named: &ExecutorInfo,
    executor: ExecutorSpec,
    role: &str,
) -> Result<TaskSpec, String> {
    let id = task.task_id.value.clone();
    check(task, named)
        .and_then(|()| {
            let info = ExecutorInfo::decode(executor.info.clone());
            task.executor = Some(info.map_err(|error| error.to_string())?);
            executor::allocate(&mut task.resources, role);
            launch::whole(task, Some(executor), role)
        })
        .map_err(|reason| format!("Task '{id}' of the group is invalid: {reason}"))
}

fn check(task: &TaskInfo, executor: &ExecutorInfo) -> Result<(), String> {
    launch::ids(task)?;
    if task.executor.as_ref().is_some_and(|own| own != executor) {
        return Err("it has another executor than its group".to_owned());
    }
    match &task.command {
        Some(command) => launch::check_command(command)?,
        None if executor.r#type() == Type::Default => {
            return Err("'TaskInfo.command' must be set for 'DEFAULT' executor".to_owned());
        }
        None => {}
    }
    let container = task.container.as_ref();
    let network = container.is_some_and(|container| !container.network_infos.is_empty());
    let health = task.health_check.as_ref();
    if network && health.is_some_and(|check| check.http.is_some() || check.tcp.is_some()) {
        return Err(
            "a task with a network of its own cannot have a health check over HTTP or TCP"
                .to_owned(),
        );
    }
    let linux = container.and_then(|container| container.linux_info.as_ref());
    let shares = linux.and_then(|linux| linux.share_cgroups) != Some(false);
    if !task.limits.is_empty() && shares {
        return Err(
            "'limits' of a task in a group need 'linux_info.share_cgroups' false".to_owned(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes something of a group wrong.
    type Change<'a> = &'a dyn Fn(&mut Value);
    use serde_json::{Value, json};

    fn scalar(name: &str, value: f64) -> Value {
        json!({"name": name, "type": "SCALAR", "scalar": {"value": value}})
    }

    fn operation() -> Value {
        let task = |id: &str| {
            json!({"name": id, "task_id": {"value": id}, "agent_id": {"value": "a"},
                "command": {"value": "true"}, "resources": [scalar("cpus", 1.0)]})
        };
        json!({"type": "LAUNCH_GROUP", "launch_group": {
            "executor": {"type": "DEFAULT", "executor_id": {"value": "pod"}, "resources":
                [scalar("cpus", 0.01), scalar("mem", 32.0), scalar("disk", 1.0)]},
            "task_group": {"tasks": [task("one"), task("two")]}}})
    }

    fn specs(operation: Value) -> Vec<LaunchSpec> {
        let operation = serde_json::from_value(operation).expect("an operation");
        tasks(operation, &FrameworkId::new("f").expect("an id"), "eng")
    }

    #[test]
    fn every_task_carries_the_executor_and_the_role() {
        let mut operation = operation();
        // As a scheduler may copy it by itself.
        let executor = operation["launch_group"]["executor"].clone();
        operation["launch_group"]["task_group"]["tasks"][1]["executor"] = executor;
        let specs = specs(operation);
        assert_eq!(specs.len(), 2);
        let mut executors = Vec::new();
        for spec in specs {
            let LaunchSpec::Valid(spec) = spec else {
                panic!("{spec:?}");
            };
            let info = TaskInfo::decode(spec.info.clone()).expect("a task");
            let executor = info.executor.expect("it has one");
            assert_eq!(executor.executor_id.value, "pod");
            for resource in info.resources.iter().chain(&executor.resources) {
                let allocation = resource.allocation_info.as_ref();
                assert_eq!(allocation.and_then(|a| a.role.as_deref()), Some("eng"));
            }
            executors.push(spec.executor.expect("it has one"));
        }
        assert_eq!(executors[0], executors[1]);
        assert_eq!(
            executors[0].resources.to_string(),
            "cpus:0.01; disk:1; mem:32"
        );
    }

    #[test]
    fn a_bad_executor_is_told_for_all_tasks() {
        let with = |change: &dyn Fn(&mut Value)| {
            let mut operation = operation();
            change(&mut operation["launch_group"]["executor"]);
            specs(operation)
        };
        let without = |name: &'static str| {
            move |executor: &mut Value| {
                let resources = executor["resources"].as_array_mut().expect("a list");
                resources.retain(|resource| resource["name"] != name);
            }
        };
        let cases: [(Change<'_>, &str); 8] = [
            (&|e| e["type"] = json!("UNKNOWN"), "'ExecutorInfo.type'"),
            (
                &|e| e["command"] = json!({"value": "x"}),
                "'ExecutorInfo.command'",
            ),
            (&|e| e["type"] = json!("CUSTOM"), "'ExecutorInfo.command'"),
            (
                &|e| e["framework_id"] = json!({"value": "g"}),
                "FrameworkID",
            ),
            (
                &|e| e["container"] = json!({"type": "DOCKER", "docker": {"image": "x"}}),
                "'ExecutorInfo.container.type'",
            ),
            (&without("cpus"), "0 cpus"),
            (&without("mem"), "0 mem"),
            (&without("disk"), "0 disk"),
        ];
        for (change, named) in cases {
            let specs = with(change);
            assert_eq!(specs.len(), 2);
            for spec in specs {
                let LaunchSpec::Invalid { message, .. } = spec else {
                    panic!("{named}: {spec:?}");
                };
                assert!(message.contains(named), "{message}");
            }
        }
        let mut with_id = operation();
        with_id["id"] = json!({"value": "x"});
        for spec in specs(with_id) {
            let LaunchSpec::Invalid { message, .. } = spec else {
                panic!("{spec:?}");
            };
            assert!(message.contains("'id'"), "{message}");
        }
    }

    #[test]
    fn a_bad_task_is_named() {
        let network = json!({"type": "MESOS", "network_infos": [{"name": "n"}]});
        let cases: [(Change<'_>, &str); 7] = [
            (
                &|t| t["task_id"]["value"] = json!("a/b"),
                "'TaskInfo.task_id'",
            ),
            (
                &|t| t["executor"] = json!({"executor_id": {"value": "other"}}),
                "another executor",
            ),
            (&|t| t["command"] = Value::Null, "'TaskInfo.command'"),
            (
                &|t| t["container"] = json!({"type": "DOCKER", "docker": {"image": "x"}}),
                "Docker",
            ),
            (
                &|t| {
                    t["container"] = network.clone();
                    t["health_check"] = json!({"type": "TCP", "tcp": {"port": 1}});
                },
                "network of its own",
            ),
            (
                &|t| t["limits"] = json!({"cpus": {"value": 2.0}}),
                "'linux_info.share_cgroups'",
            ),
            (
                &|t| t["health_check"] = json!({"type": "TCP"}),
                "'health_check.tcp'",
            ),
        ];
        for (change, named) in cases {
            let mut operation = operation();
            let task = &mut operation["launch_group"]["task_group"]["tasks"][1];
            change(task);
            let specs = specs(operation);
            let LaunchSpec::Invalid { message, .. } = &specs[1] else {
                panic!("{named}: {specs:?}");
            };
            assert!(message.contains(named), "{message}");
            assert!(message.starts_with("Task '"), "{message}");
            assert!(matches!(&specs[0], LaunchSpec::Valid(_)), "{specs:?}");
        }
    }
}
