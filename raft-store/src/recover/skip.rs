//! An entry that no master can apply, left out by all of them.
//!
//! The entry stays in the log, so that logs remain equal and checked; each directory remembers that
//! it is not applied, by its index and what is in it. It changes nothing then, not even the time,
//! and is told as refused: the same on every master that skips it.

use std::path::Path;

use super::RecoverError;
use crate::identity::{self, Skip};
use crate::offline::{self, DataDir, LogContent};
use crate::record::Kind;
use crate::snapshot::SnapshotStore;

/// An entry that can be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkipPlan {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// What is in it.
    pub content: LogContent,
    /// The command in it, in full, when it can be read.
    pub command: Option<String>,
    /// The bytes in it.
    pub payload: Vec<u8>,
    /// Digest of the bytes: equal on all masters.
    pub digest: u128,
    /// Whether it is left out already.
    pub already: bool,
    /// Whether this directory notes it as committed. One that is not may still be replaced.
    pub committed: bool,
}

/// Says what would be left out; changes nothing. Blocks on the disk.
///
/// # Errors
/// When the directory cannot be read, or the entry is not one that can be left out.
pub fn plan(dir: &Path, index: u64) -> Result<SkipPlan, RecoverError> {
    look(dir, index).map(|(plan, _)| plan)
}

/// Leaves the entry out from the next start on, if it is the one with this digest.
///
/// # Errors
/// As [`plan`]; when the digest is another one, or the disk fails.
pub fn run(dir: &Path, index: u64, digest: u128) -> Result<SkipPlan, RecoverError> {
    // The directory stays locked until it is written.
    let (plan, data) = look(dir, index)?;
    if plan.digest != digest {
        return Err(RecoverError::NotSkippable {
            index,
            why: format!(
                "its digest is {:032x}, not {digest:032x}; it is not the entry that was looked at",
                plan.digest
            ),
        });
    }
    if !plan.already {
        let mut content = data.identity().clone();
        content.skips.retain(|skip| skip.index != index);
        content.skips.push(Skip { index, digest });
        content.skips.sort_by_key(|skip| skip.index);
        identity::write(dir, &content)?;
    }
    Ok(plan)
}

fn look(dir: &Path, index: u64) -> Result<(SkipPlan, DataDir), RecoverError> {
    let no = |why: &str| RecoverError::NotSkippable {
        index,
        why: why.to_owned(),
    };
    let data = DataDir::open(dir)?;
    let cluster = data.facts().cluster;
    let newest = SnapshotStore::look(&dir.join("snapshots")).load_newest(cluster)?;
    let applied = newest.and_then(|(loaded, _)| loaded.meta.last_log_id);
    if applied.is_some_and(|applied| applied.index >= index) {
        return Err(no(
            "this master applied it and has it in a snapshot; nothing stops at it here",
        ));
    }
    let record = data
        .record(index)
        .map_err(super::io_error(&dir.join("log")))?
        .filter(|record| record.at.index == index)
        .ok_or_else(|| {
            no("there is no such entry in this log; 'regency raft log' shows those there are")
        })?;
    if record.kind != Kind::Proposal {
        return Err(no("it is no command; such entries are always applied"));
    }
    let digest = Skip::digest_of(&record.payload);
    let skip = Skip { index, digest };
    let command = regency_stored::decode_proposal(&record.payload);
    let plan = SkipPlan {
        index,
        term: record.at.term,
        content: offline::content(&record),
        command: command.ok().map(|p| format!("{:?}", p.command)),
        payload: record.payload.to_vec(),
        digest,
        already: data.identity().skips.contains(&skip),
        committed: data
            .facts()
            .committed
            .is_some_and(|(_, committed)| committed >= index),
    };
    Ok((plan, data))
}

#[cfg(test)]
mod tests;
