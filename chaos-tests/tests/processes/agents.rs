//! An agent dies; its tasks do not.

use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::ledger::Ledger;
use regency_chaos_tests::scheduler::Scheduler;
use regency_chaos_tests::wait::until_true;
use regency_client::Framework;
use regency_client::v1::TaskState;

#[tokio::test]
async fn running_tasks_survive_a_killed_agent_and_are_reported_with_and_without_checkpointing() {
    let dir = tempfile::tempdir().expect("a directory");
    let ledger = Ledger::new(dir.path());
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    for checkpoint in [false, true] {
        let (ends_late, ends_early) = if checkpoint {
            ("c1", "c2")
        } else {
            ("n1", "n2")
        };
        let builder = Framework::builder("agent-restart")
            .failover_timeout(std::time::Duration::from_secs(3600))
            .framework_info(|info| info.checkpoint = Some(checkpoint));
        let mut scheduler = Scheduler::with(builder, &cluster.masters()).await;
        let offer = scheduler.take_offer().await;
        let tasks = [ends_late, ends_early].map(|id| ledger.waiting_task(id).on(&offer));
        scheduler.launch(offer.id, tasks.to_vec()).await;
        scheduler
            .until_all_are(TaskState::TaskRunning, &[ends_late, ends_early])
            .await;

        cluster.kill(Member::Agent(1)).await;
        // This one ends while nobody watches: only its exit status on disk can tell.
        ledger.release(ends_early);
        let marker = format!("release-{ends_early}");
        until_true("the released task is gone", || {
            !shells()
                .iter()
                .any(|environment| environment.contains(&format!("TASK={ends_early}")))
        })
        .await;
        assert!(
            shells()
                .iter()
                .any(|environment| environment.contains(&format!("TASK={ends_late}"))),
            "the other task runs on without its agent ({marker} was written)"
        );
        cluster.restart(Member::Agent(1));
        scheduler
            .until_all_are(TaskState::TaskFinished, &[ends_early])
            .await;
        assert_eq!(scheduler.state(ends_late), Some(TaskState::TaskRunning));
        ledger.release(ends_late);
        scheduler
            .until_all_are(TaskState::TaskFinished, &[ends_late])
            .await;
        scheduler.framework.teardown().await.expect("an answer");
    }
    ledger.assert_ran_once(["n1", "n2", "c1", "c2"]);
}

/// The environments of all shells on this machine.
fn shells() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let readable = entries.filter_map(|entry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        (name.trim() == "sh").then(|| String::from_utf8_lossy(&environment).into_owned())
    });
    readable.collect()
}
