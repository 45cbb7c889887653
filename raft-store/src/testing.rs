//! A door to the log engines for test programs outside of this crate.
//!
//! Only there with the feature `test-door`, which no program that is shipped turns on. What passes
//! through is the engine as the log writer uses it; nothing is replaced by a copy.

use std::io;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use regency_rpc::proto::regency::raft::v1 as proto;

use crate::config::EngineKind;
use crate::convert;
use crate::engine::{self, EngineError, LogEngine, Options, RebuildWhen};
use crate::record::{Kind, Position, Record};

/// Term and index of an entry.
pub type At = (u64, u64);

/// A vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestVote {
    /// The term it is for.
    pub term: u64,
    /// For whom.
    pub node: u64,
    /// Whether that master is known to lead the term.
    pub committed: bool,
}

/// What an engine says when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The last entry that was purged.
    pub purged: Option<At>,
    /// The last entry; `purged` when there is none behind it.
    pub last: Option<At>,
    /// The vote.
    pub vote: Option<TestVote>,
    /// The last entry noted as committed.
    pub committed: Option<At>,
    /// Index of an entry that was cut off because it was never completely written.
    pub unfinished: Option<u64>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestEntry {
    /// Its position.
    pub at: At,
    /// Its content.
    pub payload: Bytes,
}

/// An engine, opened.
pub struct TestLog {
    engine: Box<dyn LogEngine>,
}

impl std::fmt::Debug for TestLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestLog").finish_non_exhaustive()
    }
}

impl TestLog {
    /// Opens or makes the log in `dir`; see [`Sizes`] for `sizes`.
    ///
    /// # Errors
    /// When the log is damaged or the disk fails.
    pub fn open(kind: EngineKind, dir: &Path, sizes: Sizes) -> Result<(Self, Found), EngineError> {
        let (engine, recovered) = engine::open_with(kind, dir, &sizes.options())?;
        let at = |at: Option<Position>| at.map(|at| (at.term, at.index));
        let found = Found {
            purged: at(recovered.purged),
            last: at(recovered.last),
            vote: recovered.vote.as_ref().map(|vote| {
                let vote = convert::vote_to_proto(vote);
                TestVote {
                    term: vote.term,
                    node: vote.node_id,
                    committed: vote.committed,
                }
            }),
            committed: at(recovered.committed),
            unfinished: recovered.unfinished,
        };
        Ok((Self { engine }, found))
    }

    /// Adds entries at the end; durable after [`Self::sync`].
    ///
    /// # Errors
    /// When the disk fails. Nothing may be called any more then; this holds for every method.
    pub fn append(&mut self, entries: &[TestEntry]) -> io::Result<()> {
        let records: Vec<_> = entries
            .iter()
            .map(|entry| Record {
                kind: Kind::Proposal,
                at: position(entry.at),
                payload: entry.payload.clone(),
            })
            .collect();
        self.engine.append(&records)
    }

    /// Replaces the vote; durable after [`Self::sync`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_vote(&mut self, vote: TestVote) -> io::Result<()> {
        self.engine
            .save_vote(&convert::vote_from_proto(&proto::Vote {
                term: vote.term,
                node_id: vote.node,
                committed: vote.committed,
            }))
    }

    /// Notes what is committed.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn save_committed(&mut self, at: At) -> io::Result<()> {
        self.engine.save_committed(position(at))
    }

    /// Makes everything so far durable.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        self.engine.sync()
    }

    /// Removes all entries from `index` on; durable on return.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.engine.truncate_from(index)
    }

    /// Removes all entries up to `at`; durable on return.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn purge_upto(&mut self, at: At) -> io::Result<()> {
        self.engine.purge_upto(position(at))
    }

    /// Does a bounded piece of work that can wait. `true` when there is more.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn tidy(&mut self) -> io::Result<bool> {
        self.engine.tidy()
    }

    /// The entries with these indexes that are there.
    ///
    /// # Errors
    /// When the disk fails, or an entry is not what was written.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<TestEntry>> {
        let records = self.engine.reader().read(range, bytes_max)?;
        Ok(records
            .into_iter()
            .map(|record| TestEntry {
                at: (record.at.term, record.at.index),
                payload: record.payload,
            })
            .collect())
    }
}

/// Sizes that are smaller in tests than in earnest, so that what is rare happens often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sizes {
    /// Bytes of a segment of the engine `segment`; as always when `None`.
    pub segment_bytes: Option<u64>,
    /// A sled database is rebuilt when its file has more than this many bytes, and more than twice
    /// those of the entries in it; never when `None`.
    pub rebuild_bytes_min: Option<u64>,
}

impl Sizes {
    fn options(self) -> Options {
        let usual = Options::default();
        Options {
            segment_bytes: self.segment_bytes.unwrap_or(usual.segment_bytes),
            rebuild: self
                .rebuild_bytes_min
                .map_or(usual.rebuild, |bytes_min| RebuildWhen {
                    factor: 2,
                    bytes_min,
                }),
            ..usual
        }
    }
}

fn position((term, index): At) -> Position {
    Position { term, index }
}
