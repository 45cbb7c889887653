//! `regency raft`: look into the data directory of a master that does not run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use regency_raft_store::offline::{DataDir, DataDirFacts, LogContent, LogEntry};
use serde_json::{Value, json};

/// What to show.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Raft {
    /// Print the entries of the log, one JSON object per line.
    Log(LogFlags),
    /// Print who the master is, its vote, and how far its log goes, as one JSON object.
    State(StateFlags),
}

/// Flags of `regency raft log`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogFlags {
    /// The data directory. Nothing in it is changed; no master may be using it.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// Leave out entries before this index.
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    from: u64,
}

/// Flags of `regency raft state`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StateFlags {
    /// The data directory. Nothing in it is changed; no master may be using it.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs the command; nothing but its result is printed.
pub(crate) fn run(command: Raft) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match command {
        Raft::Log(flags) => {
            let data = DataDir::open(&flags.data_dir)?;
            data.entries(|found| {
                if found.index < flags.from {
                    return Ok(());
                }
                writeln!(out, "{}", entry(&found))
            })
        }
        Raft::State(flags) => {
            let data = DataDir::open(&flags.data_dir)?;
            writeln!(out, "{}", state(data.facts()))
        }
    };
    match written.and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(entry: &LogEntry) -> Value {
    let mut shown = match &entry.content {
        LogContent::Blank => json!({"kind": "blank"}),
        LogContent::Membership { voters } => json!({"kind": "membership", "voters": voters}),
        LogContent::Proposal {
            command,
            proposed_at_ms,
            wall_ms,
        } => json!({
            "kind": "proposal",
            "command": command,
            "proposed_at_ms": proposed_at_ms,
            "wall_ms": wall_ms,
        }),
        LogContent::Unreadable { detail } => json!({"kind": "unreadable", "detail": detail}),
    };
    shown["index"] = entry.index.into();
    shown["term"] = entry.term.into();
    shown["bytes"] = entry.bytes.into();
    shown
}

fn state(facts: &DataDirFacts) -> Value {
    let at = |at: Option<(u64, u64)>| at.map(|(term, index)| json!({"term": term, "index": index}));
    json!({
        "node_id": facts.node.0,
        "incarnation": facts.incarnation.to_string(),
        "cluster_id": facts.cluster.map(|cluster| cluster.to_string()),
        "log_engine": facts.engine.name(),
        "vote": facts.vote.map(|vote| json!({
            "term": vote.term,
            "node_id": vote.node,
            "committed": vote.committed,
        })),
        "purged": at(facts.purged),
        "last": at(facts.last),
        "committed": at(facts.committed),
        "unfinished_index": facts.unfinished,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_object_with_its_position_and_content() {
        let shown = entry(&LogEntry {
            term: 2,
            index: 7,
            bytes: 30,
            content: LogContent::Proposal {
                command: "register_agent",
                proposed_at_ms: 5,
                wall_ms: 6,
            },
        });
        let expected = json!({
            "index": 7, "term": 2, "bytes": 30, "kind": "proposal",
            "command": "register_agent", "proposed_at_ms": 5, "wall_ms": 6,
        });
        assert_eq!(shown, expected);
        assert!(!shown.to_string().contains('\n'));
    }

    #[test]
    fn a_directory_that_is_none_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let error = run(Raft::State(StateFlags {
            data_dir: dir.path().to_path_buf(),
        }))
        .expect_err("no directory of a master");
        assert!(error.to_string().contains("lock"), "{error:#}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("listed").count(), 0);
    }
}
