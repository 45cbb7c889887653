//! Unpacking archives, into a directory and nowhere else.
//!
//! Everything is written through a [`Dir`], which follows no link out of itself, whatever an
//! archive says or a former one has left.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cap_std::fs::{Dir, File, OpenOptions, Permissions, PermissionsExt};
use tar::EntryType;

use super::source::beneath;

/// Most entries of an archive.
const ENTRIES_MAX: usize = 1_000_000;
/// Longest target of a symbolic link in a zip archive, in bytes.
const LINK_BYTES_MAX: u64 = 4096;
/// Most memory for unpacking xz, in KiB; its strongest setting takes a quarter of that.
const XZ_MEMORY_KB: u32 = 256 * 1024;
/// Mode of what an archive says no mode of.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// What is kept of a mode: an archive cannot make anything set-user-id.
const MODE_MASK: u32 = 0o777;

/// What is packed how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Tar,
    TarGz,
    TarBz2,
    TarXz,
    Zip,
    /// One compressed file.
    Gz,
}

impl Form {
    /// `None` for what is not an archive by its name.
    pub(super) fn of(name: &Path) -> Option<Self> {
        let name = name.file_name()?.to_str()?;
        let forms = [
            (".tar.gz", Self::TarGz),
            (".tgz", Self::TarGz),
            (".tar.bz2", Self::TarBz2),
            (".tbz2", Self::TarBz2),
            (".tar.xz", Self::TarXz),
            (".txz", Self::TarXz),
            (".tar", Self::Tar),
            (".zip", Self::Zip),
            (".gz", Self::Gz),
        ];
        let form = forms.into_iter().find(|(ending, _)| name.ends_with(ending));
        form.map(|(_, form)| form)
    }
}

/// Unpacks `archive`, which is called `name`, into `dir`, writing at most `bytes_max`. Blocks.
///
/// # Errors
/// When it is damaged, too large, or wants out of the directory.
pub(super) fn unpack(
    form: Form,
    archive: std::fs::File,
    name: &Path,
    dir: &Dir,
    bytes_max: u64,
) -> anyhow::Result<()> {
    let mut room = Room { bytes: bytes_max };
    let read = BufReader::new(archive.try_clone()?);
    match form {
        Form::Tar => untar(read, dir, &mut room),
        Form::TarGz => untar(flate2::read::MultiGzDecoder::new(read), dir, &mut room),
        Form::TarBz2 => untar(bzip2::read::MultiBzDecoder::new(read), dir, &mut room),
        Form::TarXz => untar(xz(read), dir, &mut room),
        Form::Zip => unzip(archive, dir, &mut room),
        Form::Gz => {
            let plain = name.with_extension("");
            let mut read = flate2::read::MultiGzDecoder::new(read);
            write(dir, &plain, &mut read, FILE_MODE, &mut room)
        }
    }
}

fn xz(read: impl Read) -> impl Read {
    lzma_rust2::XzReader::new_mem_limit(read, true, XZ_MEMORY_KB)
}

/// How much may still be written.
struct Room {
    bytes: u64,
}

impl Room {
    fn copy(&mut self, from: &mut dyn Read, to: &mut File) -> anyhow::Result<()> {
        // One byte more than there is room for tells that it is too large.
        let copied = io::copy(&mut from.take(self.bytes.saturating_add(1)), to)?;
        self.bytes = self
            .bytes
            .checked_sub(copied)
            .context("it unpacks to more bytes than --fetcher-max-bytes of the agent allows")?;
        Ok(())
    }
}

fn untar(read: impl Read, dir: &Dir, room: &mut Room) -> anyhow::Result<()> {
    let mut archive = tar::Archive::new(read);
    let mut directories = Vec::new();
    for (n, entry) in archive.entries()?.enumerate() {
        let mut entry = entry?;
        anyhow::ensure!(n < ENTRIES_MAX, "it has more than {ENTRIES_MAX} entries");
        let Some(path) = inside(&entry.path()?)? else {
            continue;
        };
        let header = entry.header();
        let kind = header.entry_type();
        let mode = header.mode().ok().map(|mode| mode & MODE_MASK);
        match kind {
            EntryType::Directory => {
                make_directory(dir, &path)?;
                directories.push((path, mode.unwrap_or(DIRECTORY_MODE)));
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                write(dir, &path, &mut entry, mode.unwrap_or(FILE_MODE), room)?;
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.context("it has a link to nothing")?;
                link(dir, &path, &target)?;
            }
            EntryType::Link => {
                let target = entry.link_name()?.context("it has a link to nothing")?;
                let target = inside(&target)?.context("it has a link to nothing")?;
                make_way(dir, &path)?;
                dir.hard_link(&target, dir, &path)
                    .with_context(|| format!("cannot link {}", path.display()))?;
            }
            EntryType::XGlobalHeader => {}
            _ => anyhow::bail!("{} is neither file, directory nor link", path.display()),
        }
    }
    set_modes(dir, directories)
}

fn unzip(archive: std::fs::File, dir: &Dir, room: &mut Room) -> anyhow::Result<()> {
    let mut archive = zip::ZipArchive::new(BufReader::new(archive))?;
    let n_entries = archive.len();
    anyhow::ensure!(
        n_entries <= ENTRIES_MAX,
        "it has more than {ENTRIES_MAX} entries"
    );
    let mut directories = Vec::new();
    for index in 0..n_entries {
        let mut entry = archive.by_index(index)?;
        let Some(path) = inside(Path::new(&*entry.name()?))? else {
            continue;
        };
        let mode = entry.unix_mode().map(|mode| mode & MODE_MASK);
        if entry.is_dir() {
            make_directory(dir, &path)?;
            directories.push((path, mode.unwrap_or(DIRECTORY_MODE)));
        } else if entry.is_symlink() {
            let mut target = String::new();
            entry
                .by_ref()
                .take(LINK_BYTES_MAX)
                .read_to_string(&mut target)?;
            link(dir, &path, Path::new(&target))?;
        } else {
            write(dir, &path, &mut entry, mode.unwrap_or(FILE_MODE), room)?;
        }
    }
    set_modes(dir, directories)
}

/// A path of an archive below the directory; `None` for the directory itself.
fn inside(path: &Path) -> anyhow::Result<Option<PathBuf>> {
    let inside =
        beneath(path).with_context(|| format!("'{}' leads out of the sandbox", path.display()))?;
    Ok((!inside.as_os_str().is_empty()).then_some(inside))
}

/// Makes room for `path`: the directories above it, and nothing in its place.
pub(super) fn make_way(dir: &Dir, path: &Path) -> anyhow::Result<()> {
    if let Some(parent) = path.parent()
        && !parent.as_os_str().is_empty()
    {
        make_directory(dir, parent)?;
    }
    match dir.remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot replace {}", path.display())),
    }
}

fn make_directory(dir: &Dir, path: &Path) -> anyhow::Result<()> {
    dir.create_dir_all(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

fn write(
    dir: &Dir,
    path: &Path,
    content: &mut dyn Read,
    mode: u32,
    room: &mut Room,
) -> anyhow::Result<()> {
    make_way(dir, path)?;
    let mut file = dir
        .open_with(path, OpenOptions::new().write(true).create_new(true))
        .with_context(|| format!("cannot write {}", path.display()))?;
    room.copy(content, &mut file)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(())
}

fn link(dir: &Dir, path: &Path, target: &Path) -> anyhow::Result<()> {
    make_way(dir, path)?;
    // Where it leads is the task's business; nothing is written through it here.
    dir.symlink_contents(target, path)
        .with_context(|| format!("cannot link {}", path.display()))
}

/// Last, and the deepest first: a directory may forbid to write in it.
fn set_modes(dir: &Dir, directories: Vec<(PathBuf, u32)>) -> anyhow::Result<()> {
    for (path, mode) in directories.into_iter().rev() {
        dir.set_permissions(&path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use cap_std::ambient_authority;

    use super::*;

    const PLENTY: u64 = 1 << 30;

    struct Place {
        folder: tempfile::TempDir,
        dir: Dir,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::create_dir(folder.path().join("sandbox")).expect("a folder");
            let dir = Dir::open_ambient_dir(folder.path().join("sandbox"), ambient_authority());
            let dir = dir.expect("a folder");
            Self { folder, dir }
        }

        fn unpack(&self, name: &str, bytes: &[u8], bytes_max: u64) -> Result<(), String> {
            let path = self.folder.path().join("archive");
            std::fs::write(&path, bytes).expect("a writable disk");
            let file = std::fs::File::open(path).expect("a file");
            let form = Form::of(Path::new(name)).expect("an archive");
            unpack(form, file, Path::new(name), &self.dir, bytes_max)
                .map_err(|error| format!("{error:#}"))
        }

        fn read(&self, path: &str) -> String {
            self.dir.read_to_string(path).expect("a file")
        }
    }

    fn tarball(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        builder.into_inner().expect("a tarball")
    }

    /// An entry with a name that no honest program would write.
    fn raw(
        builder: &mut tar::Builder<Vec<u8>>,
        kind: EntryType,
        name: &str,
        link: &str,
        content: &[u8],
    ) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o4755);
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, content).expect("an entry");
    }

    fn plain() -> Vec<u8> {
        tarball(|builder| {
            raw(builder, EntryType::Directory, "./", "", b"");
            raw(builder, EntryType::Regular, "./bin/run", "", b"#!/bin/sh\n");
            raw(builder, EntryType::Symlink, "bin/same", "run", b"");
            raw(builder, EntryType::Link, "again", "bin/run", b"");
            raw(builder, EntryType::Regular, "/absolute", "", b"kept inside");
        })
    }

    #[test]
    fn every_form_is_unpacked() {
        let gz = |bytes: &[u8]| {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(bytes).expect("memory");
            gz.finish().expect("memory")
        };
        let bz2 = {
            let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            bz2.write_all(&plain()).expect("memory");
            bz2.finish().expect("memory")
        };
        let xz = {
            let options = lzma_rust2::XzOptions::with_preset(0);
            let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).expect("options");
            xz.write_all(&plain()).expect("memory");
            xz.finish().expect("memory")
        };
        for (name, bytes) in [
            ("a.tar", plain()),
            ("a.tar.gz", gz(&plain())),
            ("a.tgz", gz(&plain())),
            ("a.tbz2", bz2.clone()),
            ("a.tar.bz2", bz2),
            ("a.txz", xz.clone()),
            ("a.tar.xz", xz),
        ] {
            let place = Place::new();
            assert_eq!(place.unpack(name, &bytes, PLENTY), Ok(()), "{name}");
            for path in ["bin/run", "bin/same", "again"] {
                assert_eq!(place.read(path), "#!/bin/sh\n", "{name}");
            }
            assert_eq!(place.read("absolute"), "kept inside");
            let mode = place
                .dir
                .metadata("bin/run")
                .expect("a file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o7777, 0o755, "never set-user-id");
        }
        let place = Place::new();
        assert_eq!(place.unpack("d/note.gz", &gz(b"hello"), PLENTY), Ok(()));
        assert_eq!(place.read("d/note"), "hello");
        assert_eq!(Form::of(Path::new("a.sh")), None);
    }

    #[test]
    fn zip_archives_are_unpacked() {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Deflated)
            .unix_permissions(0o750);
        zip.start_file("a/b.txt", options).expect("an entry");
        zip.write_all(b"zipped").expect("memory");
        zip.add_symlink("link", "a/b.txt", options)
            .expect("an entry");
        let bytes = zip.finish().expect("an archive").into_inner();
        let place = Place::new();
        assert_eq!(place.unpack("x.zip", &bytes, PLENTY), Ok(()));
        assert_eq!(place.read("a/b.txt"), "zipped");
        assert_eq!(place.read("link"), "zipped");
        let mode = place
            .dir
            .metadata("a/b.txt")
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o750);
        assert!(place.unpack("x.zip", b"no zip at all", PLENTY).is_err());
    }

    #[test]
    fn nothing_is_written_outside_of_the_sandbox() {
        let outside = tempfile::tempdir().expect("a folder");
        let target = outside.path().to_str().expect("a readable path").to_owned();
        type Fill<'a> = Box<dyn Fn(&mut tar::Builder<Vec<u8>>) + 'a>;
        let cases: [(&str, Fill<'_>); 4] = [
            (
                "upwards",
                Box::new(|b| raw(b, EntryType::Regular, "../evil", "", b"x")),
            ),
            (
                "through an absolute link",
                Box::new(|b| {
                    raw(b, EntryType::Symlink, "out", &target, b"");
                    raw(b, EntryType::Regular, "out/evil", "", b"x");
                }),
            ),
            (
                "through a relative link",
                Box::new(|b| {
                    raw(b, EntryType::Symlink, "out", "..", b"");
                    raw(b, EntryType::Regular, "out/evil", "", b"x");
                }),
            ),
            (
                "a hard link to something outside",
                Box::new(|b| raw(b, EntryType::Link, "in", "../archive", b"")),
            ),
        ];
        for (what, fill) in cases {
            let place = Place::new();
            let result = place.unpack("a.tar", &tarball(fill), PLENTY);
            assert!(result.is_err(), "{what}");
            assert!(!place.folder.path().join("evil").exists(), "{what}");
            assert!(!outside.path().join("evil").exists(), "{what}");
        }
        // A link is replaced, not written through.
        let place = Place::new();
        let kept = outside.path().join("kept");
        std::fs::write(&kept, "mine").expect("a writable disk");
        let link = kept.to_str().expect("a readable path");
        let bytes = tarball(|b| {
            raw(b, EntryType::Symlink, "file", link, b"");
            raw(b, EntryType::Regular, "file", "", b"theirs");
        });
        assert_eq!(place.unpack("a.tar", &bytes, PLENTY), Ok(()));
        assert_eq!(std::fs::read_to_string(kept).expect("a file"), "mine");
        assert_eq!(place.read("file"), "theirs");
    }

    #[test]
    fn a_bomb_and_a_device_are_refused() {
        let place = Place::new();
        let bytes = tarball(|b| raw(b, EntryType::Regular, "big", "", &[0; 5_000]));
        let error = place.unpack("a.tar", &bytes, 4_999).expect_err("too large");
        assert!(error.contains("--fetcher-max-bytes"), "{error}");
        assert_eq!(place.unpack("a.tar", &bytes, 5_000), Ok(()));
        let device = tarball(|b| raw(b, EntryType::Char, "null", "", b""));
        assert!(place.unpack("a.tar", &device, PLENTY).is_err());
    }
}
