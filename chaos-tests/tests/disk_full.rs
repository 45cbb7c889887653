//! Real masters on disks that fill up. Needs to mount file systems, so root, and is asked for:
//! `cargo test --workspace --test disk_full -- --ignored`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use regency_chaos_tests::binary;
use regency_chaos_tests::wait::{PATIENCE, until};
use regency_chaos_tests::writes::{Writes, write};
use regency_client::{Http, MasterStatus};
use serde_json::Value;

const HOST: &str = "127.0.0.1";
/// Size of each disk, and what is kept in reserve of it.
const DISK_BYTES: u64 = 64 * 1024 * 1024;
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// A refusal comes at once; a time-out would take ten seconds.
const AT_ONCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts file systems"]
async fn full_disks_of_masters_over_sled() {
    full_disks("sled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "mounts file systems"]
async fn full_disks_of_masters_over_segments() {
    full_disks("segment").await;
}

async fn full_disks(engine: &str) {
    let mut masters = Masters::start(engine);
    let first = masters.leader().await;
    let writes = Writes::start(1, &masters.addresses());
    let mut written = BTreeSet::new();

    // A follower. The others write on, and it knows what is wrong with it.
    let follower = masters.other_than(first);
    masters.fill(follower);
    masters.says(follower, "full").await;
    written.insert(masters.write().await);
    masters
        .alarm(&format!("the disk of node {follower} is full"))
        .await;
    assert_eq!(masters.leader().await, first, "the leader has room");
    // What it has applied it still shows, and whom it follows.
    assert!(masters.answers(follower).await);
    let status = masters.status(follower).await.expect("a status");
    assert_eq!(status.leader.map(|leader| leader.id), Some(first));
    masters.free(follower);
    masters.says(follower, "enough").await;
    masters.catch_up().await;

    // The leader. Another one takes over, and the old one stays.
    let leader = masters.leader().await;
    let term = masters.status(leader).await.expect("a status").term;
    masters.fill(leader);
    let next = until("somebody with room leads", || async {
        let now = masters.leader().await;
        (now != leader).then_some(now)
    })
    .await;
    assert!(masters.status(next).await.expect("a status").term > term);
    written.insert(masters.write().await);
    masters
        .alarm(&format!("the disk of node {leader} is full"))
        .await;
    assert!(masters.answers(leader).await);
    masters.free(leader);
    masters.says(leader, "enough").await;
    masters.catch_up().await;

    // All. Writes are refused with the reason, reads go on, nobody dies.
    for id in masters.ids() {
        masters.fill(id);
    }
    for id in masters.ids() {
        masters.says(id, "full").await;
    }
    let (leader, refusal) = until("a write is refused with the reason", || async {
        let leader = masters.leader().await;
        let begun = Instant::now();
        let (status, text) = masters.try_write(leader).await?;
        assert!(begun.elapsed() < AT_ONCE, "{status} {text}");
        (status == 503 && text.contains("the disk of node")).then_some((leader, text))
    })
    .await;
    assert!(refusal.contains("more needed"), "{refusal}");
    masters.read(leader).await.expect("consistent reads go on");
    for id in masters.ids() {
        assert!(masters.answers(id).await, "node {id} shows what it has");
    }
    for id in masters.ids() {
        masters
            .alarm(&format!("the disk of node {id} is full"))
            .await;
    }
    let metrics = masters.get(leader, "/metrics").await;
    assert!(metrics.contains("regency_raft_disk_full 1"), "{metrics}");
    assert!(metrics.contains(r#"outcome="no_room""#), "{metrics}");
    masters.all_run();
    for id in masters.ids() {
        masters.free(id);
    }
    written.insert(masters.write().await);
    masters.catch_up().await;

    // What was acknowledged is known to everybody, also after all of them were killed.
    written.extend(writes.stop().await);
    assert!(written.len() > 20, "{}", written.len());
    for _ in 0..2 {
        masters.leader().await;
        for id in masters.ids() {
            let known = masters.read(id).await.expect("a read");
            let lost: Vec<&String> = written.difference(&known).collect();
            assert!(lost.is_empty(), "node {id} lost {lost:?}");
        }
        masters.all_run();
        masters.restart();
    }
}

/// Three masters, each with a disk of its own.
struct Masters {
    root: tempfile::TempDir,
    engine: String,
    /// Ports for masters, clients and agents.
    ports: Vec<[u16; 3]>,
    running: Vec<Child>,
    http: Http,
}

impl Masters {
    fn start(engine: &str) -> Self {
        let free: Vec<TcpListener> = (0..9)
            .map(|_| TcpListener::bind((HOST, 0)).expect("a port"))
            .collect();
        let ports: Vec<u16> = free
            .iter()
            .map(|listener| listener.local_addr().expect("bound").port())
            .collect();
        drop(free);
        let mut masters = Self {
            root: tempfile::tempdir().expect("a directory"),
            engine: engine.to_owned(),
            ports: ports.chunks(3).map(|p| [p[0], p[1], p[2]]).collect(),
            running: Vec::new(),
            http: Http::default(),
        };
        for id in masters.ids() {
            let disk = masters.disk(id);
            std::fs::create_dir(&disk).expect("a directory");
            let size = format!("size={DISK_BYTES}");
            mount(
                Some("regency-test"),
                &disk,
                Some("tmpfs"),
                MsFlags::empty(),
                Some(size.as_str()),
            )
            .expect("root may mount");
        }
        masters.spawn();
        masters
    }

    fn spawn(&mut self) {
        let peers: Vec<String> = self
            .ids()
            .map(|id| {
                let [raft, http, agent] = self.ports(id);
                format!("{id}={HOST}:{raft}:{http}:{agent}")
            })
            .collect();
        for id in self.ids() {
            let [raft, http, agent] = self.ports(id).map(|port| port.to_string());
            let log = File::options()
                .append(true)
                .create(true)
                .open(self.log(id))
                .expect("a log");
            let child = Command::new(binary::regency())
                .args([
                    "--log-filter",
                    "info,openraft=warn",
                    "master",
                    "--bootstrap",
                ])
                .args(["--id", &id.to_string(), "--ip", HOST])
                .arg("--data-dir")
                .arg(self.disk(id).join("data"))
                .args(["--log-engine", &self.engine])
                .args(["--disk-reserve-bytes", &RESERVE_BYTES.to_string()])
                .args([
                    "--snapshot-every-entries",
                    "200",
                    "--log-keep-entries",
                    "200",
                ])
                .args(["--peers", &peers.join(",")])
                .args([
                    "--raft-port",
                    &raft,
                    "--port",
                    &http,
                    "--agent-port",
                    &agent,
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("a master starts");
            self.running.push(child);
        }
    }

    /// kill -9 of all, and a new start.
    fn restart(&mut self) {
        self.stop();
        self.spawn();
    }

    fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn ids(&self) -> std::ops::RangeInclusive<u64> {
        1..=3
    }

    fn other_than(&self, id: u64) -> u64 {
        self.ids().find(|other| *other != id).expect("three")
    }

    fn ports(&self, id: u64) -> [u16; 3] {
        self.ports[usize::try_from(id).expect("small") - 1]
    }

    fn address(&self, id: u64) -> String {
        format!("{HOST}:{}", self.ports(id)[1])
    }

    fn addresses(&self) -> Vec<String> {
        self.ids().map(|id| self.address(id)).collect()
    }

    fn disk(&self, id: u64) -> PathBuf {
        self.root.path().join(format!("disk-{id}"))
    }

    fn log(&self, id: u64) -> PathBuf {
        self.root.path().join(format!("master-{id}.log"))
    }

    fn ballast(&self, id: u64) -> PathBuf {
        self.disk(id).join("ballast")
    }

    /// Leaves not one byte free.
    fn fill(&self, id: u64) {
        let mut file = File::create(self.ballast(id)).expect("a file");
        for size in [1024 * 1024, 4096] {
            let piece = vec![1; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    fn free(&self, id: u64) {
        std::fs::remove_file(self.ballast(id)).expect("a file");
    }

    async fn status(&self, id: u64) -> Option<MasterStatus> {
        MasterStatus::get(&self.http, &self.address(id), AT_ONCE)
            .await
            .ok()
    }

    async fn leader(&self) -> u64 {
        until("a leader", || async {
            let mut leaders = Vec::new();
            for id in self.ids() {
                leaders.extend(self.status(id).await.filter(MasterStatus::leads));
            }
            leaders.into_iter().max_by_key(|status| status.term)
        })
        .await
        .node_id
    }

    async fn get(&self, id: u64, path: &str) -> String {
        let answer = self.http.get(&self.address(id), path, PATIENCE).await;
        answer.expect("an answer").text()
    }

    /// Waits until a master says so about its own disk.
    async fn says(&self, id: u64, level: &str) {
        until(
            &format!("node {id} says that its disk is {level}"),
            || async {
                let status: Value =
                    serde_json::from_str(&self.get(id, "/regency/status").await).ok()?;
                (status["disk"]["level"] == level).then_some(())
            },
        )
        .await;
    }

    /// Waits until the leader, whoever it is by now, raises an alarm.
    async fn alarm(&self, text: &str) {
        until(text, || async {
            let leader = self.leader().await;
            let health = self.get(leader, "/regency/members/health").await;
            // Empty when it does not lead any more.
            let health: Value = serde_json::from_str(&health).ok()?;
            let problems = health["problems"].to_string();
            problems.contains(text).then_some(())
        })
        .await;
    }

    /// One answer to a subscription that is not followed: nothing when there is a stream.
    async fn try_write(&self, id: u64) -> Option<(u16, String)> {
        let body = r#"{"type": "SUBSCRIBE", "subscribe": {"framework_info": {"user": "root", "name": "e"}}}"#;
        let headers = [
            ("content-type", "application/json"),
            ("accept", "application/json"),
        ];
        let answer = self
            .http
            .post(
                &self.address(id),
                "/api/v1/scheduler",
                &headers,
                body.into(),
                AT_ONCE,
            )
            .await
            .ok()?;
        Some((answer.status.as_u16(), answer.text()))
    }

    async fn write(&self) -> String {
        write(&self.addresses()).await
    }

    /// Whether a master shows what it has applied.
    async fn answers(&self, id: u64) -> bool {
        let answer = self
            .http
            .get(&self.address(id), "/frameworks", AT_ONCE)
            .await;
        answer.is_ok_and(|answer| answer.status.as_u16() == 200)
    }

    /// The frameworks that a master knows after it confirmed with a majority that it is up to date.
    async fn read(&self, id: u64) -> Option<BTreeSet<String>> {
        let body = until("a consistent read", || async {
            let answer = self
                .http
                .get(&self.address(id), "/frameworks?consistent=true", PATIENCE)
                .await
                .ok()?;
            (answer.status.as_u16() == 200).then_some(answer.body)
        })
        .await;
        let body: Value = serde_json::from_slice(&body).ok()?;
        let all = body["frameworks"].as_array()?;
        let ids = all.iter().filter_map(|framework| framework["id"].as_str());
        Some(ids.map(str::to_owned).collect())
    }

    /// Waits until all have applied what the leader has committed now.
    async fn catch_up(&self) {
        let leader = self.leader().await;
        let status = self.status(leader).await.expect("a status");
        let committed = status.committed_index.expect("an index");
        for id in self.ids() {
            until(
                &format!("node {id} catches up with {committed}"),
                || async {
                    let status = self.status(id).await?;
                    (status.applied_index >= committed).then_some(())
                },
            )
            .await;
        }
    }

    fn all_run(&mut self) {
        for child in &mut self.running {
            assert_eq!(child.try_wait().expect("a child"), None, "a master died");
        }
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        self.stop();
        for id in self.ids() {
            if std::thread::panicking() {
                show(&self.log(id));
            }
            let _ = umount2(&self.disk(id), MntFlags::MNT_DETACH);
        }
    }
}

fn show(log: &Path) {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(60)..].join("\n");
    // Best effort: the test fails anyway.
    let _ = writeln!(std::io::stderr(), "--- {}\n{tail}", log.display());
}
