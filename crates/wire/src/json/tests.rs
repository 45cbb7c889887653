use super::{JsonError, from_slice, to_vec};
use crate::message::WireMessage;
use crate::v1::scheduler::{AttributeConstraint, Call, attribute_constraint, call};
use crate::v1::{
    CommandInfo, ContainerId, Filters, FrameworkInfo, MasterInfo, Resource, TaskStatus, Value,
    master_info, network_info, value,
};

fn read<M: WireMessage>(json: &str) -> M {
    from_slice(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn mismatch<M: WireMessage>(json: &str) -> String {
    match from_slice::<M>(json.as_bytes()) {
        Err(JsonError::Mismatch(text)) => text,
        other => panic!("{json}: {other:?}"),
    }
}

fn written<M: WireMessage>(message: &M) -> String {
    String::from_utf8(to_vec(message)).expect("JSON is UTF-8")
}

#[test]
fn unknown_keys_are_skipped_and_null_means_unset() {
    let call: Call = read(
        r#"{"type":"REVIVE","framework_id":{"value":"x","more":[{}]},"kill":null,"other":{"a":1}}"#,
    );
    assert_eq!(call.r#type, Some(call::Type::Revive as i32));
    assert_eq!(call.framework_id.map(|id| id.value), Some("x".to_owned()));
    assert_eq!(call.kill, None);
}

#[test]
fn a_value_given_twice_counts_as_given_last() {
    let filters: Filters = read(r#"{"refuse_seconds":1,"refuse_seconds":2}"#);
    assert_eq!(filters.refuse_seconds, Some(2.0));
    let call: Call = read(r#"{"decline":{"offer_ids":[{"value":"a"}],"offer_ids":{"value":"b"}}}"#);
    assert_eq!(
        call.decline.map(|d| d.offer_ids[0].value.clone()),
        Some("b".to_owned())
    );
}

#[test]
fn numbers_come_as_numbers_or_strings_and_with_a_fraction_of_zero() {
    for json in [
        r#"{"id":"m","ip":1,"port":5050}"#,
        r#"{"id":"m","ip":1.0,"port":5.05e3}"#,
        r#"{"id":"m","ip":"1","port":"5050.0"}"#,
    ] {
        let info: MasterInfo = read(json);
        assert_eq!((info.ip, info.port), (1, 5050), "{json}");
    }
    for (json, text) in [
        (
            r#"{"ip":1.5}"#,
            "Expecting a 32-bit unsigned integer for field 'ip', not '1.5'",
        ),
        (
            r#"{"ip":-1}"#,
            "Expecting a 32-bit unsigned integer for field 'ip', not '-1'",
        ),
        (
            r#"{"ip":4294967296}"#,
            "Expecting a 32-bit unsigned integer for field 'ip', not '4294967296'",
        ),
        (
            r#"{"ip":"x"}"#,
            "Expecting a 32-bit unsigned integer for field 'ip', not 'x'",
        ),
        (
            r#"{"ip":true}"#,
            "Not expecting a JSON boolean for field 'ip'",
        ),
    ] {
        assert_eq!(mismatch::<MasterInfo>(json), text);
    }
}

#[test]
fn floats_may_be_infinite_both_ways() {
    for (json, expected) in [
        (r#"{"refuse_seconds":"Infinity"}"#, f64::INFINITY),
        (r#"{"refuse_seconds":"-Infinity"}"#, f64::NEG_INFINITY),
    ] {
        let filters: Filters = read(json);
        assert_eq!(filters.refuse_seconds, Some(expected));
        assert_eq!(written(&filters), json);
    }
    assert_eq!(
        written(&read::<Filters>(r#"{"refuse_seconds":"2.5"}"#)),
        r#"{"refuse_seconds":2.5}"#
    );
    assert_eq!(
        written(&read::<Filters>(r#"{"refuse_seconds":15}"#)),
        r#"{"refuse_seconds":15.0}"#
    );
}

#[test]
fn booleans_come_as_such_or_as_their_names() {
    for json in [r#"{"shell":false}"#, r#"{"shell":"false"}"#] {
        assert_eq!(read::<CommandInfo>(json).shell, Some(false));
    }
    assert_eq!(
        mismatch::<CommandInfo>(r#"{"shell":"no"}"#),
        "Expecting a boolean for field 'shell', not 'no'"
    );
    assert_eq!(
        mismatch::<CommandInfo>(r#"{"shell":0}"#),
        "Not expecting a JSON number for field 'shell'"
    );
}

#[test]
fn bytes_are_base64() {
    let status: TaskStatus =
        read(r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","data":"aGk=","uuid":""}"#);
    assert_eq!(status.data.as_deref(), Some(&b"hi"[..]));
    assert_eq!(
        written(&status),
        r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","data":"aGk=","uuid":""}"#
    );
    assert!(mismatch::<TaskStatus>(r#"{"data":"*"}"#).contains("base64 for field 'data'"));
}

#[test]
fn an_unknown_enum_name_is_dropped_where_optional_and_refused_where_required() {
    let json = r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","reason":"REASON_NEW"}"#;
    assert_eq!(read::<TaskStatus>(json).reason, None);
    let json = r#"{"task_id":{"value":"t"},"state":"TASK_NEW"}"#;
    assert_eq!(
        mismatch::<TaskStatus>(json),
        "Unknown name 'TASK_NEW' for required field 'state'"
    );
}

#[test]
fn an_enum_number_without_a_name_is_not_written() {
    let info = MasterInfo {
        id: "m".into(),
        capabilities: vec![
            master_info::Capability { r#type: Some(1) },
            master_info::Capability { r#type: Some(99) },
        ],
        ..Default::default()
    };
    assert!(written(&info).ends_with(r#""capabilities":[{"type":"AGENT_UPDATE"},{}]}"#));
}

#[test]
fn a_single_value_stands_for_a_list_of_one() {
    let info: FrameworkInfo =
        read(r#"{"user":"u","name":"n","roles":"a","capabilities":{"type":"MULTI_ROLE"}}"#);
    assert_eq!(info.roles, ["a"]);
    assert_eq!(info.capabilities.len(), 1);
    let info: FrameworkInfo = read(r#"{"user":"u","name":"n","roles":["a",null,"b"]}"#);
    assert_eq!(info.roles, ["a", "b"]);
    assert_eq!(
        mismatch::<FrameworkInfo>(r#"{"roles":[["a"]]}"#),
        "Not expecting a JSON array for field 'roles'"
    );
}

#[test]
fn maps_are_objects() {
    let json = r#"{"task_id":{"value":"t"},"name":"n","agent_id":{"value":"a"},"limits":{"cpus":{"value":"Infinity"},"mem":{"value":64.0}}}"#;
    let task: crate::v1::TaskInfo = read(json);
    assert_eq!(task.limits["mem"], value::Scalar { value: 64.0 });
    assert!(
        written(&task).contains(r#""limits":{"cpus":{"value":"Infinity"},"mem":{"value":64.0}}"#)
    );
    assert_eq!(
        mismatch::<crate::v1::TaskInfo>(r#"{"limits":[]}"#),
        "Not expecting a JSON array for field 'limits'"
    );
}

#[test]
fn one_member_of_a_oneof_is_held() {
    let json = r#"{"selector":{"attribute_name":"rack"},"predicate":{"exists":{}}}"#;
    let constraint: AttributeConstraint = read(json);
    assert_eq!(
        constraint.selector.selector,
        Some(attribute_constraint::selector::Selector::AttributeName(
            "rack".into()
        ))
    );
    assert_eq!(written(&constraint), json);
}

#[test]
fn recursive_messages_nest() {
    let json = r#"{"value":"c","parent":{"value":"b","parent":{"value":"a"}}}"#;
    assert_eq!(written(&read::<ContainerId>(json)), json);
}

#[test]
fn older_names_are_understood_unless_the_newer_is_there() {
    let agent = |json: &str| read::<call::Acknowledge>(json).agent_id.value;
    let rest = r#""task_id":{"value":"t"},"uuid":"""#;
    assert_eq!(
        agent(&format!(r#"{{"slave_id":{{"value":"s"}},{rest}}}"#)),
        "s"
    );
    for order in [
        format!(r#"{{"slave_id":{{"value":"s"}},"agent_id":{{"value":"a"}},{rest}}}"#),
        format!(r#"{{"agent_id":{{"value":"a"}},"slave_id":{{"value":"s"}},{rest}}}"#),
    ] {
        assert_eq!(agent(&order), "a");
    }
    let json = r#"{"task_id":{"value":"t"},"state":"TASK_LOST","reason":"REASON_SLAVE_REMOVED"}"#;
    assert!(written(&read::<TaskStatus>(json)).contains("REASON_AGENT_REMOVED"));
}

#[test]
fn missing_required_fields_are_named_all_at_once() {
    assert_eq!(
        mismatch::<Call>(r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"e"}}}"#),
        "Missing required fields: subscribe.framework_info.user"
    );
    assert_eq!(
        mismatch::<Call>(
            r#"{"accept":{"operations":[{},{"launch":{"task_infos":[{"name":null,"command":
               {"uris":[{}]}}]}}]},"kill":{}}"#
        ),
        "Missing required fields: \
         accept.operations[1].launch.task_infos[0].name, \
         accept.operations[1].launch.task_infos[0].task_id, \
         accept.operations[1].launch.task_infos[0].agent_id, \
         accept.operations[1].launch.task_infos[0].command.uris[0].value, \
         kill.task_id"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_by_its_field() {
    assert_eq!(
        mismatch::<Call>(r#"{"type":"REVIVE","framework_id":"a string"}"#),
        "Not expecting a JSON string for field 'framework_id'"
    );
    assert_eq!(
        mismatch::<Call>(r#"{"type":"REVIVE","framework_id":[]}"#),
        "Not expecting a JSON array for field 'framework_id'"
    );
    assert_eq!(
        mismatch::<Call>(r#"{"framework_id":{"value":{}}}"#),
        "Not expecting a JSON object for field 'value'"
    );
    for json in ["[1]", "null", "1", "-1", "1.5", "\"x\"", "true"] {
        assert_eq!(mismatch::<Call>(json), "Expecting a JSON object");
    }
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    for (text, line, near) in [
        ("{not json", 1, "not json"),
        ("", 1, ""),
        ("{", 1, ""),
        ("{\"type\":\n  oops }\nmore", 2, "oops }"),
        // A wrong field before the place where the text breaks off.
        ("{\"framework_id\":\"x\", !", 1, "!"),
        ("{} {}", 1, "{}"),
    ] {
        assert_eq!(
            from_slice::<Call>(text.as_bytes()),
            Err(JsonError::Syntax {
                line,
                near: near.to_owned()
            }),
            "{text}"
        );
    }
}

#[test]
fn defaults_are_written_but_for_the_deprecated_role() {
    assert_eq!(
        written(&CommandInfo {
            value: Some("ls".into()),
            ..Default::default()
        }),
        r#"{"shell":true,"value":"ls"}"#
    );
    assert_eq!(
        written(&network_info::IpAddress {
            protocol: None,
            ip_address: Some("::1".into())
        }),
        r#"{"protocol":"IPv4","ip_address":"::1"}"#
    );
    let cpus = Resource {
        name: "cpus".into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: 1.0 }),
        ..Default::default()
    };
    assert_eq!(
        written(&cpus),
        r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}}"#
    );
}

#[test]
fn lists_that_masters_always_write_are_written_empty() {
    use crate::v1::master::response;
    assert_eq!(
        written(&response::GetTasks::default()),
        r#"{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]}"#
    );
    assert_eq!(written(&response::GetRoles::default()), "{}");
}

#[test]
fn messages_work_inside_other_serde_types() {
    let json = r#"[{"type":"TEXT","text":{"value":"x"}}]"#;
    let values: Vec<Value> = serde_json::from_str(json).expect("valid");
    assert_eq!(serde_json::to_string(&values).expect("JSON"), json);
    let error = serde_json::from_str::<Vec<Value>>("[{}]").expect_err("type is required");
    assert!(
        error
            .to_string()
            .starts_with("Missing required fields: type"),
        "{error}"
    );
}
