//! What was opened, made ready for replication.

use std::sync::Arc;

use super::StartError;
use super::open::{Opened, open_log};
use crate::audit::Audit;
use crate::config::Config;
use crate::effects::EffectSink;
use crate::entries::EntrySink;
use crate::identity::Identity;
use crate::log::{Again, LogBounds, LogStore, WriterEnd};
use crate::machine::Machine;
use crate::snapshot::{Outgoing, SnapshotStore};
use crate::space::Space;
use crate::watchdog::start::Progress;

/// The log, the state machine, and what lies around them.
pub(super) struct Storage {
    pub(super) identity: Arc<Identity>,
    pub(super) space: Arc<Space>,
    pub(super) log: LogStore,
    pub(super) writer: WriterEnd,
    pub(super) snapshots: SnapshotStore,
    pub(super) machine: Machine,
    pub(super) effects: EffectSink,
    pub(super) entries: EntrySink,
    pub(super) audit: Arc<Audit>,
    pub(super) outgoing: Arc<Outgoing>,
}

impl Storage {
    /// Starts the thread that writes the log, and the task that looks after the room on the disk.
    pub(super) fn new(
        opened: Opened,
        config: &Config,
        progress: &Progress,
    ) -> Result<Self, StartError> {
        let identity = Arc::new(opened.identity);
        let space = Space::new(&config.data_dir, config.log.disk_reserve_bytes);
        tokio::spawn(Arc::clone(&space).run());
        let bounds = LogBounds {
            cache_bytes_max: config.log.cache_bytes_max,
            append_bytes_max: config.log.append_bytes_max,
        };
        let again = {
            let (log, place) = (config.log, opened.log_place);
            Again {
                open: Box::new(move || open_log(&place, &log, &Progress::UNWATCHED)),
                space: Arc::clone(&space),
            }
        };
        let (log, writer) = LogStore::new(opened.engine, &opened.recovered, bounds, Some(again))
            .map_err(StartError::Threads)?;
        let snapshots = opened.snapshots.with_space(Arc::clone(&space));
        let effects = EffectSink::new(config.limits.effect_batches_max);
        let entries = EntrySink::default();
        let audit = Audit::new(config.log.state_hash_every_entries);
        let purged = log.purged();
        let outgoing = Outgoing::new(move || purged.index());
        let machine = Machine::new(
            snapshots.clone(),
            opened.newest,
            Arc::clone(&identity),
            effects.clone(),
            Arc::clone(&audit),
            Arc::clone(&outgoing),
        )
        .with_feature_level_max(config.log.feature_level_max)
        .with_entries(entries.clone())
        .with_progress(progress.clone());
        Ok(Self {
            identity,
            space,
            log,
            writer,
            snapshots,
            machine,
            effects,
            entries,
            audit,
            outgoing,
        })
    }
}
