//! What a start of the agent finds of the commands and executors it had started before.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use regency_agent_core::{
    ContainerId, Durable, ExecutorPhase, Exit, LaunchId, Phase, ProcessFact, ProcessRef,
};

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
    for (id, process, container) in started(durable) {
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

/// The process of every started task and executor.
fn started(durable: &Durable) -> impl Iterator<Item = (&LaunchId, ProcessRef, ContainerId)> {
    let tasks = durable
        .tasks
        .iter()
        .filter_map(|(id, task)| match task.phase {
            Phase::Started(process) => Some((id, process, task.launch.container)),
            Phase::Intended | Phase::HandedOver | Phase::Ended => None,
        });
    let executors = durable.executors.iter();
    tasks.chain(executors.filter_map(|(id, executor)| match executor.phase {
        ExecutorPhase::Started(process) => Some((id, process, executor.container)),
        ExecutorPhase::Intended | ExecutorPhase::Ready | ExecutorPhase::Ended(_) => None,
    }))
}

/// Removes the folders of shims that no launch in the table has.
pub(crate) fn clean(ground: &Ground, durable: &Durable) {
    let executors = durable.executors.values();
    let tasks = durable.tasks.values().map(|task| task.launch.container);
    let containers = tasks.chain(executors.map(|executor| executor.container));
    let known: BTreeSet<_> = containers
        .map(|container| ground.paths.shim(container))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use regency_agent_core::{Launch, Record};
    use regency_types::{AgentEpoch, BootId, DurationMs, FrameworkId, Generation, TaskId, TaskKey};

    use super::*;
    use crate::directory::WorkDirectory;
    use crate::shim::{EXIT_FILE, STARTED_FILE};

    const CONTAINER: ContainerId = ContainerId(5);

    /// What is found of a launch whose shim was `process`, in boot 2, with these files left.
    async fn found(process: ProcessRef, files: &[(&str, &str)]) -> ProcessFact {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = WorkDirectory::open(folder.path()).expect("a work directory");
        let ground = Ground {
            paths: directory.paths(),
            shim: "/nowhere".into(),
            epoch: AgentEpoch(1),
            boot: BootId(2),
            address: ([127, 0, 0, 1], 1).into(),
            switch_user: false,
            recovery_timeout: Duration::ZERO,
            backoff_max: Duration::ZERO,
        };
        let left = ground.paths.shim(CONTAINER);
        std::fs::create_dir_all(&left).expect("a folder");
        for (name, content) in files {
            std::fs::write(left.join(name), content).expect("a writable disk");
        }
        let id = LaunchId {
            key: TaskKey {
                framework: FrameworkId::new("f").expect("an id"),
                task: TaskId::new("t").expect("an id"),
            },
            generation: Generation(1),
        };
        let launch = Launch {
            id: id.clone(),
            container: CONTAINER,
            task_info: Bytes::new(),
            kill_grace: DurationMs(1),
            killing_state: false,
            health: None,
            check: None,
            max_completion: None,
            executor: None,
            group: None,
            parent: None,
        };
        let mut durable = Durable::default();
        durable.apply(&Record::Launched {
            launch,
            framework_info: Bytes::new(),
        });
        durable.apply(&Record::Started(id.clone(), process));
        find(&ground, &durable).expect("a readable /proc").0[&id]
    }

    fn process(pid: u32, start_ticks: u64, boot: u128) -> ProcessRef {
        ProcessRef {
            pid,
            start_ticks,
            boot: BootId(boot),
        }
    }

    #[tokio::test]
    async fn a_process_is_itself_only_with_its_start_and_its_boot() {
        let me = std::process::id();
        let start = crate::shim::start_ticks(me).expect("this process lives");
        let started = [(STARTED_FILE, "")];
        assert_eq!(
            found(process(me, start, 2), &started).await,
            ProcessFact::Alive
        );
        let lost = ProcessFact::Ended(Exit::Lost);
        assert_eq!(found(process(me, start + 1, 2), &started).await, lost);
        assert_eq!(found(process(me, start, 1), &started).await, lost);
    }

    #[tokio::test]
    async fn what_a_shim_left_behind_tells_how_it_ended() {
        let gone = process(u32::MAX, 1, 2);
        let exited = [(STARTED_FILE, ""), (EXIT_FILE, "exited 4\n")];
        let four = ProcessFact::Ended(Exit::Exited(4));
        assert_eq!(found(gone, &exited).await, four);
        assert_eq!(
            found(process(1, 1, 1), &exited).await,
            four,
            "before a reboot"
        );
        let lost = ProcessFact::Ended(Exit::Lost);
        assert_eq!(found(gone, &[(STARTED_FILE, "")]).await, lost);
        let never = ProcessFact::Ended(Exit::NotStarted);
        assert_eq!(found(gone, &[]).await, never);
    }
}
