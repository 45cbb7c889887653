//! The agent's work directory.
//!
//! ```text
//! <work_dir>/meta/agent/lock             one agent at a time
//! <work_dir>/meta/agent/checkpoint.log   what it must not forget
//! <work_dir>/meta/agent/resources        what was detected at its first start
//! <work_dir>/meta/tasks/<container>/     of the process beside each command
//! <work_dir>/meta/containers/<container>/[containers/<nested>/…]   of those that somebody launched
//! <work_dir>/containers/<container>/     sandboxes of standalone ones
//! <work_dir>/fetch/<epoch>/              files fetched with `cache`, emptied at each start
//! <work_dir>/slaves/<agent>/frameworks/<framework>/executors/<task>/runs/<container>/   sandbox
//! …/executors/<executor>/runs/<container>/containers/<nested>/   sandbox of a task of a group
//! …/executors/<executor>/runs/<container>/tasks/<task>           link to that
//! <work_dir>/volumes/   data of persistent volumes, see `volumes`
//! ```
//!
//! The sandboxes lie where Mesos has them, because people and tools look for them there.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use regency_agent_core::{ContainerId, Launch, LaunchId};
use regency_types::AgentId;

/// Why the work directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// The operating system refused.
    #[error("cannot use --work-dir {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another agent runs on it.
    #[error("another agent runs on --work-dir {}; stop it first, or name another directory", .0.display())]
    InUse(PathBuf),
}

/// A work directory that is this process' own while the value lives.
#[derive(Debug)]
pub(crate) struct WorkDirectory {
    root: PathBuf,
    _lock: Flock<File>,
}

impl WorkDirectory {
    /// Opens the directory, making it when it is not there, and takes it for this process.
    ///
    /// # Errors
    /// When it cannot be made or used, or another agent has it.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let io_error = |source| DirectoryError::Io {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(path).map_err(io_error)?;
        // Absolute, because tasks get it in their environment and run elsewhere.
        let root = path.canonicalize().map_err(io_error)?;
        let agent = root.join("meta/agent");
        std::fs::create_dir_all(&agent).map_err(io_error)?;
        std::fs::create_dir_all(root.join("meta/tasks")).map_err(io_error)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(agent.join("lock"))
            .map_err(io_error)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { root, _lock: lock }),
            Err((_, Errno::EWOULDBLOCK)) => Err(DirectoryError::InUse(root)),
            Err((_, errno)) => Err(io_error(errno.into())),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn checkpoint_log(&self) -> PathBuf {
        self.root.join("meta/agent/checkpoint.log")
    }

    pub(crate) fn detected_resources(&self) -> PathBuf {
        self.root.join("meta/agent/resources")
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths {
            root: self.root.clone(),
        }
    }
}

/// Where things of tasks lie. Unlike [`WorkDirectory`] it holds no lock and may be cloned.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cached files lie when nobody says otherwise.
    pub(crate) fn fetch_cache(&self) -> PathBuf {
        self.root.join("fetch")
    }

    /// Folders of containers that operators and executors launched.
    pub(crate) fn launched(&self) -> PathBuf {
        self.root.join("meta/containers")
    }

    /// Sandboxes of standalone containers.
    pub(crate) fn standalone(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Folders of all shims.
    pub(crate) fn shims(&self) -> PathBuf {
        self.root.join("meta/tasks")
    }

    /// Folder of the shim of one container.
    pub(crate) fn shim(&self, container: ContainerId) -> PathBuf {
        self.shims().join(container_name(container))
    }

    /// The sandbox of a task whose command this agent runs.
    pub(crate) fn sandbox_of(&self, agent: &AgentId, launch: &Launch) -> PathBuf {
        match (&launch.executor, launch.parent) {
            (Some(executor), Some(parent)) => self
                .sandbox(agent, executor, parent)
                .join("containers")
                .join(container_name(launch.container)),
            _ => self.sandbox(agent, &launch.id, launch.container),
        }
    }

    /// The sandbox of one launch, or of an executor.
    pub(crate) fn sandbox(
        &self,
        agent: &AgentId,
        id: &LaunchId,
        container: ContainerId,
    ) -> PathBuf {
        // An executor without a name of its own has that of its task.
        self.root
            .join("slaves")
            .join(agent.as_str())
            .join("frameworks")
            .join(id.key.framework.as_str())
            .join("executors")
            .join(id.key.task.as_str())
            .join("runs")
            .join(container_name(container))
    }
}

/// A container's id as Mesos shows it.
pub(crate) fn container_name(container: ContainerId) -> String {
    uuid::Uuid::from_u128(container.0).hyphenated().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_agent_is_refused_until_the_first_one_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/er");
        let first = WorkDirectory::open(&path).expect("a free directory");
        let error = WorkDirectory::open(&path).expect_err("a taken directory");
        assert!(matches!(error, DirectoryError::InUse(_)), "{error}");
        drop(first);
        WorkDirectory::open(&path).expect("a free directory");
    }
}
