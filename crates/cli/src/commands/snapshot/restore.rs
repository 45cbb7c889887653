//! `regency snapshot restore`.

use std::fmt::Write as _;
use std::path::PathBuf;

use regency_master::Peer;
use regency_raft_store::{EngineKind, RestoreRequest, Restored, restore_snapshot};
use regency_runtime::RandomIds;
use serde_json::json;

use super::show;

/// Flags of the command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flags {
    /// The snapshot file, as `regency snapshot save` wrote it.
    file: PathBuf,

    /// Directory to make for the first master of the new cluster. Must be empty or missing.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,

    /// That master: `ID=HOST:RAFT_PORT:HTTP_PORT:AGENT_PORT`, as others reach it. It is the only
    /// member at first; others are added to it.
    #[arg(long, value_name = "MASTER")]
    member: Peer,

    /// What keeps its log on disk: `sled` or `segment`.
    #[arg(long, default_value_t = EngineKind::Sled, value_name = "ENGINE")]
    log_engine: EngineKind,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Restores the snapshot, and says what was restored.
pub(super) fn run(flags: &Flags) -> anyhow::Result<String> {
    let request = RestoreRequest {
        snapshot: flags.file.clone(),
        data_dir: flags.data_dir.clone(),
        member: flags.member.spec(),
        engine: flags.log_engine,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let restored = restore_snapshot(&request, &RandomIds)?;
    Ok(if flags.json {
        let mut shown = json!({
            "cluster_id": restored.cluster.to_string(),
            "data_dir": flags.data_dir.display().to_string(),
            "node_id": flags.member.id,
            "incarnation": restored.incarnation.to_string(),
            "log_engine": flags.log_engine.name(),
        });
        shown["snapshot"] = show::json(&restored.snapshot);
        shown.to_string()
    } else {
        text(flags, &restored)
    })
}

fn text(flags: &Flags, restored: &Restored) -> String {
    let dir = flags.data_dir.display();
    let mut text = show::table(&restored.snapshot);
    let _ = write!(
        text,
        "restored into {dir} as the new cluster {}\n\
         Start it: regency master --id {} --data-dir {dir} --log-engine {} --peers …\n\
         then add other masters, empty ones: regency members add ID=HOST:…\n\
         Masters of the former cluster must not run any more.",
        restored.cluster, flags.member.id, flags.log_engine,
    );
    text
}
