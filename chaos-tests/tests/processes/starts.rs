//! A master whose start stands still.

use nix::sys::stat::Mode;
use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::wait::{until, until_true};

const LIMIT: &str = "--start-abort-timeout=2s";

#[tokio::test]
async fn a_start_that_stands_still_ends_and_says_where() {
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    let leader = cluster.agreed_leader().await.node_id;
    let id = leader % 3 + 1;
    let member = Member::Master(id);
    cluster.kill(member).await;
    let info = cluster.info(member).clone();
    // Reading it waits for somebody who writes, as a broken disk may make one wait.
    let stuck = info.dir.join("log").join("current");
    assert!(!stuck.exists(), "a log that was rebuilt");
    nix::unistd::mkfifo(&stuck, Mode::S_IRUSR | Mode::S_IWUSR).expect("a pipe");

    cluster.restart_with(member, |argv| argv.push(LIMIT.to_owned()));

    until("the watchdog's last words", || async {
        let log = std::fs::read_to_string(&info.log).unwrap_or_default();
        let said = log.contains("the watchdog aborts this master")
            && log.contains("while it opens and checks its log")
            && log.contains(LIMIT);
        said.then_some(())
    })
    .await;
    until_true("the process is gone", || !cluster.runs(member)).await;

    // The same command line, on a disk that works again.
    std::fs::remove_file(&stuck).expect("removed");
    cluster.restart(member);
    until("it takes part again", || async {
        let status = cluster.status(id).await?;
        status.leader.is_some().then_some(())
    })
    .await;
}
