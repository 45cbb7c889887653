//! Which file a path means.
//!
//! Clients see the files of the agent under paths that need not be those of the machine:
//!
//! | path | what |
//! |---|---|
//! | `/slave/log` | the file that `--external-log-file` names |
//! | `<work_dir>/slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>/…` | a sandbox, where it lies; `latest` is the newest run |
//! | `/frameworks/<framework>/executors/<executor>/runs/<container>/…` | the same, of the agent that has it |
//! | `/frameworks/<framework>/executors/<executor>/tasks/<task>/…` | a task's part of the newest run |
//! | `<work_dir>/containers/<container>/…` | the sandbox of a standalone container |
//!
//! A path is taken apart here, without a look at the disk. What is below a sandbox is opened through
//! a handle of that directory, which no link leads out of (`cap-std`).

use std::path::{Component, Path, PathBuf};

/// Where something lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The agent's own log.
    Log,
    /// Within a sandbox.
    Sandbox {
        /// The directory that nothing may lead out of, by its path on the machine.
        sandbox: Sandbox,
        /// What in it; "." for itself.
        within: PathBuf,
    },
}

/// A directory that a command wrote into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sandbox {
    /// Here.
    At(PathBuf),
    /// Below the directory of any agent that ran on this work directory:
    /// `slaves/<agent>/` and then this.
    OfAnyAgent(PathBuf),
}

/// Why a path means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// It is none.
    #[error("'path' is not an absolute path without '..': '{0}'")]
    Malformed(String),
    /// Nothing is shown under it.
    #[error("'path' names no file that is shown here: '{0}'")]
    Unknown(String),
}

/// The path of the agent's log.
pub(crate) const LOG: &str = "/slave/log";
/// Parts of the path of a run below that of an agent.
const RUN_PARTS: usize = 6;

impl Place {
    /// Takes a path apart; `work_dir` is where the agent keeps its sandboxes.
    ///
    /// # Errors
    /// When it means nothing here.
    pub(crate) fn of(path: &str, work_dir: &Path) -> Result<Self, NoPlace> {
        let malformed = || NoPlace::Malformed(path.to_owned());
        let unknown = || NoPlace::Unknown(path.to_owned());
        if !path.starts_with('/') || path.contains('\0') {
            return Err(malformed());
        }
        let plain = |part| matches!(part, Component::Normal(_) | Component::RootDir);
        if !Path::new(path).components().all(plain) {
            return Err(malformed());
        }
        let path = Path::new(path);
        if path == Path::new(LOG) {
            return Ok(Self::Log);
        }
        if let Ok(below) = path.strip_prefix(work_dir.join("containers")) {
            let parts: Vec<&str> = parts(below).ok_or_else(malformed)?;
            let (container, within) = parts.split_first().ok_or_else(unknown)?;
            return Ok(Self::Sandbox {
                sandbox: Sandbox::At(work_dir.join("containers").join(container)),
                within: joined(within),
            });
        }
        if let Ok(below) = path.strip_prefix(work_dir.join("slaves")) {
            let parts: Vec<&str> = parts(below).ok_or_else(malformed)?;
            let (agent, run) = parts.split_first().ok_or_else(unknown)?;
            let (run, within) = split_run(run).ok_or_else(unknown)?;
            let agent = work_dir.join("slaves").join(agent);
            return Ok(Self::Sandbox {
                sandbox: Sandbox::At(agent.join(run)),
                within,
            });
        }
        let parts: Vec<&str> = parts(path).ok_or_else(malformed)?;
        let (run, within) = split_run(&parts).ok_or_else(unknown)?;
        Ok(Self::Sandbox {
            sandbox: Sandbox::OfAnyAgent(run),
            within,
        })
    }
}

fn parts(path: &Path) -> Option<Vec<&str>> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_str()),
        _ => None,
    });
    parts.collect()
}

/// What is below an agent's directory: the run, and the rest of the path.
fn split_run(parts: &[&str]) -> Option<(PathBuf, PathBuf)> {
    let (run, within) = parts.split_at_checked(RUN_PARTS)?;
    match run {
        ["frameworks", _, "executors", _, "runs", _] => {
            Some((run.iter().collect(), joined(within)))
        }
        [
            "frameworks",
            framework,
            "executors",
            executor,
            "tasks",
            task,
        ] => {
            let run = [
                "frameworks",
                framework,
                "executors",
                executor,
                "runs",
                "latest",
            ];
            let within = Path::new("tasks").join(task).join(joined(within));
            Some((run.iter().collect(), within))
        }
        _ => None,
    }
}

fn joined(parts: &[&str]) -> PathBuf {
    if parts.is_empty() {
        return PathBuf::from(".");
    }
    parts.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<Place, NoPlace> {
        Place::of(path, Path::new("/w"))
    }

    fn at(sandbox: &str, within: &str) -> Result<Place, NoPlace> {
        Ok(Place::Sandbox {
            sandbox: Sandbox::At(sandbox.into()),
            within: within.into(),
        })
    }

    #[test]
    fn sandboxes_are_found_where_they_lie_and_by_their_names() {
        let run = "/w/slaves/S0/frameworks/f/executors/e/runs/latest";
        assert_eq!(of(run), at(run, "."));
        assert_eq!(of(&format!("{run}/a/b")), at(run, "a/b"));
        assert_eq!(of(&format!("{run}//a/")), at(run, "a"));
        let any = |within: &str| {
            Ok(Place::Sandbox {
                sandbox: Sandbox::OfAnyAgent("frameworks/f/executors/e/runs/latest".into()),
                within: within.into(),
            })
        };
        assert_eq!(of("/frameworks/f/executors/e/runs/latest"), any("."));
        assert_eq!(of("/frameworks/f/executors/e/runs/latest/x"), any("x"));
        assert_eq!(of("/frameworks/f/executors/e/tasks/t/x"), any("tasks/t/x"));
        assert_eq!(of("/w/containers/c/x"), at("/w/containers/c", "x"));
        assert_eq!(of("/slave/log"), Ok(Place::Log));
    }

    #[test]
    fn everything_else_is_refused() {
        for bad in [
            "",
            "a",
            "/w/../etc/passwd",
            "/frameworks/f/executors/e/runs/../x",
            "/a\0b",
        ] {
            assert_eq!(of(bad), Err(NoPlace::Malformed(bad.to_owned())), "{bad}");
        }
        for strange in [
            "/",
            "/etc/passwd",
            "/w",
            "/w/meta/agent/checkpoint.log",
            "/w/slaves/S0/frameworks/f/executors/e/runs",
            "/w/containers",
            "/frameworks/f",
            "/slave/log/x",
        ] {
            assert_eq!(
                of(strange),
                Err(NoPlace::Unknown(strange.to_owned())),
                "{strange}"
            );
        }
    }
}
