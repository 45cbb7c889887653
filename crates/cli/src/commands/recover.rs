//! `regency recover`: what is done to a stopped master when nothing else helps.
//!
//! Without a word that repeats what was shown, nothing is changed: a flag without a value is typed
//! by habit.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use regency_raft_store::IdentityError;
use regency_raft_store::offline::OfflineError;
use regency_raft_store::recover::skip::{self, SkipPlan};
use regency_raft_store::recover::{self, RecoverError, Recovered, Recovery, RecoveryPlan};
use regency_runtime::RandomIds;
use serde_json::{Value, json};

/// What is shown of a command or of bytes.
const SHOWN_MAX: usize = 400;
/// Digits of a digest that have to be typed.
const CONFIRM_DIGITS: usize = 8;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    /// The data directory of a master that does not run.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// Go on alone, without the members with these ids, separated by commas. Without it, only show
    /// who they are and what would happen.
    #[arg(
        long,
        value_name = "IDS",
        value_delimiter = ',',
        conflicts_with = "skip_index"
    )]
    drop: Vec<u64>,

    /// Instead of going on alone: do not apply the entry with this index. All masters must be told
    /// the same.
    #[arg(long, value_name = "INDEX")]
    skip_index: Option<u64>,

    /// Do so, if this is how the digest of the entry begins. Without it, only show the entry.
    #[arg(long, value_name = "DIGITS", requires = "skip_index")]
    confirm: Option<String>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command; nothing but its result is printed.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let (text, shown) = match flags.skip_index {
        Some(index) => leave_out(flags, index)?,
        None => go_on_alone(flags)?,
    };
    let mut out = std::io::stdout();
    if flags.json {
        writeln!(out, "{shown}")?;
    } else {
        writeln!(out, "{text}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn go_on_alone(flags: &Flags) -> anyhow::Result<(String, Value)> {
    let dir = &flags.data_dir;
    let recovery = match Recovery::plan(dir) {
        Err(RecoverError::Offline(OfflineError::Identity(IdentityError::Unfinished {
            work,
            ..
        }))) if work.starts_with("recover ") => {
            if flags.drop.is_empty() {
                bail!(
                    "a recovery of {} was interrupted; to finish it, give --drop with the same ids",
                    dir.display()
                );
            }
            return match recover::finish(dir)? {
                Some(recovered) => Ok(done(dir, &recovered, json!({}))),
                None => bail!("{} has nothing to finish", dir.display()),
            };
        }
        other => other?,
    };
    let plan = recovery.facts().clone();
    let shown = plan_json(&plan);
    if flags.drop.is_empty() {
        return Ok((plan_text(dir, &plan), shown));
    }
    let typed: BTreeSet<u64> = flags.drop.iter().copied().collect();
    let members: BTreeSet<u64> = plan.drops.iter().map(|m| m.node.0).collect();
    if typed != members {
        bail!(
            "--drop {} is not who would be left out: {}; look again without --drop",
            ids(&typed),
            ids(&members)
        );
    }
    let recovered = recovery.run(&RandomIds, env!("CARGO_PKG_VERSION"))?;
    Ok(done(dir, &recovered, shown))
}

fn done(dir: &Path, recovered: &Recovered, mut shown: Value) -> (String, Value) {
    shown["done"] = true.into();
    shown["new_cluster_id"] = recovered.cluster.to_string().into();
    shown["kept"] = recovered.kept.display().to_string().into();
    let text = format!(
        "{} now belongs to the new cluster {}, with this master as its only member.\n\
         What was there before is in {}; remove it when all is well.\n\
         Start the master with itself alone in --peers, then add empty ones under new ids:\n\
         regency members add ID=HOST:…",
        dir.display(),
        recovered.cluster,
        recovered.kept.display(),
    );
    (text, shown)
}

fn ids(ids: &BTreeSet<u64>) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(",")
}

fn plan_json(plan: &RecoveryPlan) -> Value {
    let at = |at: Option<(u64, u64)>| at.map(|(term, index)| json!({"term": term, "index": index}));
    let drops: Vec<Value> = plan
        .drops
        .iter()
        .map(|member| {
            json!({
                "id": member.node.0,
                "incarnation": member.incarnation.to_string(),
                "voter": member.voter,
                "raft": member.raft,
                "http": member.http,
            })
        })
        .collect();
    json!({
        "done": false,
        "node_id": plan.node.0,
        "incarnation": plan.incarnation.to_string(),
        "voter": plan.voter,
        "cluster_id": plan.cluster.to_string(),
        "last": at(plan.last),
        "committed": at(plan.committed),
        "snapshot_index": plan.snapshot,
        "drops": drops,
    })
}

fn plan_text(dir: &Path, plan: &RecoveryPlan) -> String {
    let index =
        |at: Option<(u64, u64)>| at.map_or("none".to_owned(), |(_, index)| index.to_string());
    let mut text = format!(
        "Nothing is changed yet. What would happen to {}:\n\
         master      {} of cluster {}{}\n\
         log         ends at entry {}; noted as committed up to {}; newest snapshot at {}\n",
        dir.display(),
        plan.node,
        plan.cluster,
        if plan.voter {
            ""
        } else {
            " (a learner: others may have more)"
        },
        index(plan.last),
        index(plan.committed),
        plan.snapshot.map_or("none".to_owned(), |at| at.to_string()),
    );
    for member in &plan.drops {
        let _ = writeln!(
            text,
            "left out    {} {}, http {}, raft {}",
            member.node.0,
            if member.voter { "voter" } else { "learner" },
            member.http,
            member.raft
        );
    }
    let dropped: BTreeSet<u64> = plan.drops.iter().map(|m| m.node.0).collect();
    let _ = write!(
        text,
        "It would be the only member of a new cluster, with every entry it has, committed or not.\n\
         Lost is what the others committed and it never got: if another one survives, compare\n\
         'last' of 'regency raft state' and recover the one with the higher term, then index.\n\
         The others must never run again: together they would still be the former cluster.\n\
         Is a majority only down, not lost? Then start it instead; nothing is lost that way.\n\
         To do it: regency recover --data-dir {} --drop {}",
        dir.display(),
        ids(&dropped)
    );
    text
}

fn leave_out(flags: &Flags, index: u64) -> anyhow::Result<(String, Value)> {
    let plan = skip::plan(&flags.data_dir, index)?;
    let digest = format!("{:032x}", plan.digest);
    let Some(typed) = &flags.confirm else {
        return Ok((skip_text(&flags.data_dir, &plan), skip_json(&plan, false)));
    };
    if typed.len() < CONFIRM_DIGITS || !digest.starts_with(&typed.to_lowercase()) {
        bail!(
            "--confirm {typed} is not how the digest of entry {index} begins ({}…); look again \
             without --confirm",
            &digest[..CONFIRM_DIGITS]
        );
    }
    let plan = skip::run(&flags.data_dir, index, plan.digest)?;
    let text = format!(
        "Entry {index} is not applied by this master from its next start on.\n\
         Tell all masters the same before any of them starts, with --confirm {}.",
        &digest[..CONFIRM_DIGITS]
    );
    Ok((text, skip_json(&plan, true)))
}

fn skip_json(plan: &SkipPlan, done: bool) -> Value {
    json!({
        "done": done,
        "index": plan.index,
        "term": plan.term,
        "bytes": plan.payload.len(),
        "digest": format!("{:032x}", plan.digest),
        "command": plan.command,
        "payload": hex(&plan.payload),
        "committed": plan.committed,
        "skipped": plan.already || done,
    })
}

fn skip_text(dir: &Path, plan: &SkipPlan) -> String {
    let digest = format!("{:032x}", plan.digest);
    let content = match &plan.command {
        Some(command) => cut(command),
        None => format!("not readable by this program: {}", cut(&hex(&plan.payload))),
    };
    let state = match (plan.already, plan.committed) {
        (true, _) => "it is skipped already",
        (false, true) => "it is committed",
        (false, false) => "not known to be committed: without it the others might drop it anyway",
    };
    format!(
        "Nothing is changed yet. Entry {} of {}:\n\
         term        {}\n\
         size        {} bytes, digest {digest}\n\
         content     {content}\n\
         state       {state}\n\
         Left out, it changes nothing, and whoever proposed it is refused. A newer program that\n\
         reads it is better: upgrade first if there is one. Leave it out on ALL masters or on\n\
         none: one that applies it has another state than the rest and will be stopped.\n\
         To do it, on each stopped master: regency recover --data-dir {} --skip-index {} --confirm {}",
        plan.index,
        dir.display(),
        plan.term,
        plan.payload.len(),
        dir.display(),
        plan.index,
        &digest[..CONFIRM_DIGITS]
    )
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use regency_raft_store::SnapshotMember;
    use regency_raft_store::offline::LogContent;
    use regency_types::{ClusterId, Incarnation, NodeId};

    use super::*;

    fn member(node: u64) -> SnapshotMember {
        SnapshotMember {
            node: NodeId(node),
            incarnation: Incarnation(7),
            voter: true,
            raft: format!("m{node}.example:5060"),
            http: format!("m{node}.example:5050"),
            agent: format!("m{node}.example:5061"),
        }
    }

    #[test]
    fn a_plan_names_everybody_and_ends_with_the_command_that_does_it() {
        let plan = RecoveryPlan {
            node: NodeId(1),
            incarnation: Incarnation(1),
            cluster: ClusterId(5),
            last: Some((3, 40)),
            committed: Some((3, 39)),
            snapshot: None,
            voter: true,
            drops: vec![member(2), member(3)],
        };
        let text = plan_text(Path::new("/d"), &plan);
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(
            text.ends_with("regency recover --data-dir /d --drop 2,3"),
            "{text}"
        );
        assert!(
            text.contains("m3.example:5060") && text.contains("entry 40"),
            "{text}"
        );
        let json = plan_json(&plan);
        assert_eq!(json["drops"][1]["id"], 3);
        assert_eq!(json["last"]["index"], 40);
    }

    #[test]
    fn an_entry_is_shown_with_the_digits_to_type() {
        let plan = SkipPlan {
            index: 9,
            term: 2,
            content: LogContent::Blank,
            command: None,
            payload: vec![0xff; 1000],
            digest: 0xabcd_ef01 << 96,
            already: false,
            committed: true,
        };
        let text = skip_text(Path::new("/d"), &plan);
        assert!(
            text.ends_with("--skip-index 9 --confirm abcdef01"),
            "{text}"
        );
        assert!(text.contains("ffff") && text.len() < 2000, "{text}");
        assert_eq!(skip_json(&plan, false)["bytes"], 1000);
    }
}
