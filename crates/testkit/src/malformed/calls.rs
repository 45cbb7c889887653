//! Valid calls of every type and valid requests of every endpoint, to be made wrong.

use regency_wire::v1::{agent, executor, master, scheduler};
use regency_wire::{ContentType, Shape, WireMessage, decode, encode, v1};

use super::{Content, Valid};

/// Parameters with values that they must not have.
type Parameters = &'static [(&'static str, &'static [&'static str])];

/// Who and what the calls name.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// A framework that is subscribed.
    pub framework: String,
    /// Its stream.
    pub stream: String,
    /// An agent.
    pub agent: String,
    /// An offer of the framework's on that agent.
    pub offer: String,
    /// A task of the framework's on that agent.
    pub task: String,
}

/// A resource in JSON, reserved for a role by an operator.
const RESERVED: &str = r#"{"name":"mem","type":"SCALAR","scalar":{"value":16.0},
    "reservations":[{"type":"DYNAMIC","role":"eng","principal":"ops"}]}"#;
/// A persistent volume in JSON.
const VOLUME: &str = r#"{"name":"disk","type":"SCALAR","scalar":{"value":64.0},
    "reservations":[{"type":"DYNAMIC","role":"eng","principal":"ops"}],
    "disk":{"persistence":{"id":"db","principal":"ops"},
            "volume":{"mode":"RW","container_path":"db"}}}"#;
/// A maintenance schedule in JSON.
const SCHEDULE: &str = r#"{"windows":[{"machine_ids":[{"hostname":"h1","ip":"10.0.0.1"}],
    "unavailability":{"start":{"nanoseconds":1700000000000000001},
                      "duration":{"nanoseconds":60000000000}}}]}"#;
/// A quota request in JSON.
const QUOTA: &str = r#"{"role":"eng","guarantee":[{"name":"cpus","type":"SCALAR",
    "scalar":{"value":1.0}}]}"#;

/// A message that JSON says, in both encodings.
///
/// # Panics
/// When the JSON is no such message.
#[must_use]
pub fn message<M: WireMessage>(json: &str) -> Content {
    let message: M = decode(ContentType::Json, json.as_bytes())
        .unwrap_or_else(|error| panic!("{json}: {error}"));
    Content::Message {
        shape: M::shape(),
        json: json.to_owned(),
        binary: encode(ContentType::Protobuf, &message).to_vec(),
    }
}

fn typed(json: &str, shape: &'static Shape) -> Content {
    Content::Json {
        json: json.to_owned(),
        shape: Some(shape),
        required: &[],
        typed: false,
    }
}

fn own(json: &str, required: &'static [&'static str]) -> Content {
    Content::Json {
        json: json.to_owned(),
        shape: None,
        required,
        typed: false,
    }
}

fn call(name: &str, paths: &[&str], content: Content) -> Valid {
    Valid {
        name: name.to_owned(),
        methods: &["POST"],
        other_methods: &[],
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        headers: Vec::new(),
        content,
        parameters: &[],
        bad_headers: Vec::new(),
        bad_segments: &[],
        too_long: None,
    }
}

/// The calls of a framework.
#[must_use]
pub fn scheduler(ids: &Ids) -> Vec<Valid> {
    const PATHS: [&str; 2] = ["/api/v1/scheduler", "/master/api/v1/scheduler"];
    const STREAM: &str = "mesos-stream-id";
    let Ids {
        framework,
        agent,
        offer,
        task,
        ..
    } = ids;
    let info = r#"{"user":"root","name":"shop","principal":"golden-principal",
        "failover_timeout":30.0,"checkpoint":false,
        "roles":["eng"],"hostname":"s1","capabilities":[{"type":"MULTI_ROLE"}],
        "labels":{"labels":[{"key":"k","value":"v"}]},
        "offer_filters":{"eng":{"min_allocatable_resources":{"quantities":[
            {"quantities":{"cpus":{"value":0.5}}}]}}}}"#;
    let subscribe = call(
        "SUBSCRIBE",
        &PATHS,
        message::<scheduler::Call>(&format!(
            r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{info},
               "suppressed_roles":["eng"],"offer_constraints":{{"role_constraints":{{"eng":
               {{"groups":[{{"attribute_constraints":[{{"selector":{{"attribute_name":"rack"}},
               "predicate":{{"exists":{{}}}}}}]}}]}}}}}}}}}}"#
        )),
    );
    let subscribe = Valid {
        bad_headers: vec![
            ("accept", "text/html", "accept"),
            ("accept", "application/json;q=0", "accept"),
            (STREAM, "6b2b0b3e-6a05-4a4d-a6a5-5b3f1c3d2b11", STREAM),
            (STREAM, "x", STREAM),
        ],
        ..subscribe
    };
    let agent = format!(r#""agent_id":{{"value":"{agent}"}}"#);
    let task = format!(r#""task_id":{{"value":"{task}"}}"#);
    let offers = format!(r#""offer_ids":[{{"value":"{offer}"}}]"#);
    let resource = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":0.25}}"#;
    let launch = format!(
        r#"{{"type":"LAUNCH","launch":{{"task_infos":[{{"name":"t","task_id":{{"value":"new"}},
           {agent},"resources":[{resource},{{"name":"ports","type":"RANGES","ranges":
           {{"range":[{{"begin":31010,"end":31011}}]}}}}],"command":{{"shell":true,"value":"true",
           "environment":{{"variables":[{{"name":"A","value":"b"}}]}},
           "uris":[{{"value":"http://h/x","extract":false}}]}},
           "health_check":{{"type":"TCP","tcp":{{"port":31010}}}},
           "kill_policy":{{"grace_period":{{"nanoseconds":2500000000}}}},
           "limits":{{"cpus":{{"value":1.0}}}},"data":"AAEC",
           "discovery":{{"visibility":"CLUSTER","ports":{{"ports":[{{"number":31010}}]}}}}}}]}}}}"#
    );
    let uuid = r#""uuid":"AAECAwQFBgcICQoLDA0ODw==""#;
    let rest = [
        ("TEARDOWN", String::new()),
        (
            "ACCEPT",
            format!(
                r#","accept":{{{offers},"operations":[{launch},{{"type":"RESERVE",
                   "id":{{"value":"op"}},"reserve":{{"resources":[{RESERVED}]}}}}],
                   "filters":{{"refuse_seconds":5.0}}}}"#
            ),
        ),
        (
            "DECLINE",
            format!(r#","decline":{{{offers},"filters":{{"refuse_seconds":600.0}}}}"#),
        ),
        (
            "ACCEPT_INVERSE_OFFERS",
            r#","accept_inverse_offers":{"inverse_offer_ids":[{"value":"o"}]}"#.to_owned(),
        ),
        (
            "DECLINE_INVERSE_OFFERS",
            r#","decline_inverse_offers":{"inverse_offer_ids":[{"value":"o"}]}"#.to_owned(),
        ),
        ("REVIVE", r#","revive":{"roles":["eng"]}"#.to_owned()),
        ("SUPPRESS", r#","suppress":{"roles":["eng"]}"#.to_owned()),
        (
            "KILL",
            format!(
                r#","kill":{{{task},{agent},"kill_policy":{{"grace_period":{{"nanoseconds":5}}}}}}"#
            ),
        ),
        (
            "SHUTDOWN",
            format!(r#","shutdown":{{"executor_id":{{"value":"e"}},{agent}}}"#),
        ),
        (
            "ACKNOWLEDGE",
            format!(r#","acknowledge":{{{agent},{task},{uuid}}}"#),
        ),
        (
            "ACKNOWLEDGE_OPERATION_STATUS",
            format!(
                r#","acknowledge_operation_status":{{{agent},"operation_id":{{"value":"op"}},
                   {uuid}}}"#
            ),
        ),
        (
            "RECONCILE",
            format!(r#","reconcile":{{"tasks":[{{{task},{agent}}}]}}"#),
        ),
        (
            "RECONCILE_OPERATIONS",
            format!(
                r#","reconcile_operations":{{"operations":[{{"operation_id":{{"value":"op"}},
                   {agent}}}]}}"#
            ),
        ),
        (
            "MESSAGE",
            format!(r#","message":{{{agent},"executor_id":{{"value":"e"}},"data":"cGluZw=="}}"#),
        ),
        (
            "REQUEST",
            format!(r#","request":{{"requests":[{{{agent},"resources":[{resource}]}}]}}"#),
        ),
        (
            "UPDATE_FRAMEWORK",
            format!(
                r#","update_framework":{{"framework_info":{{"id":{{"value":"{framework}"}},{},
                   "suppressed_roles":["eng"]}}"#,
                &info[1..]
            ),
        ),
    ];
    let stranger = message::<scheduler::Call>(
        r#"{"type":"REVIVE","framework_id":{"value":"00000000-nobody"}}"#,
    );
    let mut all = vec![subscribe];
    for (name, part) in rest {
        let json = format!(r#"{{"type":"{name}","framework_id":{{"value":"{framework}"}}{part}}}"#);
        all.push(Valid {
            headers: vec![(STREAM.to_owned(), ids.stream.clone())],
            bad_headers: vec![
                (STREAM, "", STREAM),
                (STREAM, "6b2b0b3e-6a05-4a4d-a6a5-5b3f1c3d2b11", "stream ID"),
                (STREAM, "x", "stream ID"),
            ],
            ..call(name, &PATHS, message::<scheduler::Call>(&json))
        });
    }
    // Valid but for the framework, so whatever is wrong beside it, it is wrong.
    all.push(Valid {
        bad_headers: vec![("x-any", "", "framework")],
        ..call("nobody's", &PATHS, stranger)
    });
    all
}

/// The calls of an operator to a master.
#[must_use]
pub fn operator(ids: &Ids) -> Vec<Valid> {
    const PATHS: [&str; 4] = ["/api/v1", "/master/api/v1", "/api/v1/", "/api/v1/operator"];
    const READS: [&str; 20] = [
        "GET_HEALTH",
        "GET_FLAGS",
        "GET_VERSION",
        "GET_LOGGING_LEVEL",
        "GET_STATE",
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_EXECUTORS",
        "GET_OPERATIONS",
        "GET_TASKS",
        "GET_ROLES",
        "GET_WEIGHTS",
        "GET_MASTER",
        "GET_MAINTENANCE_STATUS",
        "GET_MAINTENANCE_SCHEDULE",
        "GET_QUOTA",
        "GET_METRICS",
        "LIST_FILES",
        "READ_FILE",
        "SUBSCRIBE",
    ];
    let agent = format!(r#""agent_id":{{"value":"{}"}}"#, ids.agent);
    let resources = format!(r#"{{{agent},"resources":[{RESERVED}]}}"#);
    let volumes = format!(r#"{{{agent},"volumes":[{VOLUME}]}}"#);
    let machines = r#"{"machines":[{"hostname":"h1","ip":"10.0.0.1"}]}"#;
    let writes = [
        (
            "GET_METRICS",
            r#"{"timeout":{"nanoseconds":5000000000}}"#.to_owned(),
        ),
        (
            "SET_LOGGING_LEVEL",
            r#"{"level":1,"duration":{"nanoseconds":1000000}}"#.to_owned(),
        ),
        ("LIST_FILES", r#"{"path":"/"}"#.to_owned()),
        (
            "READ_FILE",
            r#"{"path":"/log","offset":0,"length":10}"#.to_owned(),
        ),
        (
            "UPDATE_WEIGHTS",
            r#"{"weight_infos":[{"weight":2.5,"role":"eng"}]}"#.to_owned(),
        ),
        ("RESERVE_RESOURCES", resources.clone()),
        ("UNRESERVE_RESOURCES", resources),
        ("CREATE_VOLUMES", volumes.clone()),
        ("DESTROY_VOLUMES", volumes),
        (
            "GROW_VOLUME",
            format!(r#"{{{agent},"volume":{VOLUME},"addition":{RESERVED}}}"#),
        ),
        (
            "SHRINK_VOLUME",
            format!(r#"{{{agent},"volume":{VOLUME},"subtract":{{"value":1.0}}}}"#),
        ),
        (
            "UPDATE_MAINTENANCE_SCHEDULE",
            format!(r#"{{"schedule":{SCHEDULE}}}"#),
        ),
        ("START_MAINTENANCE", machines.to_owned()),
        ("STOP_MAINTENANCE", machines.to_owned()),
        ("DEACTIVATE_AGENT", format!("{{{agent}}}")),
        ("REACTIVATE_AGENT", format!("{{{agent}}}")),
        (
            "UPDATE_QUOTA",
            r#"{"force":false,"quota_configs":[{"role":"eng",
                "guarantees":{"cpus":{"value":2.0}},"limits":{"cpus":{"value":3.0}}}]}"#
                .to_owned(),
        ),
        ("SET_QUOTA", format!(r#"{{"quota_request":{QUOTA}}}"#)),
        ("REMOVE_QUOTA", r#"{"role":"eng"}"#.to_owned()),
        (
            "TEARDOWN",
            format!(r#"{{"framework_id":{{"value":"{}"}}}}"#, ids.framework),
        ),
        // An agent that is draining is not reactivated: it comes after that.
        (
            "DRAIN_AGENT",
            format!(r#"{{{agent},"max_grace_period":{{"seconds":9}},"mark_gone":false}}"#),
        ),
        ("MARK_AGENT_GONE", format!("{{{agent}}}")),
    ];
    let one = |name: &str, json: &str| Valid {
        bad_headers: vec![
            ("accept", "text/html", "accept"),
            ("accept", "*/*;q=0", "accept"),
        ],
        ..call(name, &PATHS, message::<master::Call>(json))
    };
    let reads = READS
        .iter()
        .filter(|name| !writes.iter().any(|(w, _)| w == *name));
    let reads = reads.map(|name| one(name, &format!(r#"{{"type":"{name}"}}"#)));
    let with_parts = writes.iter().map(|(name, part)| {
        let key = name.to_lowercase();
        one(name, &format!(r#"{{"type":"{name}","{key}":{part}}}"#))
    });
    reads.chain(with_parts).collect()
}

/// The calls of an executor to its agent.
#[must_use]
pub fn executor(framework: &str, executor: &str) -> Vec<Valid> {
    const PATHS: [&str; 2] = ["/api/v1/executor", "/slave(1)/api/v1/executor"];
    let ids = format!(
        r#""framework_id":{{"value":"{framework}"}},"executor_id":{{"value":"{executor}"}}"#
    );
    let status = r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR",
        "uuid":"AAECAwQFBgcICQoLDA0ODw==","data":"AAEC","timestamp":1.5,"healthy":true,
        "labels":{"labels":[{"key":"k"}]}}"#;
    [
        (
            "SUBSCRIBE",
            format!(
                r#","subscribe":{{"unacknowledged_tasks":[{{"name":"t","task_id":{{"value":"t"}},
                   "agent_id":{{"value":"a"}}}}],"unacknowledged_updates":[{{"status":{status}}}]}}"#
            ),
        ),
        ("UPDATE", format!(r#","update":{{"status":{status}}}"#)),
        ("MESSAGE", r#","message":{"data":"cGluZw=="}"#.to_owned()),
        ("HEARTBEAT", String::new()),
    ]
    .into_iter()
    .map(|(name, part)| {
        let json = format!(r#"{{"type":"{name}",{ids}{part}}}"#);
        let bad_headers = match name {
            "SUBSCRIBE" => vec![("accept", "text/html", "accept")],
            _ => Vec::new(),
        };
        Valid {
            bad_headers,
            ..call(name, &PATHS, message::<executor::Call>(&json))
        }
    })
    .collect()
}

/// The calls of an operator to an agent that runs a task in the container `root`.
#[must_use]
pub fn operator_of_agent(root: &str) -> Vec<Valid> {
    const PATHS: [&str; 4] = [
        "/api/v1",
        "/api/v1/",
        "/slave(1)/api/v1",
        "/slave%281%29/api/v1",
    ];
    const READS: [&str; 11] = [
        "GET_HEALTH",
        "GET_FLAGS",
        "GET_VERSION",
        "GET_LOGGING_LEVEL",
        "GET_STATE",
        "GET_FRAMEWORKS",
        "GET_EXECUTORS",
        "GET_OPERATIONS",
        "GET_TASKS",
        "GET_AGENT",
        "GET_RESOURCE_PROVIDERS",
    ];
    let nested = format!(r#""container_id":{{"value":"inner","parent":{{"value":"{root}"}}}}"#);
    let alone = r#""container_id":{"value":"alone"}"#;
    let command = r#""command":{"shell":true,"value":"exec sleep 1000",
        "environment":{"variables":[{"name":"A","value":"b"}]}},
        "container":{"type":"MESOS","tty_info":{"window_size":{"rows":24,"columns":80}}}"#;
    let named = |id: &str| format!("{{{id}}}");
    let provider = r#"{"info":{"type":"org.example","name":"n"}}"#;
    let parts = [
        (
            "GET_METRICS",
            r#"{"timeout":{"nanoseconds":5000000000}}"#.to_owned(),
        ),
        (
            "SET_LOGGING_LEVEL",
            r#"{"level":1,"duration":{"nanoseconds":1000000}}"#.to_owned(),
        ),
        ("LIST_FILES", r#"{"path":"/no"}"#.to_owned()),
        (
            "READ_FILE",
            r#"{"path":"/no","offset":0,"length":10}"#.to_owned(),
        ),
        (
            "GET_CONTAINERS",
            r#"{"show_nested":true,"show_standalone":false}"#.to_owned(),
        ),
        ("LAUNCH_NESTED_CONTAINER", format!("{{{nested},{command}}}")),
        ("WAIT_NESTED_CONTAINER", named(&nested)),
        (
            "KILL_NESTED_CONTAINER",
            format!(r#"{{{nested},"signal":15}}"#),
        ),
        ("REMOVE_NESTED_CONTAINER", named(&nested)),
        (
            "LAUNCH_NESTED_CONTAINER_SESSION",
            format!("{{{nested},{command}}}"),
        ),
        ("ATTACH_CONTAINER_OUTPUT", named(&nested)),
        (
            "LAUNCH_CONTAINER",
            format!(
                r#"{{{alone},{command},"resources":[{{"name":"cpus","type":"SCALAR",
                   "scalar":{{"value":0.5}}}}],"limits":{{"cpus":{{"value":1.0}}}}}}"#
            ),
        ),
        ("WAIT_CONTAINER", named(alone)),
        ("KILL_CONTAINER", format!(r#"{{{alone},"signal":15}}"#)),
        ("REMOVE_CONTAINER", named(alone)),
        ("ADD_RESOURCE_PROVIDER_CONFIG", provider.to_owned()),
        ("UPDATE_RESOURCE_PROVIDER_CONFIG", provider.to_owned()),
        (
            "REMOVE_RESOURCE_PROVIDER_CONFIG",
            r#"{"type":"org.example","name":"n"}"#.to_owned(),
        ),
        (
            "MARK_RESOURCE_PROVIDER_GONE",
            r#"{"resource_provider_id":{"value":"r"}}"#.to_owned(),
        ),
        (
            "PRUNE_IMAGES",
            r#"{"excluded_images":[{"type":"DOCKER","docker":{"name":"i"}}]}"#.to_owned(),
        ),
    ];
    let one = |name: &str, json: &str| Valid {
        bad_headers: vec![
            ("accept", "text/html", "accept"),
            ("accept", "*/*;q=0", "accept"),
        ],
        ..call(name, &PATHS, message::<agent::Call>(json))
    };
    let reads = READS
        .iter()
        .map(|name| one(name, &format!(r#"{{"type":"{name}"}}"#)));
    let with_parts = parts.iter().map(|(name, part)| {
        let key = name.to_lowercase();
        one(name, &format!(r#"{{"type":"{name}","{key}":{part}}}"#))
    });
    reads.chain(with_parts).collect()
}

/// The records of an ATTACH_CONTAINER_INPUT: the first one, and one of those behind it.
#[must_use]
pub fn container_input(root: &str) -> [Valid; 2] {
    let record = |name: &str, part: &str| {
        let json =
            format!(r#"{{"type":"ATTACH_CONTAINER_INPUT","attach_container_input":{part}}}"#);
        call(name, &["/slave(1)/api/v1"], message::<agent::Call>(&json))
    };
    [
        record(
            "ATTACH_CONTAINER_INPUT, CONTAINER_ID",
            &format!(
                r#"{{"type":"CONTAINER_ID","container_id":{{"value":"inner",
                   "parent":{{"value":"{root}"}}}}}}"#
            ),
        ),
        record(
            "ATTACH_CONTAINER_INPUT, PROCESS_IO",
            r#"{"type":"PROCESS_IO","process_io":{"type":"DATA",
               "data":{"type":"STDIN","data":"AAEC"}}}"#,
        ),
    ]
}

/// The endpoints of an agent that are older than the calls.
#[must_use]
pub fn legacy_of_agent() -> Vec<Valid> {
    const SHOWN: Parameters = &[("jsonp", CALLBACKS)];
    let endpoints: [(&str, &str, Parameters); 12] = [
        ("/version", "", SHOWN),
        ("/state", "", SHOWN),
        ("/flags", "", SHOWN),
        ("/containers", "", SHOWN),
        ("/monitor/statistics", "", SHOWN),
        ("/containerizer/debug", "", SHOWN),
        (
            "/metrics/snapshot",
            "",
            &[("jsonp", CALLBACKS), ("timeout", TIMES)],
        ),
        (
            "/logging/toggle",
            "?level=1&duration=1ms",
            &[("level", NUMBERS), ("duration", TIMES)],
        ),
        (
            "/files/browse",
            "?path=/no",
            &[("path", &["", "no", "/../no"])],
        ),
        (
            "/files/read",
            "?path=/no&offset=0",
            &[("offset", NUMBERS), ("length", NUMBERS), ("path", &[""])],
        ),
        ("/files/download", "?path=/no", &[("path", &["", "no"])]),
        ("/files/debug", "", SHOWN),
    ];
    endpoints
        .into_iter()
        .map(|(path, query, parameters)| Valid {
            methods: ALL,
            paths: ["", "/slave(1)"]
                .iter()
                .flat_map(|prefix| {
                    [
                        format!("{prefix}{path}{query}"),
                        format!("{prefix}{path}.json{query}"),
                    ]
                })
                .collect(),
            parameters,
            ..call(path, &[], Content::Nothing)
        })
        .collect()
}

/// Methods, where all are taken.
const ALL: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"];
/// What is in the name of no role that has a quota.
const NO_ROLES: &[&str] = &[
    " ", "\t", "-", "..", "/", "*", "%", "?", "\u{e4}", "\u{1}", "eng/x", "eng2", "'", "\u{7f}",
];
/// Values that no function of a client's has as its name.
const CALLBACKS: &[&str] = &["alert(1)", "<script>", "a b", "", "x;y", "\u{e4}"];
/// Values that are no numbers of tasks.
const NUMBERS: &[&str] = &["x", "-7", "1.5", "", "99999999999999999999", "0x1"];
/// Values that are no times.
const TIMES: &[&str] = &["", "x", "-1s", "1 fortnight", "5", "1e3s"];
/// Values that are neither true nor false.
const TRUTHS: &[&str] = &["maybe", "", "1", "TRUE"];

/// The endpoints of a master that are older than the calls.
#[must_use]
pub fn legacy(ids: &Ids) -> Vec<Valid> {
    let paths = |path: &str| -> Vec<String> {
        ["", "/master"]
            .iter()
            .flat_map(|prefix| [format!("{prefix}{path}"), format!("{prefix}{path}.json")])
            .collect()
    };
    let freshness = || {
        vec![
            ("x-regency-consistent", "maybe", "x-regency-consistent"),
            ("x-regency-min-index", "soon", "x-regency-min-index"),
            ("x-regency-min-index", "-1", "x-regency-min-index"),
        ]
    };
    let mut all: Vec<Valid> = [
        "/state",
        "/state-summary",
        "/slaves",
        "/frameworks",
        "/roles",
    ]
    .iter()
    .map(|path| Valid {
        name: (*path).to_owned(),
        methods: ALL,
        paths: paths(path),
        parameters: &[("jsonp", CALLBACKS), ("consistent", TRUTHS)],
        bad_headers: freshness(),
        ..call(path, &[], Content::Nothing)
    })
    .collect();
    all.push(Valid {
        methods: ALL,
        paths: paths("/tasks"),
        parameters: &[
            ("jsonp", CALLBACKS),
            ("limit", NUMBERS),
            ("offset", NUMBERS),
            ("order", &["up", "", "ASC"]),
            ("consistent", TRUTHS),
        ],
        bad_headers: freshness(),
        ..call("/tasks", &[], Content::Nothing)
    });
    for (path, other_methods) in [
        ("/maintenance/schedule", &["POST"] as &[&str]),
        ("/maintenance/status", &[]),
        ("/quota", &["POST", "DELETE"]),
        ("/weights", &["PUT"]),
    ] {
        all.push(Valid {
            methods: &["GET"],
            other_methods,
            paths: vec![path.to_owned(), format!("/master{path}")],
            parameters: &[("jsonp", CALLBACKS), ("consistent", TRUTHS)],
            bad_headers: freshness(),
            ..call(path, &[], Content::Nothing)
        });
    }
    all.push(Valid {
        methods: &["DELETE"],
        other_methods: &["GET", "POST"],
        bad_segments: NO_ROLES,
        ..call(
            "DELETE /quota",
            &["/quota/eng", "/master/quota/eng"],
            Content::Nothing,
        )
    });
    for path in ["/version", "/flags"] {
        all.push(Valid {
            methods: ALL,
            paths: paths(path),
            parameters: &[("jsonp", CALLBACKS)],
            ..call(path, &[], Content::Nothing)
        });
    }
    // Of a parameter given twice, the last one counts.
    for (name, paths, parameters) in [
        (
            "/metrics/snapshot",
            paths("/metrics/snapshot"),
            &[("jsonp", CALLBACKS), ("timeout", TIMES)] as Parameters,
        ),
        (
            "/system/stats.json",
            vec!["/system/stats.json".to_owned()],
            &[("jsonp", CALLBACKS)],
        ),
        (
            "/logging/toggle",
            vec!["/logging/toggle?level=1&duration=1ms".to_owned()],
            &[("level", NUMBERS), ("duration", TIMES)],
        ),
        (
            "/files/browse",
            vec!["/files/browse?path=/no".to_owned()],
            &[("jsonp", CALLBACKS), ("path", &[""])],
        ),
        (
            "/files/read",
            vec!["/files/read?path=/no&offset=0".to_owned()],
            &[
                ("jsonp", CALLBACKS),
                ("offset", NUMBERS),
                ("length", NUMBERS),
                ("path", &[""]),
            ],
        ),
        (
            "/files/download",
            vec!["/files/download?path=/no".to_owned()],
            &[("path", &[""])],
        ),
    ] {
        all.push(Valid {
            methods: ALL,
            paths,
            parameters,
            ..call(name, &[], Content::Nothing)
        });
    }
    let reserved = format!("[{RESERVED}]");
    let volumes = format!("[{VOLUME}]");
    for (path, field, value) in [
        ("/reserve", "resources", &reserved),
        ("/unreserve", "resources", &reserved),
        ("/create-volumes", "volumes", &volumes),
        ("/destroy-volumes", "volumes", &volumes),
    ] {
        let fields = vec![("slaveId", ids.agent.clone()), (field, value.clone())];
        let form = Content::Form(fields, Some(v1::Resource::shape()));
        all.push(call(path, &[path, &format!("/master{path}")], form));
    }
    all.push(call(
        "/teardown",
        &["/teardown", "/master/teardown"],
        Content::Form(vec![("frameworkId", ids.framework.clone())], None),
    ));
    all
}

/// Those of the older endpoints with these paths that take JSON.
#[must_use]
pub fn legacy_json(of: &[&str]) -> Vec<Valid> {
    let machines = r#"[{"hostname":"h1","ip":"10.0.0.1"}]"#;
    let weights = r#"[{"weight":2.5,"role":"eng"}]"#;
    let machine = || typed(machines, v1::MachineId::shape());
    let one = |path: &'static str, methods: &'static [&'static str], content: Content| Valid {
        methods,
        ..call(path, &[path, &format!("/master{path}")], content)
    };
    let all = vec![
        one("/machine/down", &["POST"], machine()),
        one("/machine/up", &["POST"], machine()),
        one(
            "/maintenance/schedule",
            &["POST", "GET"],
            typed(SCHEDULE, v1::maintenance::Schedule::shape()),
        ),
        one(
            "/quota",
            &["POST", "GET", "DELETE"],
            typed(QUOTA, v1::quota::QuotaRequest::shape()),
        ),
        one(
            "/weights",
            &["PUT", "GET"],
            typed(weights, v1::WeightInfo::shape()),
        ),
    ];
    all.into_iter()
        .filter(|valid| of.contains(&valid.name.as_str()))
        .collect()
}

/// A master's own endpoints.
#[must_use]
pub fn own_of_master() -> Vec<Valid> {
    let one = |path: &'static str, content: Content| Valid {
        name: path.to_owned(),
        ..call(path, &[path], content)
    };
    vec![
        Valid {
            methods: &["POST", "GET"],
            ..one(
                "/regency/members",
                own(
                    r#"{"id":9,"raft":"h:1","http":"h:2","agent":"h:3","promote":false}"#,
                    &["id", "raft", "http", "agent"],
                ),
            )
        },
        one(
            "/regency/members/promote",
            own(r#"{"ids":[7],"force":[7]}"#, &["ids"]),
        ),
        one(
            "/regency/members/remove",
            own(r#"{"ids":[7],"force":[7]}"#, &["ids"]),
        ),
        one(
            "/regency/members/replace",
            own(r#"{"old":7,"new":8,"force":[7]}"#, &["old", "new"]),
        ),
        one("/regency/members/transfer-leader", own(r#"{"to":7}"#, &[])),
        Valid {
            methods: &["GET"],
            parameters: &[("consistent", TRUTHS), ("consistant", &["true"])],
            ..one("/regency/snapshot", Content::Nothing)
        },
    ]
}
