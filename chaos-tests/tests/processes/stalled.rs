//! A leader of which only a part stands still: its port answers, its work is not done.

use std::time::{Duration, Instant};

use regency_chaos_tests::cluster::{Cluster, Member, is_running};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::threads::StoppedThreads;
use regency_chaos_tests::wait::{PATIENCE, until, until_true};
use regency_client::v1::{Filters, TaskState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ABORT: &str = "--master-flag=--stall-abort-timeout=3s";

/// Threads with this name stop in the leader. It serves nobody soon, another one does, and the
/// process ends with words about `part`.
async fn stall(threads: &str, part: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--agents", "1", ABORT]).await;
    let mut scheduler = Scheduler::start("stalled", &cluster.masters()).await;
    let old = cluster.agreed_leader().await;
    let info = cluster.info(Member::Master(old.node_id)).clone();

    let declined_offer = scheduler.take_offer().await.id;
    let stopped = StoppedThreads::of(info.pid, threads);

    let begun = Instant::now();
    // Something to write: a disk that is not used may stand still unseen. Whether it is answered
    // depends on what stands still.
    let framework = scheduler.framework.clone();
    let soon = Filters {
        refuse_seconds: Some(0.0),
    };
    let declining = declined_offer.clone();
    let declined = tokio::spawn(async move { framework.decline([declining], Some(soon)).await });
    scheduler
        .until("a subscription at another master", |s| {
            s.masters.last() != Some(&info.http)
        })
        .await;
    let moved = begun.elapsed();
    // Its other threads still answer, and do not claim anything.
    if let Some(status) = cluster.status(old.node_id).await {
        assert!(!status.leads(), "{status:?}");
    }
    // The bound is that of a disk that stands still, with room for a slow machine.
    assert!(moved < Duration::from_secs(10), "moved after {moved:?}");
    // A call without an answer is repeated at the next leader, which may have sent that offer again.
    let answered = tokio::time::timeout(PATIENCE, declined).await;
    let _ = answered.expect("an answer").expect("no panic");
    let offer = loop {
        let offer = scheduler.take_offer().await;
        if offer.id != declined_offer {
            break offer;
        }
    };
    scheduler
        .launch(
            offer.id.clone(),
            vec![ledger.short_task("meanwhile").on(&offer)],
        )
        .await;
    until("the watchdog's last words", || async {
        let log = std::fs::read_to_string(&info.log).unwrap_or_default();
        let said = log.contains("the watchdog aborts this master") && log.contains(part);
        said.then_some(())
    })
    .await;
    drop(stopped);
    until_true("the process is gone", || !is_running(info.pid)).await;
    cluster.restart(Member::Master(old.node_id));
    assert!(cluster.agreed_leader().await.term > old.term);
    scheduler
        .until_all_are(TaskState::TaskFinished, &["meanwhile"])
        .await;
    ledger.assert_ran_once(["meanwhile"]);
}

#[tokio::test]
async fn a_leader_whose_replication_stands_still_is_replaced_and_aborts() {
    stall("raft", "replication stood still").await;
}

#[tokio::test]
async fn a_leader_whose_disk_stands_still_is_replaced_and_aborts() {
    stall("raft-log", "the disk of the data directory").await;
}

/// One request, as bytes, and everything that comes back.
async fn ask(address: &str, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("a port");
    let mut answer = Vec::new();
    // An end without an answer is one, too.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_frozen_leader_answers_nothing_from_the_past_when_it_wakes_up() {
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    let old = cluster.agreed_leader().await;
    let member = Member::Master(old.node_id);
    let address = cluster.info(member).http.clone();

    cluster.freeze(member);
    until("another leader", || async {
        for other in (1..=3).filter(|id| *id != old.node_id) {
            let status = cluster.status(other).await;
            if status.is_some_and(|status| status.leads() && status.term > old.term) {
                return Some(());
            }
        }
        None
    })
    .await;
    // The kernel takes these in; they are the first thing the process sees when it wakes up.
    let subscribe =
        r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"u","name":"n"}}}"#;
    let mut asked = Vec::new();
    for i in 0..40 {
        let request = if i % 2 == 0 {
            format!("GET /regency/status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        } else {
            format!(
                "POST /api/v1/scheduler HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nAccept: application/json\r\n\
                 Content-Length: {}\r\n\r\n{subscribe}",
                subscribe.len()
            )
        };
        let address = address.clone();
        asked.push(tokio::spawn(async move { ask(&address, request).await }));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;

    cluster.thaw(member);

    for answer in asked {
        let answer = answer.await.expect("asked");
        assert!(!answer.contains("\"serving\":true"), "{answer}");
        assert!(!answer.contains("SUBSCRIBED"), "{answer}");
    }
    cluster.agreed_leader().await;
}
