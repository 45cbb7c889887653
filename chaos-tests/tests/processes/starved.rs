//! Processors that others keep busy. Long, and of use only on a machine that does nothing else.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use regency_chaos_tests::cluster::Cluster;
use regency_chaos_tests::wait::PATIENCE;

const HOGS: usize = 8;

/// Processes that do nothing, as fast as they can.
struct Hogs(Vec<Child>);

impl Hogs {
    fn start() -> Self {
        let hog = |_| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]);
            command.stdin(Stdio::null()).spawn().expect("a shell")
        };
        Self((0..HOGS).map(hog).collect())
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for hog in &mut self.0 {
            let _ = hog.kill();
            let _ = hog.wait();
        }
    }
}

/// `STARVED_SECS=3600 cargo test -p regency-chaos-tests -- --ignored starved`
#[tokio::test]
#[ignore = "takes a minute and all processors"]
#[allow(clippy::print_stderr, reason = "the figure is what it is run for")]
async fn a_starved_leader_is_not_replaced() {
    let seconds = std::env::var("STARVED_SECS").map_or(60, |text| text.parse().expect("seconds"));
    let cluster = Cluster::start(&[]).await;
    let before = cluster.agreed_leader().await;
    let hogs = Hogs::start();
    let begun = Instant::now();
    let (mut looked, mut silent) = (0, 0);
    while begun.elapsed() < Duration::from_secs(seconds) {
        match cluster.status(before.node_id).await {
            Some(now) => {
                looked += 1;
                assert_eq!(now.term, before.term, "after {:?}", begun.elapsed());
                assert!(now.leads(), "after {:?}: {now:?}", begun.elapsed());
            }
            None => silent += 1,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(hogs);
    assert!(begun.elapsed() < Duration::from_secs(seconds) + PATIENCE);
    let after = cluster.agreed_leader().await;
    assert_eq!((after.node_id, after.term), (before.node_id, before.term));
    eprintln!("{HOGS} hogs for {seconds} s: 0 elections; {looked} answers, {silent} late ones");
}
