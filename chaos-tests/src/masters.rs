//! Masters that a test starts itself, beside those of `regency local`: to join its cluster.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use regency_client::Http;

use crate::cluster::{Cluster, Member};
use crate::wait::{PATIENCE, until, until_true};

const HOST: &str = "127.0.0.1";

/// Where masters are: in the block of ports that the cluster's first master is in.
#[derive(Debug, Clone)]
pub struct Places {
    ports: [u16; 3],
    /// The binary.
    program: String,
}

impl Places {
    /// Places for masters beside those of `cluster`.
    ///
    /// # Panics
    /// When its first master has no `--peers`.
    #[must_use]
    pub fn beside(cluster: &Cluster) -> Self {
        let argv = &cluster.info(Member::Master(1)).argv;
        let peers = argv.iter().position(|arg| arg == "--peers");
        let own = peers.and_then(|at| argv.get(at + 1)).expect("--peers");
        let own = own.split(',').next().expect("a first one");
        let mut ports = own.rsplit(':').map(|port| port.parse().expect("a port"));
        let mut port = || ports.next().expect("three ports");
        let (agent, http, raft) = (port(), port(), port());
        Self {
            ports: [raft, http, agent],
            program: argv[0].clone(),
        }
    }

    fn ports(&self, id: u16) -> [u16; 3] {
        self.ports.map(|port| port + id - 1)
    }

    /// `host:port` for clients.
    #[must_use]
    pub fn http(&self, id: u16) -> String {
        format!("{HOST}:{}", self.ports(id)[1])
    }

    /// As `--peers` and `regency members add` want it.
    #[must_use]
    pub fn spec(&self, id: u16) -> String {
        let [raft, http, agent] = self.ports(id);
        format!("{id}={HOST}:{raft}:{http}:{agent}")
    }

    /// Waits until a master is there.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn answers(&self, id: u16) {
        let (http, address) = (Http::default(), self.http(id));
        until("a master that was started answers", || async {
            let answer = http.get(&address, "/livez", PATIENCE).await;
            answer.is_ok().then_some(())
        })
        .await;
    }

    /// Starts a master that waits to be added, with its data below `dir`. It is told about itself
    /// and the masters of these numbers.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn start(&self, id: u16, known: &[u16], dir: &Path, flags: &[&str]) -> Master {
        let [raft, http, agent] = self.ports(id);
        let data = dir.join(format!("master-{id}"));
        let log_path = dir.join(format!("master-{id}.log"));
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&log_path)
            .expect("a log");
        let peers: Vec<String> = known.iter().chain([&id]).map(|id| self.spec(*id)).collect();
        let child = Command::new(&self.program)
            .args(["--log-filter", "info,openraft=warn", "master"])
            .args(["--id", &id.to_string(), "--ip", HOST])
            .arg("--data-dir")
            .arg(&data)
            .args(["--peers", &peers.join(",")])
            .args(["--raft-port", &raft.to_string()])
            .args(["--port", &http.to_string()])
            .args(["--agent-port", &agent.to_string()])
            .args(flags)
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

/// A master that a test started. Ends with the test.
#[derive(Debug)]
pub struct Master {
    child: Child,
    dir: PathBuf,
    log: PathBuf,
}

impl Master {
    /// kill -9, and waits until it is gone.
    ///
    /// # Panics
    /// When it would not go.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("a child of ours");
    }

    /// Removes the data directory of one that was killed.
    ///
    /// # Panics
    /// When there is none.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(&self.dir).expect("a directory to lose");
    }

    /// Waits until it ends by itself, and gives its exit status.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut status = None;
        until_true("the removed master ends", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        })
        .await;
        status.expect("just seen").code()
    }

    /// What it said.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
