//! Files that operators may see: sandboxes and the agent's log. Nothing else of the machine.
//!
//! * [`place`]: which file a path means.
//! * [`http`]: the older endpoints. The v1 calls are in `operator::calls`.

pub(super) mod http;
pub(crate) mod place;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use nix::unistd::{Gid, Group, Uid, User};
use regency_wire::v1;
use tokio::sync::Semaphore;

use crate::metrics;
use crate::refused::Refused;
use place::{NoPlace, Place, Sandbox};

/// Most entries of a directory that are listed; the rest is left out.
const ENTRIES_MAX: usize = 10_000;

/// What the file calls reach.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) work_dir: PathBuf,
    pub(crate) log: Option<PathBuf>,
    /// Most bytes of one read.
    pub(crate) read_bytes_max: u64,
    /// Of downloads.
    pub(crate) downloads: Arc<Semaphore>,
}

/// Why there is no file to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    #[error("there is no log to show; --external-log-file names one")]
    NoLog,
    #[error("there is no '{0}'")]
    Missing(String),
    #[error("'{0}' leads out of its sandbox")]
    Outside(String),
    #[error("'{0}' is a directory")]
    IsDirectory(String),
    #[error("'{0}' is neither a file nor a directory")]
    NoFile(String),
    #[error("'{path}' cannot be read: {source}")]
    Io { path: String, source: io::Error },
}

impl FileError {
    fn of(path: &str, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing(path),
            // cap-std's word for a link that leads out.
            io::ErrorKind::PermissionDenied => Self::Outside(path),
            _ => Self::Io {
                path,
                source: error,
            },
        }
    }
}

impl From<FileError> for Refused {
    fn from(error: FileError) -> Self {
        use axum::http::StatusCode;
        let code = match &error {
            FileError::NoPlace(NoPlace::Malformed(_)) | FileError::IsDirectory(_) => {
                StatusCode::BAD_REQUEST
            }
            FileError::NoPlace(NoPlace::Unknown(_)) | FileError::NoLog | FileError::Missing(_) => {
                StatusCode::NOT_FOUND
            }
            FileError::Outside(_) | FileError::NoFile(_) => StatusCode::FORBIDDEN,
            FileError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(code, error)
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) size: u64,
}

/// Part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Of the whole file.
    pub(super) size: u64,
    pub(super) data: Vec<u8>,
}

impl Files {
    /// What is in a directory, by path. Of a file: nothing, as in Mesos.
    pub(super) fn list(&self, path: &str) -> Result<Vec<v1::FileInfo>, FileError> {
        let Place::Sandbox { sandbox, within } = Place::of(path, &self.work_dir)? else {
            self.open(path)?;
            return Ok(Vec::new());
        };
        let dir = self.sandbox(path, &sandbox)?;
        let failed = |error| FileError::of(path, error);
        if !dir.metadata(&within).map_err(failed)?.is_dir() {
            return Ok(Vec::new());
        }
        let dir = dir.open_dir(&within).map_err(failed)?;
        let mut names = Names::default();
        let mut found: Vec<v1::FileInfo> = Vec::new();
        for entry in dir.entries().map_err(failed)?.take(ENTRIES_MAX) {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            // Of a link, what it is itself: where it leads may be out of bounds.
            let Ok(metadata) = dir.symlink_metadata(&name) else {
                continue;
            };
            let shown = Path::new(path).join(&name);
            found.push(info(&shown, &metadata, &mut names));
        }
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Opens a file.
    pub(super) fn open(&self, path: &str) -> Result<Opened, FileError> {
        let mut options = OpenOptions::new();
        // A pipe would be waited for.
        options.read(true).custom_flags(nix::libc::O_NONBLOCK);
        let file = match Place::of(path, &self.work_dir)? {
            Place::Log => {
                let log = self.log.as_ref().ok_or(FileError::NoLog)?;
                File::open(log)
            }
            Place::Sandbox { sandbox, within } => {
                let dir = self.sandbox(path, &sandbox)?;
                let metadata = dir.metadata(&within);
                let metadata = metadata.map_err(|error| FileError::of(path, error))?;
                if metadata.is_dir() {
                    return Err(FileError::IsDirectory(path.to_owned()));
                }
                if !metadata.is_file() {
                    return Err(FileError::NoFile(path.to_owned()));
                }
                let file = dir.open_with(&within, &options);
                file.map(cap_std::fs::File::into_std)
            }
        };
        let file = file.map_err(|error| FileError::of(path, error))?;
        let metadata = file
            .metadata()
            .map_err(|error| FileError::of(path, error))?;
        if !metadata.is_file() {
            return Err(FileError::NoFile(path.to_owned()));
        }
        let size = metadata.len();
        Ok(Opened { file, size })
    }

    /// Reads a part: from `offset`, `length` bytes or to the end, but never more than may be read at
    /// once. Without an offset only the size is told.
    pub(super) fn read(
        &self,
        path: &str,
        offset: Option<u64>,
        length: Option<u64>,
    ) -> Result<Part, FileError> {
        let Opened { mut file, size } = self.open(path)?;
        let failed = |error| FileError::of(path, error);
        let mut data = Vec::new();
        if let Some(offset) = offset.filter(|offset| *offset < size) {
            let bytes = length.unwrap_or(u64::MAX).min(self.read_bytes_max);
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            let read = file.take(bytes).read_to_end(&mut data).map_err(failed)?;
            ::metrics::counter!(metrics::FILE_BYTES_TOTAL).increment(read as u64);
        }
        Ok(Part { size, data })
    }

    fn sandbox(&self, path: &str, sandbox: &Sandbox) -> Result<Dir, FileError> {
        let open = |at: &Path| Dir::open_ambient_dir(at, ambient_authority());
        let opened = match sandbox {
            Sandbox::At(at) => open(at),
            Sandbox::OfAnyAgent(run) => self.newest(run).and_then(|at| open(&at)),
        };
        opened.map_err(|error| FileError::of(path, error))
    }

    /// The directory of that run below the agent that ran it last. A work directory has had more than
    /// one agent only when an operator made it so.
    fn newest(&self, run: &Path) -> io::Result<PathBuf> {
        let agents = std::fs::read_dir(self.work_dir.join("slaves"))?;
        let runs = agents.flatten().filter_map(|agent| {
            let at = agent.path().join(run);
            let changed = std::fs::metadata(&at).ok()?.modified().ok()?;
            Some((changed, at))
        });
        let newest = runs.max_by_key(|(changed, _)| *changed);
        newest
            .map(|(_, at)| at)
            .ok_or(io::ErrorKind::NotFound.into())
    }
}

/// Names of users and groups, each looked up once.
#[derive(Debug, Default)]
struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    /// The number where there is no name.
    fn user(&mut self, id: u32) -> String {
        let name = || {
            let user = User::from_uid(Uid::from_raw(id)).ok().flatten();
            user.map_or_else(|| id.to_string(), |user| user.name)
        };
        self.users.entry(id).or_insert_with(name).clone()
    }

    fn group(&mut self, id: u32) -> String {
        let name = || {
            let group = Group::from_gid(Gid::from_raw(id)).ok().flatten();
            group.map_or_else(|| id.to_string(), |group| group.name)
        };
        self.groups.entry(id).or_insert_with(name).clone()
    }
}

fn info(path: &Path, metadata: &Metadata, names: &mut Names) -> v1::FileInfo {
    let seconds = metadata.mtime();
    v1::FileInfo {
        path: path.to_string_lossy().into_owned(),
        nlink: i32::try_from(metadata.nlink()).ok(),
        size: Some(metadata.size()),
        mtime: Some(v1::TimeInfo {
            nanoseconds: seconds.saturating_mul(1_000_000_000),
        }),
        mode: Some(metadata.mode()),
        uid: Some(names.user(metadata.uid())),
        gid: Some(names.group(metadata.gid())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const RUN: &str = "frameworks/f/executors/e/runs";

    fn files(work_dir: &Path) -> Files {
        let runs = work_dir.join("slaves/S0").join(RUN);
        std::fs::create_dir_all(runs.join("c/sub")).expect("a sandbox");
        symlink("c", runs.join("latest")).expect("a link");
        std::fs::write(runs.join("c/stdout"), "0123456789").expect("written");
        std::fs::write(work_dir.join("secret"), "secret").expect("written");
        Files {
            work_dir: work_dir.to_owned(),
            log: None,
            read_bytes_max: 4,
            downloads: Arc::new(Semaphore::new(1)),
        }
    }

    fn code(error: FileError) -> u16 {
        Refused::from(error).code.as_u16()
    }

    #[test]
    fn a_file_is_read_page_by_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let path = format!("/{RUN}/latest/stdout");
        let read = |offset, length| {
            let part = files.read(&path, offset, length).expect("a file");
            assert_eq!(part.size, 10);
            String::from_utf8(part.data).expect("text")
        };
        assert_eq!(read(Some(0), None), "0123");
        assert_eq!(read(Some(4), Some(100)), "4567");
        assert_eq!(read(Some(8), None), "89");
        assert_eq!(read(Some(1), Some(2)), "12");
        assert_eq!(read(Some(10), None), "");
        assert_eq!(read(Some(u64::MAX), None), "");
        assert_eq!(read(None, None), "");
        assert_eq!(read(Some(0), Some(0)), "");
    }

    #[test]
    fn a_directory_is_listed_and_links_are_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let sandbox = folder.path().join("slaves/S0").join(RUN).join("latest");
        symlink("/etc/passwd", sandbox.join("out")).expect("a link");
        let listed = files.list(sandbox.to_str().expect("text")).expect("listed");
        let names: Vec<_> = listed
            .iter()
            .map(|info| info.path.rsplit('/').next().expect("a name"))
            .collect();
        assert_eq!(names, ["out", "stdout", "sub"]);
        assert_eq!(listed[1].size, Some(10));
        assert_eq!(listed[0].mode.expect("a mode") & 0o170_000, 0o120_000);
        let file = format!("/{RUN}/latest/stdout");
        assert_eq!(files.list(&file).expect("a file"), []);
    }

    #[test]
    fn nothing_leads_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let sandbox = folder.path().join("slaves/S0").join(RUN).join("c");
        symlink("/etc/passwd", sandbox.join("absolute")).expect("a link");
        symlink("../../../../../../../../secret", sandbox.join("up")).expect("a link");
        symlink("/", sandbox.join("root")).expect("a link");
        symlink("sub", sandbox.join("inner")).expect("a link");
        for (name, expect) in [
            ("absolute", 403),
            ("up", 403),
            ("root/etc/passwd", 403),
            ("no-such", 404),
            ("stdout/x", 404),
            ("sub", 400),
        ] {
            let path = format!("/{RUN}/c/{name}");
            let error = files.read(&path, Some(0), None).expect_err(name);
            assert_eq!(code(error), expect, "{name}");
        }
        let listed = files.list(&format!("/{RUN}/c/root")).expect_err("outside");
        assert_eq!(code(listed), 403);
        std::fs::write(sandbox.join("sub/file"), "x").expect("written");
        let inner = files.read(&format!("/{RUN}/c/inner/file"), Some(0), None);
        assert_eq!(inner.expect("within").data, b"x");
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = files(folder.path());
        let sandbox = folder.path().join("slaves/S0").join(RUN).join("c");
        nix::unistd::mkfifo(&sandbox.join("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        let error = files.open(&format!("/{RUN}/c/pipe")).expect_err("no file");
        assert_eq!(code(error), 403);
    }

    #[test]
    fn the_log_is_shown_when_there_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = files(folder.path());
        let none = files.open(place::LOG).expect_err("no log");
        assert_eq!(code(none), 404);
        files.log = Some(folder.path().join("secret"));
        let part = files.read(place::LOG, Some(0), None).expect("a log");
        assert_eq!(part.data, b"secr");
    }
}
