//! Which of the databases in a log's directory is the log.
//!
//! A database that was rebuilt lies in a directory of its own, and the file `current` names it.
//! Without that file, the database lies in the log's directory itself. Replacing the file is what
//! makes a rebuilt database the log; whatever it does not name is rubbish.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::open::{COPY_ASIDE, INDEX_PREFIX, KEPT_PREFIX};
use crate::engine::{EngineError, sync_dir};

const CURRENT: &str = "current";
const ASIDE: &str = "current.new";
const PREFIX: &str = "rebuilt-";
/// What a database has in its directory.
const OWN: [&str; 4] = [CONF, "db", "blobs", COPY_ASIDE];
const CONF: &str = "conf";
const CONF_ASIDE: &str = "conf.new";
/// A database that is only made for its `conf`.
const MAKING_PREFIX: &str = "making-";

/// The directory of a database; 0 is the log's own.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    match number {
        0 => dir.to_path_buf(),
        number => dir.join(name(number)),
    }
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// Gives a directory that is about to get a database the file `conf`, whole and durable. The database
/// itself writes it without a sync, and cannot be opened any more when a power cut tears it.
pub(super) fn configure(
    dir: &Path,
    make: impl FnOnce(&Path) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    if dir.join(CONF).exists() {
        return Ok(());
    }
    let failed = |error| EngineError::io("make a database in", dir)(error);
    let aside = tempfile::Builder::new()
        .prefix(MAKING_PREFIX)
        .tempdir_in(dir)
        .map_err(failed)?;
    make(aside.path())?;
    let write = || -> io::Result<()> {
        let mut file = File::create(dir.join(CONF_ASIDE))?;
        file.write_all(&std::fs::read(aside.path().join(CONF))?)?;
        file.sync_all()?;
        std::fs::rename(dir.join(CONF_ASIDE), dir.join(CONF))?;
        sync_dir(dir)
    };
    write().map_err(failed)
}

/// The number of the database that is the log.
pub(super) fn current(dir: &Path) -> Result<u64, EngineError> {
    let file = dir.join(CURRENT);
    let damaged = |detail: String| EngineError::Damaged {
        path: file.clone(),
        detail,
    };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(EngineError::io("read", &file)(error)),
    };
    let (named, crc) = text
        .split_once('\n')
        .ok_or_else(|| damaged("it has no second line".to_owned()))?;
    if crc.trim_end() != format!("{:08x}", crc32fast::hash(named.as_bytes())) {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    let number = named
        .strip_prefix(PREFIX)
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| damaged(format!("'{named}' is no database")))?;
    if !path(dir, number).join("db").exists() {
        return Err(damaged(format!("it names '{named}', which is not there")));
    }
    Ok(number)
}

/// Prepares to make another database the log; see [`decide`].
pub(super) fn prepare(dir: &Path, number: u64) -> io::Result<()> {
    let named = name(number);
    let crc = crc32fast::hash(named.as_bytes());
    let mut file = File::create(dir.join(ASIDE))?;
    file.write_all(format!("{named}\n{crc:08x}\n").as_bytes())?;
    file.sync_all()?;
    // The name of the database itself.
    sync_dir(dir)
}

/// Makes what was prepared the log, at once and durably.
pub(super) fn decide(dir: &Path) -> io::Result<()> {
    std::fs::rename(dir.join(ASIDE), dir.join(CURRENT))?;
    sync_dir(dir)
}

/// Removes all that is not the database `number`.
pub(super) fn sweep(dir: &Path, number: u64) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let own = OWN.contains(&&*found)
            || found.starts_with(INDEX_PREFIX)
            || found.starts_with(KEPT_PREFIX);
        let making = found.starts_with(MAKING_PREFIX);
        let other = making || (found.starts_with(PREFIX) && *found != *name(number));
        if other || (own && number != 0) {
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(entry.path())?;
            } else {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}
