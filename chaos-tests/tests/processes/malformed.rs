//! Malformed requests at real masters and agents: each is refused with what is wrong, nothing changes,
//! and everybody lives. Fewer than the thousand per call that a master's router gets in its own test.
//!
//! `REGENCY_MALFORMED_SEED=N` begins with that seed, `REGENCY_MALFORMED_REQUESTS=N` sends so many to each.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_testkit::Rng;
use regency_testkit::malformed::calls::{self, Ids};
use regency_testkit::malformed::{Request, Valid};

/// Requests to each call of each endpoint.
const REQUESTS: u64 = 25;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().expect("the setting is a number"),
        Err(_) => default,
    }
}

fn connect(address: &str) -> TcpStream {
    let connection = TcpStream::connect(address).expect("it listens");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    connection
}

fn bytes_of(request: &Request, address: &str, keep: bool) -> Vec<u8> {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n",
        request.method,
        request.path,
        request.body.len()
    );
    if !keep {
        head.push_str("connection: close\r\n");
    }
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), &request.body].concat()
}

/// The status and the text of the answer.
fn ask(address: &str, request: &Request) -> Result<(u16, String), String> {
    let mut connection = connect(address);
    let sent = connection.write_all(&bytes_of(request, address, false));
    sent.map_err(|error| format!("not sent: {error}"))?;
    let mut answer = Vec::new();
    let read = connection.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    match (read, status) {
        (_, Some(status)) => Ok((status, answer)),
        (Err(error), None) => Err(format!("no answer: {error}")),
        (Ok(_), None) => Err("the connection was closed without an answer".to_owned()),
    }
}

fn all_are_refused(address: &str, endpoints: &[Valid], wrong: &mut Vec<String>) {
    let first = setting("REGENCY_MALFORMED_SEED", 0);
    let n = setting("REGENCY_MALFORMED_REQUESTS", REQUESTS);
    for valid in endpoints {
        for seed in first..first + n {
            let made = valid.malform(&mut Rng::new(seed));
            let judged =
                ask(address, &made.request).and_then(|(status, text)| made.judge(status, &text));
            if let Err(why) = judged {
                let (name, how, request) = (&valid.name, &made.how, &made.request);
                wrong.push(format!(
                    "REGENCY_MALFORMED_SEED={seed} {name}: {how} ({} {}): {why}",
                    request.method, request.path
                ));
            }
        }
    }
}

/// Subscribes a framework that wants no offers; it lives as long as the connection.
fn subscribe(address: &str) -> (BufReader<TcpStream>, Ids) {
    let body = r#"{"type":"SUBSCRIBE","subscribe":{"suppressed_roles":["eng"],"framework_info":{
        "user":"root","name":"shop","failover_timeout":3600,"roles":["eng"],
        "principal":"golden-principal",
        "capabilities":[{"type":"MULTI_ROLE"}]}}}"#;
    let request = Request {
        method: "POST".into(),
        path: "/api/v1/scheduler".into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into(),
    };
    let mut connection = connect(address);
    let bytes = bytes_of(&request, address, true);
    connection.write_all(&bytes).expect("sent");
    let mut answer = BufReader::new(connection);
    let mut ids = Ids::default();
    let mut line = String::new();
    while ids.framework.is_empty() {
        line.clear();
        answer.read_line(&mut line).expect("a line");
        if let Some(stream) = line.to_lowercase().strip_prefix("mesos-stream-id: ") {
            ids.stream = stream.trim().to_owned();
        }
        let id = line.split(r#""framework_id":{"value":""#).nth(1);
        if let Some(id) = id.and_then(|rest| rest.split('"').next()) {
            ids.framework = id.to_owned();
        }
    }
    (answer, ids)
}

fn get(address: &str, path: &str) -> serde_json::Value {
    let request = Request {
        method: "GET".into(),
        path: path.into(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    let (status, answer) = ask(address, &request).expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    serde_json::from_str(body).expect("JSON")
}

fn call(address: &str, name: &str) -> String {
    let request = Request {
        method: "POST".into(),
        path: "/api/v1?consistent=true".into(),
        headers: vec![("content-type".into(), "application/json".into())],
        body: format!(r#"{{"type":"{name}"}}"#).into_bytes(),
    };
    let (status, answer) = ask(address, &request).expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a head").1;
    body.to_owned()
}

/// What nothing may change.
fn state(address: &str) -> Vec<String> {
    let calls = [
        "GET_AGENTS",
        "GET_FRAMEWORKS",
        "GET_TASKS",
        "GET_OPERATIONS",
    ];
    calls.iter().map(|name| call(address, name)).collect()
}

#[tokio::test]
async fn malformed_requests_are_refused_and_change_nothing() {
    let cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let leader = cluster.agreed_leader().await;
    let address = cluster.info(Member::Master(leader.node_id)).http.clone();
    let agent = cluster.info(Member::Agent(1)).http.clone();
    // Before, what a new level brings is refused for the level's sake.
    until("the feature level of the masters", || async {
        let status = get(&address, "/regency/status");
        (status["feature_level"] == status["feature_level_max"]).then_some(())
    })
    .await;
    let (_subscription, mut ids) = subscribe(&address);
    let agents: serde_json::Value =
        serde_json::from_str(&call(&address, "GET_AGENTS")).expect("JSON");
    let id = &agents["get_agents"]["agents"][0]["agent_info"]["id"]["value"];
    ids.agent = id.as_str().expect("an agent").to_owned();
    ids.offer = "no-offer".to_owned();
    ids.task = "no-task".to_owned();
    let before = state(&address);
    let mut wrong = Vec::new();
    for endpoints in [
        calls::scheduler(&ids),
        calls::operator(&ids),
        calls::legacy(&ids),
        calls::own_of_master(),
    ] {
        all_are_refused(&address, &endpoints, &mut wrong);
    }
    for endpoints in [
        calls::executor(&ids.framework, "e"),
        calls::operator_of_agent("no-container"),
        calls::legacy_of_agent(),
    ] {
        all_are_refused(&agent, &endpoints, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(state(&address), before);
}

/// What is not even HTTP. It is answered, or the connection is closed; and others go on.
#[tokio::test]
async fn what_is_no_request_harms_nobody() {
    let cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let leader = cluster.agreed_leader().await;
    let master = cluster.info(Member::Master(leader.node_id)).http.clone();
    let agent = cluster.info(Member::Agent(1)).http.clone();
    let process = cluster
        .status(leader.node_id)
        .await
        .expect("it lives")
        .process;
    let long = format!("GET /state HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let many = format!("GET /state HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let requests: [&[u8]; 10] = [
        b"\0\0\0\0\r\n\r\n",
        b"GET /state\r\n\r\n",
        b"GET /state HTTP/9.9\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
        b"POST /api/v1 HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /api/v1 HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /api/v1 HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        b"POST /api/v1 HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for address in [&master, &agent] {
        for request in requests {
            let mut connection = connect(address);
            // It may be closed before all of it is read.
            let _ = connection.write_all(request);
            let _ = connection.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _ = connection.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
            assert!(refused, "{:?}: {answer}", String::from_utf8_lossy(request));
        }
        let health = Request {
            method: "GET".into(),
            path: "/health".into(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        assert_eq!(ask(address, &health).expect("an answer").0, 200);
    }
    let now = cluster.status(leader.node_id).await.expect("it lives");
    assert!(
        now.leads() && now.process == process,
        "it is the same process"
    );
}
