//! Measurements of a running cluster, by its public APIs. Nothing here asserts a time.
//!
//! `cargo build --release && cargo run --release -p regency-bench -- failover --trials 20`
//!
//! `regency-bench raft` measures replication alone; see `docs/benchmarks.md`.
#![allow(clippy::print_stdout, reason = "printing figures is what it is for")]

mod cluster;
mod failover;
mod figures;
mod raft;

use clap::{Parser, Subcommand};

/// Measures a Regency cluster on this machine.
#[derive(Debug, Parser)]
#[command(name = "regency-bench", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill the leader again and again; how soon is a subscribed framework served again?
    Failover(failover::Flags),
    /// Measure replication alone, beside other systems that replicate.
    #[command(subcommand)]
    Raft(raft::Command),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Program::parse().command {
        Command::Failover(flags) => failover::run(flags).await,
        Command::Raft(command) => raft::run(command).await,
    }
}
