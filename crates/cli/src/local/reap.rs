//! Ending what a cluster on this machine leaves behind: tasks outlive their agents on purpose,
//! and somebody may have restarted a master or an agent by hand.
//!
//! Processes are told by their command lines, which name folders of the cluster. Nothing else is
//! ever touched.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_agent::shim;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at the processes of this machine.
const PAUSE: Duration = Duration::from_millis(5);
/// Subcommands of this program that belong to a cluster when they name one of its folders.
const MEMBERS: [&str; 2] = ["master", "agent"];

/// Kills the tasks, with everything they started, of all agents whose work directory is `root` or
/// inside of it.
pub(crate) fn destroy_tasks(root: &Path) {
    destroy(root, is_shim);
}

/// Kills every task, agent and master that works in `root` or inside of it. Gives the pids of
/// those that would not go, which is empty unless something is very wrong.
pub(crate) fn destroy_all(root: &Path) -> Vec<i32> {
    // Agents first, so that nobody starts tasks any more.
    let mut left = destroy(root, is_member);
    left.extend(destroy(root, is_shim));
    left
}

type Belongs = fn(&Process, &Path) -> bool;

/// Kills the processes that belong, each after its descendants: a shim adopts what its task
/// leaves behind, so nothing can slip away as long as it lives.
fn destroy(root: &Path, belongs: Belongs) -> Vec<i32> {
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let table = Table::read();
        let found = table.all().filter(|process| belongs(process, &root));
        let found: Vec<i32> = found.map(|process| process.pid).collect();
        if found.is_empty() || Instant::now() >= deadline {
            return found;
        }
        for &pid in &found {
            let descendants = table.descendants(pid);
            let victims = if descendants.is_empty() {
                vec![pid]
            } else {
                descendants
            };
            for victim in victims {
                // One that is gone by now is what is wanted.
                let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
            }
        }
        thread::sleep(PAUSE);
    }
}

fn is_shim(process: &Process, root: &Path) -> bool {
    process.args.windows(2).any(|pair| {
        pair[0].as_bytes() == shim::SUBCOMMAND.as_bytes() && Path::new(&pair[1]).starts_with(root)
    })
}

fn is_member(process: &Process, root: &Path) -> bool {
    // The arguments after the program; global flags may come before the subcommand.
    let args = process.args.get(1..).unwrap_or_default();
    args.iter()
        .any(|arg| MEMBERS.iter().any(|name| arg.as_bytes() == name.as_bytes()))
        && args.iter().any(|arg| {
            let value = arg.as_bytes().split(|byte| *byte == b'=').next_back();
            value.is_some_and(|value| Path::new(OsStr::from_bytes(value)).starts_with(root))
        })
}

/// A process that is not a zombie.
struct Process {
    pid: i32,
    parent: i32,
    args: Vec<std::ffi::OsString>,
}

/// The processes of this machine at one moment, without this one.
struct Table(BTreeMap<i32, Process>);

impl Table {
    fn read() -> Self {
        let own = Pid::this().as_raw();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter(|pid| *pid != own)
            .filter_map(|pid| Some((pid, Process::read(pid)?)));
        Self(processes.collect())
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        self.0.values()
    }

    fn descendants(&self, of: i32) -> Vec<i32> {
        let mut found = vec![of];
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(self.all().filter(|p| p.parent == parent).map(|p| p.pid));
            next += 1;
        }
        found.split_off(1)
    }
}

impl Process {
    /// Nothing when it is gone or a zombie.
    fn read(pid: i32) -> Option<Self> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let line = std::fs::read(folder.join("cmdline")).ok()?;
        let args = line
            .strip_suffix(b"\0")
            .unwrap_or(&line)
            .split(|byte| *byte == 0);
        // `pid (name) state ppid …`, where the name may contain anything, parentheses too.
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
        let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
        (state != "Z").then(|| Self {
            pid,
            parent,
            args: args.map(|arg| OsStr::from_bytes(arg).to_owned()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(script: &str, args: &[&OsStr]) -> Child {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(script)
            .args(args)
            .stdin(Stdio::null());
        command.spawn().expect("a shell")
    }

    fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds() {
            assert!(Instant::now() < deadline, "never: {what}");
            thread::sleep(PAUSE);
        }
    }

    #[test]
    fn a_shim_dies_with_its_descendants_and_others_live() {
        let root = tempfile::tempdir().expect("a directory");
        let elsewhere = tempfile::tempdir().expect("a directory");
        let shim = |root: &Path| {
            let folder = root.join("tasks/1");
            start(
                "sleep 600 & wait",
                &["task-shim".as_ref(), folder.as_os_str()],
            )
        };
        let (mut ours, mut other) = (shim(root.path()), shim(elsewhere.path()));
        let (pid, other_pid) = (ours.id() as i32, other.id() as i32);
        wait_for("both have a child", || {
            let table = Table::read();
            [pid, other_pid]
                .iter()
                .all(|pid| table.descendants(*pid).len() == 1)
        });
        let child = Table::read().descendants(pid)[0];

        destroy_tasks(root.path());

        ours.wait().expect("it ended");
        wait_for("the child is gone", || Process::read(child).is_none());
        assert!(other.try_wait().expect("a child of ours").is_none());
        destroy_tasks(elsewhere.path());
        other.wait().expect("it ended");
    }

    #[test]
    fn members_are_told_by_subcommand_and_folder() {
        let process = |args: &[&str]| Process {
            pid: 1,
            parent: 0,
            args: args.iter().map(Into::into).collect(),
        };
        let root = Path::new("/tmp/r");
        for (args, expected) in [
            (
                &[
                    "regency",
                    "--log-format",
                    "json",
                    "master",
                    "--data-dir",
                    "/tmp/r/m",
                ][..],
                true,
            ),
            (&["regency", "agent", "--work-dir=/tmp/r/a"], true),
            (&["regency", "agent", "--work-dir=/tmp/rr/a"], false),
            (&["tail", "-f", "/tmp/r/m"], false),
            (&["regency", "master"], false),
        ] {
            assert_eq!(is_member(&process(args), root), expected, "{args:?}");
        }
    }
}
