//! Log and snapshots of a directory, replaced as one.
//!
//! The new ones are made aside, within the directory. Then the identity is marked as unfinished, so
//! that no master starts; the old ones are moved away and the new ones into their places; and last
//! the new identity is written. Before the mark nothing has changed; after it, [`Replacement::finish`]
//! completes what is left, as often as it is called.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{RecoverError, io_error};
use crate::identity::{self, Content};

const PARTS: [&str; 2] = ["log", "snapshots"];
const WORK: &str = "recover";

/// New parts for a directory.
pub(super) struct Replacement {
    dir: PathBuf,
    name: String,
}

impl Replacement {
    /// Makes room for new parts below `name`.
    pub(super) fn begin(dir: &Path, name: &str) -> Result<Self, RecoverError> {
        let device = device(dir)?;
        for part in PARTS {
            let path = dir.join(part);
            if path.symlink_metadata().is_ok()
                && (path.is_symlink() || self::device(&path)? != device)
            {
                return Err(RecoverError::Elsewhere(path));
            }
        }
        let replacement = Self {
            dir: dir.to_path_buf(),
            name: name.to_owned(),
        };
        for part in PARTS {
            let path = replacement.part(part);
            std::fs::create_dir_all(&path).map_err(io_error(&path))?;
        }
        let kept = replacement.kept();
        std::fs::create_dir_all(&kept).map_err(io_error(&kept))?;
        Ok(replacement)
    }

    /// The one that the identity says is unfinished.
    pub(super) fn interrupted(dir: &Path, identity: &Content) -> Option<Self> {
        let (work, name) = identity.unfinished.as_ref()?.split_once(' ')?;
        (work == WORK).then(|| Self {
            dir: dir.to_path_buf(),
            name: name.to_owned(),
        })
    }

    /// Where the new part is to be made.
    pub(super) fn part(&self, part: &str) -> PathBuf {
        self.dir.join(&self.name).join("new").join(part)
    }

    fn kept(&self) -> PathBuf {
        self.dir.join(&self.name).join("old")
    }

    /// Puts the new parts into place, with the identity `next`. Gives where the old ones are.
    pub(super) fn commit(self, old: &Content, next: &Content) -> Result<PathBuf, RecoverError> {
        let new = self.dir.join(&self.name).join("new");
        identity::write(&new, next)?;
        identity::write(&self.kept(), old)?;
        let work = self.dir.join(&self.name);
        sync_tree(&work).map_err(io_error(&work))?;
        sync(&self.dir)?;
        let marked = Content {
            unfinished: Some(format!("{WORK} {}", self.name)),
            ..old.clone()
        };
        identity::write(&self.dir, &marked)?;
        self.finish().map(|(_, kept)| kept)
    }

    /// Does what is left to do.
    pub(super) fn finish(self) -> Result<(Content, PathBuf), RecoverError> {
        let new = self.dir.join(&self.name).join("new");
        let next = identity::read(&new)?.ok_or_else(|| {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            io_error(&new.join(identity::FILE))(missing)
        })?;
        let kept = self.kept();
        for part in PARTS {
            let (from, to, away) = (self.part(part), self.dir.join(part), kept.join(part));
            if !from.exists() {
                // Already in place.
                continue;
            }
            if to.exists() {
                std::fs::rename(&to, &away).map_err(io_error(&to))?;
                sync(&kept)?;
            }
            std::fs::rename(&from, &to).map_err(io_error(&from))?;
            sync(&self.dir)?;
        }
        identity::write(&self.dir, &next)?;
        // Only the file that was just copied is left in it.
        std::fs::remove_dir_all(&new).map_err(io_error(&new))?;
        Ok((next, kept))
    }
}

fn device(path: &Path) -> Result<u64, RecoverError> {
    path.metadata()
        .map(|metadata| metadata.dev())
        .map_err(io_error(path))
}

fn sync(dir: &Path) -> Result<(), RecoverError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error(dir))
}

/// Makes everything below `path` durable.
fn sync_tree(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use regency_runtime::{CountingIds, IdMint as _};
    use regency_types::{ClusterId, NodeId};

    use super::*;
    use crate::config::EngineKind;
    use crate::types::Member;

    fn content(cluster: u128) -> Content {
        let member = Member {
            node: NodeId(1),
            incarnation: CountingIds::default().incarnation(),
        };
        Content {
            cluster: Some(ClusterId(cluster)),
            ..Content::new(member, EngineKind::Segment)
        }
    }

    fn put(path: &Path, text: &str) {
        std::fs::create_dir_all(path).expect("made");
        std::fs::write(path.join("file"), text).expect("written");
    }

    fn get(path: &Path) -> String {
        std::fs::read_to_string(path.join("file")).expect("there")
    }

    /// A directory whose replacement is complete but for the moves.
    fn marked(dir: &Path) {
        for part in PARTS {
            put(&dir.join(part), "old");
        }
        let replacement = Replacement::begin(dir, "work").expect("begins");
        for part in PARTS {
            put(&replacement.part(part), "new");
        }
        identity::write(&dir.join("work/new"), &content(2)).expect("written");
        let marked = Content {
            unfinished: Some("recover work".to_owned()),
            ..content(1)
        };
        identity::write(dir, &marked).expect("written");
    }

    #[test]
    fn whatever_was_moved_before_an_interruption_the_rest_is_moved_after_it() {
        // The moves in their order; a crash comes after the first n of them.
        let moves = [
            ("log", "work/old/log"),
            ("work/new/log", "log"),
            ("snapshots", "work/old/snapshots"),
            ("work/new/snapshots", "snapshots"),
        ];
        for n in 0..=moves.len() {
            let dir = tempfile::tempdir().expect("temporary directory");
            let dir = dir.path();
            marked(dir);
            for (from, to) in &moves[..n] {
                std::fs::rename(dir.join(from), dir.join(to)).expect("moved");
            }
            let identity = identity::read(dir).expect("readable").expect("there");
            let replacement = Replacement::interrupted(dir, &identity).expect("it is");
            replacement.finish().expect("finished");
            for part in PARTS {
                assert_eq!(get(&dir.join(part)), "new", "{n}");
                assert_eq!(get(&dir.join("work/old").join(part)), "old", "{n}");
            }
            let identity = identity::read(dir).expect("readable").expect("there");
            assert_eq!(identity, content(2));
            assert!(Replacement::interrupted(dir, &identity).is_none());
        }
    }

    #[test]
    fn parts_that_lie_elsewhere_are_refused_before_anything_changes() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let elsewhere = tempfile::tempdir().expect("temporary directory");
        std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("log")).expect("linked");
        assert!(matches!(
            Replacement::begin(dir.path(), "work"),
            Err(RecoverError::Elsewhere(_))
        ));
        assert!(!dir.path().join("work").exists());
    }
}
