//! Masters are upgraded one after the other while the cluster runs.

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::operator::Operator;
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_chaos_tests::writes::{Writes, known_to};
use regency_client::{Http, Role};
use serde_json::Value;

/// What makes a master one of an earlier version, as far as others can tell.
const OLD: &str = "--feature-level-max=1";
const MASTERS: [u64; 3] = [1, 2, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_rises_when_the_last_master_is_upgraded_and_no_write_is_lost() {
    let old = format!("--master-flag={OLD}");
    let audited = "--master-flag=--state-hash-every-entries=50";
    let mut cluster = Cluster::start(&["--agents", "1", &old, audited]).await;
    let operator = Operator::of(cluster.masters());
    let first = cluster.agreed_leader().await;
    let writes = Writes::start(1, &cluster.masters());

    // The leader last. While one is old, an upgraded one may go back.
    let followers: Vec<u64> = MASTERS
        .into_iter()
        .filter(|id| *id != first.node_id)
        .collect();
    upgrade(&mut cluster, followers[0]).await;
    stop(&mut cluster, followers[0]).await;
    cluster.restart_with(Member::Master(followers[0]), |argv| {
        argv.push(OLD.to_owned());
    });
    cluster.agreed_leader().await;
    for id in followers.iter().chain([&first.node_id]) {
        for id in MASTERS {
            let status = status(&cluster, id).await;
            assert_eq!(status["feature_level"], 1, "{status}");
            assert_eq!(status["state_hash"], Value::Null, "{status}");
        }
        upgrade(&mut cluster, *id).await;
    }
    for id in MASTERS {
        until("the level rises on all, and their states agree", || async {
            let status = status(&cluster, id).await;
            let agree = status["state_hash"]["agree"] == 3;
            (status["feature_level"] == 2 && agree).then_some(())
        })
        .await;
    }
    let leader = cluster.agreed_leader().await;
    let listed = until("the leader knows what all run", || async {
        let listed = operator.done(&["list", "--json"]).await;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let all = listed["members"].as_array().expect("members");
        let known = all.iter().all(|member| member["version"].is_string());
        known.then_some(listed)
    })
    .await;
    assert_eq!(listed["feature_level"], 2, "{listed}");
    for member in listed["members"].as_array().expect("members") {
        assert_eq!(member["feature_level_max"], 2, "{member}");
    }

    let written = writes.stop().await;
    assert!(written.len() > 20, "{}", written.len());
    for id in MASTERS {
        let known = known_to(&cluster.info(Member::Master(id)).http).await;
        let lost: Vec<&String> = written.difference(&known).collect();
        assert!(lost.is_empty(), "node {id} lost {lost:?}");
    }

    // There is no way back for one of them.
    stop(&mut cluster, leader.node_id).await;
    let member = Member::Master(leader.node_id);
    cluster.restart_with(member, |argv| argv.push(OLD.to_owned()));
    let log = cluster.info(member).log.clone();
    until("the old master says why it does not start", || async {
        let text = std::fs::read_to_string(&log).expect("a log");
        let said = text.contains("the cluster is at feature level 2")
            && text.contains("take --feature-level-max away");
        (said && !cluster.runs(member)).then_some(())
    })
    .await;
    cluster.leader().await;
    cluster.restart_with(member, |argv| argv.retain(|arg| arg != OLD));
    cluster.agreed_leader().await;
}

/// Starts a master again as one of the new version.
async fn upgrade(cluster: &mut Cluster, id: u64) {
    stop(cluster, id).await;
    cluster.restart_with(Member::Master(id), |argv| argv.retain(|arg| arg != OLD));
    cluster.agreed_leader().await;
    assert_eq!(status(cluster, id).await["feature_level_max"], 2);
}

/// Asks a master to stop. Another one leads before it is gone.
async fn stop(cluster: &mut Cluster, id: u64) {
    let led = cluster.agreed_leader().await.node_id == id;
    cluster.terminate(Member::Master(id)).await;
    let others = MASTERS.into_iter().filter(|other| *other != id);
    let mut leads = Vec::new();
    for other in others {
        let status = cluster.status(other).await.expect("it runs");
        leads.extend((status.role == Role::Leader).then_some(other));
    }
    assert_eq!(leads.len(), 1, "{leads:?}");
    let text = std::fs::read_to_string(&cluster.info(Member::Master(id)).log).expect("a log");
    assert!(
        !led || !text.contains("without handing leadership over"),
        "{text}"
    );
}

async fn status(cluster: &Cluster, id: u64) -> Value {
    let address = cluster.info(Member::Master(id)).http.clone();
    let body = until("a status", || async {
        let answer = Http::default()
            .get(&address, "/regency/status", PATIENCE)
            .await;
        answer.ok().map(|answer| answer.body)
    })
    .await;
    serde_json::from_slice(&body).expect("JSON")
}
