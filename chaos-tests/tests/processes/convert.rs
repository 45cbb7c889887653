//! The log of a stopped master goes to the other engine, by the command that operators type.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use regency_chaos_tests::binary;
use regency_chaos_tests::cluster::Cluster;
use regency_chaos_tests::masters::Places;
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_chaos_tests::writes::write;
use regency_client::Http;
use serde_json::Value;

/// Types `regency raft` with this and a data directory.
async fn raft(args: &[&str], data: &Path) -> Output {
    let mut command = Command::new(binary::regency());
    command.arg("raft").args(args).arg("--data-dir").arg(data);
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    ran.expect("no panic").expect("the binary runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Waits until a master has applied all of these.
async fn shows(master: &str, written: &BTreeSet<String>) {
    until("it shows all that was written", || async {
        let answer = Http::default().get(master, "/frameworks", PATIENCE).await;
        let body: Value = serde_json::from_slice(&answer.ok()?.body).ok()?;
        let all = body["frameworks"].as_array()?;
        let shown: BTreeSet<&str> = all.iter().filter_map(|f| f["id"].as_str()).collect();
        let all = written.iter().all(|id| shown.contains(id.as_str()));
        all.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_master_goes_on_with_the_other_engine() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let places = Places::beside(&cluster);
    let operator = Operator::of(cluster.masters());
    let mut master = places.start(2, &[1], dir.path(), &["--log-engine", "sled"]);
    let data = dir.path().join("master-2");
    places.answers(2).await;
    operator.done(&["add", &places.spec(2)]).await;
    let mut written = BTreeSet::new();
    for _ in 0..5 {
        written.insert(write(&cluster.masters()).await);
    }
    shows(&places.http(2), &written).await;

    let to_segment = ["convert", "--to", "segment", "--json"];
    let refused = raft(&to_segment, &data).await;
    assert!(!refused.status.success(), "it is in use");

    master.kill();
    let change = json(&raft(&to_segment, &data).await);
    assert_eq!(change["changed"], true, "{change}");
    assert!(change["entries"].as_u64() > Some(5), "{change}");
    let state = json(&raft(&["state"], &data).await);
    assert_eq!(state["log_engine"], "segment", "{state}");
    assert_eq!(state["last"], change["last"], "{state}");

    // As it was started before: refused, with what to do.
    let mut wrong = places.start(2, &[1], dir.path(), &["--log-engine", "sled"]);
    assert_ne!(wrong.ended().await, Some(0));
    let said = wrong.log();
    assert!(said.contains("--log-engine"), "{said}");

    let _master = places.start(2, &[1], dir.path(), &["--log-engine", "segment"]);
    places.answers(2).await;
    written.insert(write(&cluster.masters()).await);
    shows(&places.http(2), &written).await;
}
