//! Directories that tasks of one executor share: `SANDBOX_PATH` volumes of the type `PARENT`.
//!
//! Each is a directory in the executor's sandbox, made with the first task that names it, and
//! shown in the sandbox of a task by a link. The executor's sandbox is the agent's own, so that no
//! task can put something else in the place of what the agent makes there.

use std::os::fd::AsFd;
use std::os::unix::fs::{fchown, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use regency_wire::v1;
use v1::volume::source::Type as SourceType;
use v1::volume::source::sandbox_path::Type as PathType;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shared {
    /// In the executor's sandbox.
    path: PathBuf,
    /// In the task's sandbox.
    container_path: PathBuf,
}

/// The volumes of a task of a group.
///
/// # Errors
/// Which of them this agent cannot show, for the message of a TASK_ERROR.
pub(crate) fn of_task(container: &v1::ContainerInfo) -> Result<Vec<Shared>, String> {
    container.volumes.iter().map(of_volume).collect()
}

fn of_volume(volume: &v1::Volume) -> Result<Shared, String> {
    let at = &volume.container_path;
    let source = volume.source.as_ref();
    let source = source.filter(|source| source.r#type == Some(SourceType::SandboxPath as i32));
    let parent = source.and_then(|source| source.sandbox_path.as_ref());
    let parent = parent.filter(|path| path.r#type == Some(PathType::Parent as i32));
    let Some(parent) = parent else {
        return Err(format!(
            "This agent mounts no volumes; the one at '{at}' is none of the type SANDBOX_PATH of \
             the parent"
        ));
    };
    Ok(Shared {
        path: inside(&parent.path)?,
        container_path: inside(at)?,
    })
}

/// A path that stays where it begins.
fn inside(path: &str) -> Result<PathBuf, String> {
    let parts = Path::new(path).components();
    let names: PathBuf = parts
        .clone()
        .filter(|part| !matches!(part, Component::CurDir))
        .collect();
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if names.as_os_str().is_empty() || !parts.into_iter().all(plain) {
        return Err(format!(
            "The path '{path}' of a volume does not lie in the sandbox; use a relative one \
             without '..'"
        ));
    }
    Ok(names)
}

/// Shows them in `sandbox`, which lies two levels below that of the executor.
pub(super) fn show(sandbox: &Path, user: Option<(u32, u32)>, all: &[Shared]) -> anyhow::Result<()> {
    let Some(parent) = sandbox.ancestors().nth(2).filter(|_| !all.is_empty()) else {
        return Ok(());
    };
    let no_links_out = cap_std::ambient_authority();
    let root = cap_std::fs::Dir::open_ambient_dir(parent, no_links_out)
        .with_context(|| format!("cannot open {}", parent.display()))?;
    let own = cap_std::fs::Dir::open_ambient_dir(sandbox, no_links_out)
        .with_context(|| format!("cannot open {}", sandbox.display()))?;
    for Shared {
        path,
        container_path,
    } in all
    {
        let what = || format!("cannot share {}", path.display());
        root.create_dir_all(path).with_context(what)?;
        if let Some((user, group)) = user {
            let made = root.open_dir(path).with_context(what)?;
            fchown(made.as_fd(), Some(user), Some(group)).with_context(what)?;
        }
        if let Some(folder) = container_path.parent() {
            own.create_dir_all(folder).with_context(what)?;
        }
        symlink(parent.join(path), sandbox.join(container_path)).with_context(what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(json: &str) -> Result<Vec<Shared>, String> {
        let json = format!(r#"{{"type":"MESOS","volumes":[{json}]}}"#);
        of_task(&serde_json::from_str(&json).expect("a container"))
    }

    #[test]
    fn what_one_task_leaves_the_other_finds() {
        let shared = volume(
            r#"{"mode":"RW","container_path":"in/data","source":{"type":"SANDBOX_PATH",
                "sandbox_path":{"type":"PARENT","path":"both"}}}"#,
        );
        let shared = shared.expect("a good volume");
        let parent = tempfile::tempdir().expect("a folder");
        for (name, before) in [("one", None), ("two", Some("kept"))] {
            let sandbox = parent.path().join("containers").join(name);
            std::fs::create_dir_all(&sandbox).expect("a sandbox");
            show(&sandbox, None, &shared).expect("shown");
            let file = sandbox.join("in/data/file");
            assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), before);
            std::fs::write(&file, "kept").expect("written");
        }
        assert!(parent.path().join("both/file").is_file());
    }

    #[test]
    fn what_cannot_be_shown_is_named() {
        let of = |path: &str, at: &str, kind: &str| {
            volume(&format!(
                r#"{{"mode":"RW","container_path":"{at}","source":{{"type":"SANDBOX_PATH",
                    "sandbox_path":{{"type":"{kind}","path":"{path}"}}}}}}"#
            ))
        };
        assert!(of("a/./b", "c", "PARENT").is_ok());
        for (path, at, kind, named) in [
            ("../x", "c", "PARENT", "'../x'"),
            ("a", "/etc", "PARENT", "'/etc'"),
            ("", "c", "PARENT", "''"),
            (".", "c", "PARENT", "'.'"),
            ("a", "c", "SELF", "'c'"),
        ] {
            let error = of(path, at, kind).expect_err(named);
            assert!(error.contains(named), "{error}");
        }
        let host = r#"{"mode":"RW","container_path":"c","host_path":"/etc"}"#;
        assert!(volume(host).is_err());
    }
}
