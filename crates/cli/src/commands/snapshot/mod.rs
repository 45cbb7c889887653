//! `regency snapshot`: take a copy of a cluster's state, and look at one.

mod fetch;
mod restore;
mod save;
mod show;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use regency_raft_store::{inspect_snapshot, verify_snapshot};

/// What to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Snapshot {
    /// Save the state of a running cluster to a file, from whichever master answers first.
    Save(save::Flags),
    /// Show what a snapshot file holds.
    Inspect(InspectFlags),
    /// Make the data directory of a new cluster's first master from a snapshot file.
    Restore(restore::Flags),
    /// Check a snapshot file: checksums, the state in it, and the rules that state must keep.
    Verify(VerifyFlags),
}

/// Flags of `regency snapshot inspect`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InspectFlags {
    /// The snapshot file.
    file: PathBuf,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Flags of `regency snapshot verify`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct VerifyFlags {
    /// The snapshot file.
    file: PathBuf,
}

/// Runs the command; nothing but its result is printed.
pub(crate) fn run(command: Snapshot) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    match command {
        Snapshot::Save(flags) => {
            let saved = save::run(flags)?;
            writeln!(out, "{saved}")?;
        }
        Snapshot::Inspect(flags) => {
            let facts = inspect_snapshot(&flags.file)?;
            if flags.json {
                writeln!(out, "{}", show::json(&facts))?;
            } else {
                write!(out, "{}", show::table(&facts))?;
            }
        }
        Snapshot::Restore(flags) => {
            let restored = restore::run(&flags)?;
            writeln!(out, "{restored}")?;
        }
        Snapshot::Verify(flags) => {
            let facts = verify_snapshot(&flags.file)?;
            writeln!(
                out,
                "{} is whole: {}",
                flags.file.display(),
                show::line(&facts)
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
