//! Giving back what the database has swollen to, while it is in use.
//!
//! A sled file never shrinks. When it is much larger than what is in it, everything behind the purge
//! marker is copied to a fresh database beside it, a few milliseconds at a time between the writer's
//! other work. When nothing is left to copy, vote and markers follow, and the fresh database becomes
//! the log by the replacement of one small file (`place.rs`). Until then it counts for nothing: a
//! crash, or a failure of its own, leaves the old one as it is.

use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sled::Db;

use super::{COMMITTED_KEY, PURGED_KEY, SledEngine, VOTE_KEY, place, sled_error, value_of};
use crate::engine::LogEngine as _;
use crate::metrics;
use crate::watchdog::start::Progress;

/// How long the copying may keep the writer from other work, apart from the sync it is at. In tests
/// every sync is a step.
const PAUSE_MAX: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 5 });
/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long after a failure, such as a full disk, the next try is made.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// When a database is rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RebuildWhen {
    /// When its file has more than this many times the bytes of the entries in it; 0 for never.
    pub(crate) factor: u64,
    /// But only from this size on.
    pub(crate) bytes_min: u64,
}

impl RebuildWhen {
    /// Leaves files as they are.
    pub(crate) const NEVER: Self = Self {
        factor: 0,
        bytes_min: 0,
    };
}

/// A rebuilding in progress, and what is known from earlier ones.
pub(super) struct Rebuild {
    pub(super) when: RebuildWhen,
    target: Option<Target>,
    /// Nothing is tried before.
    not_before: Option<Instant>,
    /// Nothing is tried below this size: what the last one achieved, and as much again.
    pub(super) bytes_min: u64,
    /// Closes and removes the database that was replaced.
    closing: Option<JoinHandle<io::Result<()>>>,
}

/// The fresh database.
struct Target {
    engine: Box<SledEngine>,
    number: u64,
    /// Index of the first entry that was copied.
    from: u64,
    /// Index of the next entry to copy.
    next: u64,
    /// Index behind the last entry of the log when the last step ended.
    end: u64,
}

impl Rebuild {
    pub(super) fn new(when: RebuildWhen) -> Self {
        Self {
            when,
            target: None,
            not_before: None,
            bytes_min: when.bytes_min,
            closing: None,
        }
    }

    /// Waits until nothing works on a replaced database any more.
    fn end(&mut self) {
        match self.closing.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => tracing::warn!(%error, "a replaced log could not be removed"),
            Some(Err(_)) => tracing::error!("closing a replaced log panicked"),
        }
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        self.end();
    }
}

impl SledEngine {
    /// Does a piece of a rebuilding that is due or has begun. `true` when there is more.
    pub(super) fn rebuild(&mut self) -> io::Result<bool> {
        if self.rebuild.target.is_none() {
            if !self.rebuild_is_due()? {
                return Ok(false);
            }
            match self.begin_rebuild() {
                Ok(target) => self.rebuild.target = Some(target),
                Err(error) => {
                    self.abandon_rebuild(&error);
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        self.sync()?;
        let Some(mut target) = self.rebuild.target.take() else {
            return Ok(false);
        };
        let begun = Instant::now();
        // As much as came since the last step, and more: or a busy log would never be caught up with.
        let enough = target.next + self.next_index().saturating_sub(target.end);
        while target.next < self.next_index() {
            // An error here is one of the log itself.
            let range = target.next..self.next_index();
            let records = self.reader().read(range, READ_BYTES)?;
            let Some(last) = records.last().map(|record| record.at.index) else {
                let text = format!("entry {} is missing", target.next);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            };
            let copied = target.engine.append(&records);
            if let Err(error) = copied.and_then(|()| target.engine.sync()) {
                drop(target);
                self.abandon_rebuild(&error);
                return Ok(false);
            }
            target.next = last + 1;
            let gained = target.next >= enough && begun.elapsed() >= PAUSE_MAX;
            if gained && target.next < self.next_index() {
                target.end = self.next_index();
                self.rebuild.target = Some(target);
                return Ok(true);
            }
        }
        // Nothing is written between this and the switch: both belong to this thread.
        if let Err(error) = self.complete(&mut target) {
            drop(target);
            self.abandon_rebuild(&error);
            return Ok(false);
        }
        place::decide(&self.dir)?;
        self.switch_to(target)?;
        Ok(true)
    }

    fn rebuild_is_due(&mut self) -> io::Result<bool> {
        let rebuild = &mut self.rebuild;
        if rebuild.when.factor == 0 || rebuild.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(false);
        }
        let disk = self.file.metadata()?.len();
        if disk < rebuild.bytes_min || disk <= rebuild.when.factor.saturating_mul(self.live_bytes) {
            return Ok(false);
        }
        // The last one may not be over.
        if rebuild.closing.as_ref().is_some_and(|c| !c.is_finished()) {
            return Ok(false);
        }
        rebuild.end();
        Ok(true)
    }

    fn begin_rebuild(&self) -> io::Result<Target> {
        let number = self.number + 1;
        // What a failed try left behind.
        place::sweep(&self.dir, self.number)?;
        let (engine, _) = Self::open_plain(&place::path(&self.dir, number), &Progress::UNWATCHED)
            .map_err(io::Error::other)?;
        tracing::info!(
            live_bytes = self.live_bytes,
            "the log is much larger on disk than what is in it: it is rebuilt"
        );
        let from = self.first;
        Ok(Target {
            engine: Box::new(engine),
            number,
            from,
            next: from,
            end: self.next_index(),
        })
    }

    /// Gives the fresh database vote and markers, and makes it durable in every part.
    fn complete(&self, target: &mut Target) -> io::Result<()> {
        let fresh = &mut target.engine;
        for key in [PURGED_KEY, VOTE_KEY, COMMITTED_KEY] {
            if let Some(value) = self.db.get(key).map_err(sled_error)? {
                fresh.put(&key, &value)?;
            }
        }
        fresh.sync()?;
        place::prepare(&self.dir, target.number)
    }

    /// Goes on in the fresh database.
    fn switch_to(&mut self, target: Target) -> io::Result<()> {
        let mut fresh = target.engine;
        self.number = target.number;
        std::mem::swap(&mut self.file, &mut fresh.file);
        let old = std::mem::replace(&mut self.db, fresh.db.clone());
        *self.read_db.write().unwrap_or_else(|e| e.into_inner()) = fresh.db.clone();
        // Entries that were purged while they were copied.
        self.purged_from = target.from;
        self.purge_to = value_of(&self.db, self.first)?;
        let disk = self.file.metadata()?.len();
        self.rebuild.bytes_min = self.rebuild.when.bytes_min.max(disk.saturating_mul(2));
        metrics::log_rebuilt();
        tracing::info!(disk_bytes = disk, "the log was rebuilt");
        let (dir, number) = (self.dir.clone(), self.number);
        let thread = std::thread::Builder::new().name("raft-log-close".to_owned());
        self.rebuild.closing = Some(thread.spawn(move || {
            // Closing syncs, and removing a large file takes its time.
            drop((old, fresh));
            place::sweep(&dir, number)
        })?);
        Ok(())
    }

    fn abandon_rebuild(&mut self, error: &io::Error) {
        tracing::warn!(%error, "the log could not be rebuilt; it is tried again later");
        self.rebuild.not_before = Some(Instant::now() + RETRY_AFTER);
        if let Err(error) = place::sweep(&self.dir, self.number) {
            tracing::warn!(%error, "what was rebuilt of the log could not be removed");
        }
    }

    /// A truncation: what was copied must not come back.
    pub(super) fn truncate_copy(&mut self, index: u64) {
        if self.rebuild.target.as_ref().is_some_and(|t| t.next > index) {
            // It is rare, and the copy is small.
            self.rebuild.target = None;
        }
    }

    /// A purge: what is gone need not be copied.
    pub(super) fn skip_copy(&mut self, first: u64) {
        if let Some(target) = &mut self.rebuild.target {
            target.next = target.next.max(first);
        }
    }
}

/// The database that readers read.
pub(super) type SharedDb = std::sync::Arc<std::sync::RwLock<Db>>;
