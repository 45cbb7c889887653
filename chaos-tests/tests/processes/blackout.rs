//! Everything dies at once, and comes back in some order.

use std::time::Duration;

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_client::Framework;
use regency_client::v1::TaskState;

use Member::{Agent, Master};

/// Shorter than any of the blackouts below takes, masters' elections included, so that one that
/// counted leaderless time would end the framework and its tasks.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::test]
async fn nothing_is_lost_when_all_die_at_once_whatever_the_order_they_return_in() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&[]).await;
    let builder = Framework::builder("blackout").failover_timeout(FAILOVER_TIMEOUT);
    let mut scheduler = Scheduler::with(builder, &cluster.masters()).await;
    let orders = [
        [Master(1), Master(2), Master(3), Agent(1), Agent(2)],
        [Agent(2), Agent(1), Master(3), Master(2), Master(1)],
        [Master(2), Agent(1), Master(1), Agent(2), Master(3)],
    ];
    let mut launched = Vec::new();
    for (round, order) in orders.into_iter().enumerate() {
        let (runs_on, ends_in_the_dark) = (format!("on-{round}"), format!("dark-{round}"));
        let offer = scheduler.take_offer().await;
        let tasks = [&runs_on, &ends_in_the_dark].map(|id| ledger.waiting_task(id).on(&offer));
        scheduler.launch(offer.id, tasks.to_vec()).await;
        scheduler
            .until_all_are(TaskState::TaskRunning, &[&runs_on, &ends_in_the_dark])
            .await;
        scheduler
            .until("an outstanding offer", |s| !s.offers.is_empty())
            .await;
        let offers: Vec<String> = scheduler.offers.keys().cloned().collect();
        let (term, n_subscriptions) = (cluster.leader().await.term, scheduler.masters.len());

        cluster.kill_all(&cluster.members()).await;
        ledger.release(&ends_in_the_dark);
        let dark = tokio::time::Instant::now();
        // The length of the blackout is the fault, not something that is waited for.
        tokio::time::sleep_until(dark + FAILOVER_TIMEOUT * 2).await;
        for member in order {
            cluster.restart(member);
        }

        let leader = cluster.agreed_leader().await;
        assert!(leader.term > term, "round {round}");
        scheduler
            .until(
                "the outstanding offers again, after a new subscription",
                |s| {
                    s.masters.len() > n_subscriptions
                        && offers.iter().all(|id| s.offers.contains_key(id))
                },
            )
            .await;
        scheduler
            .until_all_are(TaskState::TaskFinished, &[&ends_in_the_dark])
            .await;
        assert_eq!(
            scheduler.state(&runs_on),
            Some(TaskState::TaskRunning),
            "round {round}"
        );
        ledger.release(&runs_on);
        scheduler
            .until_all_are(TaskState::TaskFinished, &[&runs_on])
            .await;
        launched.extend([runs_on, ends_in_the_dark]);
    }
    ledger.assert_ran_once(launched.iter().map(String::as_str));
    for (task, updates) in &scheduler.updates {
        let ends: Vec<TaskState> = updates
            .iter()
            .filter(|status| regency_client::is_terminal(status))
            .map(|status| status.state())
            .collect();
        assert_eq!(ends, [TaskState::TaskFinished], "{task}");
    }
}
