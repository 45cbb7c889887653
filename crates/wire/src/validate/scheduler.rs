//! Calls of frameworks to `/api/v1/scheduler`.

use super::{InvalidCall, Reason, present, uuid};
use crate::v1::FrameworkInfo;
use crate::v1::scheduler::Call;
use crate::v1::scheduler::call::Type;

/// Checks a call sent by `principal`, if anybody was authenticated, and tells its type.
///
/// `Type::Unknown` passes: it is valid and answered with 501.
///
/// # Errors
/// The first thing that is wrong, in the order in which Mesos looks.
pub fn check(call: &Call, principal: Option<&str>) -> Result<Type, InvalidCall> {
    check_parts(call, principal).map_err(|reason| InvalidCall {
        api: "scheduler",
        reason,
    })
}

fn check_parts(call: &Call, principal: Option<&str>) -> Result<Type, Reason> {
    let call_type = call
        .r#type
        .and_then(|number| Type::try_from(number).ok())
        .ok_or(Reason::Missing("type"))?;
    if call_type == Type::Subscribe {
        let subscribe = call
            .subscribe
            .as_ref()
            .ok_or(Reason::Missing("subscribe"))?;
        check_framework(
            call,
            &subscribe.framework_info,
            "subscribe.framework_info.id",
            principal,
        )?;
        return Ok(call_type);
    }
    present(call.framework_id.as_ref(), "framework_id")?;
    match call_type {
        Type::Unknown | Type::Subscribe | Type::Teardown | Type::Revive | Type::Suppress => {}
        Type::Accept => present(call.accept.as_ref(), "accept")?,
        Type::Decline => present(call.decline.as_ref(), "decline")?,
        Type::AcceptInverseOffers => {
            present(call.accept_inverse_offers.as_ref(), "accept_inverse_offers")?;
        }
        Type::DeclineInverseOffers => {
            present(
                call.decline_inverse_offers.as_ref(),
                "decline_inverse_offers",
            )?;
        }
        Type::Kill => present(call.kill.as_ref(), "kill")?,
        Type::Shutdown => present(call.shutdown.as_ref(), "shutdown")?,
        Type::Acknowledge => {
            let part = call
                .acknowledge
                .as_ref()
                .ok_or(Reason::Missing("acknowledge"))?;
            uuid(&part.uuid)?;
        }
        Type::AcknowledgeOperationStatus => {
            let part = call
                .acknowledge_operation_status
                .as_ref()
                .ok_or(Reason::Missing("acknowledge_operation_status"))?;
            uuid(&part.uuid)?;
            present(part.agent_id.as_ref(), "agent_id")?;
        }
        Type::Reconcile => present(call.reconcile.as_ref(), "reconcile")?,
        Type::ReconcileOperations => {
            present(call.reconcile_operations.as_ref(), "reconcile_operations")?;
        }
        Type::Message => present(call.message.as_ref(), "message")?,
        Type::Request => present(call.request.as_ref(), "request")?,
        Type::UpdateFramework => {
            let part = call
                .update_framework
                .as_ref()
                .ok_or(Reason::Missing("update_framework"))?;
            check_framework(
                call,
                &part.framework_info,
                "update_framework.framework_info.id",
                principal,
            )?;
        }
    }
    Ok(call_type)
}

fn check_framework(
    call: &Call,
    info: &FrameworkInfo,
    id_path: &'static str,
    principal: Option<&str>,
) -> Result<(), Reason> {
    if call.framework_id != info.id {
        return Err(Reason::FrameworkIdDiffers(id_path));
    }
    match (principal, info.principal.as_deref()) {
        (Some(authenticated), Some(declared)) if authenticated != declared => {
            Err(Reason::PrincipalDiffers {
                authenticated: authenticated.to_owned(),
                declared: declared.to_owned(),
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, decode};

    fn refusal(json: &str) -> String {
        check(&call(json), Some("p"))
            .expect_err("the call is not valid")
            .to_string()
    }

    fn call(json: &str) -> Call {
        decode(ContentType::Json, json.as_bytes()).expect("the call decodes")
    }

    #[test]
    fn every_refusal_reads_as_that_of_mesos() {
        for (json, reason) in [
            (
                r#"{"type":"NO_SUCH_CALL"}"#,
                "Expecting 'type' to be present",
            ),
            (
                r#"{"framework_id":{"value":"x"}}"#,
                "Expecting 'type' to be present",
            ),
            (
                r#"{"type":"SUBSCRIBE"}"#,
                "Expecting 'subscribe' to be present",
            ),
            (
                r#"{"type":"REVIVE"}"#,
                "Expecting 'framework_id' to be present",
            ),
            (
                r#"{"type":"SUBSCRIBE","framework_id":{"value":"a"},"subscribe":{"framework_info":
                   {"user":"root","name":"e","id":{"value":"b"}}}}"#,
                "'framework_id' differs from 'subscribe.framework_info.id'",
            ),
            (
                r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":
                   {"user":"root","name":"e","id":{"value":"b"}}}}"#,
                "'framework_id' differs from 'subscribe.framework_info.id'",
            ),
            (
                r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":
                   {"user":"root","name":"e","principal":"q"}}}"#,
                "Authenticated principal 'p' does not match principal 'q' set in `FrameworkInfo`",
            ),
            (
                r#"{"type":"ACKNOWLEDGE","framework_id":{"value":"x"},"acknowledge":
                   {"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAA"}}"#,
                "Not a valid UUID",
            ),
            (
                r#"{"type":"ACKNOWLEDGE_OPERATION_STATUS","framework_id":{"value":"x"},
                   "acknowledge_operation_status":{"operation_id":{"value":"o"},
                   "uuid":"AAAAAAAAAAAAAAAAAAAAAA=="}}"#,
                "Expecting 'agent_id' to be present",
            ),
            (
                r#"{"type":"UPDATE_FRAMEWORK","framework_id":{"value":"x"},"update_framework":
                   {"framework_info":{"user":"root","name":"e"}}}"#,
                "'framework_id' differs from 'update_framework.framework_info.id'",
            ),
        ] {
            assert_eq!(
                refusal(json),
                format!("Failed to validate scheduler::Call: {reason}")
            );
        }
    }

    #[test]
    fn a_type_with_arguments_needs_them() {
        for name in [
            "accept",
            "decline",
            "accept_inverse_offers",
            "decline_inverse_offers",
            "kill",
            "shutdown",
            "acknowledge",
            "acknowledge_operation_status",
            "reconcile",
            "reconcile_operations",
            "message",
            "request",
            "update_framework",
        ] {
            let json = format!(
                r#"{{"type":"{}","framework_id":{{"value":"x"}}}}"#,
                name.to_uppercase()
            );
            assert_eq!(
                refusal(&json),
                format!("Failed to validate scheduler::Call: Expecting '{name}' to be present")
            );
        }
    }

    #[test]
    fn calls_without_arguments_pass() {
        for (name, expected) in [
            ("TEARDOWN", Type::Teardown),
            ("REVIVE", Type::Revive),
            ("SUPPRESS", Type::Suppress),
            ("UNKNOWN", Type::Unknown),
        ] {
            let json = format!(r#"{{"type":"{name}","framework_id":{{"value":"x"}}}}"#);
            assert_eq!(check(&call(&json), None), Ok(expected));
        }
        let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":
            {"user":"root","name":"e","principal":"p"}}}"#;
        assert_eq!(check(&call(subscribe), Some("p")), Ok(Type::Subscribe));
        assert_eq!(check(&call(subscribe), None), Ok(Type::Subscribe));
    }
}
