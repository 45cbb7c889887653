//! Measurements of a running cluster, by its public APIs. Nothing here asserts a time.
//!
//! `cargo build --release && cargo run --release -p regency-bench -- failover --trials 20`
//!
//! The raft level alone is measured by `cargo run --release -p regency-raft-store --example
//! commits`.
#![allow(clippy::print_stdout, reason = "printing figures is what it is for")]

mod cluster;
mod failover;
mod figures;

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
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Program::parse().command {
        Command::Failover(flags) => failover::run(flags).await,
    }
}
