//! Reading a data directory that no master uses, and changing what keeps its log.
//!
//! Reading changes nothing in the directory: opening a log may repair its end, so a copy in the
//! temporary directory is opened instead.

mod change;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use regency_types::{ClusterId, Incarnation, NodeId};

use crate::config::EngineKind;
use crate::convert;
use crate::engine::{self, EngineError, LogEngine, Recovered};
use crate::identity::{self, IdentityError, Skip};
use crate::log_dir;
use crate::record::{Kind, Position, Record};

pub use self::change::{EngineChange, change_engine};

/// Entries that are read at once.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// Why a directory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The disk or file system failed, or there is no such directory.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not a master's directory, or a master is running.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log is damaged.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An earlier change of the engine left its old log behind.
    #[error(
        "{0} is the log before an earlier change of the engine; remove it or move it away first"
    )]
    InTheWay(PathBuf),
    /// A log was rewritten and is not the same.
    #[error(
        "the log written to {path} is not the one that was read ({detail}); nothing was changed"
    )]
    Differs {
        /// Where it was written.
        path: PathBuf,
        /// What is different.
        detail: String,
    },
}

/// A data directory. No master can use it while this lives.
pub struct DataDir {
    facts: DataDirFacts,
    identity: identity::Content,
    engine: Box<dyn LogEngine>,
    _copy: tempfile::TempDir,
    _lock: File,
}

impl std::fmt::Debug for DataDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataDir")
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}

/// What a directory says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDirFacts {
    /// Number of the master.
    pub node: NodeId,
    /// Which of the directories of that number.
    pub incarnation: Incarnation,
    /// Its cluster, once it knows one.
    pub cluster: Option<ClusterId>,
    /// Clusters it was restored from, or went on from alone.
    pub parents: Vec<ClusterId>,
    /// What keeps its log.
    pub engine: EngineKind,
    /// The vote.
    pub vote: Option<VoteFacts>,
    /// Term and index of the last entry that was removed behind a snapshot.
    pub purged: Option<(u64, u64)>,
    /// Term and index of the last entry; those of `purged` when there is none behind it.
    pub last: Option<(u64, u64)>,
    /// Term and index of the last entry that was noted as committed. Later ones may be, too.
    pub committed: Option<(u64, u64)>,
    /// Index of an entry at the end that was never completely written. The next start of the master
    /// removes it.
    pub unfinished: Option<u64>,
}

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteFacts {
    /// The term it is for.
    pub term: u64,
    /// For whom.
    pub node: u64,
    /// Whether that master is known to lead the term.
    pub committed: bool,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its term.
    pub term: u64,
    /// Its index.
    pub index: u64,
    /// Size of what is in it.
    pub bytes: usize,
    /// What is in it.
    pub content: LogContent,
    /// An operator decided that it is not applied.
    pub skipped: bool,
}

/// What is in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogContent {
    /// Nothing; a new leader begins with such an entry.
    Blank,
    /// The members: one set of voters, or two while they change.
    Membership {
        /// Node ids of the voters, by set.
        voters: Vec<Vec<u64>>,
    },
    /// A proposal.
    Proposal {
        /// Name of its command.
        command: &'static str,
        /// Cluster time when it was proposed, in milliseconds.
        proposed_at_ms: u64,
        /// Wall clock of the leader then, in milliseconds since the Unix epoch.
        wall_ms: u64,
    },
    /// Something that this program cannot read.
    Unreadable {
        /// Why not.
        detail: String,
    },
}

impl DataDir {
    /// Opens the directory at `dir`. Blocks on the disk, and needs as much space as its log has in
    /// the temporary directory.
    ///
    /// # Errors
    /// When a master uses it, it is none, or its log is damaged.
    pub fn open(dir: &Path) -> Result<Self, OfflineError> {
        let lock = lock(dir)?;
        let identity = identity_of(dir)?;
        let copy =
            tempfile::tempdir().map_err(io_error("make a directory in", &std::env::temp_dir()))?;
        let log = log_dir::current(dir, identity.engine);
        copy_all(&log, copy.path())?;
        let (engine, recovered) = engine::open(identity.engine, copy.path())
            .map_err(|e| e.elsewhere(copy.path(), &log))?;
        Ok(Self {
            facts: facts(&identity, &recovered),
            identity,
            engine,
            _copy: copy,
            _lock: lock,
        })
    }

    /// What it says about itself.
    #[must_use]
    pub fn facts(&self) -> &DataDirFacts {
        &self.facts
    }

    /// What its identity says.
    pub(crate) fn identity(&self) -> &identity::Content {
        &self.identity
    }

    /// One record of the log.
    pub(crate) fn record(&self, index: u64) -> io::Result<Option<Record>> {
        let range = index..index.saturating_add(1);
        Ok(self.engine.reader().read(range, usize::MAX)?.pop())
    }

    /// Gives each entry of the log to `each`, in order, until that wants no more.
    ///
    /// # Errors
    /// When the copy cannot be read, or as `each`.
    pub fn entries<E: From<io::Error>>(
        &self,
        mut each: impl FnMut(LogEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        self.records(|record| {
            let skipped = self.identity.skips.iter().any(|skip| {
                skip.index == record.at.index && skip.digest == Skip::digest_of(&record.payload)
            });
            each(entry(record, skipped))
        })
    }

    /// As [`Self::entries`], with the records as they are stored.
    pub(crate) fn records<E: From<io::Error>>(
        &self,
        mut each: impl FnMut(&Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let reader = self.engine.reader();
        let mut next = self.facts.purged.map_or(0, |(_, index)| index + 1);
        loop {
            let records = reader.read(next..u64::MAX, READ_BYTES_MAX)?;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                next = record.at.index + 1;
                each(&record)?;
            }
        }
    }
}

/// Keeps masters out of the directory.
fn lock(dir: &Path) -> Result<File, OfflineError> {
    Ok(identity::lock(dir, false)?)
}

/// What the identity says; that of a directory that somebody has begun to change is refused.
fn identity_of(dir: &Path) -> Result<identity::Content, OfflineError> {
    let identity = identity::read(dir)?.ok_or_else(|| IdentityError::Damaged {
        path: dir.join(identity::FILE),
        detail: "there is none".to_owned(),
    })?;
    match &identity.unfinished {
        None => Ok(identity),
        Some(work) => Err(IdentityError::Unfinished {
            path: dir.to_path_buf(),
            work: work.clone(),
        }
        .into()),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OfflineError {
    let path = path.to_path_buf();
    move |source| OfflineError::Io {
        action,
        path,
        source,
    }
}

/// Copies the files below `from`.
pub(crate) fn copy_all(from: &Path, to: &Path) -> Result<(), OfflineError> {
    for entry in std::fs::read_dir(from).map_err(io_error("list", from))? {
        let path = entry.map_err(io_error("list", from))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            std::fs::create_dir_all(&target).map_err(io_error("make", &target))?;
            copy_all(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(io_error("copy", &path))?;
        }
    }
    Ok(())
}

fn facts(identity: &identity::Content, recovered: &Recovered) -> DataDirFacts {
    let pair = |at: Option<Position>| at.map(|at| (at.term, at.index));
    DataDirFacts {
        node: identity.member.node,
        incarnation: identity.member.incarnation,
        cluster: identity.cluster,
        parents: identity.parents.clone(),
        engine: identity.engine,
        vote: recovered.vote.as_ref().map(|vote| {
            let vote = convert::vote_to_proto(vote);
            VoteFacts {
                term: vote.term,
                node: vote.node_id,
                committed: vote.committed,
            }
        }),
        purged: pair(recovered.purged),
        last: pair(recovered.last),
        committed: pair(recovered.committed),
        unfinished: recovered.unfinished,
    }
}

fn entry(record: &Record, skipped: bool) -> LogEntry {
    LogEntry {
        term: record.at.term,
        index: record.at.index,
        bytes: record.payload.len(),
        content: content(record),
        skipped,
    }
}

pub(crate) fn content(record: &Record) -> LogContent {
    let unreadable = |error: &dyn std::fmt::Display| LogContent::Unreadable {
        detail: error.to_string(),
    };
    match record.kind {
        Kind::Blank => LogContent::Blank,
        Kind::Membership => match proto::Membership::decode(record.payload.clone()) {
            Ok(membership) => LogContent::Membership {
                voters: membership
                    .voter_sets
                    .into_iter()
                    .map(|set| set.node_ids)
                    .collect(),
            },
            Err(error) => unreadable(&error),
        },
        Kind::Proposal => match regency_stored::decode_proposal(&record.payload) {
            Ok(proposal) => LogContent::Proposal {
                command: proposal.command.name(),
                proposed_at_ms: proposal.proposed_at.0,
                wall_ms: proposal.wall.0,
            },
            Err(error) => unreadable(&error),
        },
        Kind::Vote | Kind::Committed | Kind::Purged => unreadable(&"it is no entry"),
    }
}
