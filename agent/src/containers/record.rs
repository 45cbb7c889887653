//! What the agent remembers of a container that somebody launched, in a folder of its own:
//!
//! ```text
//! meta/containers/<root>/container.json                 what it is
//!                       /process                        who watches it
//!                       /started, /command, /exit, /shim.log   of that process
//!                       /containers/<nested>/…          the same of one in it
//! ```

use std::io;
use std::path::{Path, PathBuf};

use regency_agent_core::{Exit, ProcessRef};
use regency_types::{AgentEpoch, BootId};
use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::files;
use crate::shim::read_exit;

const RECORD_FILE: &str = "container.json";
const PROCESS_FILE: &str = "process";
/// Folder of nested containers in that of the one around them.
const NESTED: &str = "containers";

/// What a container is, and what one in it begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: Name,
    /// The agent that launched it; another one kills it.
    pub(crate) epoch: AgentEpoch,
    /// It ends with the agent, or a connection.
    pub(crate) tied: bool,
    pub(crate) ground: Footing,
    /// What it was given, as JSON of Mesos' `Resource`s.
    pub(crate) resources: String,
}

/// Where and as whom a command runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Footing {
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) owner: Option<(u32, u32)>,
    /// A directory that only the agent can have put where it is.
    pub(crate) base: PathBuf,
    /// The working directory in it; "." for itself.
    pub(crate) within: PathBuf,
    /// Whether that was made for this container, and goes with it.
    pub(crate) own: bool,
}

impl Footing {
    /// The working directory.
    pub(crate) fn directory(&self) -> PathBuf {
        match self.within == Path::new(".") {
            true => self.base.clone(),
            false => self.base.join(&self.within),
        }
    }
}

/// A container as a start of the agent finds it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) record: Record,
    pub(crate) process: Option<ProcessRef>,
    pub(crate) exit: Option<Exit>,
}

/// Makes the folder of a container, with what it is.
pub(crate) fn begin(folder: &Path, record: &Record) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let json = serde_json::to_vec(record)?;
    files::write_durably(&folder.join(RECORD_FILE), &json)
}

/// Notes who watches it, before its command may run.
pub(crate) fn note_process(folder: &Path, process: ProcessRef) -> io::Result<()> {
    let json = serde_json::to_vec(&process)?;
    files::write_durably(&folder.join(PROCESS_FILE), &json)
}

/// Everything that is remembered, outer containers first. What cannot be read any more is left out,
/// and said.
pub(crate) fn find(all: &Path) -> Vec<Found> {
    let (mut found, mut open) = (Vec::new(), vec![all.to_owned()]);
    while let Some(folders) = open.pop() {
        for folder in std::fs::read_dir(&folders).into_iter().flatten().flatten() {
            let folder = folder.path();
            match read(&folder) {
                Ok(Some(one)) => found.push(one),
                // Of one that is not ours, with some of ours in it.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "a container is forgotten");
                }
            }
            open.push(folder.join(NESTED));
        }
    }
    found.sort_by(|one, other| one.record.name.cmp(&other.record.name));
    found
}

fn read(folder: &Path) -> io::Result<Option<Found>> {
    let Some(json) = files::read_if_there(&folder.join(RECORD_FILE))? else {
        return Ok(None);
    };
    let process = files::read_if_there(&folder.join(PROCESS_FILE))?;
    Ok(Some(Found {
        record: serde_json::from_str(&json)?,
        process: process
            .map(|json| serde_json::from_str(&json))
            .transpose()?,
        exit: read_exit(folder),
    }))
}

/// Removes what is remembered of a container, and of those in it.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The process that was noted, if it is of this boot.
pub(crate) fn of_this_boot(process: Option<ProcessRef>, boot: BootId) -> Option<ProcessRef> {
    process.filter(|process| process.boot == boot)
}

#[cfg(test)]
mod tests {
    use regency_wire::v1::ContainerId;

    use super::*;

    fn name(value: &str, parent: Option<ContainerId>) -> Name {
        let id = ContainerId {
            value: value.to_owned(),
            parent: parent.map(Box::new),
        };
        Name::of("id", &id).expect("an id")
    }

    #[test]
    fn what_was_noted_is_found_again_outer_ones_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let record = |name: &Name| Record {
            name: name.clone(),
            epoch: AgentEpoch(1),
            tied: false,
            ground: Footing {
                environment: vec![("A".to_owned(), "b".to_owned())],
                owner: Some((1, 2)),
                base: "/s".into(),
                within: ".".into(),
                own: true,
            },
            resources: "[]".to_owned(),
        };
        let outer = name("outer", None);
        let inner = name("inner", Some(outer.to_wire()));
        let orphan = name("x", Some(name("task", None).to_wire()));
        for one in [&inner, &outer, &orphan] {
            begin(&one.folder(folder.path()), &record(one)).expect("written");
        }
        let process = ProcessRef {
            pid: 1,
            start_ticks: 2,
            boot: BootId(3),
        };
        note_process(&inner.folder(folder.path()), process).expect("written");
        let found = find(folder.path());
        let names: Vec<_> = found
            .iter()
            .map(|one| one.record.name.to_string())
            .collect();
        assert_eq!(names, ["outer", "outer.inner", "task.x"]);
        assert_eq!(found[0].record, record(&outer));
        assert_eq!((found[0].process, found[1].process), (None, Some(process)));
        assert_eq!(of_this_boot(Some(process), BootId(4)), None);
        remove(&outer.folder(folder.path())).expect("removed");
        assert_eq!(find(folder.path()).len(), 1);
    }
}
