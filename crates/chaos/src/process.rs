//! Looking at processes of this machine.

use crate::driver::Process;

/// How a process is. A zombie is gone as soon as its last thread is: then its ports and locks are
/// free.
#[must_use]
pub fn observe(pid: i32) -> Process {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Process::Gone;
    };
    let after_name = stat.rfind(')').map_or("", |end| &stat[end + 1..]);
    let state = after_name.split_whitespace().next();
    // A killed process is shown as a zombie as soon as its first thread is dead.
    let n_threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    match state {
        Some("Z" | "X") if n_threads <= 1 => Process::Gone,
        Some("T" | "t") => Process::Frozen,
        _ => Process::Runs,
    }
}

/// Processor time that a process used, in ticks; 0 when it is gone.
#[must_use]
pub fn ticks_used(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rfind(')').map_or("", |end| &stat[end + 1..]);
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // Numbers 14 and 15 of all, user and system; two come before.
    let field = |n: usize| fields.get(n).and_then(|text| text.parse::<u64>().ok());
    field(11).unwrap_or_default() + field(12).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn a_process_runs_stands_still_and_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("a process");
        let pid = i32::try_from(child.id()).expect("a pid");
        let until = |wanted: Process| {
            let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while observe(pid) != wanted {
                assert!(std::time::Instant::now() < end, "never {wanted:?}");
                std::thread::yield_now();
            }
        };
        until(Process::Runs);
        kill(Pid::from_raw(pid), Signal::SIGSTOP).expect("a child of ours");
        until(Process::Frozen);
        child.kill().expect("a child of ours");
        until(Process::Gone);
        child.wait().expect("a child of ours");
        assert_eq!(observe(pid), Process::Gone);
    }
}
