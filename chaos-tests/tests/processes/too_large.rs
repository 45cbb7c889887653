//! Calls that are larger than what a master takes.

use std::io::{Read, Write};
use std::net::TcpStream;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::PATIENCE;

const PROPOSAL_BYTES: usize = 16 * 1024;
const REQUEST_BYTES: usize = 128 * 1024;

/// A subscription of a framework whose name has so many bytes: the answer's status line and its body.
fn subscribe(address: &str, name_bytes: usize) -> (String, String) {
    let name = "x".repeat(name_bytes);
    let body = format!(
        r#"{{"type": "SUBSCRIBE", "subscribe": {{"framework_info": {{"user": "root", "name": "{name}"}}}}}}"#
    );
    let mut connection = TcpStream::connect(address).expect("the master listens");
    let timeout = connection.set_read_timeout(Some(PATIENCE));
    timeout.expect("a timeout");
    let head = format!(
        "POST /api/v1/scheduler HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).expect("sent");
    // The answer may come before all was sent.
    let _ = connection.write_all(body.as_bytes());
    let mut answer = Vec::new();
    // A master that did not read everything may reset the connection after its answer.
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.lines().next().expect("a status line");
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn what_is_too_large_is_answered_with_413_and_nothing_is_lost() {
    let proposal = format!("--master-flag=--max-proposal-bytes={PROPOSAL_BYTES}");
    let request = format!("--master-flag=--max-request-bytes={REQUEST_BYTES}");
    let cluster = Cluster::start(&["--agents", "1", &proposal, &request]).await;
    let mut scheduler = Scheduler::start("before", &cluster.masters()).await;
    let leader = cluster.agreed_leader().await;
    let address = cluster.info(Member::Master(leader.node_id)).http.clone();

    // A change that is too large for the log.
    let (status, body) = subscribe(&address, PROPOSAL_BYTES);
    assert!(status.contains(" 413 "), "{status} {body}");
    assert!(body.contains(&PROPOSAL_BYTES.to_string()), "{body}");
    // A request that is too large to be read.
    let (status, body) = subscribe(&address, REQUEST_BYTES);
    assert!(status.contains(" 413 "), "{status} {body}");

    // Nobody notices: the same leader, and the framework that was there is served.
    let after = cluster.agreed_leader().await;
    assert_eq!((after.node_id, after.term), (leader.node_id, leader.term));
    scheduler.take_offer().await;
}
