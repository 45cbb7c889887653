//! What a start of the agent finds of the commands it had started before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use regency_agent_core::{ContainerId, Durable, Exit, LaunchId, Phase, ProcessFact};

use super::{Ground, PidFd, watch};
use crate::shim::read_exit;

/// Processes that still run, to be watched.
pub(crate) type Alive = Vec<(LaunchId, ContainerId, PidFd)>;

/// Looks for the process of every started launch.
///
/// # Errors
/// When the operating system does not tell.
pub(crate) fn find(
    ground: &Ground,
    durable: &Durable,
) -> io::Result<(BTreeMap<LaunchId, ProcessFact>, Alive)> {
    let mut facts = BTreeMap::new();
    let mut alive = Vec::new();
    for (id, task) in &durable.tasks {
        let Phase::Started(process) = task.phase else {
            continue;
        };
        let container = task.launch.container;
        let fact = if process.boot != ground.boot {
            // Whatever ran is gone; a word about its end may have been left before.
            let exit = read_exit(&ground.paths.shim(container));
            ProcessFact::Ended(exit.unwrap_or(Exit::Lost))
        } else if let Some(held) = PidFd::open_same(process.pid, process.start_ticks)? {
            alive.push((id.clone(), container, held));
            ProcessFact::Alive
        } else {
            ProcessFact::Ended(watch::end(ground, container))
        };
        facts.insert(id.clone(), fact);
    }
    Ok((facts, alive))
}

/// Removes the folders of shims that no launch in the table has.
pub(crate) fn clean(ground: &Ground, durable: &Durable) {
    let known: BTreeSet<_> = durable
        .tasks
        .values()
        .map(|task| ground.paths.shim(task.launch.container))
        .collect();
    let Ok(entries) = std::fs::read_dir(ground.paths.shims()) else {
        return;
    };
    for entry in entries.flatten() {
        if !known.contains(&entry.path()) {
            remove_folder(&entry.path());
        }
    }
}

/// Removes the folder of a shim. What is left over is removed by a later start.
pub(super) fn remove_folder(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "a task's folder stays behind");
        }
    }
}
