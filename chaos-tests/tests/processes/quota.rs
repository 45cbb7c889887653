//! Quotas and weights of roles outlive the leader that they were told, and bind the next one.

use std::time::Duration;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::{self, PATIENCE};
use regency_client::v1::Offer;
use regency_client::{Framework, Http, TaskBuilder};
use serde_json::{Value, json};

/// The role of the tests' schedulers.
const ROLE: &str = "chaos";

/// What a master answers to a call; `None` when that is not 200.
async fn call(master: &str, call: &Value) -> Option<Value> {
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json"),
    ];
    let body = call.to_string().into();
    let answer = Http::default()
        .post(master, "/api/v1", &headers, body, PATIENCE)
        .await
        .ok()?;
    if answer.status != 200 {
        return None;
    }
    if answer.body.is_empty() {
        return Some(Value::Null);
    }
    serde_json::from_slice(&answer.body).ok()
}

async fn leader(cluster: &Cluster) -> String {
    let id = cluster.leader().await.node_id;
    cluster.info(Member::Master(id)).http.clone()
}

/// Thousandths of cpus in offers.
fn cpus<'a>(offers: impl IntoIterator<Item = &'a Offer>) -> i64 {
    let all = offers.into_iter().flat_map(|offer| &offer.resources);
    all.filter(|resource| resource.name == "cpus")
        .filter_map(|resource| resource.scalar.as_ref())
        .map(|scalar| (scalar.value * 1000.0).round() as i64)
        .sum()
}

#[tokio::test]
async fn a_quota_and_a_weight_are_there_and_in_force_at_the_next_leader() {
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    // The cluster is new: its feature level is still to be raised.
    let masters = cluster.masters();
    for what in [
        json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [
            {"role": ROLE, "guarantees": {"cpus": {"value": 0.5}},
                "limits": {"cpus": {"value": 1}}}]}}),
        json!({"type": "UPDATE_WEIGHTS", "update_weights": {"weight_infos": [
            {"role": ROLE, "weight": 2.5}]}}),
    ] {
        wait::until("the leader takes it", || async {
            call(&leader(&cluster).await, &what).await
        })
        .await;
    }

    let builder = Framework::builder("limited").failover_timeout(Duration::from_secs(3600));
    let mut scheduler = Scheduler::with(builder, &masters).await;
    scheduler
        .until("all that the limit allows is offered", |s| {
            cpus(s.offers.values()) == 1000
        })
        .await;

    // Half of it is used at the next leader, which has to count the task that the last one launched.
    let offer = scheduler.take_offer().await;
    let task = TaskBuilder::shell("t", "sleep 1000").cpus(0.5).mem_mb(32.0);
    scheduler
        .launch(offer.id.clone(), vec![task.on(&offer)])
        .await;
    scheduler.kill_leader(&mut cluster).await;
    cluster.agreed_leader().await;
    scheduler
        .until("the rest of the limit is offered", |s| {
            cpus(s.offers.values()) == 500
        })
        .await;

    for master in cluster.masters() {
        // A master that was started again answers once it has caught up.
        let quota = wait::until("the quota is shown", || async {
            let shown = call(&master, &json!({"type": "GET_QUOTA"})).await?;
            let holds = shown["get_quota"]["status"]["configs"].is_array();
            holds.then_some(shown)
        })
        .await;
        let config = &quota["get_quota"]["status"]["configs"][0];
        assert_eq!(config["role"], ROLE, "{master}: {quota}");
        assert_eq!(config["limits"]["cpus"]["value"], 1.0, "{quota}");
        let weights = wait::until("the weight is shown", || async {
            call(&master, &json!({"type": "GET_WEIGHTS"})).await
        })
        .await;
        let weight = &weights["get_weights"]["weight_infos"][0];
        assert_eq!(weight, &json!({"role": ROLE, "weight": 2.5}));
        let prefix = format!("allocator/mesos/quota/roles/{ROLE}/resources/cpus");
        wait::until("what is used and offered is counted", || async {
            let path = "/metrics/snapshot";
            let answer = Http::default().get(&master, path, PATIENCE).await.ok()?;
            let metrics: Value = serde_json::from_slice(&answer.body).ok()?;
            let all_there = metrics[format!("{prefix}/consumed")] == 0.5
                && metrics[format!("{prefix}/offered_or_allocated")] == 1.0;
            all_there.then_some(())
        })
        .await;
    }

    let operator = Operator::of(cluster.masters());
    let listed = operator.regency("quota", &["list"]).await;
    let listed = text(&listed.stdout);
    let row: Vec<&str> = listed
        .lines()
        .nth(1)
        .expect("a row")
        .split_whitespace()
        .collect();
    assert_eq!(row, [ROLE, "cpus", "0.5", "1", "0.5", "0.5"], "{listed}");
    let set = operator
        .regency("weights", &["set", "other=0.5", "--json"])
        .await;
    let set: Value = serde_json::from_slice(&set.stdout).expect("JSON");
    assert_eq!(
        set,
        json!([{"role": ROLE, "weight": 2.5}, {"role": "other", "weight": 0.5}])
    );
    let refused = operator
        .regency("quota", &["set", "a/b", "--limit", "cpus:1"])
        .await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("nested role 'a/b'"));

    // The role has more than this for good; what it is offered goes, when that is forced.
    let lower = |force: bool| {
        json!({"type": "UPDATE_QUOTA", "update_quota": {"force": force, "quota_configs": [
            {"role": ROLE, "limits": {"cpus": {"value": 0.25}}}]}})
    };
    let leader = leader(&cluster).await;
    assert_eq!(call(&leader, &lower(false)).await, None);
    assert_eq!(call(&leader, &lower(true)).await, Some(Value::Null));
    scheduler
        .until("no cpu is offered any more", |s| {
            cpus(s.offers.values()) == 0
        })
        .await;
}
