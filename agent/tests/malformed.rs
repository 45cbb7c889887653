//! Malformed requests at a real agent, of executors and of operators: a thousand of each call and each
//! endpoint are refused with what is wrong, and change nothing.
//!
//! `REGENCY_MALFORMED_SEED=N` begins with that seed, `REGENCY_MALFORMED_REQUESTS=N` sends so many of each.

mod common;

use common::agent::Agent;
use common::master::{FRAMEWORK, Master};
use common::operator::{call, container_of};
use regency_testkit::Rng;
use regency_testkit::malformed::{Malformed, Request, Valid, calls};
use regency_wire::recordio;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests of each call.
const REQUESTS: u64 = 1_000;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("the setting is a number"),
        Err(_) => default,
    }
}

async fn ask(address: &str, request: &Request) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(address).await.expect("a listener");
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let bytes = [head.as_bytes(), &request.body].concat();
    stream.write_all(&bytes).await.map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    read.map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    status
        .map(|status| (status, answer))
        .ok_or("no answer".to_owned())
}

/// Sends all, each `as_sent`, and tells of each call one wrong answer.
async fn all_are_refused(
    address: &str,
    endpoints: &[Valid],
    as_sent: impl Fn(Malformed) -> Malformed,
) -> Vec<String> {
    let first = setting("REGENCY_MALFORMED_SEED", 0);
    let n = setting("REGENCY_MALFORMED_REQUESTS", REQUESTS);
    let mut wrong = Vec::new();
    for valid in endpoints {
        for seed in first..first + n {
            let made = as_sent(valid.malform(&mut Rng::new(seed)));
            let answer = ask(address, &made.request).await;
            if let Err(why) = answer.and_then(|(status, text)| made.judge(status, &text)) {
                let (name, how, request) = (&valid.name, &made.how, &made.request);
                wrong.push(format!(
                    "REGENCY_MALFORMED_SEED={seed} {name}: {how} ({} {} {:?})\n  {}\n  {why}",
                    request.method,
                    request.path,
                    request.headers,
                    String::from_utf8_lossy(&request.body)
                ));
                // One of each call is enough to read.
                break;
            }
        }
    }
    wrong
}

/// A task that runs, and what is to stay as it is.
struct World {
    master: Master,
    agent: Agent,
    address: String,
    /// The container of the task.
    root: String,
}

impl World {
    async fn start() -> Self {
        let master = Master::leader();
        let mut agent = Agent::new(&[master.address.to_string()]);
        agent.start();
        let generation = master.launch("t", "exec sleep 1000");
        master.wait_for("t", generation, "TASK_RUNNING").await;
        let root = container_of(&agent, &master, "t").await;
        let root = root["value"].as_str().expect("an id").to_owned();
        let address = agent.address(&master).await;
        Self {
            master,
            agent,
            address,
            root,
        }
    }

    async fn state(&self) -> (String, Vec<Json>, Json) {
        let (_, state) = self.agent.get(&self.master, "/state").await;
        let all = json!({"type": "GET_CONTAINERS",
            "get_containers": {"show_nested": true, "show_standalone": true}});
        let (_, all) = call(&self.agent, &self.master, all).await;
        let all = all["get_containers"]["containers"].as_array().cloned();
        let ids = all.unwrap_or_default().into_iter();
        let ids = ids.map(|one| one["container_id"].clone()).collect();
        let level = json!({"type": "GET_LOGGING_LEVEL"});
        let (_, level) = call(&self.agent, &self.master, level).await;
        (state, ids, level)
    }

    async fn refuses(&self, endpoints: &[Valid], as_sent: impl Fn(Malformed) -> Malformed) {
        let before = self.state().await;
        let wrong = all_are_refused(&self.address, endpoints, as_sent).await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(self.state().await, before);
    }
}

#[tokio::test]
async fn malformed_calls_of_executors_are_refused_and_change_nothing() {
    let world = World::start().await;
    let executor = calls::executor(FRAMEWORK, "e");
    world.refuses(&executor, |made| made).await;
}

#[tokio::test]
async fn malformed_calls_of_operators_are_refused_and_change_nothing() {
    let world = World::start().await;
    let operator = calls::operator_of_agent(&world.root);
    world.refuses(&operator, |made| made).await;
}

#[tokio::test]
async fn malformed_requests_to_older_endpoints_are_refused_and_change_nothing() {
    let world = World::start().await;
    world.refuses(&calls::legacy_of_agent(), |made| made).await;
}

/// The body as a record, behind those before it.
fn as_record(mut made: Malformed, before: &[u8]) -> Malformed {
    let header = made
        .request
        .headers
        .iter_mut()
        .find(|(name, _)| name == "content-type");
    let Some((name, value)) = header else {
        return made;
    };
    if !["application/json", "application/x-protobuf"].contains(&value.as_str()) {
        return made;
    }
    let before = match value.as_str() {
        "application/json" => before,
        _ => &[],
    };
    "message-content-type".clone_into(name);
    let recordio = ("content-type", "application/recordio");
    let recordio = (recordio.0.to_owned(), recordio.1.to_owned());
    made.request.headers.push(recordio);
    made.request.body = [before, &recordio::frame(&made.request.body)].concat();
    made
}

#[tokio::test]
async fn malformed_input_of_containers_is_refused_and_changes_nothing() {
    let world = World::start().await;
    let [first, more] = calls::container_input(&world.root);
    world
        .refuses(std::slice::from_ref(&first), |made| as_record(made, &[]))
        .await;
    // Behind a record that names a container with a terminal.
    let launch = json!({"type": "LAUNCH_NESTED_CONTAINER", "launch_nested_container": {
        "container_id": {"value": "inner", "parent": {"value": world.root}},
        "command": {"value": "exec sleep 1000"},
        "container": {"type": "MESOS", "tty_info": {}}}});
    let (status, answer) = call(&world.agent, &world.master, launch).await;
    assert_eq!(status, 200, "{answer}");
    let names_it = json!({"type": "ATTACH_CONTAINER_INPUT", "attach_container_input": {
        "type": "CONTAINER_ID",
        "container_id": {"value": "inner", "parent": {"value": world.root}}}});
    let names_it = recordio::frame(names_it.to_string().as_bytes());
    world
        .refuses(&[more], |made| as_record(made, &names_it))
        .await;
    let whole = first.unharmed();
    assert_eq!(ask(&world.address, &whole).await.expect("an answer").0, 415);
}

/// What is sent wrong above is right otherwise: without this, a mistake in the samples would make
/// every answer a refusal for its sake.
#[tokio::test]
async fn the_calls_that_are_made_wrong_are_right_before() {
    let world = World::start().await;
    let mut all = calls::operator_of_agent(&world.root);
    all.extend(calls::legacy_of_agent());
    // What waits for a container, or streams, comes while there is none.
    all.sort_by_key(|valid| valid.name.starts_with("LAUNCH"));
    for valid in all {
        // The first streams for as long as its command runs; the others change the level of the whole
        // process, which other tests look at.
        let elsewhere = [
            "LAUNCH_NESTED_CONTAINER_SESSION",
            "SET_LOGGING_LEVEL",
            "/logging/toggle",
        ];
        if elsewhere.contains(&valid.name.as_str()) {
            continue;
        }
        let request = valid.unharmed();
        let (status, text) = ask(&world.address, &request).await.expect("an answer");
        let expected = match valid.name.as_str() {
            "LIST_FILES" | "READ_FILE" => 404,
            "/files/browse" | "/files/read" | "/files/download" => 404,
            "WAIT_NESTED_CONTAINER" | "KILL_NESTED_CONTAINER" | "ATTACH_CONTAINER_OUTPUT" => 404,
            "WAIT_CONTAINER" | "KILL_CONTAINER" => 404,
            "PRUNE_IMAGES" => 501,
            name if name.contains("RESOURCE_PROVIDER") && name != "GET_RESOURCE_PROVIDERS" => 501,
            _ => 200,
        };
        assert_eq!(status, expected, "{}: {text}", valid.name);
    }
}

#[tokio::test]
async fn a_call_that_is_too_long_is_refused() {
    let world = World::start().await;
    let call = calls::operator_of_agent(&world.root).remove(0);
    let mut request = call.unharmed();
    request.body = vec![b' '; 4 * 1024 * 1024 + 1];
    let (status, text) = ask(&world.address, &request).await.expect("an answer");
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("4194304 bytes"), "{text}");
}

#[tokio::test]
async fn a_change_is_noticed() {
    let world = World::start().await;
    let before = world.state().await;
    let all = calls::operator_of_agent(&world.root);
    let launch = all.iter().find(|valid| valid.name == "LAUNCH_CONTAINER");
    let launch = launch.expect("there is one").unharmed();
    assert_eq!(
        ask(&world.address, &launch).await.expect("an answer").0,
        200
    );
    assert_ne!(world.state().await, before);
}
