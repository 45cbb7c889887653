//! Facts about a snapshot, for people and for scripts.

use std::fmt::Write as _;

use regency_raft_store::SnapshotFacts;
use serde_json::{Value, json};

/// One line.
pub(super) fn line(facts: &SnapshotFacts) -> String {
    format!(
        "cluster {}, index {}, term {}, {} bytes",
        facts.cluster, facts.index, facts.term.0, facts.file_bytes
    )
}

/// One JSON object. Keys are for ever; new ones may be added.
pub(super) fn json(facts: &SnapshotFacts) -> Value {
    let members: Vec<Value> = facts
        .members
        .iter()
        .map(|member| {
            json!({
                "id": member.node.0,
                "incarnation": member.incarnation.to_string(),
                "voter": member.voter,
                "raft": member.raft,
                "http": member.http,
                "agent": member.agent,
            })
        })
        .collect();
    json!({
        "cluster_id": facts.cluster.to_string(),
        "ancestors": facts.ancestors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "saved_ms": facts.saved_ms,
        "index": facts.index,
        "term": facts.term.0,
        "feature_level": facts.feature_level,
        "members": members,
        "agents": facts.agents,
        "frameworks": facts.frameworks,
        "frameworks_completed": facts.frameworks_completed,
        "tasks_active": facts.tasks_active,
        "tasks": facts.tasks,
        "offers": facts.offers,
        "file_bytes": facts.file_bytes,
        "state_bytes": facts.state_bytes,
        "state_digest": digest(facts),
        "format": facts.format,
        "compression": facts.compression,
        "written_by": facts.written_by,
    })
}

/// Lines of a name and a value, at most 100 columns wide with ordinary host names.
pub(super) fn table(facts: &SnapshotFacts) -> String {
    let rows = [
        ("cluster", facts.cluster.to_string()),
        ("index", facts.index.to_string()),
        ("term", facts.term.0.to_string()),
        ("saved", saved(facts)),
        ("agents", facts.agents.to_string()),
        (
            "frameworks",
            format!(
                "{} ({} completed)",
                facts.frameworks, facts.frameworks_completed
            ),
        ),
        (
            "tasks",
            format!("{} ({} active)", facts.tasks, facts.tasks_active),
        ),
        ("features", format!("level {}", facts.feature_level)),
        ("offers", facts.offers.to_string()),
        ("file", format!("{} bytes", facts.file_bytes)),
        (
            "state",
            format!("{} bytes, digest {}", facts.state_bytes, digest(facts)),
        ),
        (
            "format",
            format!(
                "{}, compression {}, written by regency {}",
                facts.format, facts.compression, facts.written_by
            ),
        ),
    ];
    let mut text = String::new();
    for ancestor in &facts.ancestors {
        let _ = writeln!(text, "{:<11} {ancestor}", "ancestor");
    }
    for (name, value) in rows {
        let _ = writeln!(text, "{name:<11} {value}");
    }
    for member in &facts.members {
        let _ = writeln!(
            text,
            "{:<11} {} {}, http {}, raft {}, agent {}",
            "member",
            member.node.0,
            if member.voter { "voter" } else { "learner" },
            member.http,
            member.raft,
            member.agent
        );
    }
    text
}

/// When the last proposal in it was made.
fn saved(facts: &SnapshotFacts) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(facts.saved_ms);
    humantime::format_rfc3339_seconds(at).to_string()
}

fn digest(facts: &SnapshotFacts) -> String {
    format!("{:032x}", facts.state_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> SnapshotFacts {
        let fixture = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../raft-store/tests/fixtures/snapshot-v2.bin"
        );
        regency_raft_store::inspect_snapshot(fixture.as_ref()).unwrap()
    }

    #[test]
    fn a_table_fits_a_terminal_and_names_every_member() {
        let table = table(&facts());
        assert!(table.lines().all(|line| line.len() <= 100), "{table}");
        for part in [
            "index       123456",
            "features    level 1",
            "member      1 voter, http 10.0.0.1:5050",
            "member      4 learner",
            "compression zstd",
        ] {
            assert!(table.contains(part), "no '{part}' in:\n{table}");
        }
    }

    #[test]
    fn scripts_find_the_same_as_people() {
        let facts = facts();
        let json = json(&facts);
        assert_eq!(json["index"], 123_456);
        assert_eq!(json["cluster_id"], facts.cluster.to_string());
        assert_eq!(json["members"][3]["voter"], false);
        assert_eq!(json["state_digest"], digest(&facts));
        assert_eq!(json["agents"], facts.agents);
        assert_eq!(json["feature_level"], 1);
    }
}
