//! Masters join, are replaced and leave, by the commands of operators, while frameworks subscribe.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regency_chaos_tests::binary;
use regency_chaos_tests::cluster::{Cluster, Member};
use regency_chaos_tests::wait::{PATIENCE, until, until_true};
use regency_client::{Event, Framework, Http};
use serde_json::Value;

const HOST: &str = "127.0.0.1";
/// How long a framework waits before the next one subscribes: a light load.
const BETWEEN_WRITES: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_master_becomes_three_and_members_are_replaced_and_removed_under_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = Cluster::start(&["--masters", "1", "--agents", "1"]).await;
    let all = Places::beside(&cluster);
    let operator = Operator {
        masters: [1, 2, 3, 4].map(|id| all.http(id)).join(","),
    };
    let writes = Writes::start(&operator.masters);

    // 1 -> 3. Two would be worse than one.
    let mut two = all.start(2, dir.path());
    let mut three = all.start(3, dir.path());
    all.answers(2).await;
    all.answers(3).await;
    operator.done(&["add", &all.spec(2)]).await;
    operator.done(&["add", &all.spec(3)]).await;
    let refused = operator.refused(&["promote", "2"]).await;
    assert!(refused.contains("--force=2"), "{refused}");
    let wrong = operator.refused(&["promote", "2", "--force=3"]).await;
    assert!(wrong.contains("--force=2"), "{wrong}");
    operator.done(&["promote", "2", "3"]).await;
    assert_eq!(operator.voters().await, [1, 2, 3]);
    let health = operator.done(&["health"]).await;
    assert!(health.contains("loss of 1 more"), "{health}");
    for line in health.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }

    // The third loses its disk. It cannot come back as itself.
    three.kill();
    std::fs::remove_dir_all(&three.dir).expect("a directory to lose");
    let mut wiped = all.start(3, dir.path());
    until("the loss is noticed", || async {
        let output = operator.run(&["health"]).await;
        (output.status.code() == Some(1) && text(&output.stdout).contains("loss of 0 more"))
            .then_some(())
    })
    .await;
    until("the wiped master is refused under its old id", || async {
        // Until it serves, the reason is that it does not answer.
        let why = operator.refused(&["add", &all.spec(3)]).await;
        why.contains("never used before").then_some(())
    })
    .await;
    // Without it, one more loss would be one too many.
    let refused = operator.refused(&["remove", "2", "--force=2"]).await;
    assert!(refused.contains("1 of 2 voters"), "{refused}");
    let mut four = all.start(4, dir.path());
    all.answers(4).await;
    operator.done(&["replace", "3", &all.spec(4)]).await;
    assert_eq!(operator.voters().await, [1, 2, 4]);
    wiped.kill();
    operator.done(&["health"]).await;

    // The leader leaves.
    operator.done(&["transfer-leader", "2"]).await;
    let refused = operator.refused(&["remove", "2"]).await;
    assert!(refused.contains("--force=2"), "{refused}");
    operator.done(&["remove", "2", "--force=2"]).await;
    assert_eq!(operator.voters().await, [1, 4]);
    assert_eq!(two.ended().await, Some(0), "{}", two.log());
    let said = two.log().matches("was removed from the cluster").count();
    assert_eq!(said, 1, "{}", two.log());
    // It stays out when it is started again.
    let mut two = all.start(2, dir.path());
    assert_eq!(two.ended().await, Some(0), "{}", two.log());

    // What was acknowledged is known to the newest master, which takes reads of its own.
    let written = writes.stop().await;
    assert!(written.len() > 10, "{written:?}");
    let known = frameworks(&all.http(4)).await;
    let lost: Vec<&String> = written.difference(&known).collect();
    assert_eq!(lost, Vec::<&String>::new(), "acknowledged and lost");

    // Back to one.
    operator.done(&["remove", "4", "--force=4"]).await;
    assert_eq!(four.ended().await, Some(0), "{}", four.log());
    operator.done(&["health"]).await;
    let refused = operator.refused(&["remove", "1"]).await;
    assert!(refused.contains("last master"), "{refused}");
    assert_eq!(operator.voters().await, [1]);
}

/// Where masters are: in the block of ports that the cluster's first master is in.
struct Places {
    ports: [u16; 3],
    /// Program and arguments of the first master.
    argv: Vec<String>,
}

impl Places {
    fn beside(cluster: &Cluster) -> Self {
        let argv = cluster.info(Member::Master(1)).argv.clone();
        let peers = argv.iter().position(|arg| arg == "--peers");
        let own = peers.and_then(|at| argv.get(at + 1)).expect("--peers");
        let mut ports = own.rsplit(':').map(|port| port.parse().expect("a port"));
        let mut port = || ports.next().expect("three ports");
        let (agent, http, raft) = (port(), port(), port());
        Self {
            ports: [raft, http, agent],
            argv,
        }
    }

    fn ports(&self, id: u16) -> [u16; 3] {
        self.ports.map(|port| port + id - 1)
    }

    fn http(&self, id: u16) -> String {
        format!("{HOST}:{}", self.ports(id)[1])
    }

    fn spec(&self, id: u16) -> String {
        let [raft, http, agent] = self.ports(id);
        format!("{id}={HOST}:{raft}:{http}:{agent}")
    }

    /// Waits until a master is there.
    async fn answers(&self, id: u16) {
        let (http, address) = (Http::default(), self.http(id));
        until("a master that was started answers", || async {
            let answer = http.get(&address, "/livez", PATIENCE).await;
            answer.is_ok().then_some(())
        })
        .await;
    }

    /// Starts a master that waits to be added. It is told about itself and the first one only.
    fn start(&self, id: u16, dir: &Path) -> Master {
        let [raft, http, agent] = self.ports(id);
        let data = dir.join(format!("master-{id}"));
        let log_path = dir.join(format!("master-{id}.log"));
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&log_path)
            .expect("a log");
        let child = Command::new(&self.argv[0])
            .args(["--log-filter", "info,openraft=warn", "master"])
            .args(["--id", &id.to_string(), "--ip", HOST])
            .arg("--data-dir")
            .arg(&data)
            .args(["--peers", &[self.spec(1), self.spec(id)].join(",")])
            .args(["--raft-port", &raft.to_string()])
            .args(["--port", &http.to_string()])
            .args(["--agent-port", &agent.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("a master starts");
        Master {
            child,
            dir: data,
            log: log_path,
        }
    }
}

/// A master that this test started. Ends with the test.
struct Master {
    child: Child,
    dir: PathBuf,
    log: PathBuf,
}

impl Master {
    /// kill -9, and waits until it is gone.
    fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("a child of ours");
    }

    /// Waits until it ends by itself, and gives its exit status.
    async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        until_true("the removed master ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        })
        .await;
        status.expect("just seen").code()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody who types `regency members`.
struct Operator {
    masters: String,
}

impl Operator {
    async fn run(&self, args: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(binary::regency());
        command
            .arg("members")
            .args(args)
            .args(["--masters", &self.masters])
            .stdin(Stdio::null());
        let output = tokio::time::timeout(PATIENCE, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{args:?} takes too long"));
        output.expect("the binary runs")
    }

    /// What must succeed, and what it prints.
    async fn done(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let (out, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{args:?}: {out}{error}");
        out
    }

    /// What must fail with one line, and that line.
    async fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
        assert!(error.starts_with("error: "), "{args:?}: {error}");
        error
    }

    async fn voters(&self) -> Vec<u64> {
        let list = self.done(&["list", "--json"]).await;
        let list: Value = serde_json::from_str(&list).expect("JSON");
        let members = list["members"].as_array().expect("members");
        let voters = members.iter().filter(|member| member["voter"] == true);
        voters.filter_map(|member| member["id"].as_u64()).collect()
    }
}

/// Frameworks that subscribe one after the other. A subscription is answered when it is committed.
struct Writes {
    stop: Arc<AtomicBool>,
    written: tokio::task::JoinHandle<BTreeSet<String>>,
}

impl Writes {
    fn start(masters: &str) -> Self {
        let masters: Vec<String> = masters.split(',').map(str::to_owned).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let written = tokio::spawn(async move {
            let mut written = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                written.insert(subscribe(&masters).await);
                tokio::time::sleep(BETWEEN_WRITES).await;
            }
            written
        });
        Self { stop, written }
    }

    async fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.written.await.expect("all subscribed")
    }
}

/// The id of a framework that subscribed and went away; it is remembered for an hour.
async fn subscribe(masters: &[String]) -> String {
    let (framework, mut events) = Framework::builder("written")
        .masters(masters.iter().cloned())
        .failover_timeout(Duration::from_secs(3600))
        .connect()
        .expect("good addresses");
    let subscribed = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Subscribed { .. }) {
                return framework.id().map(|id| id.value);
            }
        }
        None
    };
    let id = tokio::time::timeout(PATIENCE, subscribed).await;
    id.ok().flatten().expect("a subscription within a minute")
}

/// The ids of all frameworks that a master knows.
async fn frameworks(master: &str) -> BTreeSet<String> {
    let answer = Http::default()
        .get(master, "/frameworks?consistent=true", PATIENCE)
        .await
        .expect("an answer");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let all = body["frameworks"].as_array().expect("frameworks");
    all.iter()
        .filter_map(|framework| framework["id"].as_str())
        .map(str::to_owned)
        .collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
