//! What a master sends, built from messages and compared with the text a real one would send.

use regency_types::TaskState;
use regency_wire::resources::{ResourceFormat, from_wire, to_wire};
use regency_wire::v1::scheduler::Event;
use regency_wire::{ContentType, encode, recordio, v1};

fn id<T>(value: &str, make: impl Fn(String) -> T) -> T {
    make(value.to_owned())
}

fn master_info() -> v1::MasterInfo {
    use v1::master_info::Capability;
    v1::MasterInfo {
        id: "m-0".into(),
        ip: 16_777_343,
        port: 5050,
        pid: Some("master@127.0.0.1:5050".into()),
        hostname: Some("localhost".into()),
        version: Some("1.11.0".into()),
        address: Some(address()),
        domain: None,
        // The newest capability is one that the v1 messages have no name for.
        capabilities: [1, 2, 3]
            .map(|number| Capability {
                r#type: Some(number),
            })
            .into(),
    }
}

fn address() -> v1::Address {
    v1::Address {
        hostname: Some("localhost".into()),
        ip: Some("127.0.0.1".into()),
        port: 5050,
    }
}

#[test]
fn subscribed_is_the_first_record() {
    let event = Event::subscribed(id("f-1", |value| v1::FrameworkId { value }), master_info());
    let json = r#"{"type":"SUBSCRIBED","subscribed":{"framework_id":{"value":"f-1"},"heartbeat_interval_seconds":15.0,"master_info":{"id":"m-0","ip":16777343,"port":5050,"pid":"master@127.0.0.1:5050","hostname":"localhost","version":"1.11.0","address":{"hostname":"localhost","ip":"127.0.0.1","port":5050},"capabilities":[{"type":"AGENT_UPDATE"},{"type":"AGENT_DRAINING"},{}]}}}"#;
    assert_eq!(
        recordio::frame(&encode(ContentType::Json, &event)),
        format!("{}\n{json}", json.len())
    );
}

#[test]
fn an_offer_is_written_by_what_its_framework_understands() {
    let resources: Vec<v1::Resource> = serde_json::from_str(
        r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":4}},
            {"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]}}]"#,
    )
    .expect("resources in JSON");
    let resources = from_wire(&resources).expect("valid").resources;
    let offer = |format, role: Option<&str>| v1::Offer {
        id: id("o-1", |value| v1::OfferId { value }),
        framework_id: id("f-1", |value| v1::FrameworkId { value }),
        agent_id: id("s-1", |value| v1::AgentId { value }),
        hostname: "localhost".into(),
        url: Some(v1::Url {
            scheme: "http".into(),
            address: address(),
            path: Some("/slave(1)".into()),
            ..v1::Url::default()
        }),
        resources: to_wire(&resources, format, role),
        attributes: serde_json::from_str(
            r#"[{"name":"rack","type":"TEXT","text":{"value":"r1"}}]"#,
        )
        .expect("attributes in JSON"),
        allocation_info: role.map(|role| v1::resource::AllocationInfo {
            role: Some(role.to_owned()),
        }),
        ..v1::Offer::default()
    };
    let expected = |extra: &str, last: &str| {
        format!(
            r#"{{"type":"OFFERS","offers":{{"offers":[{{"id":{{"value":"o-1"}},"framework_id":{{"value":"f-1"}},"agent_id":{{"value":"s-1"}},"hostname":"localhost","url":{{"scheme":"http","address":{{"hostname":"localhost","ip":"127.0.0.1","port":5050}},"path":"/slave(1)"}},"resources":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":4.0}}{extra}}},{{"name":"ports","type":"RANGES","ranges":{{"range":[{{"begin":31000,"end":32000}}]}}{extra}}}],"attributes":[{{"name":"rack","type":"TEXT","text":{{"value":"r1"}}}}]{last}}}]}}}}"#
        )
    };
    let allocation = r#","allocation_info":{"role":"r"}"#;
    for (format, role, json) in [
        (
            ResourceFormat::PostReservationRefinement,
            Some("r"),
            expected(allocation, allocation),
        ),
        (
            ResourceFormat::PreReservationRefinement,
            None,
            expected(r#","role":"*""#, ""),
        ),
        (
            ResourceFormat::PreReservationRefinement,
            Some("r"),
            expected(&format!(r#","role":"*"{allocation}"#), allocation),
        ),
    ] {
        let event = Event::offers(vec![offer(format, role)]);
        assert_eq!(encode(ContentType::Json, &event), json);
    }
}

#[test]
fn updates_carry_defaults_of_nested_messages() {
    use v1::task_status::Source;
    let status = v1::TaskStatus {
        task_id: id("t", |value| v1::TaskId { value }),
        state: TaskState::Running.number(),
        source: Some(Source::Executor as i32),
        timestamp: Some(1_700_000_000.25),
        uuid: Some(vec![0xff; 16].into()),
        container_status: Some(v1::ContainerStatus {
            network_infos: vec![v1::NetworkInfo {
                ip_addresses: vec![v1::network_info::IpAddress {
                    ip_address: Some("127.0.0.1".into()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            executor_pid: Some(77),
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(
        encode(ContentType::Json, &Event::update(status)),
        r#"{"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","timestamp":1700000000.25,"uuid":"/////////////////////w==","container_status":{"network_infos":[{"ip_addresses":[{"protocol":"IPv4","ip_address":"127.0.0.1"}]}],"executor_pid":77}}}}"#
    );
}

#[test]
fn reads_with_nothing_to_tell_still_have_their_lists() {
    use v1::master::Response;
    use v1::master::response::{GetFrameworks, GetOperations, GetState, Type};
    let response = |response_type: Type| Response {
        r#type: Some(response_type as i32),
        ..Response::default()
    };
    for (response, json) in [
        (response(Type::GetWeights), r#"{"type":"GET_WEIGHTS"}"#),
        (
            Response {
                get_operations: Some(GetOperations::default()),
                ..response(Type::GetOperations)
            },
            r#"{"type":"GET_OPERATIONS","get_operations":{}}"#,
        ),
        (
            Response {
                get_frameworks: Some(GetFrameworks::default()),
                ..response(Type::GetFrameworks)
            },
            r#"{"type":"GET_FRAMEWORKS","get_frameworks":{"frameworks":[],"completed_frameworks":[]}}"#,
        ),
        (
            Response {
                get_state: Some(GetState {
                    get_tasks: Some(Default::default()),
                    get_executors: Some(Default::default()),
                    get_frameworks: Some(Default::default()),
                    get_agents: Some(Default::default()),
                }),
                ..response(Type::GetState)
            },
            r#"{"type":"GET_STATE","get_state":{"get_tasks":{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]},"get_executors":{"executors":[]},"get_frameworks":{"frameworks":[],"completed_frameworks":[]},"get_agents":{"agents":[],"recovered_agents":[]}}}"#,
        ),
    ] {
        assert_eq!(encode(ContentType::Json, &response), json);
    }
}
