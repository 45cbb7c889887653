//! Calls of operators to the master's `/api/v1`.

use super::{InvalidCall, Reason, present};
use crate::v1::master::Call;
use crate::v1::master::call::Type;

/// Checks a call and tells its type.
///
/// `Type::Unknown` passes: it is valid and answered with 501.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(call: &Call) -> Result<Type, InvalidCall> {
    check_parts(call).map_err(|reason| InvalidCall {
        api: "master",
        reason,
    })
}

fn check_parts(call: &Call) -> Result<Type, Reason> {
    let call_type = call
        .r#type
        .and_then(|number| Type::try_from(number).ok())
        .ok_or(Reason::Missing("type"))?;
    match call_type {
        Type::Unknown
        | Type::GetHealth
        | Type::GetFlags
        | Type::GetVersion
        | Type::GetLoggingLevel
        | Type::GetState
        | Type::GetAgents
        | Type::GetFrameworks
        | Type::GetExecutors
        | Type::GetOperations
        | Type::GetTasks
        | Type::GetRoles
        | Type::GetWeights
        | Type::GetMaster
        | Type::Subscribe
        | Type::GetMaintenanceStatus
        | Type::GetMaintenanceSchedule
        | Type::GetQuota => {}
        Type::GetMetrics => present(call.get_metrics.as_ref(), "get_metrics")?,
        Type::SetLoggingLevel => present(call.set_logging_level.as_ref(), "set_logging_level")?,
        Type::ListFiles => present(call.list_files.as_ref(), "list_files")?,
        Type::ReadFile => present(call.read_file.as_ref(), "read_file")?,
        Type::UpdateWeights => present(call.update_weights.as_ref(), "update_weights")?,
        Type::ReserveResources => present(call.reserve_resources.as_ref(), "reserve_resources")?,
        Type::UnreserveResources => {
            present(call.unreserve_resources.as_ref(), "unreserve_resources")?;
        }
        Type::CreateVolumes => present(call.create_volumes.as_ref(), "create_volumes")?,
        Type::DestroyVolumes => present(call.destroy_volumes.as_ref(), "destroy_volumes")?,
        Type::GrowVolume => {
            let part = call
                .grow_volume
                .as_ref()
                .ok_or(Reason::Missing("grow_volume"))?;
            present(part.agent_id.as_ref(), "grow_volume.agent_id")?;
        }
        Type::ShrinkVolume => {
            let part = call
                .shrink_volume
                .as_ref()
                .ok_or(Reason::Missing("shrink_volume"))?;
            present(part.agent_id.as_ref(), "shrink_volume.agent_id")?;
        }
        Type::UpdateMaintenanceSchedule => {
            present(
                call.update_maintenance_schedule.as_ref(),
                "update_maintenance_schedule",
            )?;
        }
        Type::StartMaintenance => present(call.start_maintenance.as_ref(), "start_maintenance")?,
        Type::StopMaintenance => present(call.stop_maintenance.as_ref(), "stop_maintenance")?,
        Type::DrainAgent => {
            let part = call
                .drain_agent
                .as_ref()
                .ok_or(Reason::Missing("drain_agent"))?;
            if let Some(period) = &part.max_grace_period
                && (period.seconds < 0 || period.nanos < 0)
            {
                return Err(Reason::BadValue {
                    field: "drain_agent.max_grace_period",
                    value: "negative".to_owned(),
                });
            }
        }
        Type::DeactivateAgent => present(call.deactivate_agent.as_ref(), "deactivate_agent")?,
        Type::ReactivateAgent => present(call.reactivate_agent.as_ref(), "reactivate_agent")?,
        Type::UpdateQuota => present(call.update_quota.as_ref(), "update_quota")?,
        Type::SetQuota => present(call.set_quota.as_ref(), "set_quota")?,
        Type::RemoveQuota => present(call.remove_quota.as_ref(), "remove_quota")?,
        Type::Teardown => present(call.teardown.as_ref(), "teardown")?,
        Type::MarkAgentGone => present(call.mark_agent_gone.as_ref(), "mark_agent_gone")?,
    }
    Ok(call_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, decode};

    fn checked(json: &str) -> Result<Type, String> {
        let call = decode::<Call>(ContentType::Json, json.as_bytes()).expect("the call decodes");
        check(&call).map_err(|error| error.to_string())
    }

    #[test]
    fn a_type_must_be_there_and_known() {
        for json in ["{}", r#"{"type":"NO_SUCH_CALL"}"#] {
            assert_eq!(
                checked(json),
                Err("Failed to validate master::Call: Expecting 'type' to be present".to_owned())
            );
        }
        assert_eq!(checked(r#"{"type":"GET_HEALTH"}"#), Ok(Type::GetHealth));
    }

    #[test]
    fn a_type_with_arguments_needs_them() {
        for name in [
            "get_metrics",
            "set_logging_level",
            "list_files",
            "read_file",
            "update_weights",
            "reserve_resources",
            "unreserve_resources",
            "create_volumes",
            "destroy_volumes",
            "grow_volume",
            "shrink_volume",
            "update_maintenance_schedule",
            "start_maintenance",
            "stop_maintenance",
            "drain_agent",
            "deactivate_agent",
            "reactivate_agent",
            "update_quota",
            "set_quota",
            "remove_quota",
            "teardown",
            "mark_agent_gone",
        ] {
            assert_eq!(
                checked(&format!(r#"{{"type":"{}"}}"#, name.to_uppercase())),
                Err(format!(
                    "Failed to validate master::Call: Expecting '{name}' to be present"
                ))
            );
        }
    }

    #[test]
    fn a_negative_grace_period_is_refused() {
        let json = |seconds| {
            format!(
                r#"{{"type":"DRAIN_AGENT","drain_agent":{{"agent_id":{{"value":"a"}},
                   "max_grace_period":{{"seconds":{seconds}}}}}}}"#
            )
        };
        assert_eq!(checked(&json(2)), Ok(Type::DrainAgent));
        assert!(checked(&json(-2)).is_err_and(|text| text.contains("max_grace_period")));
    }
}
