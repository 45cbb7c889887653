//! Calls of executors to the agent's `/api/v1/executor`.

use super::{InvalidCall, Reason, present, uuid};
use crate::v1::TaskState;
use crate::v1::executor::Call;
use crate::v1::executor::call::Type;
use crate::v1::task_status::Source;

/// Checks a call and tells its type.
///
/// `Type::Unknown` passes: it is valid and answered with 501.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(call: &Call) -> Result<Type, InvalidCall> {
    check_parts(call).map_err(|reason| InvalidCall {
        api: "executor",
        reason,
    })
}

fn check_parts(call: &Call) -> Result<Type, Reason> {
    let call_type = call
        .r#type
        .and_then(|number| Type::try_from(number).ok())
        .ok_or(Reason::Missing("type"))?;
    match call_type {
        Type::Unknown | Type::Heartbeat => {}
        Type::Subscribe => present(call.subscribe.as_ref(), "subscribe")?,
        Type::Message => present(call.message.as_ref(), "message")?,
        Type::Update => {
            let status = &call
                .update
                .as_ref()
                .ok_or(Reason::Missing("update"))?
                .status;
            uuid(
                status
                    .uuid
                    .as_ref()
                    .ok_or(Reason::Missing("update.status.uuid"))?,
            )?;
            if status
                .executor_id
                .as_ref()
                .is_some_and(|id| *id != call.executor_id)
            {
                return Err(bad("update.status.executor_id", &"another than the call's"));
            }
            if status.source != Some(Source::Executor as i32) {
                return Err(bad("update.status.source", &status.source().as_str_name()));
            }
            // The state of a task that was never given to an executor.
            if status.state == TaskState::TaskStaging as i32 {
                return Err(bad("update.status.state", &status.state().as_str_name()));
            }
        }
    }
    Ok(call_type)
}

fn bad(field: &'static str, value: &dyn std::fmt::Display) -> Reason {
    Reason::BadValue {
        field,
        value: value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, decode};

    const IDS: &str = r#""executor_id":{"value":"e"},"framework_id":{"value":"f"}"#;

    fn checked(rest: &str) -> Result<Type, String> {
        let json = format!("{{{IDS},{rest}}}");
        let call = decode::<Call>(ContentType::Json, json.as_bytes()).expect("the call decodes");
        check(&call).map_err(|error| error.to_string())
    }

    fn update(status: &str) -> Result<Type, String> {
        checked(&format!(
            r#""type":"UPDATE","update":{{"status":{{"task_id":{{"value":"t"}},{status}}}}}"#
        ))
    }

    #[test]
    fn parts_of_the_call_must_be_there() {
        assert!(checked(r#""type":"NONE""#).is_err_and(|text| text.contains("'type'")));
        for name in ["subscribe", "message", "update"] {
            let text = checked(&format!(r#""type":"{}""#, name.to_uppercase()));
            assert!(
                text.is_err_and(|text| text.contains(&format!("'{name}'"))),
                "{name}"
            );
        }
        assert_eq!(checked(r#""type":"HEARTBEAT""#), Ok(Type::Heartbeat));
    }

    #[test]
    fn an_update_must_be_one_that_an_executor_can_make() {
        const UUID: &str = r#""uuid":"AAAAAAAAAAAAAAAAAAAAAA==","source":"SOURCE_EXECUTOR""#;
        assert_eq!(
            update(&format!(r#""state":"TASK_RUNNING",{UUID}"#)),
            Ok(Type::Update)
        );
        for (status, named) in [
            (r#""state":"TASK_RUNNING""#.to_owned(), "uuid"),
            (r#""state":"TASK_RUNNING","uuid":"AAAA""#.to_owned(), "UUID"),
            (
                r#""state":"TASK_RUNNING","uuid":"AAAAAAAAAAAAAAAAAAAAAA==""#.to_owned(),
                "source",
            ),
            (format!(r#""state":"TASK_STAGING",{UUID}"#), "TASK_STAGING"),
            (
                format!(r#""state":"TASK_RUNNING",{UUID},"executor_id":{{"value":"other"}}"#),
                "executor_id",
            ),
        ] {
            assert!(
                update(&status).is_err_and(|text| text.contains(named)),
                "{status}"
            );
        }
    }
}
