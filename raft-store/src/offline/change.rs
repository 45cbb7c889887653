//! Changing what keeps the log of a master that does not run.

use std::io;
use std::path::{Path, PathBuf};

use regency_types::NodeId;

use super::{OfflineError, READ_BYTES_MAX, io_error, lock};
use crate::config::EngineKind;
use crate::engine::{self, LogEngine, Recovered};
use crate::identity;
use crate::log_dir;

/// What became of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineChange {
    /// Number of the master.
    pub node: NodeId,
    /// What kept the log.
    pub from: EngineKind,
    /// What keeps it now; the same when there was nothing to do.
    pub to: EngineKind,
    /// Entries in the log.
    pub entries: u64,
    /// Term and index of the last one; those of the last entry that was removed behind a snapshot
    /// when there is none.
    pub last: Option<(u64, u64)>,
    /// Bytes of all files of the log before.
    pub bytes_before: u64,
    /// And now.
    pub bytes_after: u64,
    /// Where the old log is, when it was kept.
    pub kept: Option<PathBuf>,
}

/// How far a change has come; a crash is possible behind each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The new log is complete, and was compared with the old one.
    Written,
    /// It has the name under which it waits.
    Named,
    /// The identity names the new engine: from here on the new log counts.
    Decided,
    /// The old log is out of the way.
    Aside,
    /// The new log is in its place.
    Placed,
}

/// Rewrites the log in the data directory `dir` for the engine `to`, with the vote and all markers.
/// A crash at any moment leaves a directory that a master can use, with the one or the other engine,
/// and the change may be asked for again. Blocks on the disk, which needs room for both logs.
///
/// # Errors
/// When a master uses the directory, it is none, its log is damaged, or the disk fails. Nothing is
/// changed then, unless the disk failed after the change was decided; the next start completes it.
pub fn change_engine(
    dir: &Path,
    to: EngineKind,
    keep_old: bool,
) -> Result<EngineChange, OfflineError> {
    change(dir, to, keep_old, &mut |_| Ok(()))
}

fn change(
    dir: &Path,
    to: EngineKind,
    keep_old: bool,
    passed: &mut dyn FnMut(Step) -> Result<(), OfflineError>,
) -> Result<EngineChange, OfflineError> {
    let _lock = lock(dir)?;
    let identity = super::identity_of(dir)?;
    let from = identity.engine;
    let log = log_dir::settle(dir, from).map_err(io_error("settle the log in", dir))?;
    let before = log_dir::before(dir);
    if from != to && before.exists() {
        return Err(OfflineError::InTheWay(before));
    }
    let (old, recovered) = engine::open(from, &log)?;
    let bytes_before = bytes_below(&log).map_err(io_error("measure", &log))?;
    let mut outcome = EngineChange {
        node: identity.member.node,
        from,
        to,
        entries: recovered.last.map_or(0, |last| last.index + 1)
            - recovered.purged.map_or(0, |purged| purged.index + 1),
        last: recovered.last.map(|at| (at.term, at.index)),
        bytes_before,
        bytes_after: bytes_before,
        kept: None,
    };
    if from == to {
        return Ok(outcome);
    }
    let making = log_dir::making(dir);
    let written = write(to, &making, old.as_ref(), &recovered)
        .and_then(|()| compare(to, &making, old.as_ref(), &recovered));
    if let Err(error) = written {
        // The error that counts is the first one; what is left behind is removed by the next try.
        let _ = std::fs::remove_dir_all(&making);
        return Err(error);
    }
    drop(old);
    outcome.bytes_after = bytes_below(&making).map_err(io_error("measure", &making))?;
    passed(Step::Written)?;

    let waiting = log_dir::waiting(dir, to);
    std::fs::rename(&making, &waiting)
        .and_then(|()| engine::sync_dir(dir))
        .map_err(io_error("rename", &making))?;
    passed(Step::Named)?;
    let next = identity::Content {
        engine: to,
        ..identity
    };
    identity::write(dir, &next)?;
    passed(Step::Decided)?;
    log_dir::make_room(dir, to).map_err(io_error("move", &log))?;
    passed(Step::Aside)?;
    log_dir::settle(dir, to).map_err(io_error("settle the log in", dir))?;
    passed(Step::Placed)?;
    if keep_old {
        outcome.kept = Some(before);
    } else {
        std::fs::remove_dir_all(&before).map_err(io_error("remove", &before))?;
    }
    Ok(outcome)
}

/// Makes a log in `dir` with all that `old` holds; durable on return.
fn write(
    kind: EngineKind,
    dir: &Path,
    old: &dyn LogEngine,
    found: &Recovered,
) -> Result<(), OfflineError> {
    let (mut new, _) = engine::open(kind, dir)?;
    let mut copy = || -> io::Result<()> {
        // The vote first: no entry may be durable before the vote for its term.
        if let Some(vote) = &found.vote {
            new.save_vote(vote)?;
            new.sync()?;
        }
        if let Some(purged) = found.purged {
            new.purge_upto(purged)?;
        }
        let mut unsynced = 0;
        each_batch(old, found, |records| {
            unsynced += records
                .iter()
                .map(crate::record::Record::encoded_bytes)
                .sum::<usize>();
            new.append(records)?;
            if unsynced >= new.group_bytes_max() {
                unsynced = 0;
                new.sync()?;
            }
            Ok(())
        })?;
        if let Some(committed) = found.committed {
            new.save_committed(committed)?;
        }
        new.sync()
    };
    copy().map_err(io_error("write", dir))
}

/// Opens the log in `dir` and compares all of it with `old`.
fn compare(
    kind: EngineKind,
    dir: &Path,
    old: &dyn LogEngine,
    found: &Recovered,
) -> Result<(), OfflineError> {
    let differs = |detail: String| OfflineError::Differs {
        path: dir.to_path_buf(),
        detail,
    };
    let (new, again) = engine::open(kind, dir)?;
    let expected = Recovered {
        unfinished: None,
        ..found.clone()
    };
    if again != expected {
        return Err(differs(format!("{again:?} instead of {expected:?}")));
    }
    let reader = new.reader();
    let mut different = None;
    each_batch(old, found, |records| {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        let there = reader.read(first.at.index..last.at.index + 1, usize::MAX)?;
        if different.is_none() && there != records {
            let wrong = records.iter().zip(&there).find(|(old, new)| old != new);
            different = Some(wrong.map_or(last, |(old, _)| old).at.index);
        }
        Ok(())
    })
    .map_err(io_error("read", dir))?;
    match different {
        None => Ok(()),
        Some(index) => Err(differs(format!("entry {index} is another one"))),
    }
}

/// Gives all entries of `log` to `each`, some at a time; fails when one is missing.
fn each_batch(
    log: &dyn LogEngine,
    found: &Recovered,
    mut each: impl FnMut(&[crate::record::Record]) -> io::Result<()>,
) -> io::Result<()> {
    let reader = log.reader();
    let mut next = found.purged.map_or(0, |at| at.index + 1);
    let end = found.last.map_or(0, |at| at.index + 1);
    while next < end {
        let records = reader.read(next..end, READ_BYTES_MAX)?;
        for record in &records {
            if record.at.index != next {
                break;
            }
            next += 1;
        }
        if records.last().map(|record| record.at.index + 1) != Some(next) {
            let text = format!("entry {next} is missing");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        each(&records)?;
    }
    Ok(())
}

fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            bytes_below(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
