//! The replicated log as the consensus library sees it, over whatever engine keeps it on disk.
//!
//! All writes, votes included, go through one thread in the order in which they were asked for.
//! The thread takes what is waiting, writes it, syncs once, and then reports each append in order:
//! group commit without any waiting. Recent entries stay in memory, so followers are served and
//! entries are applied without touching the disk.

mod again;
mod entry;
mod group;
mod memory;
mod read_ahead;
mod reader;
#[cfg(feature = "simulation")]
mod simulated;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, RwLock};

use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::again::Again;
use self::entry::record_from_entry;
use self::group::{Done, Io};
use self::memory::{Log, cost};
use self::reader::{LogReader, Shared};
use self::writer::Writer;
pub(crate) use self::writer::WriterEnd;
use crate::disk::DiskWatch;
use crate::engine::{LogEngine, Recovered};
use crate::record::Position;
use crate::types::{Entry, LogId, TypeConfig, Vote, log_id};

/// Writes that may wait for the writer thread. More make the consensus core wait, which stops
/// heartbeats: a leader whose disk stands still should lose its lead.
pub(crate) const QUEUE_MAX: usize = 4096;

/// Bounds of the log in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogBounds {
    /// Bytes of recent entries to keep.
    pub(crate) cache_bytes_max: usize,
    /// Most bytes given to one message for a follower.
    pub(crate) append_bytes_max: usize,
}

/// The log store. Dropping it ends the writer thread after everything asked for is written.
pub(crate) struct LogStore {
    shared: Arc<Shared>,
    io: mpsc::Sender<Io>,
}

impl LogStore {
    /// A log over an engine that was just opened. Without `again`, a write that finds no room on the
    /// disk ends it.
    pub(crate) fn new(
        engine: Box<dyn LogEngine>,
        recovered: &Recovered,
        bounds: LogBounds,
        again: Option<Again>,
    ) -> io::Result<(Self, WriterEnd)> {
        let to_log_id = |at: Position| log_id(at.term, at.index);
        let last = recovered.last.map(to_log_id);
        let next = last.map_or(0, |last| last.index + 1);
        if let Some(vote) = &recovered.vote {
            tracing::debug!(
                term = vote.leader_id.term,
                node = vote.leader_id.voted_for,
                committed = vote.committed,
                "the log was opened with this vote"
            );
        }
        let shared = Arc::new(Shared {
            log: RwLock::new(Log {
                purged: recovered.purged.map(to_log_id),
                last,
                vote: recovered.vote,
                committed: recovered.committed.map(to_log_id),
                committed_untold: None,
                cache: VecDeque::new(),
                cached_from: next,
                cached_bytes: 0,
                durable_to: next,
                removals: 0,
            }),
            disk: watch::Sender::new(Some(engine.reader())),
            bounds,
            watch: Arc::default(),
        });
        let (io, queue) = mpsc::channel(QUEUE_MAX);
        #[cfg(feature = "simulation")]
        let disk = again.as_ref().map(|again| again.space.dir().to_path_buf());
        let writer = Writer {
            engine: Some(engine),
            queue,
            shared: Arc::clone(&shared),
            again,
            synced_next: next,
            synced_vote: recovered.vote,
        };
        #[cfg(feature = "simulation")]
        if regency_runtime::simulated() {
            tokio::spawn(writer.run_as_task(disk));
            return Ok((Self { shared, io }, WriterEnd(Mutex::new(None))));
        }
        let handle = std::thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || writer.run())?;
        Ok((Self { shared, io }, WriterEnd(Mutex::new(Some(handle)))))
    }

    /// Tells how much is in memory.
    pub(crate) fn gauge(&self) -> LogGauge {
        LogGauge {
            shared: Arc::clone(&self.shared),
            io: self.io.downgrade(),
        }
    }

    /// Tells what was removed from the beginning of the log.
    pub(crate) fn purged(&self) -> Purged {
        Purged(Arc::clone(&self.shared))
    }

    /// Tells whether the disk keeps up.
    pub(crate) fn watch(&self) -> Arc<DiskWatch> {
        Arc::clone(&self.shared.watch)
    }

    async fn ask(&self, make: impl FnOnce(Done) -> Io) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.io.send(make(done)).await.map_err(|_| stopped())?;
        wait.await.map_err(|_| stopped())?
    }
}

/// How far the log was purged.
pub(crate) struct Purged(Arc<Shared>);

impl Purged {
    /// Index of the last entry that was removed.
    pub(crate) fn index(&self) -> Option<u64> {
        self.0.read().purged.map(|purged| purged.index)
    }
}

/// How much of the log is in memory.
pub(crate) struct LogGauge {
    shared: Arc<Shared>,
    io: mpsc::WeakSender<Io>,
}

impl LogGauge {
    /// Bytes of entries in memory, and writes that wait for the writer thread.
    pub(crate) fn look(&self) -> (usize, usize) {
        let queued = self.io.upgrade().map_or(0, |io| QUEUE_MAX - io.capacity());
        (self.shared.read().cached_bytes, queued)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log writer stopped after a failure")
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let log = self.shared.read();
        Ok(LogState {
            last_purged_log_id: log.purged,
            last_log_id: log.last,
        })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared))
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.ask(|done| Io::Vote(*vote, done)).await?;
        tracing::debug!(
            term = vote.leader_id.term,
            node = vote.leader_id.voted_for,
            committed = vote.committed,
            "the vote is durable"
        );
        self.shared.write().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else {
            return Ok(());
        };
        let mut log = self.shared.write();
        log.committed = Some(committed);
        // It becomes durable with the next entries, and is not worth waking the writer thread for.
        log.committed_untold = Some(Position {
            term: committed.leader_id.term,
            index: committed.index,
        });
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.shared.read().committed)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let committed = {
            let mut log = self.shared.write();
            for entry in entries {
                if entry.log_id.index != log.next_index() {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        format!(
                            "entry {} does not follow entry {:?}",
                            entry.log_id.index,
                            log.last.map(|last| last.index)
                        ),
                    ));
                }
                records.push(record_from_entry(&entry));
                log.push(entry);
            }
            log.shrink(self.shared.bounds.cache_bytes_max);
            log.committed_untold.take()
        };
        self.shared.watch.wanted();
        self.io
            .send(Io::Append {
                records,
                committed,
                flushed: callback,
            })
            .await
            .map_err(|_| stopped())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        {
            let mut log = self.shared.write();
            if from >= log.next_index() {
                return Ok(());
            }
            while log
                .cache
                .back()
                .is_some_and(|entry| entry.log_id.index >= from)
            {
                if let Some(entry) = log.cache.pop_back() {
                    log.cached_bytes -= cost(&entry);
                }
            }
            log.cached_from = log.cached_from.min(from);
            log.last = last;
            log.durable_to = log.durable_to.min(from);
            log.removals += 1;
        }
        self.ask(|done| Io::Truncate(from, done)).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        {
            let mut log = self.shared.write();
            if log.purged.is_some_and(|purged| purged.index >= upto.index) {
                return Ok(());
            }
            while log.cached_from <= upto.index && !log.cache.is_empty() {
                log.pop_front();
            }
            log.purged = Some(upto);
            if log.last.is_none_or(|last| last.index < upto.index) {
                log.last = Some(upto);
            }
            if log.cache.is_empty() {
                log.cached_from = log.cached_from.max(upto.index + 1);
            }
            log.durable_to = log.durable_to.max(upto.index + 1);
            log.removals += 1;
        }
        let at = Position {
            term: upto.leader_id.term,
            index: upto.index,
        };
        self.ask(|done| Io::Purge(at, done)).await
    }
}

#[cfg(test)]
mod full_tests;
#[cfg(test)]
mod tests;
