//! The file that says how a command ended, for whoever comes to read it.

use std::io;
use std::path::Path;

use regency_agent_core::Exit;

use crate::files;

use super::{EXIT_FILE, STARTED_FILE};

/// Writes it, durably.
///
/// # Errors
/// What the operating system said.
pub(super) fn write(folder: &Path, exit: Exit) -> io::Result<()> {
    files::write_durably(&folder.join(EXIT_FILE), text(exit).as_bytes())
}

/// How the command of the shim in `folder` ended; `None` when the shim left no word of it.
pub(crate) fn read_exit(folder: &Path) -> Option<Exit> {
    parse(&std::fs::read_to_string(folder.join(EXIT_FILE)).ok()?)
}

/// Whether the shim in `folder` came as far as starting its command.
pub(crate) fn was_started(folder: &Path) -> bool {
    folder.join(STARTED_FILE).exists()
}

/// How it is written.
pub(super) fn text(exit: Exit) -> String {
    match exit {
        Exit::Exited(status) => format!("exited {status}\n"),
        Exit::Signaled(signal) => format!("signaled {signal}\n"),
        Exit::NotStarted => "not-started\n".to_owned(),
        Exit::Lost => "lost\n".to_owned(),
    }
}

/// Reads what [`text`] wrote; `None` for anything else, also for half of it.
pub(crate) fn parse(text: &str) -> Option<Exit> {
    let text = text.strip_suffix('\n')?;
    match text.split_once(' ') {
        Some(("exited", status)) => Some(Exit::Exited(status.parse().ok()?)),
        Some(("signaled", signal)) => Some(Exit::Signaled(signal.parse().ok()?)),
        None if text == "not-started" => Some(Exit::NotStarted),
        None if text == "lost" => Some(Exit::Lost),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read_exit(folder.path()), None);
        for exit in [
            Exit::Exited(0),
            Exit::Exited(255),
            Exit::Signaled(9),
            Exit::NotStarted,
        ] {
            write(folder.path(), exit).expect("a writable disk");
            assert_eq!(read_exit(folder.path()), Some(exit));
        }
        for half in ["exited 1", "exited \n", "exited x\n", ""] {
            assert_eq!(parse(half), None, "{half:?}");
        }
    }
}
