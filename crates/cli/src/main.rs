//! The one binary: parses flags, sets up logging, and hands over to a component.
//!
//! Errors are one line on standard error that names the offending value; details belong into
//! logs. Exit statuses: 0 done, 1 failed, 2 wrong command line.

mod commands;
mod errors;
mod local;
mod parent;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use regency_telemetry::LogFormat;

/// A Raft-replicated, highly available cluster master that speaks the Apache Mesos v1 APIs.
#[derive(Debug, Parser)]
#[command(name = "regency", version, propagate_version = true)]
struct Program {
    #[command(flatten)]
    logs: LogFlags,

    #[command(subcommand)]
    command: Command,
}

/// Flags of every long-running command.
#[derive(Debug, Clone, clap::Args)]
struct LogFlags {
    /// Form of log lines on standard error: text or json.
    #[arg(long, global = true, default_value_t, env = "REGENCY_LOG_FORMAT")]
    log_format: LogFormat,

    /// What to log: a level, or a list such as "info,regency_master=debug".
    #[arg(
        long,
        global = true,
        default_value = "info,openraft=warn",
        env = "REGENCY_LOG",
        value_name = "FILTER"
    )]
    log_filter: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a master.
    Master(commands::master::Flags),
    /// Run an agent, which offers this machine and runs tasks on it.
    Agent(commands::agent::Flags),
    /// Run a whole cluster on this machine, with a demonstration framework, and kill its leaders.
    Local(local::LocalFlags),
    /// Save the state of a cluster, or look at what was saved.
    #[command(subcommand)]
    Snapshot(commands::snapshot::Snapshot),
    /// Show or change who belongs to a running cluster.
    Members(commands::members::Flags),
    /// Show or change what is kept for roles, and what they may have at most.
    Quota(commands::roles::quota::Flags),
    /// Show or change how much of the cluster roles get beside each other.
    Weights(commands::roles::weights::Flags),
    /// Show the agents of a running cluster, or take one out of use.
    Agents(commands::agents::Flags),
    /// Look into the data directory of a master that does not run.
    #[command(subcommand)]
    Raft(commands::raft::Raft),
    /// Bring a stopped master back when a majority is lost for good, or an entry stops all masters.
    Recover(commands::recover::Flags),
    /// Strike a cluster with faults, and check what it promises meanwhile.
    #[command(subcommand)]
    Chaos(commands::chaos::Chaos),
    /// Print the version.
    Version,
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|first| first == regency_agent::shim::SUBCOMMAND)
    {
        // One small process per task: no flags, no logging, no runtime of many threads.
        return regency_agent::shim::main(args);
    }
    let program = match Program::try_parse() {
        Ok(program) => program,
        Err(error) => return errors::command_line(&error),
    };
    let result = match program.command {
        Command::Master(flags) => commands::master::run(flags, &program.logs),
        Command::Agent(flags) => commands::agent::run(flags, &program.logs),
        Command::Local(flags) => local::main(flags, &program.logs),
        Command::Snapshot(command) => commands::snapshot::run(command),
        Command::Members(flags) => commands::members::run(flags),
        Command::Quota(flags) => commands::roles::quota::run(flags),
        Command::Weights(flags) => commands::roles::weights::run(flags),
        Command::Agents(flags) => commands::agents::run(flags),
        Command::Raft(command) => commands::raft::run(command),
        Command::Recover(flags) => commands::recover::run(&flags),
        Command::Chaos(command) => commands::chaos::run(command, &program.logs),
        Command::Version => commands::version::run(),
    };
    result.unwrap_or_else(|error| errors::failed(&error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Program::command().debug_assert();
    }

    #[test]
    fn every_flag_says_what_it_is() {
        let program = Program::command();
        for command in program.get_subcommands() {
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                let id = flag.get_id();
                assert!(flag.get_help().is_some(), "{} {id}", command.get_name());
            }
        }
    }
}
