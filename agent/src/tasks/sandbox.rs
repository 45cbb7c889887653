//! The directory a command runs in.

use std::io;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context;
use regency_resources::Resources;

use super::shared::{self, Shared};
use crate::volumes;

/// A sandbox to be made, with everything that belongs into it before there is a process.
#[derive(Debug)]
pub(super) struct Room {
    /// Where.
    pub(super) path: PathBuf,
    /// Whom it belongs to; `None` for the user the agent runs as.
    pub(super) owner: Option<(u32, u32)>,
    /// Who uses it; that may be another one.
    pub(super) user: Option<(u32, u32)>,
    /// A link that shall lead to it, and how it is written there.
    pub(super) link: (PathBuf, PathBuf),
    /// Volumes among these are shown in it.
    pub(super) resources: Resources,
    /// Directories of the executor's sandbox that are shown in it.
    pub(super) shared: Vec<Shared>,
}

impl Room {
    /// Makes it.
    ///
    /// # Errors
    /// What the operating system said, or what cannot be shown.
    pub(super) fn make(&self, work_dir: &Path) -> anyhow::Result<()> {
        let (link, target) = &self.link;
        create(&self.path, self.owner)
            .and_then(|()| point(link, target))
            .with_context(|| format!("cannot make the sandbox {}", self.path.display()))?;
        volumes::show(work_dir, &self.path, self.user, &self.resources)?;
        shared::show(&self.path, self.user, &self.shared)
    }
}

/// The link to the newest of the sandboxes that lie beside one another.
pub(super) fn latest(path: &Path) -> (PathBuf, PathBuf) {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    (path.with_file_name("latest"), name)
}

fn create(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    match owner {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

/// Makes the link, or makes it lead elsewhere.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    let Some(folder) = link.parent() else {
        return Ok(());
    };
    std::fs::create_dir_all(folder)?;
    // As long as the name of a container, whatever the link is called.
    let name = target.file_name().unwrap_or_default();
    let aside = folder.join(format!(".{}", name.to_string_lossy()));
    match std::fs::remove_file(&aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    symlink(target, &aside)?;
    std::fs::rename(&aside, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_the_newest_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("executors/t/runs");
        for name in ["one", "two"] {
            let path = runs.join(name);
            let room = Room {
                link: latest(&path),
                path,
                owner: None,
                user: None,
                resources: Resources::default(),
                shared: Vec::new(),
            };
            room.make(folder.path()).expect("a sandbox");
            let latest = std::fs::read_link(runs.join("latest")).expect("a link");
            assert_eq!(latest, Path::new(name));
        }
        assert!(runs.join("one").is_dir());
    }
}
