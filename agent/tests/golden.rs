//! An agent's answers beside those of a real Mesos 1.11 agent.
//!
//! `golden/` holds what captures of one look like: status, content type, and every path of the JSON
//! body with its type. What we add is our own business; what we leave out is in [`DIFFERENCES`], with
//! its reason.

mod common;

#[path = "../../master/tests/golden/shape.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the masters, which use the rest"
)]
mod shape;

use std::path::Path;

use common::agent::Agent;
use common::eventually;
use common::master::{FRAMEWORK, Master};
use common::operator::get;
use prost::Message as _;
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_wire::v1;
use shape::{Exchange, Paths, Shape, shape_of};

/// Paths that are not there, and why.
const DIFFERENCES: [(&str, &str); 2] = [
    (
        "the build does not tell when and by whom it was made",
        "$.build_date $.build_time $.build_user $.git_sha $.git_tag",
    ),
    (
        "masters are known by their addresses, and which of them leads is told by any of them",
        "$.master_hostname",
    ),
];

fn expected(name: &str) -> Exchange {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = std::fs::read_to_string(folder.join(format!("{name}.shape")));
    Exchange::read(&text.expect("a shape"))
}

/// A task that has ended, of a framework that has nothing else here.
async fn completed(master: &Master) {
    let info = v1::TaskInfo {
        name: "hello".to_owned(),
        task_id: v1::TaskId {
            value: "hello".to_owned(),
        },
        command: Some(v1::CommandInfo {
            value: Some("true".to_owned()),
            ..v1::CommandInfo::default()
        }),
        ..v1::TaskInfo::default()
    };
    let framework = v1::FrameworkInfo {
        name: "golden".to_owned(),
        roles: vec!["golden".to_owned()],
        ..v1::FrameworkInfo::default()
    };
    let generation = master.with(|memory| {
        memory.next_generation += 1;
        memory.next_generation
    });
    master.command(rpc::command::Command::Launch(rpc::Launch {
        framework_id: FRAMEWORK.to_owned(),
        generation,
        framework_info: framework.encode_to_vec().into(),
        task_info: info.encode_to_vec().into(),
        executor: None,
    }));
    master.wait_for("hello", generation, "TASK_FINISHED").await;
}

fn missing(expected: &Paths, ours: &Paths) -> Vec<String> {
    let excused = |path: &str| {
        let mut lists = DIFFERENCES.iter();
        lists.any(|(_, paths)| paths.split(' ').any(|one| one == path))
    };
    let mut missing = Vec::new();
    for (path, kinds) in expected {
        match ours.get(path) {
            None if excused(path) => {}
            None => missing.push(format!("{path} is not there")),
            Some(_) if excused(path) => missing.push(format!("{path} is there and excused")),
            Some(own) if own.is_subset(kinds) => {}
            Some(own) => missing.push(format!("{path} is {own:?}, not {kinds:?}")),
        }
    }
    missing
}

#[tokio::test]
async fn what_mesos_tells_is_told_here() {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    completed(&master).await;
    eventually("the end is acknowledged", || async {
        let (_, _, body) = get(&agent, &master, "/state", &[]).await;
        let state: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        state["completed_frameworks"].get(0).map(|_| ())
    })
    .await;
    for name in ["state", "flags", "containers"] {
        let expected = expected(name);
        let path = &expected.request.path;
        let (status, headers, body) = get(&agent, &master, path, &[]).await;
        assert_eq!(status, expected.status, "{path}");
        let media = headers["content-type"].to_str().expect("text");
        assert_eq!(media, expected.headers["content-type"], "{path}");
        let body = String::from_utf8(body).expect("text");
        let (Shape::Json(_, expected), Shape::Json(_, ours)) = (expected.body, shape_of(&body))
        else {
            panic!("{path} is no JSON: {body}");
        };
        let missing = missing(&expected, &ours);
        assert!(missing.is_empty(), "{path}: {missing:#?}\n{body}");
    }
}
