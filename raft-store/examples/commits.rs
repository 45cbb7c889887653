//! Measures replication: three masters in this process, real sockets, real `fdatasync`.
//!
//! `cargo run --release -p regency-raft-store --example commits -- [directory] [seconds]`
//!
//! Prints the latency of one commit after another, commits per second with many in flight, and the
//! time from the loss of a leader to the first write through its successor. The figures include
//! encoding, decoding and applying a command of about 256 bytes on all three masters.
#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use regency_raft_store::{Config, Consensus, Limits, LogConfig, PeerSpec, ProposeError, Timing};
use regency_rpc::Listener;
use regency_runtime::{IdMint as _, RandomIds, SystemClock};
use regency_state::{Command, TeardownFramework};
use regency_types::{FrameworkId, NodeId};

const IN_FLIGHT: usize = 256;
const KILLS: usize = 20;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = args.next().map_or(Ok(5), |text| text.parse())?;
    let dir = dir.join(format!("regency-commits-{:x}", RandomIds.uuid()));
    let result = measure(&dir, Duration::from_secs(seconds)).await;
    std::fs::remove_dir_all(&dir).context("cannot remove the directory of the masters")?;
    result
}

async fn measure(dir: &Path, span: Duration) -> anyhow::Result<()> {
    sync_profile(dir)?;
    let mut masters = Masters::new(dir)?;
    for i in 0..3 {
        masters.start(i).await?;
    }
    let leader = masters.leader().await?;

    let mut latencies = Vec::new();
    let cpu = cpu_time()?;
    let begun = Instant::now();
    while begun.elapsed() < span {
        let one = Instant::now();
        commit(&leader).await?;
        latencies.push(one.elapsed());
    }
    print_latencies("serial commits", &mut latencies, begun.elapsed());
    print_cpu(cpu, latencies.len())?;

    let cpu = cpu_time()?;
    let begun = Instant::now();
    let mut writers = Vec::new();
    for _ in 0..IN_FLIGHT {
        let leader = leader.clone();
        writers.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < span {
                let one = Instant::now();
                commit(&leader).await?;
                latencies.push(one.elapsed());
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut latencies = Vec::new();
    for writer in writers {
        latencies.extend(writer.await??);
    }
    print_latencies("commits, 256 in flight", &mut latencies, begun.elapsed());
    print_cpu(cpu, latencies.len())?;
    drop(leader);

    let mut gaps = Vec::new();
    let all = Instant::now();
    for _ in 0..KILLS {
        let i = masters.leading().await?;
        masters.settled().await?;
        let killed = Instant::now();
        masters.running[i] = None;
        masters.write().await?;
        gaps.push(killed.elapsed());
        tracing::info!(
            gap_ms = gaps[gaps.len() - 1].as_secs_f64() * 1000.0,
            "a leader was lost"
        );
        masters.start(i).await?;
    }
    print_latencies(
        "loss of a leader to the next write",
        &mut gaps,
        all.elapsed(),
    );

    let mut gaps = Vec::new();
    let all = Instant::now();
    for _ in 0..KILLS {
        let from = masters.leading().await?;
        masters.settled().await?;
        let leader = masters.running[from].clone().context("runs")?;
        let begun = Instant::now();
        leader
            .transfer_leader(NodeId((from as u64 + 1) % 3 + 1))
            .await?;
        masters.write().await?;
        gaps.push(begun.elapsed());
    }
    print_latencies("hand-over to the next write", &mut gaps, all.elapsed());
    Ok(())
}

/// The same work as a commit of a framework's call, without making the state grow.
fn command() -> anyhow::Result<Command> {
    Ok(Command::TeardownFramework(TeardownFramework {
        framework: FrameworkId::new("x".repeat(230))?,
    }))
}

async fn commit(leader: &Consensus) -> anyhow::Result<()> {
    // A refusal is a verdict: it was replicated and applied as well.
    let _ = leader.propose(command()?).await?;
    Ok(())
}

struct Masters {
    dir: PathBuf,
    peers: Vec<PeerSpec>,
    running: Vec<Option<Consensus>>,
}

impl Masters {
    fn new(dir: &Path) -> anyhow::Result<Self> {
        let mut peers = Vec::new();
        for id in 1..=3u64 {
            let listener = Listener::bind(([127, 0, 0, 1], 0).into())?;
            peers.push(PeerSpec {
                id: NodeId(id),
                raft: listener.local_addr()?.to_string(),
                http: format!("127.0.0.1:{id}"),
                agent: format!("127.0.0.1:{id}"),
            });
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            peers,
            running: vec![None, None, None],
        })
    }

    async fn start(&mut self, i: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.try_start(i).await {
                Ok(master) => {
                    self.running[i] = Some(master);
                    return Ok(());
                }
                // A lost master lets go of its port and directory a little later.
                Err(error) => ensure!(Instant::now() < deadline, "{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn try_start(&self, i: usize) -> anyhow::Result<Consensus> {
        let peer = &self.peers[i];
        let config = Config {
            node: peer.id,
            data_dir: self.dir.join(format!("master{}", peer.id)),
            listener: Listener::bind(peer.raft.parse()?)?,
            hostname: "localhost".into(),
            peers: self.peers.clone(),
            bootstrap: true,
            process: RandomIds.uuid(),
            version: "measured".into(),
            timing: Timing::default(),
            log: LogConfig::default(),
            limits: Limits::default(),
            threads: 2,
        };
        Ok(Consensus::start(config, Arc::new(SystemClock::default())).await?)
    }

    async fn leading(&self) -> anyhow::Result<usize> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            for (i, master) in self.running.iter().enumerate() {
                if master
                    .as_ref()
                    .is_some_and(|m| m.leadership().borrow().is_leader())
                {
                    return Ok(i);
                }
            }
            ensure!(Instant::now() < deadline, "nobody leads");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn leader(&self) -> anyhow::Result<Consensus> {
        self.running[self.leading().await?].clone().context("runs")
    }

    /// Waits until all masters have applied the same.
    async fn settled(&self) -> anyhow::Result<()> {
        let leader = self.leader().await?;
        commit(&leader).await?;
        let index = leader.state().get().index;
        for master in self.running.iter().flatten() {
            master
                .state()
                .wait_for(index, Duration::from_secs(10))
                .await?;
        }
        Ok(())
    }

    /// Writes through whoever leads, as soon as somebody does.
    async fn write(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            for master in self.running.iter().flatten() {
                match master.propose(command()?).await {
                    Ok(_) => return Ok(()),
                    Err(ProposeError::NotLeader { .. } | ProposeError::Unknown) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            ensure!(Instant::now() < deadline, "nobody accepts a write");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// How fast this disk syncs, beside which the other figures are to be read.
fn sync_profile(dir: &Path) -> anyhow::Result<()> {
    use std::io::Write as _;
    std::fs::create_dir_all(dir)?;
    let path = dir.join("probe");
    let mut file = std::fs::File::create(&path)?;
    let mut latencies = Vec::new();
    let begun = Instant::now();
    for _ in 0..500 {
        let one = Instant::now();
        file.write_all(&Bytes::from(vec![7; 256]))?;
        file.sync_data()?;
        latencies.push(one.elapsed());
    }
    print_latencies("256 bytes and fdatasync", &mut latencies, begun.elapsed());
    std::fs::remove_file(path)?;
    Ok(())
}

/// Processor time of this process: all three masters and the writers.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before the last parenthesis may hold anything; utime and stime are the 12th and 13th
    // field behind it, in hundredths of a second.
    let fields = stat.rsplit_once(')').context("no stat")?.1;
    let ticks = |n| -> anyhow::Result<u64> {
        Ok(fields
            .split_whitespace()
            .nth(n)
            .context("short stat")?
            .parse()?)
    };
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn print_cpu(before: Duration, n: usize) -> anyhow::Result<()> {
    let spent = cpu_time()? - before;
    println!(
        "  processor time per commit, all masters: {:.1} us",
        spent.as_secs_f64() * 1e6 / n as f64
    );
    Ok(())
}

fn print_latencies(what: &str, latencies: &mut [Duration], span: Duration) {
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = ((latencies.len() as f64 * part) as usize).min(latencies.len() - 1);
        latencies[index].as_secs_f64() * 1000.0
    };
    println!(
        "{what}: n {}, {:.0}/s, p50 {:.3} ms, p90 {:.3} ms, p99 {:.3} ms, max {:.3} ms",
        latencies.len(),
        latencies.len() as f64 / span.as_secs_f64(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
    );
}
