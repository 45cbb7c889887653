//! What both crash models do for a round.

use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// When the life of a driver ends, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    /// Counts changes and syncs in the strict model, and lines of the driver with the loop image.
    pub(crate) after: u64,
    /// Whether the power fails. Otherwise the process is killed and the file system lives on.
    pub(crate) power: bool,
}

/// A file system that can lose its power.
pub(crate) trait Storage {
    /// Mounts it for one life of the driver.
    fn mount(&mut self, crash: Option<Crash>) -> anyhow::Result<()>;

    /// Where the log lies while it is mounted.
    fn log_dir(&self) -> PathBuf;

    /// The driver was started.
    fn started(&mut self, driver: Pid);

    /// The driver wrote its `count`th line.
    fn reported(&mut self, driver: Pid, count: u64) -> anyhow::Result<()>;

    /// The driver is dead: ends its life as was said to [`Self::mount`].
    fn unmount(&mut self) -> anyhow::Result<()>;

    /// Whether the life of the driver was ended from here.
    fn ended(&self) -> bool;

    /// Copies the log to `to`, for somebody to look at.
    fn export(&mut self, to: &Path) -> anyhow::Result<()>;
}

/// Copies the files below `from`.
pub(crate) fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_all(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
