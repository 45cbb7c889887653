//! Processes that carry our marks and have nobody who watches them.
//!
//! An agent that lost its checkpoints does not know what it ran, but the masters will take its
//! tasks for gone as soon as it registers anew. So it first kills everything that an agent with
//! other checkpoints left on this work directory or this address.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regency_agent_core::ContainerId;
use regency_types::AgentEpoch;

use super::Ground;
use super::environment::{
    MARK_ADDRESS, MARK_CONTAINER, MARK_EPOCH, MARK_LAUNCHED, MARK_SHIM, MARK_WORK_DIR,
};
use crate::directory::container_name;
use crate::shim::{DESTROY_SIGNAL, all_pids};

/// How long killed processes may take to go.
const GONE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long shims get to kill what descends from them, before they are killed themselves.
const SHIM_GRACE: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Something that was killed did not go.
#[derive(Debug, thiserror::Error)]
#[error(
    "{n_left} processes of an earlier agent do not end although they were killed (one is {pid}); \
     free whatever they hang on, then start again"
)]
pub(crate) struct StraysError {
    n_left: usize,
    pid: i32,
}

/// Kills everything that another epoch left on this work directory or address, and waits until it
/// is gone. Gives how many processes there were.
///
/// # Errors
/// When something does not go.
pub(crate) fn kill_other_epochs(ground: &Ground) -> Result<usize, StraysError> {
    let work_dir = ground.paths.root().to_string_lossy().into_owned();
    let address = ground.address.to_string();
    let epoch = ground.epoch;
    kill_all(|marks| marks.is_of_another(epoch, &work_dir, &address))
}

/// Kills everything in `container`, whose shim is gone.
pub(super) fn kill_container(container: ContainerId) {
    let name = container_name(container);
    if let Err(error) = kill_all(|marks| marks.get(MARK_CONTAINER) == Some(&name)) {
        tracing::error!(container_id = name, %error, "processes of a task stay behind");
    }
}

/// Kills everything in a container that somebody launched, whose shim is gone.
pub(crate) fn kill_launched(name: &str) {
    if let Err(error) = kill_all(|marks| marks.get(MARK_LAUNCHED) == Some(name)) {
        tracing::error!(container_id = name, %error, "processes of a container stay behind");
    }
}

fn kill_all(wanted: impl Fn(&Marks) -> bool) -> Result<usize, StraysError> {
    let begun = Instant::now();
    let mut n_killed = None;
    loop {
        let found: Vec<(i32, bool)> = all_pids()
            .into_iter()
            .filter_map(|pid| {
                let marks = Marks::of(pid)?;
                wanted(&marks).then(|| (pid, marks.get(MARK_SHIM).is_some()))
            })
            .collect();
        let n_killed = *n_killed.get_or_insert(found.len());
        let Some((pid, _)) = found.first() else {
            return Ok(n_killed);
        };
        if begun.elapsed() > GONE_TIMEOUT {
            return Err(StraysError {
                n_left: found.len(),
                pid: *pid,
            });
        }
        for (pid, is_shim) in found {
            // A shim also reaches what cleaned its own environment.
            let polite = is_shim && begun.elapsed() < SHIM_GRACE;
            let signal = if polite {
                DESTROY_SIGNAL
            } else {
                Signal::SIGKILL
            };
            // Gone in the meantime is what we want.
            let _ = kill(Pid::from_raw(pid), signal);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// The environment a process was started with.
struct Marks(Vec<u8>);

impl Marks {
    /// `None` for a process that is gone, is not ours to look at, or has no environment.
    fn of(pid: i32) -> Option<Self> {
        let bytes = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        (!bytes.is_empty()).then_some(Self(bytes))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.split(|byte| *byte == 0).find_map(|variable| {
            let variable = std::str::from_utf8(variable).ok()?;
            variable.strip_prefix(name)?.strip_prefix('=')
        })
    }

    fn is_of_another(&self, epoch: AgentEpoch, work_dir: &str, address: &str) -> bool {
        let Some(other) = self.get(MARK_EPOCH) else {
            return false;
        };
        let ours =
            self.get(MARK_WORK_DIR) == Some(work_dir) || self.get(MARK_ADDRESS) == Some(address);
        ours && other != epoch.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(variables: &[(&str, &str)]) -> Marks {
        let variables = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}\0"));
        Marks(variables.collect::<String>().into_bytes())
    }

    #[test]
    fn only_other_epochs_of_this_directory_or_address_are_strays() {
        let (mine, other) = (AgentEpoch(1).to_string(), AgentEpoch(2).to_string());
        for (epoch, work_dir, address, expect) in [
            (&other, "/w", "1.1.1.1:1", true),
            (&other, "/elsewhere", "1.1.1.1:1", true),
            (&other, "/w", "1.1.1.1:2", true),
            (&other, "/elsewhere", "1.1.1.1:2", false),
            (&mine, "/w", "1.1.1.1:1", false),
        ] {
            let marks = marks(&[
                (MARK_EPOCH, epoch),
                (MARK_WORK_DIR, work_dir),
                (MARK_ADDRESS, address),
            ]);
            let stray = marks.is_of_another(AgentEpoch(1), "/w", "1.1.1.1:1");
            assert_eq!(stray, expect, "{epoch} {work_dir} {address}");
        }
        let unmarked = marks(&[(MARK_WORK_DIR, "/w")]);
        assert!(!unmarked.is_of_another(AgentEpoch(1), "/w", "1.1.1.1:1"));
    }

    #[test]
    fn a_longer_name_is_another_name() {
        let marks = marks(&[("REGENCY_CONTAINER_ID_X", "a"), (MARK_CONTAINER, "b")]);
        assert_eq!(marks.get(MARK_CONTAINER), Some("b"));
        assert_eq!(marks.get("NOPE"), None);
    }
}
