//! How a task's process came to its end, and how Mesos words it.

use serde::{Deserialize, Serialize};

/// The end of a task's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// The command ran and exited with this status.
    Exited(i32),
    /// The command ran and was ended by the signal of this number.
    Signaled(i32),
    /// The command certainly never ran, although everything for it was prepared.
    NotStarted,
    /// Nobody saw the end: whatever watched the command is gone without a word.
    Lost,
}

impl Exit {
    /// The message of the terminal update, in the words frameworks know from Mesos.
    #[must_use]
    pub fn message(self) -> String {
        match self {
            Self::Exited(status) => format!("Command exited with status {status}"),
            Self::Signaled(signal) => {
                format!("Command terminated with signal {}", signal_name(signal))
            }
            Self::NotStarted => "Command was never started".to_owned(),
            Self::Lost => "Executor terminated".to_owned(),
        }
    }
}

/// First real-time signal that programs may use on Linux with the GNU C library.
const REAL_TIME_FIRST: i32 = 34;
/// Last real-time signal on Linux.
const REAL_TIME_LAST: i32 = 64;

/// Descriptions of the signals 1 to 31 on Linux, as the C library words them; Mesos shows these.
const SIGNAL_NAMES: [&str; 31] = [
    "Hangup",
    "Interrupt",
    "Quit",
    "Illegal instruction",
    "Trace/breakpoint trap",
    "Aborted",
    "Bus error",
    "Floating point exception",
    "Killed",
    "User defined signal 1",
    "Segmentation fault",
    "User defined signal 2",
    "Broken pipe",
    "Alarm clock",
    "Terminated",
    "Stack fault",
    "Child exited",
    "Continued",
    "Stopped (signal)",
    "Stopped",
    "Stopped (tty input)",
    "Stopped (tty output)",
    "Urgent I/O condition",
    "CPU time limit exceeded",
    "File size limit exceeded",
    "Virtual timer expired",
    "Profiling timer expired",
    "Window changed",
    "I/O possible",
    "Power failure",
    "Bad system call",
];

/// The description of a signal's number.
fn signal_name(signal: i32) -> String {
    let named = usize::try_from(signal)
        .ok()
        .and_then(|n| n.checked_sub(1))
        .and_then(|index| SIGNAL_NAMES.get(index));
    match named {
        Some(name) => (*name).to_owned(),
        None if (REAL_TIME_FIRST..=REAL_TIME_LAST).contains(&signal) => {
            format!("Real-time signal {}", signal - REAL_TIME_FIRST)
        }
        None => format!("Unknown signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_frameworks_know() {
        for (exit, message) in [
            (Exit::Exited(0), "Command exited with status 0"),
            (Exit::Exited(3), "Command exited with status 3"),
            (
                Exit::Signaled(15),
                "Command terminated with signal Terminated",
            ),
            (Exit::Signaled(9), "Command terminated with signal Killed"),
            (
                Exit::Signaled(34),
                "Command terminated with signal Real-time signal 0",
            ),
            (
                Exit::Signaled(0),
                "Command terminated with signal Unknown signal 0",
            ),
            (
                Exit::Signaled(-4),
                "Command terminated with signal Unknown signal -4",
            ),
        ] {
            assert_eq!(exit.message(), message);
        }
    }
}
