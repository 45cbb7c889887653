//! Opening what a data directory holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use regency_runtime::IdMint;
use regency_types::NodeId;

use super::StartError;
use crate::config::{Config, LogConfig};
use crate::engine::{self, EngineError, LogEngine, Recovered};
use crate::identity::Identity;
use crate::level;
use crate::log_dir;
use crate::snapshot::{Loaded, SnapshotFile, SnapshotStore};
use crate::watchdog::start::{Progress, Step};

/// What was opened on disk.
pub(super) struct Opened {
    pub(super) identity: Identity,
    pub(super) log_place: PathBuf,
    pub(super) engine: Box<dyn LogEngine>,
    pub(super) recovered: Recovered,
    pub(super) snapshots: SnapshotStore,
    pub(super) newest: Option<(Loaded, SnapshotFile)>,
}

/// Opens the directory of this master, on a thread where that may take its time.
pub(super) async fn open_aside(
    config: &Config,
    mint: &Arc<dyn IdMint>,
    progress: &Progress,
) -> Result<Opened, StartError> {
    let (dir, node, log) = (config.data_dir.clone(), config.node, config.log);
    let (version, mint) = (config.version.clone(), Arc::clone(mint));
    let progress = progress.clone();
    regency_runtime::spawn_blocking(move || {
        open(&dir, node, &log, &version, mint.as_ref(), &progress)
    })
    .await
    .map_err(|error| StartError::Core(error.to_string()))?
}

pub(super) fn open_log(
    place: &Path,
    log: &LogConfig,
    progress: &Progress,
) -> Result<(Box<dyn LogEngine>, Recovered), EngineError> {
    let options = engine::Options {
        rebuild: engine::RebuildWhen {
            factor: log.rebuild_factor,
            bytes_min: log.rebuild_bytes_min,
        },
        progress: progress.clone(),
        ..engine::Options::default()
    };
    engine::open_with(log.engine, place, &options)
}

fn open(
    dir: &Path,
    node: NodeId,
    log: &LogConfig,
    version: &str,
    mint: &dyn IdMint,
    progress: &Progress,
) -> Result<Opened, StartError> {
    progress.begin(Step::Directory);
    let identity = Identity::open(dir, node, log.engine, mint)?;
    let place =
        log_dir::settle(dir, log.engine).map_err(EngineError::io("settle the log in", dir))?;
    progress.begin(Step::Log);
    let (engine, recovered) = open_log(&place, log, progress)?;
    if let Some(purged) = recovered.purged {
        identity.forget_skips(purged.index)?;
    }
    progress.begin(Step::Snapshot);
    let snapshots =
        SnapshotStore::open(&dir.join("snapshots"), version)?.keeping(log.snapshots_kept);
    let newest = snapshots.load_newest(identity.cluster())?;
    let snapshot = newest
        .as_ref()
        .and_then(|(loaded, _)| loaded.meta.last_log_id)
        .map(|at| at.index);
    if let Some(purged) = recovered.purged
        && snapshot.is_none_or(|snapshot| snapshot < purged.index)
    {
        return Err(StartError::StateLost {
            purged: purged.index,
            snapshot,
        });
    }
    if let Some((loaded, _)) = &newest {
        level::fits(loaded.state.feature_level(), log.feature_level_max)?;
    }
    Ok(Opened {
        identity,
        log_place: place,
        engine,
        recovered,
        snapshots,
        newest,
    })
}
