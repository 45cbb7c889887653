//! What is carried out with one sync.

use std::io;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::again::Op;
use super::writer::Writer;
use crate::failpoint::failpoint;
use crate::metrics;
use crate::record::{Position, Record};
use crate::types::{TypeConfig, Vote};

/// Work for the writer thread.
pub(super) enum Io {
    Append {
        records: Vec<Record>,
        /// What was committed before, if that is new.
        committed: Option<Position>,
        flushed: IOFlushed<TypeConfig>,
    },
    Vote(Vote, Done),
    Truncate(u64, Done),
    Purge(Position, Done),
}

impl Io {
    /// Tells who waits for it that it is not carried out.
    pub(super) fn refuse(self, error: &io::Error) {
        let error = io::Error::other(error.to_string());
        match self {
            Self::Append { flushed, .. } => flushed.io_completed(Err(error)),
            Self::Vote(_, done) | Self::Truncate(_, done) | Self::Purge(_, done) => {
                let _ = done.send(Err(error));
            }
        }
    }
}

pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// What waits for the sync of its group, and the calls since the last sync.
#[derive(Default)]
pub(super) struct Group {
    pub(super) flushed: Vec<IOFlushed<TypeConfig>>,
    pub(super) votes: Vec<Done>,
    pub(super) ops: Vec<Op>,
    pub(super) entries: usize,
    pub(super) bytes: usize,
    pub(super) durable_to: u64,
}

impl Writer {
    /// Carries out one piece of work and those that wait behind it, with one sync. `true` when
    /// there was a purge.
    pub(super) fn group(&mut self, first: Io) -> io::Result<bool> {
        let mut group = Group::default();
        let mut purged = false;
        let mut next = Some(first);
        while let Some(io) = next {
            let carried_out = match io {
                Io::Truncate(from, done) => {
                    let result = self.finish(&mut group).and_then(|()| {
                        failpoint!("log.truncate");
                        self.at_once(Op::Truncate(from))
                    });
                    failpoint!("log.truncated");
                    reply(done, result)
                }
                Io::Purge(at, done) => {
                    purged = true;
                    let result = self.finish(&mut group).and_then(|()| {
                        failpoint!("log.purge");
                        self.at_once(Op::Purge(at))
                    });
                    failpoint!("log.purged");
                    reply(done, result)
                }
                io => {
                    group.take(io);
                    self.carry_out_last(&mut group)
                }
            };
            if let Err(error) = carried_out {
                group.fail(&error);
                return Err(error);
            }
            let bytes_max = self.engine()?.group_bytes_max();
            next = if group.bytes < bytes_max {
                self.queue.try_recv().ok()
            } else {
                None
            };
        }
        self.finish(&mut group)?;
        Ok(purged)
    }

    /// Carries out what was added to the group last.
    fn carry_out_last(&mut self, group: &mut Group) -> io::Result<()> {
        let Some(op) = group.ops.last() else {
            return Ok(());
        };
        if matches!(op, Op::Append { .. }) {
            failpoint!("log.append");
        }
        if matches!(op, Op::Vote(_)) {
            failpoint!("log.vote");
        }
        match op.carry_out(self.engine()?) {
            Ok(()) => Ok(()),
            Err(error) => self.do_again(group, error),
        }
    }

    /// Carries out what is durable on return.
    fn at_once(&mut self, op: Op) -> io::Result<()> {
        match op.carry_out(self.engine()?) {
            Ok(()) => {
                self.note_synced(&[op]);
                Ok(())
            }
            Err(error) => self.do_again_with(vec![op], error),
        }
    }

    /// The same for what failed outside of a group. Others may join while there is no room.
    pub(super) fn do_again_with(&mut self, ops: Vec<Op>, error: io::Error) -> io::Result<()> {
        let mut group = Group {
            ops,
            ..Group::default()
        };
        match self.do_again(&mut group, error) {
            Ok(()) => self.finish(&mut group),
            Err(error) => {
                group.fail(&error);
                Err(error)
            }
        }
    }

    /// Keeps in mind what must be there when the log is opened again.
    fn note_synced(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Append { records, .. } => {
                    if let Some(last) = records.last() {
                        self.synced_next = last.at.index + 1;
                    }
                }
                Op::Vote(vote) => self.synced_vote = Some(*vote),
                Op::Truncate(from) => self.synced_next = self.synced_next.min(*from),
                Op::Purge(at) => self.synced_next = self.synced_next.max(at.index + 1),
            }
        }
    }

    /// Syncs, and tells everybody in the group.
    fn finish(&mut self, group: &mut Group) -> io::Result<()> {
        let mut group = std::mem::take(group);
        if group.ops.is_empty() {
            return Ok(());
        }
        failpoint!("log.sync");
        let synced = self.engine()?.sync();
        if let Err(error) = synced.or_else(|error| self.do_again(&mut group, error)) {
            group.fail(&error);
            return Err(error);
        }
        failpoint!("log.synced");
        if !group.votes.is_empty() {
            failpoint!("log.voted");
        }
        self.note_synced(&group.ops);
        if group.entries > 0 {
            metrics::appended(group.entries);
            let mut log = self.shared.write();
            let durable_to = group.durable_to.min(log.next_index());
            log.durable_to = log.durable_to.max(durable_to);
            log.shrink(self.shared.bounds.cache_bytes_max);
        }
        for done in group.votes.drain(..) {
            let _ = done.send(Ok(()));
        }
        for flushed in group.flushed.drain(..) {
            flushed.io_completed(Ok(()));
        }
        Ok(())
    }
}

impl Group {
    /// Adds work. What only takes entries away is answered at once: the core must not wait for it, and
    /// entries that are still there after a crash are removed again then.
    pub(super) fn take(&mut self, io: Io) {
        match io {
            Io::Append {
                records,
                committed,
                flushed,
            } => {
                self.flushed.push(flushed);
                self.entries += records.len();
                self.bytes += records.iter().map(Record::encoded_bytes).sum::<usize>();
                if let Some(last) = records.last() {
                    self.durable_to = last.at.index + 1;
                }
                self.ops.push(Op::Append { records, committed });
            }
            Io::Vote(vote, done) => {
                self.votes.push(done);
                self.ops.push(Op::Vote(vote));
            }
            Io::Truncate(from, done) => {
                self.ops.push(Op::Truncate(from));
                let _ = done.send(Ok(()));
            }
            Io::Purge(at, done) => {
                self.ops.push(Op::Purge(at));
                let _ = done.send(Ok(()));
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        for flushed in self.flushed.drain(..) {
            flushed.io_completed(Err(io::Error::other(error.to_string())));
        }
        for done in self.votes.drain(..) {
            let _ = done.send(Err(io::Error::other(error.to_string())));
        }
    }
}

/// Gives a result to who waits for it, and keeps the error for the caller.
fn reply(done: Done, result: io::Result<()>) -> io::Result<()> {
    let copy = match &result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::other(error.to_string())),
    };
    // Whoever asked may have gone away.
    let _ = done.send(copy);
    result
}
