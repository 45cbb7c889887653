//! A master dies for good, an operator adds another, and the leader does the rest.

use regency_chaos_tests::cluster::Cluster;
use regency_chaos_tests::masters::Places;
use regency_chaos_tests::operator::{Operator, text};
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_client::Http;
use serde_json::Value;

/// So that the test need not wait as long as an operator may.
const FLAGS: [&str; 2] = ["--autopilot-server-stabilization-time", "1s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_five_dies_and_the_one_that_was_added_takes_over_its_vote() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(&["--masters", "1", "--agents", "0"]).await;
    let all = Places::beside(&cluster);
    let operator = Operator::of((1..=6).map(|id| all.http(id)));
    let mut masters = Vec::new();
    for id in 2..=5 {
        masters.push(all.start(id, &[1], dir.path(), &FLAGS));
        all.answers(id).await;
        operator.done(&["add", &all.spec(id)]).await;
    }
    operator.done(&["promote", "2", "3", "4", "5"]).await;
    operator.done(&["transfer-leader", "2"]).await;
    until("all five are well", || figures(&all, 2, [1.0, 2.0])).await;

    masters[3].kill();
    let health = until("the loss is noticed", || async {
        let output = operator.run(&["health", "--json"]).await;
        let health: Value = serde_json::from_slice(&output.stdout).ok()?;
        let lost = health["failure_tolerance"] == 1;
        (output.status.code() == Some(1) && lost).then_some(health)
    })
    .await;
    let dead = &health["members"][4];
    assert_eq!(dead["healthy"], false, "{health}");
    assert_eq!(dead["reason"], "does not answer", "{health}");
    until("it is in the figures", || figures(&all, 2, [0.0, 1.0])).await;
    // A majority is well; but nobody is there to take over.
    assert_eq!(operator.voters().await, [1, 2, 3, 4, 5]);

    masters.push(all.start(6, &[1, 2], dir.path(), &FLAGS));
    all.answers(6).await;
    operator.done(&["add", &all.spec(6), "--promote"]).await;
    until("the new one has the vote of the dead one", || async {
        let voters = operator.voters().await;
        (voters == [1, 2, 3, 4, 6]).then_some(())
    })
    .await;
    until("the cluster is healthy again", || async {
        let output = operator.run(&["health"]).await;
        let well = text(&output.stdout).contains("loss of 2 more");
        (output.status.success() && well).then_some(())
    })
    .await;
    let leader = u16::try_from(operator.leader().await).expect("a small number");
    until("it is in the figures", || figures(&all, leader, [1.0, 2.0])).await;

    // Should it come back, it is out.
    let mut late = all.start(5, &[1, 2], dir.path(), &FLAGS);
    assert_eq!(late.ended().await, Some(0), "{}", late.log());
    assert!(late.log().contains("was removed from the cluster"));
}

/// Whether a master's metrics say how healthy the cluster is, and how many may fail.
async fn figures(all: &Places, id: u16, [healthy, tolerance]: [f64; 2]) -> Option<()> {
    let answer = Http::default()
        .get(&all.http(id), "/metrics", PATIENCE)
        .await
        .ok()?;
    let text = String::from_utf8(answer.body.to_vec()).ok()?;
    let figure = |name: &str| -> Option<f64> {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let told = (
        figure("regency_autopilot_healthy")?,
        figure("regency_autopilot_failure_tolerance")?,
    );
    (told == (healthy, tolerance)).then_some(())
}
