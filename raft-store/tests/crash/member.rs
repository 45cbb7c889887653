//! A master as a process that ends itself at a failpoint.
//!
//! It is told what to do by lines on its standard input, and says what happens by lines on its
//! standard output.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_raft_store::members::decide::Change;
use regency_raft_store::{
    AutopilotConfig, Config, Consensus, EngineKind, Limits, LogConfig, PeerSpec, ProposeError,
    Timing,
};
use regency_rpc::Listener;
use regency_runtime::SystemClock;
use regency_state::model::AgentSpec;
use regency_state::{Command, RegisterAgent};
use regency_types::{AgentEpoch, BootId, NodeId};
use tracing::field::{Field, Visit};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// So few that snapshots and purges happen all the time.
const SNAPSHOT_EVERY_ENTRIES: u64 = 40;
const KEEP_ENTRIES: u64 = 20;
/// Size of the payload of entries: some go into one piece of a record, some need several.
const PAYLOADS_BYTES: [usize; 4] = [0, 100, 700, 3000];
const LISTEN_PATIENCE: Duration = Duration::from_secs(5);

/// Where to end the process: at a failpoint, when it is reached for the `nth` time, after a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) point: String,
    pub(crate) nth: u64,
    pub(crate) pause_us: u64,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.point, self.nth, self.pause_us)
    }
}

impl FromStr for Arm {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let mut part = || parts.next().context("no point:nth:pause");
        Ok(Self {
            point: part()?.to_owned(),
            nth: part()?.parse()?,
            pause_us: part()?.parse()?,
        })
    }
}

impl Arm {
    fn set(self) -> anyhow::Result<()> {
        let (point, left) = (self.point, AtomicU64::new(self.nth));
        let set = fail::cfg_callback(point, move || {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                std::thread::sleep(Duration::from_micros(self.pause_us));
                // Nothing of this process runs after this.
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
        });
        set.map_err(anyhow::Error::msg)
    }
}

/// The command that writes `epoch`. The same whenever it is made.
fn register(epoch: u128) -> Command {
    let bytes = PAYLOADS_BYTES[(epoch % 4) as usize];
    Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(epoch),
        boot: BootId(epoch),
        spec: AgentSpec {
            info: Bytes::from(vec![epoch as u8; bytes]),
            hostname: "agent".into(),
            address: format!("agent{epoch}:5051"),
            total: Default::default(),
            version: "test".into(),
        },
    })
}

/// Everything a member says, one line at a time.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    let line = format!("{line}\n");
    // Whoever reads it may be gone, and ends this process then.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Tells of each vote when it is durable.
struct Votes;

#[derive(Default)]
struct Vote {
    term: u64,
    node: u64,
    committed: bool,
    /// Whether it was there when the log was opened.
    found: bool,
}

impl Visit for Vote {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "term" => self.term = value,
            "node" => self.node = value,
            _ => {}
        }
    }

    fn record_bool(&mut self, _: &Field, value: bool) {
        self.committed = value;
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.found = format!("{value:?}").contains("opened");
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Votes {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().fields().field("committed").is_some() {
            let mut vote = Vote::default();
            event.record(&mut vote);
            let committed = u8::from(vote.committed);
            let word = if vote.found { "found" } else { "vote" };
            say(format_args!(
                "{word} {} {} {committed}",
                vote.term, vote.node
            ));
        }
    }
}

/// Runs until it is killed. Arguments: node id, directory, engine, ports, and where to end at once.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let [node, dir, engine, ports, arms @ ..] = args else {
        bail!("a member needs: node dir engine ports [point:nth:pause]");
    };
    let votes = Targets::new().with_target("regency_raft_store::log", tracing::Level::DEBUG);
    let logged = Targets::new().with_default(tracing::Level::WARN);
    tracing_subscriber::registry()
        .with(Votes.with_filter(votes))
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_filter(logged),
        )
        .init();
    for arm in arms {
        arm.parse::<Arm>()?.set()?;
    }
    let ports: Vec<u16> = ports.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let config = config(node.parse()?, dir.into(), engine, &ports)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(serve(config))
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn peer(id: u64, port: u16) -> PeerSpec {
    PeerSpec {
        id: NodeId(id),
        raft: at(port).to_string(),
        http: format!("master{id}:5050"),
        agent: format!("master{id}:5061"),
    }
}

fn config(node: u64, dir: PathBuf, engine: &str, ports: &[u16]) -> anyhow::Result<Config> {
    let own = usize::try_from(node)?.checked_sub(1).context("node 0")?;
    let begun = Instant::now();
    let listener = loop {
        match Listener::bind(at(*ports.get(own).context("no port")?)) {
            Ok(listener) => break listener,
            Err(error) if begun.elapsed() > LISTEN_PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    Ok(Config {
        node: NodeId(node),
        data_dir: dir,
        listener,
        hostname: format!("master{node}"),
        peers: (1..).zip(ports).map(|(id, port)| peer(id, *port)).collect(),
        bootstrap: true,
        process: std::process::id().into(),
        version: "test".into(),
        timing: Timing::default(),
        log: LogConfig {
            engine: engine.parse::<EngineKind>().map_err(anyhow::Error::msg)?,
            snapshot_every_entries: SNAPSHOT_EVERY_ENTRIES,
            keep_entries: KEEP_ENTRIES,
            ..LogConfig::default()
        },
        limits: Limits {
            propose_timeout: Duration::from_secs(2),
            ..Limits::default()
        },
        autopilot: AutopilotConfig::default(),
        threads: 2,
    })
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let master = match Consensus::start(config, Arc::new(SystemClock::default())).await {
        Ok(master) => master,
        Err(error) => {
            say(format_args!("fatal {error}"));
            return Err(error.into());
        }
    };
    say(format_args!("start"));
    tokio::spawn(tell_leadership(master.clone()));
    let (lines, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
        // Whoever started this is gone.
        std::process::exit(1);
    });
    while let Some(order) = orders.recv().await {
        let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
        match word {
            "write" => drop(tokio::spawn(write(master.clone(), rest.parse()?))),
            "arm" => rest.parse::<Arm>()?.set()?,
            "disarm" => fail::remove(rest),
            "state" => tell_state(&master, rest.parse()?),
            "replace" => drop(tokio::spawn(replace(master.clone(), rest.to_owned()))),
            "stop" => {
                master.shutdown().await;
                std::process::exit(0);
            }
            _ => bail!("'{order}' is no order"),
        }
    }
    Ok(())
}

async fn tell_leadership(master: Consensus) {
    let mut watch = master.leadership();
    loop {
        {
            let now = watch.borrow_and_update();
            let leader = now.leader.as_ref().map_or(0, |leader| leader.node.0);
            let word = if now.is_leader() { "leads" } else { "follows" };
            say(format_args!("{word} {} {leader}", now.term.0));
        }
        if watch.changed().await.is_err() {
            return;
        }
    }
}

async fn write(master: Consensus, epoch: u128) {
    match master.propose(register(epoch)).await {
        Ok(Ok(_)) => say(format_args!("ok {epoch}")),
        Ok(Err(refusal)) => say(format_args!(
            "fatal the write {epoch} is refused: {refusal:?}"
        )),
        Err(ProposeError::Unknown | ProposeError::Busy) => say(format_args!("unknown {epoch}")),
        Err(ProposeError::NotLeader { .. }) => say(format_args!("refused {epoch}")),
        Err(error) => say(format_args!("fatal the write {epoch} fails: {error}")),
    }
}

/// As leader: lets a new master take the place of one that is gone. `order` has the number of the
/// one, and number and port of the other.
async fn replace(master: Consensus, order: String) {
    let numbers: Vec<u64> = order.split(' ').filter_map(|n| n.parse().ok()).collect();
    let [old, new, port] = numbers[..] else {
        return say(format_args!("fatal '{order}' is no replacement"));
    };
    let spec = peer(new, u16::try_from(port).unwrap_or_default());
    let change = Change {
        promote: [spec.id].into(),
        remove: [NodeId(old)].into(),
    };
    // Nobody leads for ever, and the new one has to catch up first.
    let replaced = async {
        master.add_learner(&spec).await?;
        master.change_members(&change, &BTreeSet::new()).await
    };
    match replaced.await {
        Ok(_) => say(format_args!("replaced {old}")),
        Err(error) => say(format_args!("not-replaced {old} {error}")),
    }
}

/// Tells how far the state is, its digest, and which of the first `count` writes it does not have.
fn tell_state(master: &Consensus, count: u128) {
    let applied = master.state().get();
    let digest = regency_stored::state_digest(&applied.state);
    let absent: Vec<String> = (1..=count)
        .filter(|epoch| applied.state.agent_of_epoch(AgentEpoch(*epoch)).is_none())
        .map(|epoch| epoch.to_string())
        .collect();
    let absent = absent.join(",");
    say(format_args!(
        "state {} {digest:032x} {absent}",
        applied.index
    ));
}
