//! From `ExecutorInfo` to what the rules read.

use bytes::Bytes;
use prost::Message;
use regency_resources::{Milli, Value};
use regency_state::ExecutorSpec;
use regency_types::{ExecutorId, FrameworkId};
use regency_wire::resources;
use regency_wire::v1::executor_info::Type;
use regency_wire::v1::{self, ExecutorInfo};

/// Checks the executor of a task whose offers are for `role`.
///
/// # Errors
/// What is wrong with it, for the task's framework to read.
pub(super) fn spec(
    info: &ExecutorInfo,
    framework: &FrameworkId,
    role: &str,
) -> Result<ExecutorSpec, String> {
    if info.r#type() == Type::Default {
        return Err(
            "The 'DEFAULT' executor runs task groups only; launch the task with LAUNCH_GROUP"
                .to_owned(),
        );
    }
    any(info, framework, role)
}

/// Checks an executor of any type.
///
/// # Errors
/// What is wrong with it, for the task's framework to read.
pub(super) fn any(
    info: &ExecutorInfo,
    framework: &FrameworkId,
    role: &str,
) -> Result<ExecutorSpec, String> {
    let executor = ExecutorId::new(&info.executor_id.value)
        .map_err(|error| format!("'ExecutorInfo.executor_id' is invalid: {error}"))?;
    if let Some(other) = &info.framework_id
        && other.value != framework.as_str()
    {
        return Err(format!(
            "ExecutorInfo has an invalid FrameworkID (Actual: {} vs Expected: {framework})",
            other.value
        ));
    }
    match (info.r#type(), &info.command) {
        (Type::Default, None) => check_nested(info)?,
        (Type::Default, Some(_)) => {
            return Err("'ExecutorInfo.command' must not be set for 'DEFAULT' executor".to_owned());
        }
        (_, Some(command)) => super::launch::check_command(command)?,
        (_, None) => {
            return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".to_owned());
        }
    }
    check_container(info)?;
    if let Some(grace) = &info.shutdown_grace_period
        && grace.nanoseconds < 0
    {
        return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".to_owned());
    }
    let allocated = resources::from_wire(&info.resources)
        .map_err(|error| format!("Executor uses invalid resources: {error}"))?;
    if let Some(other) = allocated.role.filter(|other| other != role) {
        return Err(format!(
            "Executor uses resources allocated to role '{other}', its offer is for '{role}'"
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
    // As one may leave the framework's id and the role out or not, and mean the same executor.
    let mut whole = ExecutorInfo {
        framework_id: Some(v1::FrameworkId {
            value: framework.to_string(),
        }),
        ..info.clone()
    };
    allocate(&mut whole.resources, role);
    Ok(ExecutorSpec {
        executor,
        resources: allocated.resources,
        info: Bytes::from(whole.encode_to_vec()),
    })
}

/// Says of resources to which role they are allocated.
pub(super) fn allocate(resources: &mut [v1::Resource], role: &str) {
    for resource in resources {
        let info = resource.allocation_info.get_or_insert_default();
        info.role.get_or_insert_with(|| role.to_owned());
    }
}

/// The default executor has a container that others can be nested in.
fn check_nested(info: &ExecutorInfo) -> Result<(), String> {
    let container = info.container.as_ref();
    if container.is_some_and(|c| c.r#type != v1::container_info::Type::Mesos as i32) {
        return Err(
            "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor".to_owned(),
        );
    }
    Ok(())
}

fn check_container(info: &ExecutorInfo) -> Result<(), String> {
    let Some(container) = &info.container else {
        return Ok(());
    };
    let image = container
        .mesos
        .as_ref()
        .and_then(|mesos| mesos.image.as_ref());
    for (asked, what) in [
        (container.docker.is_some(), "a Docker container"),
        (image.is_some(), "a container image"),
        (!container.volumes.is_empty(), "volumes"),
    ] {
        if asked {
            return Err(format!(
                "Executor uses {what}, which this version does not run"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_wire::v1::{CommandInfo, DurationInfo};

    fn info(change: impl FnOnce(&mut ExecutorInfo)) -> Result<ExecutorSpec, String> {
        let mut info = ExecutorInfo {
            executor_id: v1::ExecutorId { value: "e".into() },
            command: Some(CommandInfo {
                value: Some("run".into()),
                ..CommandInfo::default()
            }),
            ..ExecutorInfo::default()
        };
        change(&mut info);
        spec(&info, &FrameworkId::new("f").expect("an id"), "*")
    }

    #[test]
    fn the_framework_may_be_left_out_and_means_the_same() {
        let with = info(|info| {
            info.framework_id = Some(v1::FrameworkId { value: "f".into() });
        });
        assert_eq!(info(|_| {}), with);
        assert!(with.is_ok());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bad = [
            (info(|i| i.executor_id.value = "a/b".into()), "a/b"),
            (
                info(|i| i.framework_id = Some(v1::FrameworkId { value: "g".into() })),
                "FrameworkID",
            ),
            (info(|i| i.command = None), "command"),
            (
                info(|i| i.r#type = Some(Type::Default as i32)),
                "LAUNCH_GROUP",
            ),
            (
                info(|i| i.shutdown_grace_period = Some(DurationInfo { nanoseconds: -1 })),
                "shutdown_grace_period",
            ),
        ];
        for (checked, named) in bad {
            let error = checked.expect_err(named);
            assert!(error.contains(named), "{error}");
        }
    }
}
