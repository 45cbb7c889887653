//! The replicated log as the consensus library sees it, over whatever engine keeps it on disk.
//!
//! All writes, votes included, go through one thread in the order in which they were asked for.
//! The thread takes what is waiting, writes it, syncs once, and then reports each append in order:
//! group commit without any waiting. Recent entries stay in memory, so followers are served and
//! entries are applied without touching the disk.

mod again;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use prost::Message as _;
use regency_rpc::proto::regency::raft::v1 as proto;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use self::again::Again;
use self::again::Op;
use crate::convert;
use crate::disk::DiskWatch;
use crate::engine::{LogEngine, LogRead, Recovered};
use crate::failpoint::failpoint;
use crate::metrics;
use crate::record::{Kind, Position, Record};
use crate::space::is_full;
use crate::types::{EncodedProposal, Entry, EntryPayload, LogId, TypeConfig, Vote, log_id};

/// Writes that may wait for the writer thread. More make the consensus core wait, which stops
/// heartbeats: a leader whose disk stands still should lose its lead.
pub(crate) const QUEUE_MAX: usize = 4096;

/// Entries the cache keeps for their overhead in memory, besides their bytes.
const ENTRY_OVERHEAD_BYTES: usize = 128;

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

/// Waits for the end of the writer thread, and with it for the closing of the engine.
pub(crate) struct WriterEnd(Mutex<Option<JoinHandle<()>>>);

impl WriterEnd {
    /// Blocks until the engine is closed. The log store must have been dropped before.
    pub(crate) fn join(&self) {
        let handle = self.0.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(handle) = handle
            && handle.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

struct Shared {
    log: RwLock<Log>,
    /// `None` while the log is opened again.
    disk: watch::Sender<Option<Arc<dyn LogRead>>>,
    bounds: LogBounds,
    watch: Arc<DiskWatch>,
}

/// What is in the log. `cache` holds the entries from `cached_from` to the last one.
struct Log {
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// `committed`, until the writer thread is told.
    committed_untold: Option<Position>,
    cache: VecDeque<Entry>,
    cached_from: u64,
    cached_bytes: usize,
    /// All entries below this index are durable.
    durable_to: u64,
    /// Changes when entries disappear, so that a reader of the disk can tell.
    removals: u64,
}

impl Log {
    fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    fn push(&mut self, entry: Entry) {
        self.cached_bytes += cost(&entry);
        self.last = Some(entry.log_id);
        self.cache.push_back(entry);
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cached_bytes -= cost(&entry);
            self.cached_from += 1;
        }
    }

    /// Forgets old entries that the disk has.
    fn shrink(&mut self, bytes_max: usize) {
        while self.cached_bytes > bytes_max && self.cached_from < self.durable_to {
            self.pop_front();
        }
    }
}

fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_BYTES + payload_bytes(entry)
}

fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// Work for the writer thread.
enum Io {
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

type Done = oneshot::Sender<io::Result<()>>;

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
        let writer = Writer {
            engine: Some(engine),
            queue,
            shared: Arc::clone(&shared),
            again,
            synced_next: next,
            synced_vote: recovered.vote,
        };
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

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Log> {
        // Nothing panics while it holds the lock; if it did, the log itself would still be whole.
        self.log.read().unwrap_or_else(|e| e.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Log> {
        self.log.write().unwrap_or_else(|e| e.into_inner())
    }

    /// The entries of `range` that exist, in order; at most `bytes_max` bytes, but at least one
    /// entry.
    async fn entries(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        loop {
            let (mut entries, on_disk, removals) = {
                let log = self.read();
                let start = range.start.max(log.first_index());
                let end = range.end.min(log.next_index());
                if start >= end {
                    return Ok(Vec::new());
                }
                let cached = start.max(log.cached_from)..end;
                let on_disk = start..end.min(log.cached_from);
                let mut entries = Vec::new();
                let mut bytes = 0;
                if on_disk.is_empty() {
                    entries.reserve((cached.end - cached.start) as usize);
                    for index in cached {
                        let entry = &log.cache[(index - log.cached_from) as usize];
                        bytes += payload_bytes(entry);
                        if bytes > bytes_max && !entries.is_empty() {
                            break;
                        }
                        entries.push(entry.clone());
                    }
                    return Ok(entries);
                }
                // A bounded reader comes again for the rest; an unbounded one gets all at once.
                if bytes_max == usize::MAX {
                    entries.extend(
                        cached.map(|index| log.cache[(index - log.cached_from) as usize].clone()),
                    );
                }
                (entries, on_disk, log.removals)
            };
            let mut opened = self.disk.subscribe();
            let disk = match opened.wait_for(Option::is_some).await {
                Ok(disk) => disk.clone().ok_or_else(stopped)?,
                Err(_) => return Err(stopped()),
            };
            // Not on a thread that sends heartbeats.
            let wanted = on_disk.clone();
            let read = tokio::task::spawn_blocking(move || disk.read(wanted, bytes_max));
            let records = read.await.map_err(io::Error::other)?;
            if self.read().removals != removals {
                // What was read, or could not be, may have been removed under our hands: look again.
                continue;
            }
            let records = records?;
            let complete =
                bytes_max != usize::MAX || records.len() as u64 == on_disk.end - on_disk.start;
            let contiguous = records
                .iter()
                .enumerate()
                .all(|(offset, record)| record.at.index == on_disk.start + offset as u64);
            if !complete || !contiguous || records.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the log on disk has a hole in {on_disk:?}"),
                ));
            }
            let mut all = records
                .into_iter()
                .map(entry_from_record)
                .collect::<io::Result<Vec<_>>>()?;
            all.append(&mut entries);
            return Ok(all);
        }
    }
}

fn to_range(bounds: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match bounds.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match bounds.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

fn record_from_entry(entry: &Entry) -> Record {
    let at = Position {
        term: entry.log_id.leader_id.term,
        index: entry.log_id.index,
    };
    match &entry.payload {
        EntryPayload::Blank => Record::marker(Kind::Blank, at),
        EntryPayload::Normal(proposal) => Record {
            kind: Kind::Proposal,
            at,
            payload: proposal.bytes.clone(),
        },
        EntryPayload::Membership(membership) => Record {
            kind: Kind::Membership,
            at,
            payload: convert::membership_to_proto(membership)
                .encode_to_vec()
                .into(),
        },
    }
}

fn entry_from_record(record: Record) -> io::Result<Entry> {
    let bad = |error: &dyn std::fmt::Display| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("entry {}: {error}", record.at.index),
        )
    };
    let payload = match record.kind {
        Kind::Blank => EntryPayload::Blank,
        Kind::Proposal => EntryPayload::Normal(EncodedProposal {
            bytes: record.payload.clone(),
        }),
        Kind::Membership => {
            let membership =
                proto::Membership::decode(record.payload.clone()).map_err(|e| bad(&e))?;
            EntryPayload::Membership(
                convert::membership_from_proto(&membership).map_err(|e| bad(&e))?,
            )
        }
        Kind::Vote | Kind::Committed | Kind::Purged => return Err(bad(&"it is no entry")),
    };
    Ok(Entry {
        log_id: log_id(record.at.term, record.at.index),
        payload,
    })
}

/// Reads the log; one per task that does.
pub(crate) struct LogReader(Arc<Shared>);

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.0.entries(to_range(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.0
            .entries(start..end, self.0.bounds.append_bytes_max)
            .await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.read().vote)
    }
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
        LogReader(Arc::clone(&self.shared))
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

/// The thread that owns the engine.
struct Writer {
    /// `None` while it is opened again.
    engine: Option<Box<dyn LogEngine>>,
    queue: mpsc::Receiver<Io>,
    shared: Arc<Shared>,
    again: Option<Again>,
    /// All entries below this index are durable, and none behind it was acknowledged.
    synced_next: u64,
    synced_vote: Option<Vote>,
}

/// What waits for the sync of its group, and the calls since the last sync.
#[derive(Default)]
struct Group {
    flushed: Vec<IOFlushed<TypeConfig>>,
    votes: Vec<Done>,
    ops: Vec<Op>,
    entries: usize,
    bytes: usize,
    durable_to: u64,
}

/// While there is work, old keys are removed at least this often.
const TIDY_EVERY: Duration = Duration::from_millis(2);

/// While there is work, the size of the log is measured this often.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    fn run(mut self) {
        if let Err(error) = self.serve() {
            // The disk cannot be believed any more. Everybody who waits or will wait hears it,
            // the core stops, and with it this master.
            tracing::error!(%error, "the log cannot be written, this master stops");
            let text = error.to_string();
            let again = || io::Error::other(text.clone());
            while let Some(io) = self.queue.blocking_recv() {
                match io {
                    Io::Append { flushed, .. } => flushed.io_completed(Err(again())),
                    Io::Vote(_, done) | Io::Truncate(_, done) | Io::Purge(_, done) => {
                        let _ = done.send(Err(again()));
                    }
                }
            }
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut untidy = true;
        let mut tidied = std::time::Instant::now();
        let mut measured = None::<std::time::Instant>;
        loop {
            if measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
                let bytes = self.engine()?.bytes()?;
                metrics::log_bytes(bytes.disk, bytes.live);
                measured = Some(std::time::Instant::now());
            }
            let io = if untidy {
                match self.queue.try_recv() {
                    Ok(io) => Some(io),
                    Err(mpsc::error::TryRecvError::Empty) => None,
                    Err(mpsc::error::TryRecvError::Disconnected) => break,
                }
            } else {
                match self.queue.blocking_recv() {
                    Some(io) => Some(io),
                    None => break,
                }
            };
            let idle = io.is_none();
            if let Some(io) = io {
                self.shared.watch.wanted();
                untidy |= self.group(io)?;
                self.shared.watch.end(!self.queue.is_empty());
            }
            if untidy && (idle || tidied.elapsed() >= TIDY_EVERY) {
                untidy = match self.engine()?.tidy() {
                    Ok(untidy) => untidy,
                    Err(error) => {
                        self.do_again_with(Vec::new(), error)?;
                        self.shared.watch.end(!self.queue.is_empty());
                        true
                    }
                };
                tidied = std::time::Instant::now();
            }
        }
        let committed = self.shared.write().committed_untold.take();
        if let Some(at) = committed {
            self.engine()?.save_committed(at)?;
        }
        match self.engine()?.sync() {
            // Everything that somebody waits for is synced.
            Err(error) if is_full(&error) => Ok(()),
            ended => ended,
        }
    }

    fn engine(&mut self) -> io::Result<&mut dyn LogEngine> {
        self.engine.as_deref_mut().ok_or_else(stopped)
    }

    /// Carries out one piece of work and those that wait behind it, with one sync. `true` when
    /// there was a purge.
    fn group(&mut self, first: Io) -> io::Result<bool> {
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
    fn do_again_with(&mut self, ops: Vec<Op>, error: io::Error) -> io::Result<()> {
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
    fn take(&mut self, io: Io) {
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

#[cfg(test)]
mod full_tests;
#[cfg(test)]
mod tests;
