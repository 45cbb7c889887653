//! Members as a person reads them.

use std::collections::BTreeMap;

use comfy_table::{ContentArrangement, Table, presets};

use super::api::{Health, Member, Members};

/// Columns of a terminal that everything fits in.
const WIDTH: u16 = 100;
/// How many ids of members that left are shown.
const IDS_MAX: usize = 8;

/// A table of the members, and what else is to be known about it.
pub(super) fn members(members: &Members) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH)
        .set_header([
            "id",
            "role",
            "alive",
            "lag",
            "last contact",
            "raft",
            "http",
            "agents",
        ]);
    for member in &members.members {
        table.add_row([
            member.id.to_string(),
            role(member).to_owned(),
            match member.alive {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "?",
            }
            .to_owned(),
            match &member.snapshot_sending {
                Some(snapshot) => format!("snapshot {} %", snapshot.percent),
                None => known(member.lag_entries.map(|lag| lag.to_string())),
            },
            known(member.last_contact_ms.map(|ms| format!("{ms} ms ago"))),
            member.raft.clone(),
            member.http.clone(),
            member.agent.clone(),
        ]);
    }
    let mut text = table.trim_fmt();
    if members.joint {
        text.push_str("\na change of voters is not finished; repeat it");
    }
    if !members.former_ids.is_empty() {
        text.push_str("\nids of members that left, never used again: ");
        text.push_str(&ids(&members.former_ids));
    }
    text.extend(level(members));
    match members.leader {
        Some(leader) if leader == members.node_id => {}
        Some(leader) => text.push_str(&format!(
            "\nas known by master {}, which follows master {leader}",
            members.node_id
        )),
        None => text.push_str(&format!(
            "\nas known by master {}, which knows no leader",
            members.node_id
        )),
    }
    text
}

/// What the leader thinks of the cluster.
pub(super) fn judgement(health: &Health) -> String {
    let mut lines: Vec<String> = Vec::new();
    for problem in &health.problems {
        lines.push(format!("problem: {problem}"));
    }
    let seconds = |ms: u64| ms / 1000;
    for member in health.members.members.iter().filter(|m| m.promote) {
        let how = member.reason.as_deref().unwrap_or("is healthy");
        let lasting = member.lasting_ms.map_or(0, seconds);
        lines.push(format!(
            "note: node {} is to get a vote; it {how}, for {lasting} s now",
            member.id
        ));
    }
    for member in &health.members.members {
        if let Some(snapshot) = &member.snapshot_sending {
            lines.push(format!(
                "note: node {} is receiving a snapshot: {} % of {} bytes",
                member.id, snapshot.percent, snapshot.bytes
            ));
        }
    }
    lines.push(format!(
        "{}: {} of {} voters answer; the cluster survives the loss of {} more ({} at best)",
        if health.healthy {
            "healthy"
        } else {
            "not healthy"
        },
        health.voters_alive,
        health.voters,
        health.failure_tolerance,
        health.failure_tolerance_at_best
    ));
    lines.join("\n")
}

/// The feature level, and what each member runs and supports.
fn level(members: &Members) -> Option<String> {
    let mut text = format!("\nfeature level {}", members.feature_level?);
    let mut programs: BTreeMap<(&str, u32), Vec<String>> = BTreeMap::new();
    for member in &members.members {
        // A master that does not answer, or was not asked.
        let (Some(version), Some(max)) = (&member.version, member.feature_level_max) else {
            continue;
        };
        let ids = programs.entry((version.as_str(), max)).or_default();
        ids.push(member.id.to_string());
    }
    for ((version, max), ids) in programs {
        let ids = ids.join(", ");
        let masters = if ids.contains(',') {
            "masters"
        } else {
            "master"
        };
        text.push_str(&format!(
            "\n{masters} {ids}: version {version}, feature level {max} at most"
        ));
    }
    Some(text)
}

/// The last few of many, so that a cluster that lived long still fits a terminal.
fn ids(all: &[u64]) -> String {
    let skipped = all.len().saturating_sub(IDS_MAX);
    let shown: Vec<String> = all[skipped..].iter().map(u64::to_string).collect();
    let before = if skipped == 0 { "" } else { "..., " };
    format!("{before}{}", shown.join(", "))
}

fn role(member: &Member) -> &'static str {
    match (member.leader, member.voter) {
        (true, _) => "leader",
        (false, true) => "voter",
        (false, false) => "learner",
    }
}

fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::api::SnapshotSending;
    use super::*;

    fn member(id: u64, host: &str) -> Member {
        Member {
            id,
            raft: format!("{host}:5060"),
            http: format!("{host}:5050"),
            agent: format!("{host}:5061"),
            voter: id != 3,
            leader: id == 1,
            alive: Some(id != 2),
            lag_entries: Some(1_000_000),
            last_contact_ms: Some(123_456_789),
            promote: false,
            reason: None,
            lasting_ms: None,
            version: Some("0.1.0".to_owned()),
            feature_level_max: Some(if id == 2 { 1 } else { 2 }),
            snapshot_sending: None,
        }
    }

    fn three(host: &str) -> Members {
        Members {
            node_id: 1,
            leader: Some(1),
            joint: false,
            feature_level: Some(1),
            members: (1..=3).map(|id| member(id, host)).collect(),
            former_ids: (4..=13).collect(),
            raw: serde_json::Value::Null,
        }
    }

    #[test]
    fn long_names_do_not_make_the_table_wider() {
        let text = members(&three("a-rather-long-name.of-a-machine.example.org"));
        for line in text.lines() {
            assert!(line.chars().count() <= usize::from(WIDTH), "{line}");
        }
    }

    #[test]
    fn a_member_is_shown_with_what_counts() {
        let text = members(&three("m.example"));
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[5..],
            [
                "feature level 1",
                "master 2: version 0.1.0, feature level 1 at most",
                "masters 1, 3: version 0.1.0, feature level 2 at most",
            ]
        );
        assert!(rows[4].ends_with("never used again: ..., 6, 7, 8, 9, 10, 11, 12, 13"));
        assert!(
            rows[1].contains("leader") && rows[1].contains("yes"),
            "{text}"
        );
        assert!(
            rows[2].contains("voter") && rows[2].contains("NO"),
            "{text}"
        );
        assert!(rows[3].contains("learner"), "{text}");
        assert!(rows[1].contains("m.example:5060"), "{text}");
    }

    #[test]
    fn who_does_not_tell_what_it_runs_is_left_out() {
        let mut some = three("h");
        some.members[0].version = None;
        some.members[1].feature_level_max = None;
        let text = level(&some);
        let expected = "\nfeature level 1\nmaster 3: version 0.1.0, feature level 2 at most";
        assert_eq!(text.as_deref(), Some(expected));
        // So did all before there were levels.
        some.feature_level = None;
        assert_eq!(level(&some), None);
    }

    #[test]
    fn a_snapshot_on_its_way_is_shown_with_how_far_it_is() {
        let mut members = three("h");
        members.members[2].snapshot_sending = Some(SnapshotSending {
            percent: 42,
            bytes: 1000,
        });
        let text = super::members(&members);
        assert!(text.contains("snapshot 42 %"), "{text}");
        let text = judgement(&Health {
            healthy: false,
            problems: Vec::new(),
            voters: 2,
            voters_alive: 2,
            failure_tolerance: 0,
            failure_tolerance_at_best: 0,
            members,
        });
        assert!(
            text.contains("node 3 is receiving a snapshot: 42 % of 1000 bytes"),
            "{text}"
        );
    }

    #[test]
    fn who_is_not_the_leader_says_so() {
        let mut members = three("h");
        members.node_id = 2;
        let text = super::members(&members);
        assert!(text.contains("known by master 2"), "{text}");
    }
}
