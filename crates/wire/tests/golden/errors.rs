//! The texts that bodies which are no calls are answered with.

use regency_wire::validate::{operator, scheduler};
use regency_wire::{ContentType, decode, v1};

/// The text that the scheduler endpoint answers this body with.
fn refusal(content_type: ContentType, body: &[u8]) -> String {
    match decode::<v1::scheduler::Call>(content_type, body) {
        Err(error) => error.to_string(),
        Ok(call) => scheduler::check(&call, None)
            .expect_err("the call is not valid")
            .to_string(),
    }
}

#[test]
fn a_body_is_refused_in_the_words_of_mesos() {
    for (body, text) in [
        (
            "{not json",
            "Failed to parse body into JSON: syntax error at line 1 near: not json",
        ),
        (
            "",
            "Failed to parse body into JSON: syntax error at line 1 near: ",
        ),
        (
            "[1]",
            "Failed to convert JSON into Call protobuf: Expecting a JSON object",
        ),
        (
            r#"{"type":"REVIVE","framework_id":"text"}"#,
            "Failed to convert JSON into Call protobuf: Not expecting a JSON string for field \
             'framework_id'",
        ),
        (
            r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"n"}}}"#,
            "Failed to convert JSON into Call protobuf: Missing required fields: \
             subscribe.framework_info.user",
        ),
        (
            r#"{"type":"DANCE"}"#,
            "Failed to validate scheduler::Call: Expecting 'type' to be present",
        ),
        (
            "{}",
            "Failed to validate scheduler::Call: Expecting 'type' to be present",
        ),
        (
            r#"{"type":"REVIVE","more":1}"#,
            "Failed to validate scheduler::Call: Expecting 'framework_id' to be present",
        ),
    ] {
        assert_eq!(refusal(ContentType::Json, body.as_bytes()), text);
    }
}

#[test]
fn a_binary_body_is_refused_when_malformed_or_incomplete() {
    for body in [&b"\xff\xff\xff"[..], b"\x0a\x05ab", b"{}"] {
        assert_eq!(
            refusal(ContentType::Protobuf, body),
            "Failed to parse body into Call protobuf",
            "{body:?}"
        );
    }
    // SUBSCRIBE with a framework info that has a name only.
    assert_eq!(
        refusal(ContentType::Protobuf, b"\x10\x01\x1a\x05\x0a\x03\x12\x01n"),
        "Failed to parse body into Call protobuf: Missing required fields: \
         subscribe.framework_info.user"
    );
    // A type that a newer client knows.
    assert_eq!(
        refusal(ContentType::Protobuf, b"\x10\x63"),
        "Failed to validate scheduler::Call: Expecting 'type' to be present"
    );
}

#[test]
fn operators_are_answered_with_the_name_of_their_api() {
    let call: v1::master::Call =
        decode(ContentType::Json, br#"{"type":"RESERVE_RESOURCES"}"#).expect("decodes");
    assert_eq!(
        operator::check(&call)
            .expect_err("no arguments")
            .to_string(),
        "Failed to validate master::Call: Expecting 'reserve_resources' to be present"
    );
}
