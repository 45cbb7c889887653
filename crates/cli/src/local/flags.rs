//! Flags of `regency local`.

use std::time::Duration;

use regency_master::flags::TimingFlags;

use super::ports::AGENTS_MAX;

/// Flags of the command. Durations take units: `500ms`, `10s`, `2m`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LocalFlags {
    /// How many masters: 1 survives no failure, 3 one, 5 two.
    #[arg(long, default_value_t = 3, value_name = "1|3|5", value_parser = masters)]
    pub(crate) masters: u16,

    /// How many agents.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = agents)]
    pub(crate) agents: u16,

    /// Kill the leading master (kill -9) so often, and restart it.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) kill_leader_every: Option<Duration>,

    /// Stop after this time with a summary; without it, run until Ctrl-C.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) run_for: Option<Duration>,

    /// How fast failures are noticed, at all masters.
    #[command(flatten)]
    pub(crate) timing: TimingFlags,

    /// First of the ports used, which lie within the 256 from here; 0 finds free ones.
    #[arg(long, default_value_t = 5050, value_name = "PORT")]
    pub(crate) port_base: u16,

    /// What each agent offers, in the syntax of `regency agent --resources`.
    #[arg(
        long,
        default_value = "cpus:4;mem:4096;disk:8192;ports:[31000-32000]",
        value_name = "RESOURCES"
    )]
    pub(crate) agent_resources: String,

    /// Print JSON: first one object that tells addresses, pids, folders and command lines, then
    /// one object per event.
    #[arg(long)]
    pub(crate) json: bool,

    /// Start the cluster without the demonstration framework.
    #[arg(long)]
    pub(crate) no_demo: bool,

    /// Let clients that look for the leader in ZooKeeper find it: each master also serves that, at
    /// the port `zk` of its row.
    #[arg(long)]
    pub(crate) zk_facade: bool,

    /// Leave masters and agents alone that somebody else killed, for scripts that restart them.
    #[arg(long)]
    pub(crate) no_restart: bool,

    /// Keep the directory with data and logs.
    #[arg(long)]
    pub(crate) keep: bool,

    /// A flag for every master, such as --master-flag=--offer-timeout=1m; may be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) master_flag: Vec<String>,

    /// A flag for every agent; may be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) agent_flag: Vec<String>,

    /// Where masters find each other instead of at the port that each listens on, in the order of
    /// their numbers: proxies of whoever starts the cluster.
    #[arg(skip)]
    pub(crate) raft_proxies: Vec<u16>,

    /// How many more masters agents look for than there are at first.
    #[arg(skip)]
    pub(crate) spare_masters: u16,
}

fn masters(text: &str) -> Result<u16, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err("expecting 1, 3 or 5: an even number survives no more failures".to_owned()),
    }
}

fn agents(text: &str) -> Result<u16, String> {
    let count = text
        .parse::<u16>()
        .ok()
        .filter(|count| *count <= AGENTS_MAX);
    count.ok_or_else(|| format!("expecting a number up to {AGENTS_MAX}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; expecting a number with a unit, such as 10s"))
}
