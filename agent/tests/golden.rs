//! An agent's answers beside those of a real Mesos 1.11 agent.
//!
//! `golden/` holds what captures of one look like, before and after it ran a task: status, headers, and
//! every path of the JSON body with its type. What we add is our own business; what we leave out is in
//! the list of differences, with its reason. What is compared, and how, is that of the masters'
//! `tests/golden`.

mod common;

#[path = "../../master/tests/golden/differences.rs"]
#[allow(dead_code, reason = "the other lists are for the tests of masters")]
mod differences;
#[path = "../../master/tests/golden/figures.rs"]
#[allow(dead_code, reason = "the other figures are for the tests of masters")]
mod figures;
#[path = "../../master/tests/golden/judge.rs"]
mod judge;
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
use differences::OF_AGENTS;
use figures::AGENTS;
use judge::{Deviation, judge};
use prost::Message as _;
use regency_rpc::proto::regency::agent::v1 as rpc;
use regency_wire::v1;
use shape::{Exchange, differences_of, headers_that_matter};

/// The shapes of a situation.
fn shapes(situation: &str) -> Vec<(String, Exchange)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(situation);
    let entries = std::fs::read_dir(folder).expect("there are shapes of the situation");
    let shapes = entries.map(|entry| {
        let path = entry.expect("the folder can be read").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let text = std::fs::read_to_string(&path).expect("a shape is text");
        (format!("{situation}/{name}"), Exchange::read(&text))
    });
    shapes.collect()
}

/// Compares all answers of a situation; gives how many.
async fn compare(
    situation: &str,
    agent: &Agent,
    master: &Master,
    all: &mut Vec<Deviation>,
) -> usize {
    let shapes = shapes(situation);
    for (case, expected) in &shapes {
        let (status, headers, body) = get(agent, master, &expected.request.path, &[]).await;
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?")));
        let headers = headers_that_matter(headers);
        let body = String::from_utf8(body).expect("text");
        let found = differences_of(expected, status, &headers, &body);
        all.extend(found.into_iter().map(|(path, what)| Deviation {
            case: case.clone(),
            path,
            what,
        }));
    }
    shapes.len()
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

#[tokio::test]
async fn what_mesos_tells_is_told_here() {
    let master = Master::leader();
    let mut agent = Agent::new(&[master.address.to_string()]);
    agent.start();
    eventually("it is attached", || async {
        let (_, _, body) = get(&agent, &master, "/metrics/snapshot", &[]).await;
        let keys: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        (keys["slave/registered"] == 1.0).then_some(())
    })
    .await;
    let mut all = Vec::new();
    let mut n = compare("idle", &agent, &master, &mut all).await;
    completed(&master).await;
    eventually("the end is acknowledged", || async {
        let (_, _, body) = get(&agent, &master, "/state", &[]).await;
        let state: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        state["completed_frameworks"].get(0).map(|_| ())
    })
    .await;
    n += compare("busy", &agent, &master, &mut all).await;
    judge(OF_AGENTS, &all, n, AGENTS);
}
