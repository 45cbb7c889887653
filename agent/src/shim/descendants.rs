//! Everything that descends from the shim: finding it, signalling it, and collecting its ends.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use regency_agent_core::Exit;

use super::identity;

/// Collects every child that ended. Gives the end of `command` when it is among them.
///
/// # Errors
/// What the operating system said; there being no child left is an error too, because `command`
/// must be one.
pub(super) fn reap(command: Pid) -> nix::Result<Option<Exit>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == command => {
                return Ok(Some(Exit::Exited(status)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == command => {
                return Ok(Some(Exit::Signaled(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) => return Ok(None),
            // Some other descendant, or one that was interrupted.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Signals all descendants as they are now.
pub(super) fn signal_all(signal: Signal) {
    for pid in living() {
        // One that is gone in the meantime needs no signal.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Kills until nothing is left. A process that forks while it is being killed is found in the
/// next round: its children are adopted by the shim.
pub(super) fn kill_all() {
    while has_children() {
        signal_all(Signal::SIGKILL);
        // Waits for one of them. An error means that there is none any more.
        let _ = waitpid(None, None);
    }
}

/// Whether anything descends from the shim: what has no living parent below the shim is its
/// child. Looking for descendants in all of `/proc` costs far more than this, and most commands
/// leave nothing behind.
fn has_children() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            // One that had ended already, or an interruption.
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}

/// The numbers of all descendants of this process.
fn living() -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in identity::all_pids() {
        if let Some(stat) = identity::stat(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![Pid::this().as_raw()];
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(child);
            open.push(child);
        }
    }
    found
}
