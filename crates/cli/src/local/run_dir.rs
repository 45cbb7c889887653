//! The directory of one run: data, logs, the ledger.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How many names are tried before giving up; names repeat only when pids do.
const NAMES_MAX: u32 = 1000;

/// A new directory, removed at the end unless it is kept.
#[derive(Debug)]
pub(crate) struct RunDir(PathBuf);

impl RunDir {
    /// Makes one where the system keeps temporary files.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        let parent = parent.canonicalize().unwrap_or(parent);
        let pid = std::process::id();
        for n in 0..NAMES_MAX {
            let path = parent.join(format!("regency-local-{pid}-{n}"));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot make {}", path.display()));
                }
            }
        }
        anyhow::bail!("{} is full of old directories of regency", parent.display())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn remove(self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.0)
            .with_context(|| format!("cannot remove {}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_directories_and_a_removed_one_is_gone() {
        let (first, second) = (
            RunDir::create().expect("one"),
            RunDir::create().expect("two"),
        );
        assert_ne!(first.path(), second.path());
        for dir in [first, second] {
            let path = dir.path().to_owned();
            std::fs::write(path.join("f"), "x").expect("writable");
            dir.remove().expect("removable");
            assert!(!path.exists());
        }
    }
}
