//! Snapshots that are interrupted on their way to a follower.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Cluster, DEADLINE, eventually, register_with};
use regency_raft_store::{EngineKind, Profile, ProposeError};
use regency_testkit::Rng;
use tokio::sync::{Mutex, MutexGuard};

/// Each test moves tens of megabytes through the disks of several masters.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Agents in the state, each with so much that does not compress.
const AGENTS: u128 = 20;
const AGENT_BYTES: usize = 900 * 1024;
/// Small writes beside them: a log is purged by lots of 256 entries.
const SMALL: u128 = 300;
/// Entries that stay in the log behind a snapshot.
const KEEP_ENTRIES: u64 = 4;
const MIB: u64 = 1024 * 1024;
/// Bytes of a transfer that may be lost on the way when a connection breaks: the windows of a stream
/// and of the proxy, and pieces that were read ahead.
const IN_FLIGHT: u64 = 7 * MIB;

fn noise(seed: u64) -> Bytes {
    let mut rng = Rng::new(seed);
    let mut bytes = Vec::with_capacity(AGENT_BYTES);
    while bytes.len() < AGENT_BYTES {
        bytes.extend_from_slice(&rng.below(u64::MAX).to_be_bytes());
    }
    bytes.into()
}

/// Three masters, of which one has been away for too long. The others have purged what it needs, and
/// lead in the order of the first two numbers.
struct Away {
    cluster: Cluster,
    leader: usize,
    other: usize,
    away: usize,
    _alone: MutexGuard<'static, ()>,
}

impl Away {
    async fn new() -> Self {
        let alone = ONE_AT_A_TIME.lock().await;
        let mut cluster = Cluster::linked(3);
        cluster.log.keep_entries = KEEP_ENTRIES;
        // Filling the log is most of what these tests do; here it is the faster one.
        cluster.log.engine = EngineKind::Segment;
        // Only when a test says so.
        cluster.log.snapshot_every_entries = 1_000_000;
        cluster.limits.propose_timeout = Duration::from_secs(10);
        // A slow disk of the machine is no reason to change the leader.
        cluster.timing = Profile::Wan.timing();
        cluster.limits.disk_stall_max = DEADLINE;
        for i in 0..3 {
            cluster.start(i).await;
        }
        cluster.write(1).await;
        let leader = cluster.leader().await;
        let (other, away) = ((leader + 1) % 3, (leader + 2) % 3);
        cluster.sees(away, [1]).await;
        cluster.kill(away);
        let mut new = Self {
            cluster,
            leader,
            other,
            away,
            _alone: alone,
        };
        new.fill(2).await;
        new.roles().await;
        let (leader, other) = (new.leader, new.other);
        new.snapshots([leader, other]).await;
        for link in [(leader, away), (other, away)] {
            let link = new.cluster.links().link(link.0, link.1);
            // So slow that a test can step in.
            link.delay(Duration::from_millis(60));
        }
        new
    }

    /// Writes a large state, and more entries than are purged at once.
    async fn fill(&self, from: u128) {
        let large = (from..from + AGENTS).map(|epoch| self.register(epoch, noise(epoch as u64)));
        futures::future::join_all(large).await;
        let small = (0..SMALL).map(|n| self.register(from * 1_000_000 + n, Bytes::new()));
        futures::future::join_all(small).await;
    }

    /// Registers an agent through whoever leads.
    async fn register(&self, epoch: u128, info: Bytes) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let leader = self.cluster.leader().await;
            let command = register_with(epoch, info.clone());
            match self.cluster.master(leader).propose(command).await {
                Ok(verdict) => {
                    verdict.expect("accepted");
                    return;
                }
                // Registering may be repeated.
                Err(ProposeError::NotLeader { .. } | ProposeError::Unknown)
                    if Instant::now() < deadline => {}
                Err(error) => panic!("not written: {error}"),
            }
        }
    }

    /// Looks again who leads.
    async fn roles(&mut self) {
        self.leader = self.cluster.leader().await;
        self.other = 3 - self.leader - self.away;
    }

    /// Has masters write snapshots of everything, and purge their logs.
    async fn snapshots(&self, masters: impl IntoIterator<Item = usize>) {
        let all = self.cluster.master(self.leader).state().get().index;
        for i in masters {
            let master = self.cluster.master(i);
            eventually("all is applied", || {
                (master.state().get().index >= all).then_some(())
            })
            .await;
            master.snapshot().await;
            eventually("the log is purged", || {
                (master.status().purged_index? + KEEP_ENTRIES >= all).then_some(())
            })
            .await;
        }
    }

    fn dir(&self) -> PathBuf {
        self.cluster.dir(self.away).join("snapshots")
    }

    fn file_bytes(&self) -> u64 {
        let dir = self.cluster.dir(self.leader).join("snapshots");
        let files = files(&dir, "snapshot").into_iter();
        let newest = files.max().expect("a snapshot");
        std::fs::metadata(newest).expect("there").len()
    }

    /// Waits until a part of the snapshot has arrived that is larger than what gets lost.
    async fn half_way(&self) -> PathBuf {
        let half = self.file_bytes() / 2;
        eventually("half a snapshot has arrived", || {
            let part = files(&self.dir(), "received").pop()?;
            (std::fs::metadata(&part).ok()?.len() >= half).then_some(part)
        })
        .await
    }

    /// Waits until the follower has everything, and nothing half is left.
    async fn arrived(&self) {
        self.cluster.sees(self.away, 1..2 + AGENTS).await;
        eventually("nothing half is left", || {
            (files(&self.dir(), "received").is_empty() && files(&self.dir(), "complete").is_empty())
                .then_some(())
        })
        .await;
    }

    /// Bytes sent to the follower by one of the others.
    fn carried_from(&self, from: usize) -> u64 {
        self.cluster.links().link(from, self.away).carried_bytes()
    }

    /// Bytes sent to the follower. On a slow machine the other one may have come to lead meanwhile.
    fn carried(&self) -> u64 {
        self.carried_from(self.leader) + self.carried_from(self.other)
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .filter(|path| path.extension().is_some_and(|ext| ext == extension))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_after_its_connection_broke_though_there_is_a_newer_snapshot() {
    let mut f = Away::new().await;
    let whole = f.file_bytes();
    f.cluster.start(f.away).await;
    f.half_way().await;
    let master = f.cluster.master(f.leader).clone();
    let node = f.cluster.master(f.away).node();
    let sending = master.snapshot_sending(node).expect("under way");
    assert!(
        sending.percent() >= 50 && sending.bytes == whole,
        "{sending:?}"
    );
    let receiving = f.cluster.master(f.away).status().snapshot_receiving;
    assert_eq!(receiving.expect("under way").bytes, whole);

    let link = f.cluster.links().link(f.leader, f.away);
    link.cut();
    // The entries after the one that is on its way stay in the log.
    let before = master.status().snapshot_index;
    for epoch in [1000, 1001] {
        f.cluster.write(epoch).await;
    }
    master.snapshot().await;
    eventually("there is a newer snapshot", || {
        (master.status().snapshot_index > before).then_some(())
    })
    .await;
    link.heal();
    f.arrived().await;
    f.cluster.sees(f.away, [1000, 1001]).await;
    let carried = f.carried();
    assert!(carried >= whole, "{carried} of {whole}");
    assert!(carried < whole + IN_FLIGHT, "{carried} of {whole}");
    eventually("it is over on both sides", || {
        let receiving = f.cluster.master(f.away).status().snapshot_receiving;
        (master.snapshot_sending(node).is_none() && receiving.is_none()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_after_the_receiver_died() {
    let mut f = Away::new().await;
    let whole = f.file_bytes();
    f.cluster.start(f.away).await;
    f.half_way().await;
    f.cluster.kill(f.away);
    f.cluster.start(f.away).await;
    f.arrived().await;
    let carried = f.carried();
    assert!(carried < whole + IN_FLIGHT, "{carried} of {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_part_is_noticed_and_sent_again_from_the_beginning() {
    let mut f = Away::new().await;
    let whole = f.file_bytes();
    f.cluster.start(f.away).await;
    let part = f.half_way().await;
    f.cluster.kill(f.away);
    let mut bytes = std::fs::read(&part).expect("readable");
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    std::fs::write(&part, bytes).expect("writable");
    f.cluster.start(f.away).await;
    f.arrived().await;
    // Once in two parts and once as a whole, but no more.
    let carried = f.carried();
    assert!(carried >= whole * 2, "{carried} of {whole}");
    assert!(carried < whole * 2 + IN_FLIGHT * 2, "{carried} of {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_goes_on_with_the_same_snapshot() {
    let mut f = Away::new().await;
    let whole = f.file_bytes();
    f.cluster.start(f.away).await;
    f.half_way().await;
    f.cluster.links().link(f.leader, f.away).cut();
    let next = f.cluster.master(f.other).node();
    let handed_over = f.cluster.master(f.leader).transfer_leader(next).await;
    handed_over.expect("handed over");
    f.arrived().await;
    let (first, second) = (f.carried_from(f.leader), f.carried_from(f.other));
    assert!(
        second >= MIB,
        "the second one had to do something: {second}"
    );
    assert!(second < whole * 3 / 4, "{first} and {second} of {whole}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_snapshot_of_the_next_leader_begins_anew_and_leaves_nothing_behind() {
    let mut f = Away::new().await;
    f.cluster.start(f.away).await;
    f.half_way().await;
    f.cluster.kill(f.away);
    f.fill(2 + AGENTS).await;
    f.roles().await;
    f.snapshots([f.leader, f.other]).await;
    // What was half is still there, and of no use.
    assert_eq!(files(&f.dir(), "received").len(), 1);
    f.cluster.start(f.away).await;
    f.cluster.sees(f.away, 1..2 + 2 * AGENTS).await;
    f.arrived().await;
    assert_eq!(files(&f.dir(), "snapshot").len(), 1);
}
