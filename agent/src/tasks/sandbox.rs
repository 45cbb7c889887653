//! The directory a command runs in.

use std::io;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

/// Makes the sandbox at `path` and points `latest` beside it to it. It belongs to `owner` when one
/// is given.
///
/// # Errors
/// What the operating system said.
pub(super) fn create(path: &Path, owner: Option<(u32, u32)>) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if let Some((user, group)) = owner {
        chown(path, Some(user), Some(group))?;
    }
    let (Some(runs), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let aside = runs.join(".latest");
    match std::fs::remove_file(&aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    symlink(name, &aside)?;
    std::fs::rename(&aside, runs.join("latest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_the_newest_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let runs = folder.path().join("executors/t/runs");
        for name in ["one", "two"] {
            create(&runs.join(name), None).expect("a sandbox");
            let latest = std::fs::read_link(runs.join("latest")).expect("a link");
            assert_eq!(latest, Path::new(name));
        }
        assert!(runs.join("one").is_dir());
    }
}
