//! The hidden mode in which this program is one master of three: replication alone, with a port
//! for the load generator instead of the Mesos APIs.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use regency_raft_store::{
    AutopilotConfig, Config, Consensus, Limits, LogConfig, PeerSpec, Profile, ProposeError,
};
use regency_resources::{Milli, Resources};
use regency_rpc::Listener;
use regency_runtime::{IdMint as _, RandomIds, SystemClock};
use regency_state::model::AgentSpec;
use regency_state::{Command, RegisterAgent, ReregisterAgent};
use regency_types::{AgentEpoch, BootId, NodeId};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{fill, frame};

/// What the first byte of a request asks for.
pub(crate) mod op {
    /// Overwrite the value of a key (`u32`), with the value behind it.
    pub(crate) const PUT: u8 = 1;
    /// Say what this member knows, as JSON ([`super::Told`]).
    pub(crate) const STATUS: u8 = 2;
    /// Confirm with a majority that everything committed is applied here.
    pub(crate) const BARRIER: u8 = 3;
    /// Hand leadership to the member with this number (`u64`).
    pub(crate) const TRANSFER: u8 = 4;
    /// Write a snapshot and say how that went, as JSON ([`super::Snapshot`]).
    pub(crate) const SNAPSHOT: u8 = 5;
    /// Make a large state of the size that follows as JSON ([`crate::raft::fill::Size`]).
    pub(crate) const FILL: u8 = 6;
}

/// The first byte of an answer.
pub(crate) mod verdict {
    /// Done.
    pub(crate) const DONE: u8 = 0;
    /// Not done and safe to send elsewhere: this member does not lead.
    pub(crate) const NOT_LEADER: u8 = 1;
    /// Not done, or nobody knows; the text says why.
    pub(crate) const FAILED: u8 = 2;
}

/// Everything a member needs; given as JSON on its command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MemberConfig {
    /// Its number, from 1.
    pub(crate) node: u64,
    pub(crate) data_dir: PathBuf,
    /// Ports of all members for each other, in the order of their numbers.
    pub(crate) raft: Vec<String>,
    /// This member's port for the load generator.
    pub(crate) client: String,
    /// `sled` or `segment`.
    pub(crate) engine: String,
    /// Profile of heartbeats and election timeouts: `fast`, `lan` or `wan`.
    pub(crate) timing: String,
    pub(crate) snapshot_every_entries: u64,
    pub(crate) keep_entries: u64,
    pub(crate) threads: usize,
}

/// What a member says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) is_leader: bool,
    pub(crate) committed_index: u64,
    pub(crate) applied_index: u64,
}

/// How the writing of a snapshot went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// Runs until the process that started this one closes its end of the standard input.
pub(crate) async fn run(config: &str) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let config: MemberConfig = serde_json::from_str(config).context("--config")?;
    let listener = TcpListener::bind(&config.client)
        .await
        .with_context(|| format!("cannot listen on {}", config.client))?;
    let consensus = start(&config).await?;
    let parent = tokio::task::spawn_blocking(|| {
        let mut nothing = [0];
        while matches!(std::io::stdin().read(&mut nothing), Ok(n) if n > 0) {}
    });
    tokio::pin!(parent);
    loop {
        tokio::select! {
            // No farewell: whoever wants one asks for it.
            _ = &mut parent => std::process::exit(0),
            why = consensus.halted() => anyhow::bail!("member {} halted: {why}", config.node),
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let consensus = consensus.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, consensus).await {
                        tracing::debug!(%error, "a connection ended");
                    }
                });
            }
        }
    }
}

async fn start(config: &MemberConfig) -> anyhow::Result<Consensus> {
    let peers: Vec<PeerSpec> = (1..)
        .zip(&config.raft)
        .map(|(id, raft)| PeerSpec {
            id: NodeId(id),
            raft: raft.clone(),
            http: format!("127.0.0.1:{id}"),
            agent: format!("127.0.0.1:{id}"),
        })
        .collect();
    let own = peers
        .iter()
        .find(|peer| peer.id.0 == config.node)
        .context("a member that is not among the members")?;
    let config = Config {
        node: own.id,
        data_dir: config.data_dir.clone(),
        listener: Listener::bind(own.raft.parse()?)?,
        hostname: "localhost".into(),
        peers: peers.clone(),
        bootstrap: true,
        process: RandomIds.uuid(),
        version: "measured".into(),
        timing: config
            .timing
            .parse::<Profile>()
            .map_err(anyhow::Error::msg)?
            .timing(),
        log: LogConfig {
            engine: config.engine.parse().map_err(anyhow::Error::msg)?,
            snapshot_every_entries: config.snapshot_every_entries,
            keep_entries: config.keep_entries,
            ..LogConfig::default()
        },
        limits: Limits::default(),
        autopilot: AutopilotConfig::default(),
        threads: config.threads,
    };
    Ok(Consensus::start(config, Arc::new(SystemClock::default())).await?)
}

async fn serve(stream: TcpStream, consensus: Consensus) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let (answers, queue) = mpsc::channel(4096);
    let writer = tokio::spawn(frame::write_all(write, queue));
    let mut requests = frame::Reader::new(read);
    while let Some((id, request)) = requests.next().await? {
        let (consensus, answers) = (consensus.clone(), answers.clone());
        // The load generator bounds how many there are at once.
        tokio::spawn(async move {
            let (verdict, body) = answer(&consensus, request).await;
            // The connection may be gone, and with it whoever asked.
            let _ = answers.send(frame::encode(id, &[&[verdict], &body])).await;
        });
    }
    drop(answers);
    writer.await?
}

async fn answer(consensus: &Consensus, request: Bytes) -> (u8, Vec<u8>) {
    let error = match carry_out(consensus, request).await {
        Ok(body) => return (verdict::DONE, body),
        Err(error) => error,
    };
    match error.downcast_ref() {
        Some(ProposeError::NotLeader { .. }) => (verdict::NOT_LEADER, Vec::new()),
        _ => (verdict::FAILED, format!("{error:#}").into_bytes()),
    }
}

async fn carry_out(consensus: &Consensus, mut request: Bytes) -> anyhow::Result<Vec<u8>> {
    match request.try_get_u8()? {
        op::PUT => {
            let key = request.try_get_u32()?;
            let command = overwrite(consensus, key, request);
            let verdict = consensus.propose(command).await?;
            verdict.map_err(|refusal| anyhow::anyhow!("refused: {refusal}"))?;
            Ok(Vec::new())
        }
        op::STATUS => {
            let status = consensus.status();
            let told = Told {
                is_leader: consensus.leadership().borrow().is_leader(),
                committed_index: status.committed_index.unwrap_or(0),
                applied_index: status.applied_index.unwrap_or(0),
            };
            Ok(serde_json::to_vec(&told)?)
        }
        op::BARRIER => {
            let index = consensus.read_barrier().await?;
            Ok(index.to_be_bytes().to_vec())
        }
        op::TRANSFER => {
            let to = NodeId(request.try_get_u64()?);
            consensus.transfer_leader(to).await?;
            Ok(Vec::new())
        }
        op::SNAPSHOT => {
            let begun = Instant::now();
            let saved = consensus.saved_snapshot(false).await?;
            let snapshot = Snapshot {
                bytes: saved.bytes(),
                seconds: begun.elapsed().as_secs_f64(),
            };
            Ok(serde_json::to_vec(&snapshot)?)
        }
        op::FILL => {
            fill::fill(consensus, serde_json::from_slice(&request)?).await?;
            Ok(Vec::new())
        }
        other => anyhow::bail!("no operation has the number {other}"),
    }
}

/// The command that replaces a value: the description of one of a fixed number of agents. The
/// first one for a key registers the agent.
fn overwrite(consensus: &Consensus, key: u32, value: Bytes) -> Command {
    let epoch = AgentEpoch(u128::from(key) + 1);
    let spec = AgentSpec {
        info: value,
        hostname: "localhost".to_owned(),
        address: format!("127.0.0.1:{key}"),
        total: Resources::of_scalar("cpus", Milli::from_units(1)),
        version: "1".to_owned(),
    };
    let applied = consensus.state().get();
    match applied.state.agent_of_epoch(epoch) {
        Some(agent) => Command::ReregisterAgent(ReregisterAgent {
            agent: agent.id.clone(),
            epoch,
            boot: BootId(1),
            spec,
        }),
        None => Command::RegisterAgent(RegisterAgent {
            epoch,
            boot: BootId(1),
            spec,
        }),
    }
}
