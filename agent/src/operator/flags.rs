//! Flags of what operators may ask, and all flags of the agent as they are shown.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::containers::Limits;
use crate::flags::{AgentFlags, byte_size};

/// How much operators may ask of an agent at once.
#[derive(Debug, Clone, Args)]
pub struct OperatorFlags {
    /// Tasks, and executors, that are shown after their end, until the next start of the agent.
    #[arg(
        long,
        alias = "max_completed_tasks",
        default_value_t = 1000,
        value_name = "NUMBER"
    )]
    pub max_completed_tasks: usize,

    /// File that somebody else writes this agent's log to; it is shown as /slave/log. Default: no
    /// log is shown.
    #[arg(long, alias = "external_log_file", value_name = "FILE")]
    pub external_log_file: Option<PathBuf>,

    /// Most bytes of one answer to READ_FILE and /files/read.
    #[arg(
        long,
        alias = "files_read_max",
        default_value = "64KB",
        value_name = "BYTES",
        value_parser = byte_size
    )]
    pub files_read_max: u64,

    /// Downloads of files at once; more are answered with 503.
    #[arg(
        long,
        alias = "files_downloads_max",
        default_value_t = 32,
        value_name = "NUMBER"
    )]
    pub files_downloads_max: usize,

    /// Containers that operators and executors launched and that run at once; more are refused.
    #[arg(
        long,
        alias = "operator_containers_max",
        default_value_t = 256,
        value_name = "NUMBER"
    )]
    pub operator_containers_max: usize,

    /// Connections at once to the input or output of containers, sessions included.
    #[arg(
        long,
        alias = "container_attachments_max",
        default_value_t = 128,
        value_name = "NUMBER"
    )]
    pub container_attachments_max: usize,

    /// Most bytes of a container's output that wait for one connection to read them. Who launched a
    /// session holds its command up by not reading; any other connection is closed.
    #[arg(
        long,
        alias = "container_output_buffer",
        default_value = "1MB",
        value_name = "BYTES",
        value_parser = byte_size
    )]
    pub container_output_buffer: u64,
}

impl OperatorFlags {
    pub(crate) fn container_limits(&self) -> Limits {
        Limits {
            running_max: self.operator_containers_max,
            attachments_max: self.container_attachments_max,
            output_bytes: self.container_output_buffer,
        }
    }
}

/// All flags by the names that Mesos gives them, or would, as `/flags` shows them. What is not set
/// and has no default is left out.
pub(crate) fn shown(flags: &AgentFlags) -> BTreeMap<String, String> {
    let duration = |span: Duration| humantime::format_duration(span).to_string();
    let path = |path: &PathBuf| path.display().to_string();
    let operator = &flags.operator;
    let always = [
        ("master", flags.master.join(",")),
        ("work_dir", path(&flags.work_dir)),
        ("ip", flags.ip.to_string()),
        ("port", flags.port.to_string()),
        ("default_role", flags.default_role.clone()),
        ("attributes", flags.attributes.clone()),
        (
            "executor_shutdown_grace_period",
            duration(flags.executor_shutdown_grace_period),
        ),
        (
            "executor_registration_timeout",
            duration(flags.executor_registration_timeout),
        ),
        (
            "executor_reregistration_timeout",
            duration(flags.executor_reregistration_timeout),
        ),
        ("recovery_timeout", duration(flags.recovery_timeout)),
        (
            "registration_backoff_factor",
            duration(flags.registration_backoff_factor),
        ),
        ("switch_user", flags.switch_user.to_string()),
        (
            "fetcher_cache_size",
            format!("{}B", flags.fetcher_cache_size),
        ),
        ("fetcher_max_bytes", format!("{}B", flags.fetcher_max_bytes)),
        (
            "fetcher_stall_timeout",
            duration(flags.fetcher_stall_timeout),
        ),
        (
            "max_completed_tasks",
            operator.max_completed_tasks.to_string(),
        ),
        ("files_read_max", format!("{}B", operator.files_read_max)),
        (
            "files_downloads_max",
            operator.files_downloads_max.to_string(),
        ),
        (
            "operator_containers_max",
            operator.operator_containers_max.to_string(),
        ),
        (
            "container_attachments_max",
            operator.container_attachments_max.to_string(),
        ),
        (
            "container_output_buffer",
            format!("{}B", operator.container_output_buffer),
        ),
    ];
    let sometimes = [
        ("advertise_ip", flags.advertise_ip.map(|ip| ip.to_string())),
        (
            "advertise_port",
            flags.advertise_port.map(|port| port.to_string()),
        ),
        ("hostname", flags.hostname.clone()),
        ("resources", flags.resources.clone()),
        ("domain", flags.domain.clone()),
        (
            "fetcher_cache_dir",
            flags.fetcher_cache_dir.as_ref().map(path),
        ),
        ("frameworks_home", flags.frameworks_home.as_ref().map(path)),
        (
            "external_log_file",
            operator.external_log_file.as_ref().map(path),
        ),
    ];
    let sometimes = sometimes
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    always
        .into_iter()
        .chain(sometimes)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    #[test]
    fn no_flag_is_forgotten() {
        let command = AgentFlags::augment_args(Command::new("agent"));
        let given = [
            "agent",
            "--master=m",
            "--work_dir=/w",
            "--advertise_ip=127.0.0.1",
            "--advertise_port=1",
            "--hostname=h",
            "--resources=cpus:1",
            "--domain={}",
            "--fetcher_cache_dir=/c",
            "--frameworks_home=/h",
            "--external_log_file=/l",
        ];
        let matches = command
            .clone()
            .try_get_matches_from(given)
            .expect("good flags");
        let flags = AgentFlags::from_arg_matches(&matches).expect("good flags");
        let shown = shown(&flags);
        for argument in command.get_arguments().filter(|a| !a.is_hide_set()) {
            let name = argument.get_id().as_str();
            assert!(shown.contains_key(name), "--{name} is not shown");
        }
        assert_eq!(shown["external_log_file"], "/l");
        assert_eq!(shown["files_read_max"], "65536B");
    }
}
