//! The master's flags.

mod autopilot;
mod events;
mod offers;
mod registry;
mod shown;
mod zk_facade;

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regency_raft_store::{EngineKind, PeerSpec};
use regency_types::NodeId;

pub use self::autopilot::AutopilotFlags;
pub use self::events::EventFlags;
pub use self::offers::OfferFlags;
pub use self::registry::RegistryFlags;
pub use self::shown::ShownFlags;
pub use self::zk_facade::ZkFacadeFlags;
pub use crate::timing_flags::TimingFlags;

/// Flags of `regency master`. Durations take units: `50ms`, `15secs`, `1mins`.
#[derive(Debug, Clone, clap::Args)]
pub struct MasterFlags {
    /// All of them as text. The first one, see there.
    #[command(flatten)]
    pub shown: ShownFlags,

    /// Number of this master among `--peers`; never reuse the number of a lost data directory.
    #[arg(long, value_name = "N")]
    pub id: u64,

    /// Directory for the replicated log, snapshots and identity; made when missing.
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,

    /// What keeps the log on disk: `sled` or `segment`. Chosen once, when the data directory is
    /// first used.
    #[arg(long, default_value_t = EngineKind::Sled, value_name = "ENGINE")]
    pub log_engine: EngineKind,

    /// Rebuild the log of the engine `sled` while it is in use when its file has more than this many
    /// times the bytes of the entries in it. 0 for never.
    #[arg(long, default_value_t = 4, value_name = "FACTOR")]
    pub log_rebuild_factor: u64,

    /// But only when its file has at least this many bytes.
    #[arg(long, default_value_t = 64 * 1024 * 1024, value_name = "BYTES")]
    pub log_rebuild_min_bytes: u64,

    /// Every master of the cluster, this one included, as others reach it:
    /// `ID=HOST:RAFT_PORT:HTTP_PORT:AGENT_PORT`, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', required = true)]
    pub peers: Vec<Peer>,

    /// Allow the masters in `--peers` to form a new cluster. Has no effect once any of them
    /// belongs to one.
    #[arg(long)]
    pub bootstrap: bool,

    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub ip: IpAddr,

    /// Port for clients: Mesos APIs, metrics, health.
    #[arg(long, default_value_t = 5050, value_name = "PORT")]
    pub port: u16,

    /// Port for agents (gRPC).
    #[arg(long, default_value_t = 5061, value_name = "PORT")]
    pub agent_port: u16,

    /// Port for other masters (gRPC).
    #[arg(long, default_value_t = 5060, value_name = "PORT")]
    pub raft_port: u16,

    /// Advertised host name; by default the host this master has in `--peers`.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Name of the cluster, for people.
    #[arg(long, value_name = "NAME")]
    pub cluster: Option<String>,

    /// How fast failures are noticed.
    #[command(flatten)]
    pub timing: TimingFlags,

    /// When a master counts as healthy, and what a leader does by itself.
    #[command(flatten)]
    pub autopilot: AutopilotFlags,
    /// How long one write of the log may take before a leader looks for a successor; after twice
    /// that it serves nobody.
    #[arg(long, default_value = "1secs", value_parser = duration)]
    pub disk_stall_timeout: Duration,

    /// How long replication or one write of the log may stand still before this process is aborted,
    /// to be started again by its supervisor; `off` for never.
    #[arg(long, default_value = "30secs", value_name = "DURATION|off", value_parser = StallAbort::parse)]
    pub stall_abort_timeout: StallAbort,

    /// How long the start may make no progress (no entry of the log read, none applied) before this
    /// process is aborted, to be started again by its supervisor; `off` for never. A large log may
    /// take longer than this as long as it gets on.
    #[arg(long, default_value = "10mins", value_name = "DURATION|off", value_parser = StallAbort::parse)]
    pub start_abort_timeout: StallAbort,

    /// Nice value of the threads of replication, where the system permits it, so that heartbeats
    /// are in time on a busy machine; 0 treats them like all others.
    #[arg(
        long,
        default_value_t = -10,
        value_name = "NICE",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-20..=0)
    )]
    pub raft_nice: i32,

    /// What bounds memory and disk.
    #[command(flatten)]
    pub limits: crate::limit_flags::LimitFlags,

    /// Fault domain of this master, as Mesos' `DomainInfo` in JSON: agents of other regions are
    /// offered to frameworks with REGION_AWARE only. Without it, agents that have a domain are not
    /// taken. Give all masters the same region.
    #[arg(long, value_name = "JSON", value_parser = regency_wire::flags::domain)]
    pub domain: Option<regency_wire::v1::DomainInfo>,

    /// How often resources are offered when nothing else asks for it.
    #[arg(long, default_value = "1secs", value_parser = duration)]
    pub allocation_interval: Duration,

    /// Life of an offer; without it an offer stays until it is used, declined or rescinded.
    #[arg(long, value_parser = duration)]
    pub offer_timeout: Option<Duration>,

    /// Weights of roles for fair sharing that a new cluster begins with, `role=1.5` separated by
    /// commas; 1 where not given. Once any weight was given, they are changed by UPDATE_WEIGHTS only.
    #[arg(long, value_delimiter = ',', value_name = "ROLE=WEIGHT")]
    pub weights: Vec<RoleWeight>,

    /// Least resources worth offering: sets separated by `|`, names inside a set by `;`.
    #[arg(long, default_value = "cpus:0.01|mem:32", value_name = "SETS")]
    pub min_allocatable_resources: String,

    /// Who is offered what.
    #[command(flatten)]
    pub offers: OfferFlags,

    /// How long an agent may be silent, per ping, before that ping counts as missed.
    #[arg(long, default_value = "15secs", value_parser = duration)]
    pub agent_ping_timeout: Duration,

    /// How many pings an agent may miss before it is marked unreachable.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub max_agent_ping_timeouts: u32,

    /// When agents that are gone are forgotten.
    #[command(flatten)]
    pub registry: RegistryFlags,

    /// How long after a change of leader a framework may take to subscribe again before its
    /// offers are rescinded.
    #[arg(long, default_value = "30secs", value_parser = duration)]
    pub offer_grace: Duration,

    /// How long after a change of leader a framework may take to subscribe again before it counts
    /// as disconnected and its failover timeout starts.
    #[arg(long, default_value = "75secs", value_parser = duration)]
    pub framework_grace: Duration,

    /// Bytes of events kept for a framework that does not read its stream before it is closed.
    #[arg(long, default_value_t = 64 * 1024 * 1024, value_name = "BYTES")]
    pub max_stream_buffer_bytes: usize,

    /// Largest request body accepted, in bytes.
    #[arg(long, default_value_t = 32 * 1024 * 1024, value_name = "BYTES")]
    pub max_request_bytes: usize,

    /// File that this master's standard error goes to; it is shown as `/master/log`. Nothing is
    /// written there by the master itself.
    #[arg(long, value_name = "FILE")]
    pub external_log_file: Option<PathBuf>,

    /// What bounds the event streams of operators.
    #[command(flatten)]
    pub events: EventFlags,

    /// What answers clients that look for the leader in ZooKeeper.
    #[command(flatten)]
    pub zk_facade: ZkFacadeFlags,
}

/// The value of `--stall-abort-timeout` and `--start-abort-timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StallAbort(pub Option<Duration>);

impl StallAbort {
    /// Shortest: a snapshot of a large state or a busy machine must not look like a stall.
    const MIN: Duration = Duration::from_secs(2);

    fn parse(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let after = duration(text)?;
        if after < Self::MIN {
            return Err(format!("at least {:?}, or off", Self::MIN));
        }
        Ok(Self(Some(after)))
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expected a number with a unit, such as 50ms or 15secs"))
}

/// One master in `--peers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: u64,
    /// Host name or address, the same for all three ports.
    pub host: String,
    /// Port for other masters.
    pub raft: u16,
    /// Port for clients.
    pub http: u16,
    /// Port for agents.
    pub agent: u16,
}

impl Peer {
    /// As replication wants it.
    #[must_use]
    pub fn spec(&self) -> PeerSpec {
        // An IPv6 address needs its brackets back.
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        PeerSpec {
            id: NodeId(self.id),
            raft: format!("{host}:{}", self.raft),
            http: format!("{host}:{}", self.http),
            agent: format!("{host}:{}", self.agent),
        }
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "'{text}' is not of the form ID=HOST:RAFT_PORT:HTTP_PORT:AGENT_PORT, \
                 such as 1=master1:5060:5050:5061"
            )
        };
        let (id, rest) = text.trim().split_once('=').ok_or_else(wrong)?;
        let mut parts = rest.rsplitn(4, ':');
        let mut port = || {
            parts
                .next()
                .and_then(|p| p.parse::<u16>().ok())
                .ok_or_else(wrong)
        };
        let (agent, http, raft) = (port()?, port()?, port()?);
        let host = parts.next().ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(wrong());
        }
        let id = id.parse().map_err(|_| wrong())?;
        Ok(Self {
            id,
            host: host.to_owned(),
            raft,
            http,
            agent,
        })
    }
}

/// The weight of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleWeight {
    /// The role.
    pub role: String,
    /// Its weight in thousandths, above 0.
    pub weight_milli: u64,
}

impl FromStr for RoleWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not of the form ROLE=WEIGHT with a weight above 0");
        let (role, weight) = text.trim().split_once('=').ok_or_else(wrong)?;
        regency_resources::role::validate(role).map_err(|error| error.to_string())?;
        let weight: f64 = weight.parse().map_err(|_| wrong())?;
        let milli = (weight * 1000.0).round();
        if !(1.0..=1e12).contains(&milli) {
            return Err(wrong());
        }
        Ok(Self {
            role: role.to_owned(),
            weight_milli: milli as u64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_and_bad_ones_named() {
        let peer: Peer = "2=h.example:5060:5050:5061".parse().expect("a peer");
        assert_eq!(peer.spec().http, "h.example:5050");
        let peer: Peer = "3=[::1]:1:2:3".parse().expect("a peer");
        assert_eq!(peer.spec().raft, "[::1]:1");
        for bad in ["", "1", "x=h:1:2:3", "1=h:1:2", "1=:1:2:3", "1=h:1:2:99999"] {
            let error = bad.parse::<Peer>().expect_err(bad);
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn weights_must_be_above_zero() {
        let weight: RoleWeight = "a/b=1.5".parse().expect("a weight");
        assert_eq!(weight.weight_milli, 1500);
        for bad in ["a", "a=0", "a=-1", "a=NaN", "a b=1", "a=1e30"] {
            assert!(bad.parse::<RoleWeight>().is_err(), "{bad}");
        }
    }
}
