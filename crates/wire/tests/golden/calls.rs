//! Calls as clients write them, read and carried through both encodings.

use regency_wire::validate::{operator, scheduler};
use regency_wire::{ContentType, WireMessage, decode, encode, v1};

/// Calls of a framework, one of each kind that clients send.
pub(crate) const SCHEDULER_CALLS: &[&str] = &[
    r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"web","name":"shop","failover_timeout":30.0,"checkpoint":false,"roles":["shop"],"hostname":"s1.example","principal":"shop","capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},{"type":"PARTITION_AWARE"}],"offer_filters":{"shop":{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":0.5}}}]}}}},"suppressed_roles":["shop"],"offer_constraints":{"role_constraints":{"shop":{"groups":[{"attribute_constraints":[{"selector":{"attribute_name":"rack"},"predicate":{"text_equals":{"value":"r7"}}},{"selector":{"pseudoattribute_type":"ZONE"},"predicate":{"exists":{}}}]}]}}}}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"o-3"}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[{"name":"api","task_id":{"value":"api.1"},"agent_id":{"value":"s-2"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.25}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31010,"end":31011}]}}],"command":{"shell":true,"value":"exec ./api"},"kill_policy":{"grace_period":{"nanoseconds":2500000000}},"labels":{"labels":[{"key":"team","value":"core"}]},"discovery":{"visibility":"CLUSTER","name":"api","ports":{"ports":[{"number":31010,"name":"http","protocol":"tcp"}]}}}]}}],"filters":{"refuse_seconds":0.0}}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"o-4"}],"operations":[{"type":"RESERVE","id":{"value":"op-9"},"reserve":{"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"allocation_info":{"role":"shop"},"reservations":[{"type":"DYNAMIC","role":"shop","principal":"shop","labels":{"labels":[{"key":"for"}]}}]}]}},{"type":"CREATE","create":{"volumes":[{"name":"disk","type":"SCALAR","scalar":{"value":64.0},"allocation_info":{"role":"shop"},"reservations":[{"type":"DYNAMIC","role":"shop"}],"disk":{"persistence":{"id":"db","principal":"shop"},"volume":{"mode":"RW","container_path":"db"}}}]}}],"filters":{"refuse_seconds":5.0}}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"ACCEPT","accept":{"offer_ids":[{"value":"o-5"}],"operations":[{"type":"LAUNCH_GROUP","launch_group":{"executor":{"type":"DEFAULT","executor_id":{"value":"pod"},"framework_id":{"value":"f-1"},"resources":[{"name":"mem","type":"SCALAR","scalar":{"value":32.0}}]},"task_group":{"tasks":[{"name":"one","task_id":{"value":"one"},"agent_id":{"value":"s-2"},"command":{"shell":true,"value":"true"},"container":{"type":"MESOS","mesos":{"image":{"type":"DOCKER","docker":{"name":"alpine"},"cached":true}},"linux_info":{"share_cgroups":false}},"limits":{"cpus":{"value":"Infinity"},"mem":{"value":64.0}}}]}}}]}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"DECLINE","decline":{"offer_ids":[{"value":"o-6"},{"value":"o-7"}],"filters":{"refuse_seconds":600.0}}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"s-2"},"task_id":{"value":"api.1"},"uuid":"AAECAwQFBgcICQoLDA0ODw=="}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"KILL","kill":{"task_id":{"value":"api.1"},"agent_id":{"value":"s-2"}}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"api.1"},"agent_id":{"value":"s-2"}},{"task_id":{"value":"lost"}}]}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"RECONCILE_OPERATIONS","reconcile_operations":{}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"MESSAGE","message":{"agent_id":{"value":"s-2"},"executor_id":{"value":"pod"},"data":"cGluZw=="}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"REQUEST","request":{"requests":[{"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}}]}]}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"ACCEPT_INVERSE_OFFERS","accept_inverse_offers":{"inverse_offer_ids":[{"value":"o-8"}]}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"SUPPRESS","suppress":{"roles":["shop"]}}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"REVIVE"}"#,
    r#"{"framework_id":{"value":"f-1"},"type":"TEARDOWN"}"#,
];

/// Calls of an operator.
pub(crate) const OPERATOR_CALLS: &[&str] = &[
    r#"{"type":"GET_HEALTH"}"#,
    r#"{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":-5}}}"#,
    r#"{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"s-2"},"max_grace_period":{"seconds":9},"mark_gone":false}}"#,
    r#"{"type":"UPDATE_QUOTA","update_quota":{"force":false,"quota_configs":[{"role":"shop","guarantees":{"cpus":{"value":2.0}},"limits":{"cpus":{"value":3.0},"mem":{"value":512.0}}}]}}"#,
    r#"{"type":"RESERVE_RESOURCES","reserve_resources":{"agent_id":{"value":"s-2"},"resources":[{"name":"mem","type":"SCALAR","scalar":{"value":16.0},"reservations":[{"type":"DYNAMIC","role":"shop","principal":"ops"}]}]}}"#,
    r#"{"type":"UPDATE_MAINTENANCE_SCHEDULE","update_maintenance_schedule":{"schedule":{"windows":[{"machine_ids":[{"hostname":"h1","ip":"10.0.0.1"}],"unavailability":{"start":{"nanoseconds":1700000000000000001},"duration":{"nanoseconds":60000000000}}}]}}}"#,
    r#"{"type":"READ_FILE","read_file":{"path":"/log","offset":18446744073709551615,"length":10}}"#,
    r#"{"type":"UPDATE_WEIGHTS","update_weights":{"weight_infos":[{"weight":2.5,"role":"shop"}]}}"#,
];

/// The same text comes back after JSON, binary and JSON again.
fn survives<M: WireMessage>(json: &str) -> M {
    let read: M = decode(ContentType::Json, json.as_bytes())
        .unwrap_or_else(|error| panic!("{json}: {error}"));
    let binary = encode(ContentType::Protobuf, &read);
    let back: M =
        decode(ContentType::Protobuf, &binary).unwrap_or_else(|error| panic!("{json}: {error}"));
    assert_eq!(back, read, "{json}");
    assert_eq!(encode(ContentType::Json, &back), json);
    read
}

#[test]
fn calls_of_frameworks_are_valid_and_survive_both_encodings() {
    for json in SCHEDULER_CALLS {
        let call: v1::scheduler::Call = survives(json);
        scheduler::check(&call, None).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
}

#[test]
fn calls_of_operators_are_valid_and_survive_both_encodings() {
    for json in OPERATOR_CALLS {
        let call: v1::master::Call = survives(json);
        operator::check(&call).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
}

#[test]
fn binary_calls_are_those_of_other_implementations() {
    use v1::scheduler::call::Type;
    // SUBSCRIBE of user root, name abc: type, then framework_info within subscribe.
    let bytes = b"\x10\x01\x1a\x0d\x0a\x0b\x0a\x04root\x12\x03abc";
    let call: v1::scheduler::Call = decode(ContentType::Protobuf, bytes).expect("well formed");
    assert_eq!(call.r#type(), Type::Subscribe);
    assert_eq!(encode(ContentType::Protobuf, &call), bytes.as_slice());
    let health: v1::master::Call = decode(ContentType::Protobuf, b"\x08\x01").expect("well formed");
    assert_eq!(
        operator::check(&health),
        Ok(v1::master::call::Type::GetHealth)
    );
}

#[test]
fn habits_of_clients_are_understood() {
    use v1::scheduler::Call;
    for (habit, canonical) in [
        // Spaces, members in any order, numbers without fraction, members that nobody knows.
        (
            r#"{ "decline": {"filters": {"refuse_seconds": 5, "x": [1]}, "offer_ids": [{"value": "o"}]},
                 "type": "DECLINE", "framework_id": {"value": "f"}, "slave_id": {"value": "s"} }"#,
            r#"{"framework_id":{"value":"f"},"type":"DECLINE","decline":{"offer_ids":[{"value":"o"}],"filters":{"refuse_seconds":5.0}}}"#,
        ),
        // An object where a list is due, null for what is not set.
        (
            r#"{"framework_id":{"value":"f"},"type":"DECLINE","decline":{"offer_ids":{"value":"o"},"filters":null}}"#,
            r#"{"framework_id":{"value":"f"},"type":"DECLINE","decline":{"offer_ids":[{"value":"o"}]}}"#,
        ),
        // Names of the older API, and escapes in names and values.
        (
            r#"{"framework_id":{"value":"f"},"type":"KILL","kill":{"\u0074ask_id":{"value":"\u00e4\n"},"slave_id":{"value":"s"}}}"#,
            r#"{"framework_id":{"value":"f"},"type":"KILL","kill":{"task_id":{"value":"ä\n"},"agent_id":{"value":"s"}}}"#,
        ),
    ] {
        let call: Call = decode(ContentType::Json, habit.as_bytes())
            .unwrap_or_else(|error| panic!("{habit}: {error}"));
        assert_eq!(encode(ContentType::Json, &call), canonical);
    }
}
