//! Persistent volumes: where their data lies, how a task sees it, and how it goes.
//!
//! ```text
//! <root>/volumes/roles/<role>/<persistence id>/   data; <root> is the work directory, or that of
//!                                                 a PATH disk; "/" in a role is written " "
//! <root>/volumes/.destroyed/<uuid>/               on its way out
//! <root>/                                         data of a volume on a MOUNT disk
//! ```
//!
//! The data lies where Mesos has it. It stays when tasks end and agents restart, and goes only
//! when the masters say that the volume was destroyed.

use std::io;
use std::os::unix::fs::{chown, symlink};
use std::path::{Component, Path, PathBuf};

use prost::Message;
use regency_resources::{DiskSourceKind, ResourceKey, Resources};
use regency_wire::v1;

const DESTROYED: &str = ".destroyed";
/// Of file systems themselves.
const LOST_AND_FOUND: &str = "lost+found";

/// Why a volume cannot be used or destroyed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// The masters sent something that is no volume.
    #[error("{0}")]
    NoVolume(String),
    /// Tasks of this agent see the file system as it is.
    #[error(
        "the container path '{0}' of a volume does not lie in the sandbox; use a relative path \
         without '..'"
    )]
    Outside(String),
    /// The operating system refused.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VolumeError {
    let path = path.to_owned();
    move |source| VolumeError::Io { what, path, source }
}

/// Where the data of a volume lies.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// In a directory of its own below the root.
    Below { root: PathBuf, data: PathBuf },
    /// It is all of a file system.
    Whole(PathBuf),
}

impl Place {
    fn of(work_dir: &Path, key: &ResourceKey) -> Result<Self, VolumeError> {
        let no_volume = |why: &str| VolumeError::NoVolume(format!("{key}: {why}"));
        let disk = key.disk.as_ref();
        let persistence = disk.and_then(|disk| disk.persistence.as_ref());
        let persistence = persistence.ok_or_else(|| no_volume("it is not persistent"))?;
        let role = key
            .reserved_role()
            .ok_or_else(|| no_volume("it is not reserved"))?;
        // What becomes part of a path is checked where that happens.
        regency_resources::role::validate(role).map_err(|error| no_volume(&error.to_string()))?;
        regency_types::validate_id(&persistence.id)
            .map_err(|error| no_volume(&error.to_string()))?;
        let source = disk.and_then(|disk| disk.source.as_ref());
        let absolute = |root: &Option<String>| {
            let root = root.as_ref().map(PathBuf::from);
            root.filter(|root| root.is_absolute())
                .ok_or_else(|| no_volume("its disk has no absolute root"))
        };
        let root = match source {
            None => work_dir.to_owned(),
            Some(source) => match source.kind {
                DiskSourceKind::Path => absolute(&source.root)?,
                DiskSourceKind::Mount => return Ok(Self::Whole(absolute(&source.root)?)),
                DiskSourceKind::Block | DiskSourceKind::Raw => {
                    return Err(no_volume("its disk holds no directories"));
                }
            },
        };
        let data = root
            .join("volumes/roles")
            .join(role.replace('/', " "))
            .join(&persistence.id);
        Ok(Self::Below { root, data })
    }

    fn data(&self) -> &Path {
        match self {
            Self::Below { data, .. } => data,
            Self::Whole(root) => root,
        }
    }
}

/// Shows a task its volumes, each under its container path in the sandbox. One that is used for the
/// first time is made.
///
/// # Errors
/// When one cannot be made or shown.
pub(crate) fn show(
    work_dir: &Path,
    sandbox: &Path,
    owner: Option<(u32, u32)>,
    resources: &Resources,
) -> Result<(), VolumeError> {
    for entry in resources.persistent_volumes().entries() {
        let place = Place::of(work_dir, &entry.key)?;
        let data = place.data();
        if matches!(place, Place::Whole(_)) && !data.is_dir() {
            return Err(VolumeError::NoVolume(format!(
                "there is no disk at {}",
                data.display()
            )));
        }
        let fresh = !data.exists();
        std::fs::create_dir_all(data).map_err(io_error("make the volume", data))?;
        // A shared volume stays with whom it was made for: others use it at this moment.
        if let Some((user, group)) = owner.filter(|_| fresh || !entry.key.shared) {
            chown(data, Some(user), Some(group)).map_err(io_error("hand over the volume", data))?;
        }
        let volume = entry.key.disk.as_ref().and_then(|d| d.volume.as_ref());
        let Some(volume) = volume else {
            continue;
        };
        let link = inside(sandbox, &volume.container_path)?;
        if let Some(parent) = link.parent() {
            std::fs::create_dir_all(parent).map_err(io_error("make", parent))?;
        }
        symlink(data, &link).map_err(io_error("make the link", &link))?;
    }
    Ok(())
}

fn inside(sandbox: &Path, container_path: &str) -> Result<PathBuf, VolumeError> {
    let path = Path::new(container_path);
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if path.as_os_str().is_empty() || !path.components().all(plain) {
        return Err(VolumeError::Outside(container_path.to_owned()));
    }
    Ok(sandbox.join(path))
}

/// Takes the data of a volume out of its place, for good: after this a volume of the same identity
/// begins empty. Doing it again finds nothing to do. The directory returned, if any, is for the
/// caller to remove at leisure.
///
/// # Errors
/// When the data may still be in its place.
pub(crate) fn destroy(
    work_dir: &Path,
    volume: &[u8],
    mark: u128,
) -> Result<Option<PathBuf>, VolumeError> {
    let wire = v1::Resource::decode(volume)
        .map_err(|error| VolumeError::NoVolume(format!("a volume cannot be read: {error}")))?;
    let resources = regency_wire::resources::from_wire(&[wire])
        .map_err(|error| VolumeError::NoVolume(error.to_string()))?
        .resources;
    let entry = resources
        .single()
        .ok_or_else(|| VolumeError::NoVolume(format!("{resources} is not one volume")))?;
    let name = uuid::Uuid::from_u128(mark).hyphenated().to_string();
    match Place::of(work_dir, &entry.key)? {
        Place::Below { root, data } => {
            if !data.exists() {
                return Ok(None);
            }
            let aside = root.join("volumes").join(DESTROYED);
            std::fs::create_dir_all(&aside).map_err(io_error("make", &aside))?;
            let target = aside.join(name);
            std::fs::rename(&data, &target).map_err(io_error("destroy the volume", &data))?;
            for folder in [data.parent(), Some(&*aside)].into_iter().flatten() {
                crate::files::sync_directory(folder).map_err(io_error("sync", folder))?;
            }
            Ok(Some(target))
        }
        Place::Whole(root) => destroy_whole(&root, &name),
    }
}

/// Moves everything in a file system into one directory of it.
fn destroy_whole(root: &Path, name: &str) -> Result<Option<PathBuf>, VolumeError> {
    let target = root.join(DESTROYED).join(name);
    std::fs::create_dir_all(&target).map_err(io_error("make", &target))?;
    let entries = std::fs::read_dir(root).map_err(io_error("read", root))?;
    for entry in entries {
        let entry = entry.map_err(io_error("read", root))?;
        let file = entry.file_name();
        if file == DESTROYED || file == LOST_AND_FOUND {
            continue;
        }
        let from = entry.path();
        std::fs::rename(&from, target.join(&file)).map_err(io_error("destroy", &from))?;
    }
    crate::files::sync_directory(root).map_err(io_error("sync", root))?;
    Ok(Some(target))
}

/// Removes what was destroyed. What cannot be removed is left for the next start, and said.
pub(crate) fn remove(path: &Path) {
    match std::fs::remove_dir_all(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(
            path = %path.display(),
            %error,
            "the data of a destroyed volume could not be removed"
        ),
    }
}

/// Where an earlier run of the agent may have left destroyed data.
pub(crate) fn leftovers(work_dir: &Path) -> PathBuf {
    work_dir.join("volumes").join(DESTROYED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use regency_wire::resources::{ResourceFormat, to_wire};

    fn volume(id: &str, source: Option<(&str, &Path)>) -> v1::Resource {
        let source = source.map_or_else(String::new, |(kind, root)| {
            format!(
                r#","source":{{"type":"{kind}","{}":{{"root":"{}"}}}}"#,
                kind.to_lowercase(),
                root.display()
            )
        });
        let json = format!(
            r#"{{"name":"disk","type":"SCALAR","scalar":{{"value":8}},
            "reservations":[{{"type":"DYNAMIC","role":"eng/web"}}],
            "disk":{{"persistence":{{"id":"{id}"}},
            "volume":{{"mode":"RW","container_path":"in/data"}}{source}}}}}"#
        );
        serde_json::from_str(&json).expect("a resource")
    }

    fn resources(volume: &v1::Resource) -> Resources {
        let list = std::slice::from_ref(volume);
        let read = regency_wire::resources::from_wire(list);
        read.expect("a volume").resources
    }

    fn bytes(volume: &v1::Resource) -> Vec<u8> {
        let wire = to_wire(
            &resources(volume),
            ResourceFormat::PostReservationRefinement,
            None,
        );
        wire[0].encode_to_vec()
    }

    #[test]
    fn data_outlives_sandboxes_and_goes_when_destroyed() {
        let folder = tempfile::tempdir().expect("a folder");
        let work_dir = folder.path();
        let volume = volume("v", None);
        for (sandbox, before) in [("one", None), ("two", Some("kept")), ("three", None)] {
            let sandbox = work_dir.join(sandbox);
            std::fs::create_dir(&sandbox).expect("a sandbox");
            show(work_dir, &sandbox, None, &resources(&volume)).expect("shown");
            let file = sandbox.join("in/data/file");
            assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), before);
            std::fs::write(&file, "kept").expect("written");
            assert!(work_dir.join("volumes/roles/eng web/v/file").is_file());
            if before.is_some() {
                let aside = destroy(work_dir, &bytes(&volume), 7).expect("destroyed");
                remove(&aside.expect("there was data"));
                let again = destroy(work_dir, &bytes(&volume), 8).expect("nothing to do");
                assert_eq!(again, None);
                let left = std::fs::read_dir(leftovers(work_dir)).expect("a folder");
                assert_eq!(left.count(), 0);
            }
        }
    }

    #[test]
    fn tasks_that_run_at_the_same_time_see_one_shared_volume() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut volume = volume("v", None);
        volume.shared = Some(v1::resource::SharedInfo {});
        let sandboxes = ["one", "two"].map(|name| folder.path().join(name));
        for sandbox in &sandboxes {
            std::fs::create_dir(sandbox).expect("a sandbox");
            show(folder.path(), sandbox, None, &resources(&volume)).expect("shown");
        }
        std::fs::write(sandboxes[0].join("in/data/file"), "one").expect("written");
        let read = std::fs::read_to_string(sandboxes[1].join("in/data/file"));
        assert_eq!(read.expect("the same data"), "one");
        let aside = destroy(folder.path(), &bytes(&volume), 7).expect("destroyed");
        remove(&aside.expect("there was data"));
        assert!(!sandboxes[0].join("in/data/file").exists());
    }

    #[test]
    fn disks_of_their_own_hold_their_volumes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (work_dir, disk) = (folder.path().join("work"), folder.path().join("disk"));
        std::fs::create_dir(&disk).expect("a disk");
        for (kind, data) in [("PATH", "volumes/roles/eng web/v"), ("MOUNT", "")] {
            let volume = volume("v", Some((kind, &disk)));
            let sandbox = work_dir.join(kind);
            std::fs::create_dir_all(&sandbox).expect("a sandbox");
            show(&work_dir, &sandbox, None, &resources(&volume)).expect("shown");
            let link = std::fs::read_link(sandbox.join("in/data")).expect("a link");
            assert_eq!(link, disk.join(data));
            std::fs::write(link.join("file"), "kept").expect("written");
            let aside = destroy(&work_dir, &bytes(&volume), 7).expect("destroyed");
            assert!(!link.join("file").exists());
            remove(&aside.expect("there was data"));
        }
    }

    #[test]
    fn nothing_outside_is_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        for bad in ["..", "a/b", ""] {
            let volume = volume(bad, None);
            let error = destroy(folder.path(), &bytes(&volume), 7).expect_err(bad);
            assert!(matches!(error, VolumeError::NoVolume(_)), "{error}");
        }
        for bad in ["/etc", "../x", "a/../../x", ""] {
            assert!(inside(folder.path(), bad).is_err(), "{bad}");
        }
        assert!(inside(folder.path(), "a/b").is_ok());
    }
}
