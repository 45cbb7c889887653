//! What holds for any bytes.

use proptest::prelude::*;
use regency_wire::validate::{agent, executor, operator, scheduler};
use regency_wire::{ContentType, WireMessage, decode, encode, v1};

use crate::calls::{OPERATOR_CALLS, SCHEDULER_CALLS};

/// Decodes bytes as `M`; what decodes must come back equal through both encodings.
fn decodes_or_is_refused<M: WireMessage>(content_type: ContentType, bytes: &[u8]) -> Option<M> {
    let message: M = match decode(content_type, bytes) {
        Ok(message) => message,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    let binary = encode(ContentType::Protobuf, &message);
    let back: M = decode(ContentType::Protobuf, &binary).expect("what was encoded decodes");
    // Compared as bytes, because a NaN does not equal itself.
    assert_eq!(encode(ContentType::Protobuf, &back), binary);
    let json = encode(ContentType::Json, &message);
    match decode::<M>(ContentType::Json, &json) {
        Ok(back) => assert_eq!(encode(ContentType::Json, &back), json),
        Err(error) => panic!("{json:?}: {error}"),
    }
    Some(message)
}

/// Every API reads the bytes, and nothing panics.
fn every_api_reads(content_type: ContentType, bytes: &[u8]) {
    if let Some(call) = decodes_or_is_refused(content_type, bytes) {
        let _ = scheduler::check(&call, Some("p"));
    }
    if let Some(call) = decodes_or_is_refused(content_type, bytes) {
        let _ = operator::check(&call);
    }
    if let Some(call) = decodes_or_is_refused(content_type, bytes) {
        let _ = executor::check(&call);
    }
    if let Some(call) = decodes_or_is_refused(content_type, bytes) {
        let _ = agent::check(&call);
    }
}

/// A valid call with a few bytes exchanged, cut off, or put in.
fn damaged(content_type: ContentType) -> impl Strategy<Value = Vec<u8>> {
    let calls: Vec<Vec<u8>> = SCHEDULER_CALLS
        .iter()
        .map(|json| recode::<v1::scheduler::Call>(json, content_type))
        .chain(
            OPERATOR_CALLS
                .iter()
                .map(|json| recode::<v1::master::Call>(json, content_type)),
        )
        .collect();
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..4);
    (
        prop::sample::select(calls),
        prop::collection::vec(edit, 1..6),
    )
        .prop_map(|(mut bytes, edits)| {
            for (at, byte, how) in edits {
                let at = at.index(bytes.len() + 1);
                match how {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, byte),
                    2 if at < bytes.len() => {
                        bytes.remove(at);
                    }
                    _ if at < bytes.len() => bytes[at] = byte,
                    _ => bytes.push(byte),
                }
            }
            bytes
        })
}

fn recode<M: WireMessage>(json: &str, content_type: ContentType) -> Vec<u8> {
    let call: M = decode(ContentType::Json, json.as_bytes()).expect("a valid call");
    encode(content_type, &call).to_vec()
}

/// JSON values whose names are those of fields, at places that may not be theirs.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    const NAMES: [&str; 20] = [
        "type",
        "framework_id",
        "subscribe",
        "framework_info",
        "accept",
        "operations",
        "launch",
        "task_infos",
        "task_id",
        "slave_id",
        "agent_id",
        "resources",
        "scalar",
        "value",
        "limits",
        "filters",
        "refuse_seconds",
        "role_constraints",
        "uuid",
        "data",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        prop::sample::select(
            &[
                "ACCEPT",
                "SUBSCRIBE",
                "LAUNCH",
                "x",
                "1",
                "1.5",
                "true",
                "AAAA",
                "Infinity",
                "NaN"
            ][..]
        )
        .prop_map(Into::into),
    ];
    leaf.prop_recursive(7, 60, 6, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            4 => prop::collection::btree_map(prop::sample::select(&NAMES[..]), inner, 0..6)
                .prop_map(|members| {
                    let members = members.into_iter().map(|(k, v)| (k.to_owned(), v));
                    serde_json::Value::Object(members.collect())
                }),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        every_api_reads(ContentType::Json, &bytes);
        every_api_reads(ContentType::Protobuf, &bytes);
    }

    #[test]
    fn damaged_json_never_panics(bytes in damaged(ContentType::Json)) {
        every_api_reads(ContentType::Json, &bytes);
    }

    #[test]
    fn damaged_protobuf_never_panics(bytes in damaged(ContentType::Protobuf)) {
        every_api_reads(ContentType::Protobuf, &bytes);
    }

    #[test]
    fn misplaced_json_never_panics(value in any_json()) {
        every_api_reads(ContentType::Json, value.to_string().as_bytes());
    }
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
    let depth = 100_000;
    let json = format!("{}{}", "{\"parent\":".repeat(depth), "}".repeat(depth));
    assert!(decode::<v1::ContainerId>(ContentType::Json, json.as_bytes()).is_err());
    // Each level: field 2 of its own length before it; a length that ends in the middle will do.
    let binary = b"\x12\xff\xff\x03".repeat(depth);
    assert!(decode::<v1::ContainerId>(ContentType::Protobuf, &binary).is_err());
    let groups = vec![0x0b; depth];
    assert!(decode::<v1::ContainerId>(ContentType::Protobuf, &groups).is_err());
}

#[test]
fn what_nests_too_deeply_for_one_encoding_is_refused_in_both() {
    let nested = |depth| {
        let mut id = v1::ContainerId {
            value: "c".into(),
            parent: None,
        };
        for _ in 0..depth {
            id = v1::ContainerId {
                value: "c".into(),
                parent: Some(Box::new(id)),
            };
        }
        id
    };
    for content_type in [ContentType::Json, ContentType::Protobuf] {
        let decodes = |depth| {
            let id: v1::ContainerId = nested(depth);
            decode::<v1::ContainerId>(content_type, &encode(content_type, &id)).is_ok()
        };
        assert!(decodes(64), "{content_type:?}");
        assert!(!decodes(65), "{content_type:?}");
    }
}

#[test]
fn a_long_list_of_empty_messages_makes_no_long_answer() {
    let json = format!(
        "{{\"decline\":{{\"offer_ids\":[{}{{}}]}}}}",
        "{},".repeat(100_000)
    );
    let error = decode::<v1::scheduler::Call>(ContentType::Json, json.as_bytes())
        .expect_err("offer ids without value");
    let text = error.to_string();
    assert!(text.len() < 1000 && text.ends_with("..."), "{text}");
}
