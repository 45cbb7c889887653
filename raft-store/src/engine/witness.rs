//! A second opinion about what an engine should hold.
//!
//! A database that finds a damaged page at the end of its own log may take it for the end of what
//! was written, and drop all that came later without a word: entries that were acknowledged, and the
//! vote. sled does so after a crash. So vote, markers and the position of a durable entry are noted
//! in a small file of our own as well, always after the engine synced, and an engine that comes back
//! with less is damaged.
//!
//! The vote is noted with each change. The durable entry is noted with it, when the engine is closed
//! in order, and otherwise with a sync at most every [`MARK_EVERY`]. With every sync it is also marked
//! without one: after the death of the process nothing is lost unnoticed, but after a power cut the
//! loss of entries that came later than the last note can be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::meta::{Durable, MARK_EVERY, Meta, MetaFile};
use super::{EngineError, LogBytes, LogEngine, LogRead, Recovered};
use crate::record::{Position, Record};
use crate::types::Vote;

/// An engine and its witness.
pub(super) struct Witnessed<E: LogEngine> {
    engine: E,
    file: MetaFile,
    meta: Meta,
    /// What the file says.
    saved: Meta,
    saved_at: Instant,
    /// Whether entries were appended that are not marked.
    appended: bool,
    /// Whether something failed.
    broken: bool,
}

impl<E: LogEngine> Witnessed<E> {
    /// Compares what `engine` came back with to what is noted in `dir`. A log from before there were
    /// witnesses gets one.
    pub(super) fn open(dir: &Path, engine: E, found: &Recovered) -> Result<Self, EngineError> {
        std::fs::create_dir_all(dir).map_err(EngineError::io("make", dir))?;
        let last = found.last.filter(|last| Some(*last) != found.purged);
        let meta = Meta {
            vote: found.vote,
            committed: None,
            purged: found.purged,
            durable: last.map(|at| Durable { at, chain: 0 }),
        };
        let (file, saved) = match MetaFile::open(dir)? {
            Some((file, noted)) => {
                compare(dir.parent().unwrap_or(dir), &engine, &noted, found)?;
                (file, noted)
            }
            None => {
                let file = MetaFile::create(dir)?;
                if let Some(parent) = dir.parent() {
                    super::sync_dir(parent).map_err(EngineError::io("sync", parent))?;
                }
                (file, Meta::default())
            }
        };
        let mut witnessed = Self {
            engine,
            file,
            meta,
            saved,
            saved_at: Instant::now(),
            appended: false,
            broken: false,
        };
        let path = || -> PathBuf { dir.to_path_buf() };
        // What came back is only certain to stay once the engine synced it again.
        witnessed
            .engine
            .sync()
            .map_err(EngineError::io("sync", path()))?;
        witnessed.note().map_err(EngineError::io("write", path()))?;
        Ok(witnessed)
    }

    /// Writes down what the engine has synced.
    fn note(&mut self) -> io::Result<()> {
        if self.meta != self.saved || self.file.is_marked() {
            self.file.save(&self.meta)?;
            self.saved = self.meta;
        }
        self.saved_at = Instant::now();
        Ok(())
    }

    fn guarded<T>(&mut self, write: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let result = write(self);
        self.broken |= result.is_err();
        result
    }
}

fn compare(
    path: &Path,
    engine: &impl LogEngine,
    noted: &Meta,
    found: &Recovered,
) -> Result<(), EngineError> {
    let damaged = |detail: String| EngineError::Damaged {
        path: path.to_path_buf(),
        detail,
    };
    if let Some(vote) = &noted.vote
        && !found.vote.as_ref().is_some_and(|found| found >= vote)
    {
        return Err(damaged(format!(
            "the vote is {:?}, but {vote:?} was durable",
            found.vote
        )));
    }
    let index = |at: Option<Position>| at.map(|at| at.index);
    if index(found.purged) < index(noted.purged) {
        return Err(damaged(format!(
            "it begins behind {:?}, but {:?} was purged",
            found.purged, noted.purged
        )));
    }
    let Some(Durable { at, .. }) = noted.durable else {
        return Ok(());
    };
    if index(found.purged) >= Some(at.index) {
        return Ok(());
    }
    let there = engine
        .reader()
        .read(at.index..at.index + 1, usize::MAX)
        .map_err(EngineError::io("read", path))?;
    if there.first().map(|record| record.at) != Some(at) {
        return Err(damaged(format!(
            "it ends with {:?}, but {at:?} was durable",
            found.last
        )));
    }
    Ok(())
}

impl<E: LogEngine> LogEngine for Witnessed<E> {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        self.guarded(|this| {
            this.engine.append(records)?;
            if let Some(last) = records.last() {
                this.appended = true;
                this.meta.durable = Some(Durable {
                    at: last.at,
                    chain: 0,
                });
            }
            Ok(())
        })
    }

    fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.guarded(|this| {
            this.engine.save_vote(vote)?;
            this.meta.vote = Some(*vote);
            Ok(())
        })
    }

    fn save_committed(&mut self, at: Position) -> io::Result<()> {
        self.guarded(|this| this.engine.save_committed(at))
    }

    fn sync(&mut self) -> io::Result<()> {
        self.guarded(|this| {
            this.engine.sync()?;
            if this.meta.vote != this.saved.vote || this.saved_at.elapsed() >= MARK_EVERY {
                return this.note();
            }
            match this.meta.durable {
                Some(durable) if this.appended => {
                    this.appended = false;
                    this.file.mark(&durable)
                }
                _ => Ok(()),
            }
        })
    }

    fn truncate_from(&mut self, index: u64) -> io::Result<()> {
        self.guarded(|this| {
            this.engine.sync()?;
            if this
                .meta
                .durable
                .is_some_and(|durable| durable.at.index >= index)
            {
                let before = index.saturating_sub(1);
                let before = this.engine.reader().read(before..index, usize::MAX)?;
                this.meta.durable = before.first().map(|record| Durable {
                    at: record.at,
                    chain: 0,
                });
                // What is taken away on purpose must not be missed later.
                this.note()?;
            }
            this.engine.truncate_from(index)
        })
    }

    fn purge_upto(&mut self, at: Position) -> io::Result<()> {
        self.guarded(|this| {
            this.engine.purge_upto(at)?;
            this.meta.purged = Some(at);
            this.meta.durable = this
                .meta
                .durable
                .filter(|durable| durable.at.index > at.index);
            // Only now does the engine have what is noted.
            this.note()
        })
    }

    fn tidy(&mut self) -> io::Result<bool> {
        self.guarded(|this| this.engine.tidy())
    }

    fn reader(&self) -> Arc<dyn LogRead> {
        self.engine.reader()
    }

    fn bytes(&self) -> io::Result<LogBytes> {
        self.engine.bytes()
    }

    fn group_bytes_max(&self) -> usize {
        self.engine.group_bytes_max()
    }
}

impl<E: LogEngine> Drop for Witnessed<E> {
    fn drop(&mut self) {
        if self.broken {
            return;
        }
        let closed = self.guarded(|this| {
            this.engine.sync()?;
            this.note()
        });
        if let Err(error) = closed {
            tracing::error!(%error, "the log could not be closed in order");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EngineKind;
    use crate::engine::open;
    use crate::record::Kind;

    fn at(term: u64, index: u64) -> Position {
        Position { term, index }
    }

    fn entries(term: u64, n: u64) -> Vec<Record> {
        let marker = |index| Record::marker(Kind::Blank, at(term, index));
        (0..n).map(marker).collect()
    }

    /// A log that was closed in order, after a vote.
    fn make(dir: &Path, term: u64, n: u64) {
        let (mut engine, _) = open(EngineKind::Sled, dir).expect("opens");
        engine.append(&entries(term, n)).expect("appended");
        engine.save_vote(&Vote::new(term, 2)).expect("saved");
        engine.sync().expect("synced");
    }

    /// What is said when the database is an older one than the witness saw.
    fn replaced_by(make_other: impl FnOnce(&Path)) -> String {
        replaced_by_after(|_| {}, make_other)
    }

    /// The same, with something done to the log before.
    fn replaced_by_after(go_on: impl FnOnce(&Path), make_other: impl FnOnce(&Path)) -> String {
        let root = tempfile::tempdir().expect("temporary directory");
        let (dir, other) = (root.path().join("log"), root.path().join("other"));
        make(&dir, 3, 10);
        go_on(&dir);
        make_other(&other);
        std::fs::remove_dir_all(other.join("witness")).expect("removed");
        std::fs::rename(dir.join("witness"), other.join("witness")).expect("moved");
        match open(EngineKind::Sled, &other) {
            Err(error) => error.to_string(),
            Ok((_, recovered)) => panic!("it was accepted: {recovered:?}"),
        }
    }

    #[test]
    fn a_database_that_lost_its_end_is_damaged() {
        let text = replaced_by(|dir| make(dir, 3, 9));
        assert!(text.contains("was durable"), "{text}");
        assert!(text.contains("new master"), "{text}");
    }

    #[test]
    fn a_database_that_lost_what_came_after_the_last_note_is_damaged() {
        let text = replaced_by_after(
            |dir| {
                let (mut engine, _) = open(EngineKind::Sled, dir).expect("opens");
                let more = [10, 11].map(|index| Record::marker(Kind::Blank, at(3, index)));
                engine.append(&more).expect("appended");
                engine.sync().expect("synced");
                // Killed: the witness stays as it is now, whatever closing adds to it.
                std::fs::copy(dir.join("witness/meta"), dir.join("meta.now")).expect("copied");
                drop(engine);
                std::fs::rename(dir.join("meta.now"), dir.join("witness/meta")).expect("moved");
            },
            |dir| make(dir, 3, 10),
        );
        assert!(text.contains("was durable"), "{text}");
    }

    #[test]
    fn a_forgotten_or_an_older_vote_is_damage() {
        let text = replaced_by(|dir| make(dir, 2, 10));
        assert!(text.contains("the vote is"), "{text}");
        let text = replaced_by(|dir| {
            let (mut engine, _) = open(EngineKind::Sled, dir).expect("opens");
            engine.append(&entries(3, 10)).expect("appended");
        });
        assert!(text.contains("the vote is None"), "{text}");
    }

    #[test]
    fn what_is_removed_on_purpose_is_not_missed_and_an_older_log_gets_a_witness() {
        let dir = tempfile::tempdir().expect("temporary directory");
        make(dir.path(), 3, 10);
        let (mut engine, _) = open(EngineKind::Sled, dir.path()).expect("opens");
        engine.truncate_from(5).expect("truncated");
        drop(engine);
        let (mut engine, recovered) = open(EngineKind::Sled, dir.path()).expect("opens");
        assert_eq!(recovered.last, Some(at(3, 4)));
        engine.purge_upto(at(3, 20)).expect("purged");
        drop(engine);
        std::fs::remove_dir_all(dir.path().join("witness")).expect("removed");
        let (_, recovered) = open(EngineKind::Sled, dir.path()).expect("opens");
        assert_eq!(recovered.purged, Some(at(3, 20)));
        assert!(dir.path().join("witness").exists());
    }
}
