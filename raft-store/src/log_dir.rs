//! Where the log lies in a data directory, also while its engine is changed.
//!
//! | name | what |
//! |---|---|
//! | `log` | the log |
//! | `log.new` | the log for another engine, not complete |
//! | `log.sled`, `log.segment` | complete, waiting for the identity to name its engine |
//! | `log.before` | the log that was replaced |
//!
//! The identity decides: its file is replaced at once. What it names is then put in its place, and a
//! crash in between is made up for at the next start.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::EngineKind;
use crate::engine::sync_dir;

const LOG: &str = "log";
const MAKING: &str = "log.new";
const BEFORE: &str = "log.before";
const KINDS: [EngineKind; 2] = [EngineKind::Sled, EngineKind::Segment];

/// Where the log of the engine that the identity names lies.
pub(crate) fn current(dir: &Path, kind: EngineKind) -> PathBuf {
    let waiting = waiting(dir, kind);
    if waiting.exists() {
        waiting
    } else {
        dir.join(LOG)
    }
}

/// Where a log for another engine is made.
pub(crate) fn making(dir: &Path) -> PathBuf {
    dir.join(MAKING)
}

/// Where it waits, complete, for the identity to name its engine.
pub(crate) fn waiting(dir: &Path, kind: EngineKind) -> PathBuf {
    dir.join(format!("{LOG}.{kind}"))
}

/// Where the log that was replaced is.
pub(crate) fn before(dir: &Path) -> PathBuf {
    dir.join(BEFORE)
}

/// Completes a change of the engine to `kind`, which the identity names, or forgets one that was not
/// decided; gives the place of the log. Durable on return.
pub(crate) fn settle(dir: &Path, kind: EngineKind) -> io::Result<PathBuf> {
    make_room(dir, kind)?;
    move_in(dir, kind)?;
    let undecided = KINDS.into_iter().filter(|other| *other != kind);
    for path in undecided
        .map(|other| waiting(dir, other))
        .chain([making(dir)])
    {
        if path.try_exists()? {
            std::fs::remove_dir_all(&path)?;
        }
    }
    Ok(dir.join(LOG))
}

/// First half of a decided change: the replaced log goes aside.
pub(crate) fn make_room(dir: &Path, kind: EngineKind) -> io::Result<()> {
    let log = dir.join(LOG);
    // The new one takes its place only when this is done; so this is still the old one.
    if waiting(dir, kind).try_exists()? && log.try_exists()? {
        std::fs::rename(log, before(dir))?;
        sync_dir(dir)?;
    }
    Ok(())
}

/// Second half: the new log takes its place.
fn move_in(dir: &Path, kind: EngineKind) -> io::Result<()> {
    let waiting = waiting(dir, kind);
    if waiting.try_exists()? {
        std::fs::rename(waiting, dir.join(LOG))?;
        sync_dir(dir)?;
    }
    Ok(())
}
