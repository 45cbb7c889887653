//! Opening a database so that a power cut at any moment leaves one that can be opened again.
//!
//! When sled opens, it writes what it recovered to an index, `snap.` and a position in its log. Then it
//! clears the parts of its file that the index does not name, and from that moment it needs an index
//! at least as new: with an older one, or none, it takes the gaps for the end of the log. It leaves
//! three things to chance:
//!
//! - It writes the index aside, as `snap.*.generating`, and takes such a file for an index when it
//!   finds one, complete or not. So these are removed before it opens.
//! - It does not sync the name of the new index before it clears. So it is opened twice: the first
//!   time it is stopped between the two, and the directory is synced.
//! - It removes the old index, and a disk may remember that and not the name of the new one. So a copy
//!   is kept until the directory is synced.

use std::fs::File;
use std::io::{self, Write as _};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::{Duration, Instant};

use sled::Db;

use crate::engine::{EngineError, sync_dir};
use crate::watchdog::start::Progress;

/// Memory of the database's own cache. Its default is 1 GiB.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// How long to wait for another user of the directory to let go of it.
const LOCK_WAIT: Duration = Duration::from_secs(3);
pub(super) const INDEX_PREFIX: &str = "snap.";
const INCOMPLETE_SUFFIX: &str = ".generating";
/// The copy of an index is called this and the name of the index.
pub(super) const KEPT_PREFIX: &str = "kept-";
/// A copy that may be incomplete.
pub(super) const COPY_ASIDE: &str = "index.new";
/// Within `blobs`. sled removes blobs from behind the end of its log, after it wrote its index and
/// before it clears anything; it fails to remove a directory, and opens no further.
const STOP: &str = "9223372036854775807";

/// Opens or makes the database in `dir`.
pub(super) fn open_db(dir: &Path, progress: &Progress) -> Result<Db, EngineError> {
    let failed = |error| EngineError::io("open the log in", dir)(error);
    let there = std::fs::metadata(dir.join("db")).is_ok_and(|db| db.len() > 0);
    if there && let Some(db) = recover_index(dir)? {
        return Ok(db);
    }
    progress.made(1);
    let db = open_once(dir)?.map_err(failed)?;
    progress.made(1);
    Ok(db)
}

/// Opens it as far as its new index, and makes that durable. The database, when there was nothing to
/// recover.
fn recover_index(dir: &Path) -> Result<Option<Db>, EngineError> {
    let failed = |error| EngineError::io("recover the log in", dir)(error);
    let stop = dir.join("blobs").join(STOP);
    keep_index(dir).map_err(failed)?;
    std::fs::create_dir_all(&stop).map_err(failed)?;
    let db = match open_once(dir)? {
        Ok(db) => Some(db),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => None,
        Err(error) => return Err(failed(error)),
    };
    let finish = || -> io::Result<()> {
        sync_dir(dir)?;
        std::fs::remove_dir(&stop)?;
        for kept in listed(dir, KEPT_PREFIX)? {
            std::fs::remove_file(dir.join(kept))?;
        }
        Ok(())
    };
    finish().map_err(failed)?;
    Ok(db)
}

/// Removes what is no index, and sees to it that there is a copy of the newest.
fn keep_index(dir: &Path) -> io::Result<()> {
    let mut newest = None;
    for name in listed(dir, INDEX_PREFIX)? {
        if name.ends_with(INCOMPLETE_SUFFIX) {
            std::fs::remove_file(dir.join(name))?;
        } else {
            newest = newest.max(Some(name));
        }
    }
    let kept = listed(dir, KEPT_PREFIX)?.into_iter().max();
    let index = match (newest, kept) {
        (None, None) => return Ok(()),
        // An opening was cut short, and the disk remembers none of its indexes.
        (None, Some(kept)) => {
            let index = kept[KEPT_PREFIX.len()..].to_owned();
            copy(dir, &kept, &index)?;
            index
        }
        (Some(index), _) => index,
    };
    let kept = format!("{KEPT_PREFIX}{index}");
    if !dir.join(&kept).exists() {
        copy(dir, &index, &kept)?;
    }
    Ok(())
}

/// Makes a durable copy that is complete or not there.
fn copy(dir: &Path, from: &str, to: &str) -> io::Result<()> {
    let aside = dir.join(COPY_ASIDE);
    let mut file = File::create(&aside)?;
    file.write_all(&std::fs::read(dir.join(from))?)?;
    file.sync_all()?;
    std::fs::rename(aside, dir.join(to))?;
    sync_dir(dir)
}

/// Names in `dir` that begin with `prefix`.
fn listed(dir: &Path, prefix: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

/// Opens it; an error of the disk is the inner one.
fn open_once(dir: &Path) -> Result<io::Result<Db>, EngineError> {
    let begun = Instant::now();
    loop {
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            // Its own flusher costs latency and syncs nothing that we do not sync ourselves.
            .flush_every_ms(None);
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| config.open()));
        let damage = |detail: String| EngineError::Damaged {
            path: dir.to_path_buf(),
            detail,
        };
        match opened {
            Ok(Ok(db)) => return Ok(Ok(db)),
            // A database closes in the background; one that was just dropped may hold its lock.
            Ok(Err(sled::Error::Io(error)))
                if error.to_string().contains("lock") && begun.elapsed() < LOCK_WAIT =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Ok(Err(sled::Error::Io(error))) => return Ok(Err(error)),
            Ok(Err(error)) => return Err(damage(error.to_string())),
            Err(panic) => {
                return Err(damage(regency_runtime::tasks::panic_message(
                    panic.as_ref(),
                )));
            }
        }
    }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
