//! The flags of `regency agent`. Names are those of Mesos where Mesos has them; the spelling with
//! underscores works too.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::operator::OperatorFlags;

/// Port of a master's agent listener when `--master` names none.
pub(crate) const MASTER_PORT_DEFAULT: u16 = 5061;

/// How an agent is to run.
#[derive(Debug, Clone, Args)]
pub struct AgentFlags {
    /// Agent listeners of all masters, as host:port separated by commas; the port defaults to
    /// 5061. Name every master: any of them tells which one leads.
    #[arg(long, required = true, value_delimiter = ',', value_parser = master_address)]
    pub master: Vec<String>,

    /// Directory of the agent's checkpoints and of the sandboxes of its tasks. Must survive a
    /// restart of the machine; an empty one makes a new agent.
    #[arg(long, alias = "work_dir")]
    pub work_dir: PathBuf,

    /// Address to listen on with HTTP.
    #[arg(long, default_value = "127.0.0.1")]
    pub ip: IpAddr,

    /// Port to listen on with HTTP; 0 takes any free one.
    #[arg(long, default_value_t = 5051)]
    pub port: u16,

    /// Address under which others reach this agent. Default: --ip, which then must name one.
    #[arg(long, alias = "advertise_ip")]
    pub advertise_ip: Option<IpAddr>,

    /// Port under which others reach this agent. Default: the one it listens on.
    #[arg(long, alias = "advertise_port")]
    pub advertise_port: Option<u16>,

    /// Name of this machine in offers. Default: "localhost" on a loopback address, else what the
    /// machine calls itself.
    #[arg(long)]
    pub hostname: Option<String>,

    /// Resources to offer, as in "cpus:8;mem:16384;disk:65536;ports:[31000-32000]" (mem and disk
    /// in megabytes), with "name(role):value" for those reserved to a role. cpus, mem, disk and
    /// ports that are not named are detected once and remembered. Or a JSON list of Mesos' `Resource`;
    /// file://PATH reads either from a file.
    #[arg(long)]
    pub resources: Option<String>,

    /// Role that --resources without a role are reserved to; "*" for nobody.
    #[arg(long, alias = "default_role", default_value = "*")]
    pub default_role: String,

    /// Attributes shown to frameworks, as in "rack:r1;zone:a;slots:4", or file://PATH.
    #[arg(long, default_value = "")]
    pub attributes: String,

    /// Fault domain of this machine, as Mesos' `DomainInfo` in JSON, or file://PATH. Masters that
    /// have none do not take an agent with one.
    #[arg(long, value_name = "JSON")]
    pub domain: Option<String>,

    /// How long an executor that was asked to shut down may take before it is killed, when its
    /// description does not say, and the tasks of a framework that was torn down between SIGTERM and
    /// SIGKILL.
    #[arg(
        long,
        alias = "executor_shutdown_grace_period",
        default_value = "5s",
        value_parser = humantime::parse_duration
    )]
    pub executor_shutdown_grace_period: Duration,

    /// How long an executor may take from its start to its subscription before it is killed.
    #[arg(
        long,
        alias = "executor_registration_timeout",
        default_value = "1min",
        value_parser = humantime::parse_duration
    )]
    pub executor_registration_timeout: Duration,

    /// How long an executor may take to subscribe again after a restart of the agent before it is
    /// killed. pymesos waits up to 15 s between two tries.
    #[arg(
        long,
        alias = "executor_reregistration_timeout",
        default_value = "20s",
        value_parser = humantime::parse_duration
    )]
    pub executor_reregistration_timeout: Duration,

    /// How long executors are told to wait for an agent that is gone before they give up.
    #[arg(
        long,
        alias = "recovery_timeout",
        default_value = "15min",
        value_parser = humantime::parse_duration
    )]
    pub recovery_timeout: Duration,

    /// Longest wait between two rounds over the masters while none of them leads.
    #[arg(
        long,
        alias = "registration_backoff_factor",
        default_value = "1s",
        value_parser = humantime::parse_duration
    )]
    pub registration_backoff_factor: Duration,

    /// Run each task as the user its framework asks for, when this agent runs as root. Otherwise
    /// tasks run as the agent's own user.
    #[arg(long, alias = "switch_user", default_value_t = true, action = clap::ArgAction::Set)]
    pub switch_user: bool,

    /// Most bytes of all files that tasks fetched with `cache`, as in 2GB or 512MB; what was not
    /// used for the longest time makes room. 0 caches nothing.
    #[arg(
        long,
        alias = "fetcher_cache_size",
        default_value = "2GB",
        value_name = "BYTES",
        value_parser = byte_size
    )]
    pub fetcher_cache_size: u64,

    /// Directory of cached files; each agent has one of its own in it, emptied at its start.
    /// Default: `fetch` in the work directory.
    #[arg(long, alias = "fetcher_cache_dir", value_name = "DIRECTORY")]
    pub fetcher_cache_dir: Option<PathBuf>,

    /// Most bytes of one file that is fetched for a task, and of what one archive holds.
    #[arg(
        long,
        alias = "fetcher_max_bytes",
        default_value = "16GB",
        value_name = "BYTES",
        value_parser = byte_size
    )]
    pub fetcher_max_bytes: u64,

    /// A download without a single byte for this long has failed.
    #[arg(
        long,
        alias = "fetcher_stall_timeout",
        default_value = "1m",
        value_parser = humantime::parse_duration
    )]
    pub fetcher_stall_timeout: Duration,

    /// Where paths of files to fetch begin that are not absolute. Default: such are refused.
    #[arg(long, alias = "frameworks_home", value_name = "DIRECTORY")]
    pub frameworks_home: Option<PathBuf>,

    /// How much operators may ask at once.
    #[command(flatten)]
    pub operator: OperatorFlags,

    /// Program that provides the hidden subcommand for tasks. Default: this program.
    #[arg(long, hide = true)]
    pub task_shim: Option<PathBuf>,
}

/// Reads a number of bytes with one of Mesos' units, each 1024 of the one before.
pub(crate) fn byte_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let power = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "KB" => 1,
        "MB" => 2,
        "GB" => 3,
        "TB" => 4,
        _ => {
            return Err("not a size; give a number with B, KB, MB, GB or TB, as in 2GB".to_owned());
        }
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "not a size; give a whole number and a unit, as in 2GB".to_owned())?;
    number
        .checked_mul(1024u64.pow(power))
        .ok_or_else(|| "more bytes than there can be".to_owned())
}

/// Completes and checks one address of `--master`.
fn master_address(text: &str) -> Result<String, String> {
    let text = text.trim();
    let example = "give host:port, as in 10.0.0.1:5061";
    if text.is_empty() {
        return Err(format!("an empty address; {example}"));
    }
    if text.starts_with("zk://") {
        return Err("there is no ZooKeeper here; name the masters themselves, \
                    as in 10.0.0.1:5061,10.0.0.2:5061"
            .to_owned());
    }
    let has_port = match text.rfind(':') {
        // The colons of an IPv6 address are inside its brackets.
        Some(colon) => !text[colon..].contains(']'),
        None => false,
    };
    if !has_port {
        return Ok(format!("{text}:{MASTER_PORT_DEFAULT}"));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let host_is_bad = host.is_empty() || (host.contains(':') && !host.starts_with('['));
    if host_is_bad || !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err(format!("not an address; {example}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        agent: AgentFlags,
    }

    fn parse(args: &[&str]) -> Result<AgentFlags, clap::Error> {
        let args = ["agent"].iter().chain(args);
        Program::try_parse_from(args).map(|program| program.agent)
    }

    #[test]
    fn masters_are_a_list_and_the_port_has_a_default() {
        let flags = parse(&["--master", "a:1,10.0.0.2,[::1],[::1]:7", "--work_dir", "/w"]);
        let expect = ["a:1", "10.0.0.2:5061", "[::1]:5061", "[::1]:7"];
        assert_eq!(flags.expect("good flags").master, expect);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (bad, part) in [
            ("zk://h:2181/mesos", "ZooKeeper"),
            ("host:0", "host:port"),
            ("host:port", "host:port"),
            (":5061", "host:port"),
            ("::1", "host:port"),
            ("a,,b", "empty"),
        ] {
            let error = parse(&["--master", bad, "--work-dir", "/w"]).expect_err(bad);
            let text = error.to_string();
            assert!(text.contains(part), "{bad}: {text}");
        }
        assert!(parse(&["--work-dir", "/w"]).is_err());
        assert!(parse(&["--master", "a"]).is_err());
    }

    #[test]
    fn sizes_are_read_as_mesos_writes_them() {
        for (text, bytes) in [
            ("0", 0),
            ("7B", 7),
            ("3KB", 3 << 10),
            ("2GB", 2 << 30),
            ("1 tb", 1 << 40),
        ] {
            assert_eq!(byte_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "GB", "-1", "1.5GB", "2XB", "99999999999TB"] {
            assert!(byte_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_mesos_writes_them() {
        let args = [
            "--master",
            "a",
            "--work-dir",
            "/w",
            "--executor_shutdown_grace_period",
        ];
        let flags = parse(&[&args[..], &["3secs"]].concat()).expect("good flags");
        assert_eq!(flags.executor_shutdown_grace_period, Duration::from_secs(3));
        assert!(parse(&[&args[..], &["soon"]].concat()).is_err());
    }
}
