//! What exporters made for Mesos read at the master that leads.

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_client::Http;
use serde_json::Value;

const TIMED: [&str; 3] = [
    "allocator/mesos/allocation_run_ms",
    "allocator/mesos/allocation_run_latency_ms",
    "registrar/state_store_ms",
];
const PERCENTILES: [&str; 6] = ["p50", "p90", "p95", "p99", "p999", "p9999"];

#[tokio::test]
async fn what_takes_time_and_what_frameworks_call_is_told_under_the_keys_of_mesos() {
    let cluster = Cluster::start(&["--agents", "1"]).await;
    let mut scheduler = Scheduler::start("measured", &cluster.masters()).await;
    scheduler.take_offer().await;
    let described = scheduler
        .framework
        .update(|info, _| info.hostname = Some("elsewhere".to_owned()));
    described.await.expect("an answer");
    let id = scheduler.framework.id().expect("subscribed").value;
    let leader = cluster.agreed_leader().await.node_id;
    let leader = cluster.info(Member::Master(leader)).http.clone();
    let keys = until("keys of everything that is timed", || async {
        let path = "/metrics/snapshot";
        let answer = Http::default().get(&leader, path, PATIENCE).await.ok()?;
        let keys: Value = serde_json::from_slice(&answer.body).ok()?;
        TIMED
            .iter()
            .all(|key| keys[*key].is_number())
            .then_some(keys)
    })
    .await;
    for key in TIMED {
        let of = |name: &str| keys[format!("{key}/{name}")].as_f64().expect("a number");
        assert!(of("count") >= 1.0, "{key}");
        let (min, max) = (of("min"), of("max"));
        assert!(0.0 <= min && min <= max, "{key}: {min} {max}");
        let all: Vec<f64> = PERCENTILES.iter().map(|name| of(name)).collect();
        assert!(all.is_sorted(), "{key}: {all:?}");
        assert!(min <= all[0] && all[5] <= max, "{key}: {min} {all:?} {max}");
    }
    let framework = format!("master/frameworks/measured/{id}");
    // More than one until the masters have raised the feature level that the call needs.
    let calls = keys[format!("{framework}/calls/update_framework")].as_f64();
    assert!(calls >= Some(1.0), "{calls:?}");
    assert_eq!(keys[format!("{framework}/roles/chaos/suppressed")], 0.0);
}
