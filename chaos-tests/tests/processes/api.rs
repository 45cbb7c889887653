//! Wrong inputs over HTTP: the answers of a real Mesos 1.11 master, status and text.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::wait::PATIENCE;

const SUBSCRIBE: &str =
    r#"{"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "e"}}}"#;
const STREAM_ID: &str = "Mesos-Stream-Id: 6b2b0b3e-6a05-4a4d-a6a5-5b3f1c3d2b11";
const JSON: &str = "Content-Type: application/json";
const ACCEPT_JSON: &str = "Accept: application/json";
const SCHEDULER: &str = "/api/v1/scheduler";
const OPERATOR: &str = "/api/v1";

/// A request and the answer to it.
struct Case {
    line: (&'static str, &'static str),
    headers: &'static [&'static str],
    body: &'static str,
    status: u16,
    text: &'static str,
}

fn case(
    line: (&'static str, &'static str),
    headers: &'static [&'static str],
    body: &'static str,
    status: u16,
    text: &'static str,
) -> Case {
    Case {
        line,
        headers,
        body,
        status,
        text,
    }
}

fn cases() -> Vec<Case> {
    let both: &[&str] = &[JSON, ACCEPT_JSON];
    let scheduler = |body, status, text| case(("POST", SCHEDULER), both, body, status, text);
    let operator = |body, status, text| case(("POST", OPERATOR), both, body, status, text);
    const NOT_GET: &str =
        "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'GET'.";
    const NOT_PUT: &str =
        "405 Method Not Allowed. Expecting one of { 'POST' }, but received 'PUT'.";
    const NO_CONTENT_TYPE: &str = "Expecting 'Content-Type' to be present";
    const BAD_CONTENT_TYPE: &str =
        "Expecting 'Content-Type' of application/json or application/x-protobuf";
    const BAD_ACCEPT: &str =
        "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'";
    const NOT_JSON: &str = "Failed to parse body into JSON: syntax error at line 1 near: not json";
    const NO_TYPE: &str = "Failed to validate scheduler::Call: Expecting 'type' to be present";
    const NO_OPERATOR_TYPE: &str =
        "Failed to validate master::Call: Expecting 'type' to be present";
    vec![
        case(("GET", SCHEDULER), both, "", 405, NOT_GET),
        case(("PUT", SCHEDULER), both, SUBSCRIBE, 405, NOT_PUT),
        case(
            ("POST", SCHEDULER),
            &[ACCEPT_JSON],
            SUBSCRIBE,
            400,
            NO_CONTENT_TYPE,
        ),
        case(
            ("POST", SCHEDULER),
            &["Content-Type: text/plain", ACCEPT_JSON],
            SUBSCRIBE,
            415,
            BAD_CONTENT_TYPE,
        ),
        scheduler("{not json", 400, NOT_JSON),
        scheduler(
            "[1]",
            400,
            "Failed to convert JSON into Call protobuf: Expecting a JSON object",
        ),
        scheduler(
            "",
            400,
            "Failed to parse body into JSON: syntax error at line 1 near:",
        ),
        case(
            ("POST", SCHEDULER),
            &["Content-Type: application/x-protobuf", ACCEPT_JSON],
            "\u{7f}\u{7f}\u{7f}",
            400,
            "Failed to parse body into Call protobuf",
        ),
        case(
            ("POST", SCHEDULER),
            &[JSON, "Accept: text/html"],
            SUBSCRIBE,
            406,
            BAD_ACCEPT,
        ),
        scheduler(r#"{"type": "NO_SUCH_CALL"}"#, 400, NO_TYPE),
        scheduler(r#"{"framework_id": {"value": "x"}}"#, 400, NO_TYPE),
        scheduler(
            r#"{"type": "REVIVE", "framework_id": {"value": "x"}, "no_such_field": 1}"#,
            400,
            "Framework cannot be found",
        ),
        scheduler(
            r#"{"type": "REVIVE", "framework_id": "a string"}"#,
            400,
            "Failed to convert JSON into Call protobuf: \
             Not expecting a JSON string for field 'framework_id'",
        ),
        scheduler(
            r#"{"type": "SUBSCRIBE"}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'subscribe' to be present",
        ),
        scheduler(
            r#"{"type": "SUBSCRIBE", "subscribe": {"framework_info": {"name": "e"}}}"#,
            400,
            "Failed to convert JSON into Call protobuf: \
             Missing required fields: subscribe.framework_info.user",
        ),
        case(
            ("POST", SCHEDULER),
            &[JSON, ACCEPT_JSON, STREAM_ID],
            SUBSCRIBE,
            400,
            "Subscribe calls should not include the 'Mesos-Stream-Id' header",
        ),
        scheduler(
            r#"{"type": "SUBSCRIBE", "framework_id": {"value": "a"}, "subscribe":
                {"framework_info": {"user": "root", "name": "e", "id": {"value": "b"}}}}"#,
            400,
            "Failed to validate scheduler::Call: \
             'framework_id' differs from 'subscribe.framework_info.id'",
        ),
        scheduler(
            r#"{"type": "REVIVE"}"#,
            400,
            "Failed to validate scheduler::Call: Expecting 'framework_id' to be present",
        ),
        case(
            ("POST", SCHEDULER),
            &[JSON, ACCEPT_JSON, STREAM_ID],
            r#"{"type": "REVIVE", "framework_id": {"value": "no-such"}}"#,
            400,
            "Framework cannot be found",
        ),
        scheduler(
            r#"{"type": "REVIVE", "framework_id": {"value": "no-such"}}"#,
            400,
            "Framework cannot be found",
        ),
        case(("GET", OPERATOR), both, "", 405, NOT_GET),
        case(
            ("POST", OPERATOR),
            &[],
            r#"{"type": "GET_HEALTH"}"#,
            400,
            NO_CONTENT_TYPE,
        ),
        case(
            ("POST", OPERATOR),
            &["Content-Type: text/plain"],
            r#"{"type": "GET_HEALTH"}"#,
            415,
            BAD_CONTENT_TYPE,
        ),
        operator("{not json", 400, NOT_JSON),
        operator(r#"{"type": "NO_SUCH_CALL"}"#, 400, NO_OPERATOR_TYPE),
        operator("{}", 400, NO_OPERATOR_TYPE),
        case(
            ("POST", OPERATOR),
            &[JSON, "Accept: text/html"],
            r#"{"type": "GET_HEALTH"}"#,
            406,
            BAD_ACCEPT,
        ),
        case(
            ("POST", OPERATOR),
            &[JSON],
            r#"{"type": "GET_HEALTH"}"#,
            200,
            r#"{"type":"GET_HEALTH","get_health":{"healthy":true}}"#,
        ),
        case(("GET", "/no/such/path"), &[], "", 404, ""),
    ]
}

/// Sends a request as it is and gives head and body of the answer.
fn ask(address: &str, case: &Case) -> (String, String) {
    let mut connection = TcpStream::connect(address).expect("the master listens");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    let (method, path) = case.line;
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    for header in case.headers {
        request.push_str(&format!("{header}\r\n"));
    }
    let length = case.body.len();
    request.push_str(&format!(
        "Content-Length: {length}\r\nConnection: close\r\n\r\n{}",
        case.body
    ));
    connection.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .expect("an answer that ends");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn wrong_inputs_get_the_answers_of_mesos() {
    let cluster = Cluster::start(&["--agents", "0"]).await;
    let leader = cluster.agreed_leader().await;
    let address = cluster.info(Member::Master(leader.node_id)).http.clone();
    let mut wrong = Vec::new();
    for case in cases() {
        let (head, body) = ask(&address, &case);
        let status = format!("HTTP/1.1 {}", case.status);
        if !head.starts_with(&status) || (!case.text.is_empty() && body.trim() != case.text) {
            let (line, headers, sent) = (case.line, case.headers, case.body);
            wrong.push(format!(
                "{line:?} {headers:?} {sent}\n expected {status} {}\n answered {} {body}",
                case.text,
                head.lines().next().unwrap_or_default(),
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Everything above left the master as it was.
    assert!(
        cluster
            .status(leader.node_id)
            .await
            .is_some_and(|status| status.leads())
    );
}

#[tokio::test]
async fn a_follower_sends_schedulers_to_the_leader() {
    let cluster = Cluster::start(&["--agents", "0"]).await;
    let leader = cluster.agreed_leader().await;
    let leader_address = cluster.info(Member::Master(leader.node_id)).http.clone();
    for id in 1..=3 {
        let address = cluster.info(Member::Master(id)).http.clone();
        if address == leader_address {
            continue;
        }
        let subscribe = case(
            ("POST", SCHEDULER),
            &[JSON, ACCEPT_JSON],
            SUBSCRIBE,
            307,
            "",
        );
        let (head, _) = ask(&address, &subscribe);
        assert!(head.starts_with("HTTP/1.1 307"), "{head}");
        let location = format!("location: //{leader_address}{SCHEDULER}");
        assert!(
            head.lines().any(|line| line.to_lowercase() == location),
            "{head}"
        );
    }
}

#[tokio::test]
async fn a_client_that_sends_half_a_request_keeps_nobody_else_from_being_answered() {
    let cluster = Cluster::start(&["--masters", "1", "--agents", "0"]).await;
    let address = cluster.masters().remove(0);
    let mut half = TcpStream::connect(&address).expect("the master listens");
    half.write_all(b"POST /api/v1/scheduler HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        .expect("sent");
    half.set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a timeout");
    let health = case(
        ("POST", OPERATOR),
        &[JSON],
        r#"{"type": "GET_HEALTH"}"#,
        200,
        "",
    );
    let (head, _) = ask(&address, &health);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn while_nobody_leads_only_a_subscription_is_held_up() {
    let mut cluster = Cluster::start(&["--agents", "0"]).await;
    let leader = cluster.agreed_leader().await.node_id;
    let survivor = if leader == 1 { 2 } else { 1 };
    let others: Vec<Member> = (1..=3)
        .filter(|id| *id != survivor)
        .map(Member::Master)
        .collect();
    cluster.kill_all(&others).await;
    let address = cluster.info(Member::Master(survivor)).http.clone();
    let both: &[&str] = &[JSON, ACCEPT_JSON];
    let revive = case(
        ("POST", SCHEDULER),
        both,
        r#"{"type": "REVIVE", "framework_id": {"value": "x"}}"#,
        503,
        "",
    );
    // It points to the leader it heard until it has missed it for long enough.
    regency_chaos_tests::wait::until_true("the master knows of no leader", || {
        ask(&address, &revive).0.starts_with("HTTP/1.1 503")
    })
    .await;
    let begun = std::time::Instant::now();
    let (head, body) = ask(&address, &revive);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "No leader elected");
    assert!(begun.elapsed() < Duration::from_secs(3), "it was held up");
    let subscribe = case(("POST", SCHEDULER), both, SUBSCRIBE, 503, "");
    let begun = std::time::Instant::now();
    let (head, body) = ask(&address, &subscribe);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "No leader elected");
    assert!(
        begun.elapsed() >= Duration::from_millis(4_500),
        "an election is usually shorter than that: {:?}",
        begun.elapsed()
    );
    // Held up, it is answered as soon as somebody leads.
    let asked = std::thread::spawn(move || {
        let subscribe = case(("POST", SCHEDULER), &[JSON, ACCEPT_JSON], SUBSCRIBE, 0, "");
        // A busy machine may take longer than a subscription is held up.
        let mut answers = std::iter::repeat_with(|| first_line(&address, &subscribe)).take(10);
        answers.find(|line| !line.starts_with("HTTP/1.1 503"))
    });
    cluster.restart(others[0]);
    cluster.leader().await;
    let line = tokio::task::spawn_blocking(move || asked.join())
        .await
        .expect("the thread is waited for")
        .expect("the thread ends")
        .expect("an answer once somebody leads");
    assert!(
        line.starts_with("HTTP/1.1 200") || line.starts_with("HTTP/1.1 307"),
        "{line}"
    );
}

/// Sends a request whose answer need not end, and gives the first line of it.
fn first_line(address: &str, case: &Case) -> String {
    use std::io::{BufRead, BufReader};

    let mut connection = TcpStream::connect(address).expect("the master listens");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {address}\r\n{}\r\nContent-Length: {}\r\n\r\n{}",
        case.line.1,
        case.headers.join("\r\n"),
        case.body.len(),
        case.body
    );
    connection.write_all(request.as_bytes()).expect("sent");
    let mut line = String::new();
    BufReader::new(connection)
        .read_line(&mut line)
        .expect("a line");
    line
}
