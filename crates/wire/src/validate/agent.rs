//! Calls of operators and executors to the agent's `/api/v1`.

use super::{InvalidCall, Reason, present};
use crate::v1::agent::Call;
use crate::v1::agent::call::Type;

/// Checks a call and tells its type.
///
/// `Type::Unknown` passes: it is valid and answered with 501.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(call: &Call) -> Result<Type, InvalidCall> {
    check_parts(call).map_err(|reason| InvalidCall {
        api: "agent",
        reason,
    })
}

fn check_parts(call: &Call) -> Result<Type, Reason> {
    let call_type = call
        .r#type
        .and_then(|number| Type::try_from(number).ok())
        .ok_or(Reason::Missing("type"))?;
    match call_type {
        // GET_CONTAINERS and PRUNE_IMAGES have arguments, but do without.
        Type::Unknown
        | Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetLoggingLevel
        | Type::GetState
        | Type::GetContainers
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetAgent
        | Type::GetResourceProviders
        | Type::PruneImages => {}
        Type::GetMetrics => present(call.get_metrics.as_ref(), "get_metrics")?,
        Type::SetLoggingLevel => present(call.set_logging_level.as_ref(), "set_logging_level")?,
        Type::ListFiles => present(call.list_files.as_ref(), "list_files")?,
        Type::ReadFile => present(call.read_file.as_ref(), "read_file")?,
        Type::LaunchNestedContainer => {
            present(
                call.launch_nested_container.as_ref(),
                "launch_nested_container",
            )?;
        }
        Type::WaitNestedContainer => {
            present(call.wait_nested_container.as_ref(), "wait_nested_container")?;
        }
        Type::KillNestedContainer => {
            present(call.kill_nested_container.as_ref(), "kill_nested_container")?;
        }
        Type::RemoveNestedContainer => {
            present(
                call.remove_nested_container.as_ref(),
                "remove_nested_container",
            )?;
        }
        Type::LaunchNestedContainerSession => present(
            call.launch_nested_container_session.as_ref(),
            "launch_nested_container_session",
        )?,
        Type::AttachContainerInput => {
            present(
                call.attach_container_input.as_ref(),
                "attach_container_input",
            )?;
        }
        Type::AttachContainerOutput => {
            present(
                call.attach_container_output.as_ref(),
                "attach_container_output",
            )?;
        }
        Type::LaunchContainer => present(call.launch_container.as_ref(), "launch_container")?,
        Type::WaitContainer => present(call.wait_container.as_ref(), "wait_container")?,
        Type::KillContainer => present(call.kill_container.as_ref(), "kill_container")?,
        Type::RemoveContainer => present(call.remove_container.as_ref(), "remove_container")?,
        Type::AddResourceProviderConfig => {
            present(
                call.add_resource_provider_config.as_ref(),
                "add_resource_provider_config",
            )?;
        }
        Type::UpdateResourceProviderConfig => present(
            call.update_resource_provider_config.as_ref(),
            "update_resource_provider_config",
        )?,
        Type::RemoveResourceProviderConfig => present(
            call.remove_resource_provider_config.as_ref(),
            "remove_resource_provider_config",
        )?,
        Type::MarkResourceProviderGone => {
            present(
                call.mark_resource_provider_gone.as_ref(),
                "mark_resource_provider_gone",
            )?;
        }
    }
    Ok(call_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_must_be_there_with_its_arguments() {
        let of = |call_type: Type| Call {
            r#type: Some(call_type as i32),
            ..Default::default()
        };
        let text = |call: &Call| check(call).expect_err("the call is not valid").to_string();
        assert_eq!(
            text(&Call::default()),
            "Failed to validate agent::Call: Expecting 'type' to be present"
        );
        assert_eq!(
            text(&of(Type::ReadFile)),
            "Failed to validate agent::Call: Expecting 'read_file' to be present"
        );
        assert_eq!(check(&of(Type::GetContainers)), Ok(Type::GetContainers));
    }
}
