//! Which files are shown, and what of them.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use serde::Serialize;

/// Most bytes of a file that are read for one answer: 16 pages, as in Mesos.
const READ_BYTES_MAX: u64 = 16 * 4096;

/// Files by the names under which they are shown.
#[derive(Debug, Clone, Default)]
pub struct ShownFiles {
    places: BTreeMap<String, PathBuf>,
}

/// Why a file is not shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// There is none of that name.
    #[error("there is no such file")]
    NotFound,
    /// It has nothing that could be read.
    #[error("'path' is '{0}', which is no file")]
    NotAFile(String),
    /// The operating system says so.
    #[error("cannot read {path}")]
    Failed {
        /// Which.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

/// A file in a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Listed {
    /// Group.
    pub(super) gid: String,
    /// As `ls` shows it.
    mode: String,
    #[serde(skip)]
    pub(super) mode_bits: u32,
    /// When it was changed, in seconds.
    pub(super) mtime: f64,
    pub(super) nlink: u64,
    pub(super) path: String,
    pub(super) size: u64,
    /// Owner.
    pub(super) uid: String,
}

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes of the whole file.
    pub(super) size: u64,
    pub(super) data: Vec<u8>,
}

/// A file to be sent as a whole.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) size: u64,
    /// The last part of its path.
    pub(super) name: String,
}

impl ShownFiles {
    /// The log of a master, where it has one in a file.
    #[must_use]
    pub fn of_master(log: Option<&Path>) -> Self {
        Self {
            places: log
                .map(|path| ("/master/log".to_owned(), path.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    /// All names with the places on disk behind them.
    pub(super) fn places(&self) -> &BTreeMap<String, PathBuf> {
        &self.places
    }

    /// The place behind a name. Only names that are shown have one: nothing of what a client says
    /// becomes part of a path.
    fn find(&self, name: &str) -> Result<&Path, FileError> {
        let name = name.trim_matches('/');
        let place = self.places.iter().find(|(shown, _)| shown[1..] == *name);
        place
            .map(|(_, path)| path.as_path())
            .ok_or(FileError::NotFound)
    }

    /// What is there: of a file itself alone.
    pub(super) fn list(&self, name: &str) -> Result<Vec<Listed>, FileError> {
        let path = self.find(name)?;
        let metadata = path.metadata().map_err(|source| failed(path, source))?;
        let name = format!("/{}", name.trim_matches('/'));
        Ok(vec![Listed::new(name, &metadata)])
    }

    /// How long a file is.
    pub(super) fn size(&self, name: &str) -> Result<u64, FileError> {
        Ok(self.open(name)?.size)
    }

    /// A piece of a file; behind its end an empty one.
    pub(super) fn read(
        &self,
        name: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Piece, FileError> {
        let path = self.find(name)?;
        let Opened { mut file, size, .. } = self.open(name)?;
        let mut data = Vec::new();
        let length = length.unwrap_or(READ_BYTES_MAX).min(READ_BYTES_MAX);
        if offset < size {
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.take(length).read_to_end(&mut data))
                .map_err(|source| failed(path, source))?;
        }
        Ok(Piece { size, data })
    }

    /// A file, open.
    pub(super) fn open(&self, name: &str) -> Result<Opened, FileError> {
        let path = self.find(name)?;
        let file = File::open(path).map_err(|source| failed(path, source))?;
        let metadata = file.metadata().map_err(|source| failed(path, source))?;
        if !metadata.is_file() {
            return Err(FileError::NotAFile(name.to_owned()));
        }
        Ok(Opened {
            file,
            size: metadata.len(),
            name: path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
        })
    }
}

fn failed(path: &Path, source: std::io::Error) -> FileError {
    match source.kind() {
        ErrorKind::NotFound => FileError::NotFound,
        _ => FileError::Failed {
            path: path.to_owned(),
            source,
        },
    }
}

impl Listed {
    fn new(path: String, metadata: &Metadata) -> Self {
        let (uid, gid) = (metadata.uid(), metadata.gid());
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        Self {
            gid: group.map_or_else(|| gid.to_string(), |group| group.name),
            mode: mode(metadata),
            mode_bits: metadata.mode(),
            mtime: metadata.mtime() as f64 + metadata.mtime_nsec() as f64 / 1e9,
            nlink: metadata.nlink(),
            path,
            size: metadata.len(),
            uid: user.map_or_else(|| uid.to_string(), |user| user.name),
        }
    }
}

/// The kind and the permissions, as `ls` shows them.
fn mode(metadata: &Metadata) -> String {
    let kind = if metadata.is_dir() { 'd' } else { '-' };
    let bits = (0..9).map(|n| {
        let is_set = metadata.mode() & (0o400 >> n) != 0;
        if is_set { ['r', 'w', 'x'][n % 3] } else { '-' }
    });
    std::iter::once(kind).chain(bits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> (tempfile::TempDir, ShownFiles) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.log");
        std::fs::write(&path, text).expect("written");
        let files = ShownFiles::of_master(Some(&path));
        (folder, files)
    }

    #[test]
    fn a_file_is_read_in_pieces_up_to_its_end() {
        let long = "x".repeat(70_000);
        let (_folder, files) = log(&long);
        let read = |offset, length| files.read("/master/log", offset, length).expect("a piece");
        assert_eq!(read(0, None).data.len(), 65_536);
        assert_eq!(read(69_000, None).data.len(), 1_000);
        assert_eq!(read(5, Some(7)).data, b"xxxxxxx");
        assert_eq!(read(0, Some(u64::MAX)).data.len(), 65_536);
        let behind = read(u64::MAX, None);
        assert_eq!((behind.size, behind.data.len()), (70_000, 0));
        assert_eq!(files.size("master/log/").expect("a size"), 70_000);
    }

    #[test]
    fn only_what_is_shown_can_be_read() {
        let (folder, files) = log("secret");
        let real = folder.path().join("m.log");
        for name in [
            "/",
            "",
            "/master",
            "/master/log/../x",
            real.to_str().expect("text"),
        ] {
            let read = files.read(name, 0, None);
            assert!(matches!(read, Err(FileError::NotFound)), "{name}: {read:?}");
        }
        std::fs::remove_file(&real).expect("removed");
        assert!(matches!(
            files.list("/master/log"),
            Err(FileError::NotFound)
        ));
        let folder = ShownFiles::of_master(Some(folder.path()));
        assert!(matches!(
            folder.open("/master/log"),
            Err(FileError::NotAFile(_))
        ));
    }

    #[test]
    fn a_list_says_what_ls_says() {
        let (folder, files) = log("four");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(folder.path().join("m.log"), mode).expect("set");
        let listed = files.list("/master/log").expect("a list");
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].path.as_str(), listed[0].size),
            ("/master/log", 4)
        );
        assert_eq!(listed[0].mode, "-rw-r-----");
        assert!(listed[0].mtime > 1.6e9 && !listed[0].uid.is_empty());
    }
}
