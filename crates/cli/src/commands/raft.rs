//! `regency raft`: the data directory of a master that does not run.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use regency_raft_store::EngineKind;
use regency_raft_store::offline::{
    DataDir, DataDirFacts, EngineChange, LogContent, LogEntry, change_engine,
};
use serde_json::{Value, json};

/// What to show, or to do.
#[derive(Debug, Clone, clap::Subcommand)]
pub(crate) enum Raft {
    /// Print the entries of the log, one JSON object per line.
    Log(LogFlags),
    /// Print who the master is, its vote, and how far its log goes, as one JSON object.
    State(StateFlags),
    /// Rewrite the log for another engine, with the vote and all markers.
    Convert(ConvertFlags),
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

/// Flags of `regency raft convert`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ConvertFlags {
    /// The data directory. No master may be using it; its disk needs room for both logs.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// The engine that shall keep the log: `sled` or `segment`. Start the master with
    /// `--log-engine` accordingly afterwards.
    #[arg(long, value_name = "ENGINE")]
    to: EngineKind,

    /// Keep the old log, as `log.before` in the data directory. Otherwise it is removed when the
    /// new one was compared with it and is in its place.
    #[arg(long)]
    keep_old: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
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
        Raft::Convert(flags) => {
            let change = change_engine(&flags.data_dir, flags.to, flags.keep_old)?;
            if flags.json {
                writeln!(out, "{}", converted(&change))
            } else {
                writeln!(out, "{}", told(&change))
            }
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
    if entry.skipped {
        shown["skipped"] = true.into();
    }
    shown
}

fn state(facts: &DataDirFacts) -> Value {
    let at = |at: Option<(u64, u64)>| at.map(|(term, index)| json!({"term": term, "index": index}));
    json!({
        "node_id": facts.node.0,
        "incarnation": facts.incarnation.to_string(),
        "cluster_id": facts.cluster.map(|cluster| cluster.to_string()),
        "parents": facts.parents.iter().map(ToString::to_string).collect::<Vec<_>>(),
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

fn converted(change: &EngineChange) -> Value {
    json!({
        "node_id": change.node.0,
        "from": change.from.name(),
        "to": change.to.name(),
        "changed": change.from != change.to,
        "entries": change.entries,
        "last": change.last.map(|(term, index)| json!({"term": term, "index": index})),
        "bytes_before": change.bytes_before,
        "bytes_after": change.bytes_after,
        "kept": change.kept.as_ref().map(|path| path.display().to_string()),
    })
}

fn told(change: &EngineChange) -> String {
    let (node, to) = (change.node, change.to);
    if change.from == to {
        return format!("the log of node {node} is kept by '{to}' already; nothing was changed");
    }
    let old = match &change.kept {
        Some(path) => format!("the old log is kept in {}", path.display()),
        None => "the old log was removed".to_owned(),
    };
    format!(
        "the log of node {node} went from '{}' to '{to}' with {} entries, {} before and {} bytes now; \
         {old}\nstart the master with --log-engine {to}",
        change.from, change.entries, change.bytes_before, change.bytes_after
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> EngineChange {
        EngineChange {
            node: regency_types::NodeId(2),
            from: EngineKind::Sled,
            to: EngineKind::Segment,
            entries: 7,
            last: Some((3, 9)),
            bytes_before: 100,
            bytes_after: 50,
            kept: None,
        }
    }

    #[test]
    fn a_changed_log_is_told_with_what_to_do_next() {
        let text = told(&change());
        assert!(
            text.contains("from 'sled' to 'segment' with 7 entries"),
            "{text}"
        );
        assert!(text.contains("--log-engine segment"), "{text}");
        assert_eq!(converted(&change())["last"], json!({"term": 3, "index": 9}));
        let nothing = EngineChange {
            from: EngineKind::Segment,
            ..change()
        };
        assert!(told(&nothing).contains("nothing was changed"));
        assert_eq!(converted(&nothing)["changed"], false);
    }

    #[test]
    fn an_entry_is_one_object_with_its_position_and_content() {
        let shown = entry(&LogEntry {
            term: 2,
            index: 7,
            bytes: 30,
            skipped: false,
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
