//! From `TaskInfo` to what the rules read. A task that cannot be is not an error of the call: it
//! is told as TASK_ERROR.

use bytes::Bytes;
use prost::Message;
use regency_resources::{Milli, Resources, Value};
use regency_runtime::IdMint;
use regency_state::{ConversionSpec, ExecutorSpec, Feedback, LaunchSpec, Operation, TaskSpec};
use regency_types::{AgentId, FrameworkId, TaskId};
use regency_wire::resources;
use regency_wire::v1::offer::Operation as WireOperation;
use regency_wire::v1::offer::operation::Type;
use regency_wire::v1::{CommandInfo, TaskInfo};
use regency_wire::validate::task as validate;

use super::{executor, group};
use crate::api::resource_operation;

/// The operations of an ACCEPT, or the name of the first one that is not supported.
///
/// `ids` gives the statuses of operations that the framework wants to hear of their identity.
pub(super) fn operations(
    wire: Vec<WireOperation>,
    framework: &FrameworkId,
    role: &str,
    ids: &dyn IdMint,
) -> Result<Vec<Operation>, String> {
    wire.into_iter()
        .map(|operation| match operation.r#type() {
            Type::Launch => Ok(Operation::Launch(launch(operation, framework, role))),
            Type::LaunchGroup => Ok(Operation::LaunchGroup(group::tasks(
                operation, framework, role,
            ))),
            Type::Unknown => Err(Type::Unknown.as_str_name().to_owned()),
            _ => Ok(Operation::Convert(ConversionSpec {
                feedback: operation.id.as_ref().map(|id| Feedback {
                    id: id.value.clone(),
                    uuid: ids.update_uuid(),
                    info: Bytes::from(operation.encode_to_vec()),
                }),
                operation: resource_operation::read(&operation, Some(role)),
            })),
        })
        .collect()
}

/// The tasks of a LAUNCH. What becomes of them is told by their own statuses (Mesos 1.11).
fn launch(operation: WireOperation, framework: &FrameworkId, role: &str) -> Vec<LaunchSpec> {
    let has_id = operation.id.is_some();
    let tasks = operation.launch.unwrap_or_default().task_infos;
    tasks
        .into_iter()
        .map(|task| match spec(task, framework, role) {
            LaunchSpec::Valid(task) if has_id => LaunchSpec::Invalid {
                task_id: task.task.to_string(),
                agent: Some(task.agent),
                message: "The 'id' field cannot be set for LAUNCH operations".to_owned(),
            },
            spec => spec,
        })
        .collect()
}

/// A task of an ACCEPT of `framework` whose offers are for `role`.
fn spec(info: TaskInfo, framework: &FrameworkId, role: &str) -> LaunchSpec {
    let agent = AgentId::new(&info.agent_id.value).ok();
    match check(&info, framework, role) {
        Ok(spec) => LaunchSpec::Valid(spec),
        Err(message) => LaunchSpec::Invalid {
            task_id: info.task_id.value,
            agent,
            message,
        },
    }
}

/// The ids that a task names itself and its agent by.
pub(super) fn ids(info: &TaskInfo) -> Result<(TaskId, AgentId), String> {
    let task = TaskId::new(&info.task_id.value)
        .map_err(|error| format!("'TaskInfo.task_id' is invalid: {error}"))?;
    let agent = AgentId::new(&info.agent_id.value)
        .map_err(|error| format!("'TaskInfo.agent_id' is invalid: {error}"))?;
    Ok((task, agent))
}

fn check(info: &TaskInfo, framework: &FrameworkId, role: &str) -> Result<TaskSpec, String> {
    ids(info)?;
    let executor = match (&info.command, &info.executor) {
        (Some(command), None) => {
            check_command(command)?;
            None
        }
        (None, Some(info)) => Some(executor::spec(info, framework, role)?),
        _ => {
            return Err(
                "Task should have at least one (but not both) of CommandInfo or \
                        ExecutorInfo present"
                    .to_owned(),
            );
        }
    };
    whole(info, executor, role)
}

/// What does not depend on how the task is run.
pub(super) fn whole(
    info: &TaskInfo,
    executor: Option<ExecutorSpec>,
    role: &str,
) -> Result<TaskSpec, String> {
    let (task, agent) = ids(info)?;
    if info.container.as_ref().is_some_and(|c| c.docker.is_some()) {
        return Err("Task uses a Docker container, which this version does not run".to_owned());
    }
    if !info.limits.is_empty() {
        return Err(
            "Task uses 'limits', but its agent does not have the TASK_RESOURCE_LIMITS capability"
                .to_owned(),
        );
    }
    if let Some(health) = &info.health_check {
        validate::health_check(health)?;
    }
    if let Some(check) = &info.check {
        validate::check(check)?;
    }
    let allocated = resources::from_wire(&info.resources)
        .map_err(|error| format!("Task uses invalid resources: {error}"))?;
    if let Some(other) = allocated.role.filter(|other| other != role) {
        return Err(format!(
            "Task uses resources allocated to role '{other}', its offer is for '{role}'"
        ));
    }
    for (key, value) in allocated.resources.iter() {
        if let Value::Scalar(Milli(milli)) = value
            && key.name == "gpus"
            && milli % 1000 != 0
        {
            return Err("The 'gpus' resource must be an unsigned integer".to_owned());
        }
    }
    check_revocable(&allocated.resources, executor.as_ref())?;
    check_spans(info)?;
    Ok(TaskSpec {
        task,
        agent,
        name: info.name.clone(),
        resources: allocated.resources,
        info: Bytes::from(info.encode_to_vec()),
        executor,
    })
}

pub(super) fn check_command(command: &CommandInfo) -> Result<(), String> {
    validate::command(command)?;
    Ok(())
}

/// What may be taken away from a task and what may not cannot be told apart by their name.
fn check_revocable(task: &Resources, executor: Option<&ExecutorSpec>) -> Result<(), String> {
    let all = executor.map_or_else(|| task.clone(), |executor| task + &executor.resources);
    let kept = all.non_revocable();
    match all
        .revocable()
        .names()
        .find(|name| kept.named(name) != Resources::new())
    {
        Some(name) => Err(format!(
            "Task (and its executor) mixes revocable and non-revocable '{name}'"
        )),
        None => Ok(()),
    }
}

fn check_spans(info: &TaskInfo) -> Result<(), String> {
    let grace = info
        .kill_policy
        .as_ref()
        .and_then(|p| p.grace_period.as_ref());
    for (span, field) in [
        (grace, "kill_policy.grace_period"),
        (info.max_completion_time.as_ref(), "max_completion_time"),
    ] {
        if span.is_some_and(|span| span.nanoseconds < 0) {
            return Err(format!("Task's '{field}' must be non-negative"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_wire::v1::value::{Scalar, Type as ValueType};
    use regency_wire::v1::{self, CheckInfo, DurationInfo, HealthCheck, Resource};

    fn task(change: impl FnOnce(&mut TaskInfo)) -> LaunchSpec {
        let mut info = TaskInfo {
            name: "t".into(),
            task_id: v1::TaskId { value: "t".into() },
            agent_id: v1::AgentId { value: "a".into() },
            resources: vec![Resource {
                name: "cpus".into(),
                r#type: ValueType::Scalar as i32,
                scalar: Some(Scalar { value: 1.0 }),
                ..Resource::default()
            }],
            command: Some(CommandInfo {
                value: Some("true".into()),
                ..CommandInfo::default()
            }),
            ..TaskInfo::default()
        };
        change(&mut info);
        spec(info, &FrameworkId::new("f").expect("an id"), "*")
    }

    fn refusal(change: impl FnOnce(&mut TaskInfo)) -> String {
        match task(change) {
            LaunchSpec::Invalid { message, .. } => message,
            LaunchSpec::Valid(spec) => panic!("accepted: {spec:?}"),
        }
    }

    #[test]
    fn a_command_task_is_accepted() {
        let LaunchSpec::Valid(spec) = task(|_| {}) else {
            panic!("refused")
        };
        assert_eq!(spec.resources.to_string(), "cpus:1");
    }

    #[test]
    fn what_this_version_does_not_do_is_refused_by_name() {
        assert!(refusal(|info| info.command = None).contains("CommandInfo"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bad_id = |info: &mut TaskInfo| info.task_id.value = "a/b".into();
        assert!(refusal(bad_id).contains("'a/b'"));
        let negative = |info: &mut TaskInfo| {
            info.resources[0].scalar = Some(Scalar { value: -1.0 });
        };
        assert!(refusal(negative).contains("cpus"));
        let limited = |info: &mut TaskInfo| {
            info.limits.insert("cpus".into(), Scalar { value: 2.0 });
        };
        assert!(refusal(limited).contains("'limits'"));
        let mixed = |info: &mut TaskInfo| {
            let mut revocable = info.resources[0].clone();
            revocable.revocable = Some(v1::resource::RevocableInfo {});
            info.resources.push(revocable);
        };
        assert!(refusal(mixed).contains("non-revocable 'cpus'"));
        let health = |info: &mut TaskInfo| info.health_check = Some(HealthCheck::default().into());
        assert!(refusal(health).contains("'health_check.type'"));
        let check = |info: &mut TaskInfo| info.check = Some(CheckInfo::default().into());
        assert!(refusal(check).contains("'check.type'"));
        let limit = |info: &mut TaskInfo| {
            info.max_completion_time = Some(DurationInfo { nanoseconds: -1 });
        };
        assert!(refusal(limit).contains("'max_completion_time'"));
    }
}
