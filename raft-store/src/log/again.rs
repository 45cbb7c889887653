//! Writes that found no room on the disk are done again when there is some.
//!
//! A write that failed leaves the engine in an unknown state, but all that was synced before is whole
//! on the disk: it is the state after a crash. So the engine is closed and opened again, compared with
//! what it must hold, cut behind the last entry that was acknowledged, and given everything since the
//! last sync once more. Nobody is told anything meanwhile. A sync that failed is another matter: the
//! disk may have dropped what it took, and this master stops.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;

use super::group::Group;
use super::writer::Writer;
use crate::engine::{EngineError, LogEngine, Recovered};
use crate::metrics;
use crate::record::{Position, Record};
use crate::space::{self, Space};
use crate::types::Vote;

/// How long to wait before the next attempt, first and at most.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_millis(500);
/// Room for the engine's own structures, besides what is to be written.
const OVERHEAD_BYTES: u64 = 1024 * 1024;
/// A record takes up to this many times its size in an engine.
const OVERHEAD_TIMES: u64 = 3;

type Opener = dyn Fn() -> Result<(Box<dyn LogEngine>, Recovered), EngineError> + Send;

/// How the log is opened again.
pub(crate) struct Again {
    pub(crate) open: Box<Opener>,
    pub(crate) space: Arc<Space>,
}

/// One call of the engine.
pub(super) enum Op {
    Append {
        records: Vec<Record>,
        /// What was committed before them.
        committed: Option<Position>,
    },
    Vote(Vote),
    Truncate(u64),
    Purge(Position),
}

impl Op {
    pub(super) fn carry_out(&self, engine: &mut dyn LogEngine) -> io::Result<()> {
        match self {
            Self::Append { records, committed } => {
                if let Some(at) = committed {
                    engine.save_committed(*at)?;
                }
                engine.append(records)
            }
            Self::Vote(vote) => engine.save_vote(vote),
            Self::Truncate(from) => engine.truncate_from(*from),
            Self::Purge(at) => engine.purge_upto(*at),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Append { records, .. } => {
                let bytes = records.iter().map(Record::encoded_bytes).sum::<usize>();
                u64::try_from(bytes).unwrap_or(u64::MAX)
            }
            Self::Vote(_) | Self::Truncate(_) | Self::Purge(_) => 0,
        }
    }
}

impl Writer {
    /// After a write failed with `error`: does everything since the last sync again, and syncs it.
    ///
    /// # Errors
    /// When it did not fail for want of room, or the log is not what it was.
    pub(super) fn do_again(&mut self, group: &mut Group, mut error: io::Error) -> io::Result<()> {
        if self.again.is_none() || !space::is_full(&error) {
            return Err(error);
        }
        tracing::error!(
            %error,
            free_bytes = self.space().map_or(0, |space| space.room().free_bytes),
            "the log found no room on the disk; its last writes wait until there is some"
        );
        // The disk is not slow but full, which is told in another way.
        self.shared.watch.set_waits_for_room(true);
        self.set_stuck(true);
        let result = loop {
            match self.attempt(group, &error) {
                Ok(()) => break Ok(()),
                Err(next) if space::is_full(&next) => error = next,
                Err(failed) => break Err(failed),
            }
        };
        self.set_stuck(false);
        if result.is_ok() {
            tracing::info!("the writes that found no room are on the disk now");
        }
        self.shared.watch.set_waits_for_room(false);
        result
    }

    fn space(&self) -> Option<&Space> {
        self.again.as_ref().map(|again| again.space.as_ref())
    }

    fn set_stuck(&self, stuck: bool) {
        if let Some(space) = self.space() {
            space.set_stuck(stuck);
        }
    }

    /// Opens the log, waits for room, and writes.
    fn attempt(&mut self, group: &mut Group, error: &io::Error) -> io::Result<()> {
        let found = self.reopen(group, error)?;
        // A purge may be on the disk that was not told yet.
        let first = found.purged.map_or(0, |purged| purged.index + 1);
        let from = self.synced_next.max(first);
        self.wait_for_room(group)?;
        let Some(engine) = self.engine.as_deref_mut() else {
            return Err(super::stopped());
        };
        engine.truncate_from(from)?;
        for op in &group.ops {
            op.carry_out(engine)?;
        }
        engine.sync()
    }

    fn reopen(&mut self, group: &mut Group, cause: &io::Error) -> io::Result<Recovered> {
        // An engine holds its files for as long as somebody reads with it.
        self.shared.disk.send_replace(None);
        self.engine = None;
        let mut wait = RETRY_FIRST;
        loop {
            let Some(again) = &self.again else {
                return Err(io::Error::new(cause.kind(), cause.to_string()));
            };
            match (again.open)() {
                Ok((engine, found)) => {
                    metrics::log_reopened();
                    self.compare(&found)?;
                    self.shared.disk.send_replace(Some(engine.reader()));
                    self.engine = Some(engine);
                    return Ok(found);
                }
                Err(EngineError::Io { source, .. }) if space::is_full(&source) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            self.collect(group, wait)?;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// The log must hold what it held when it was synced last.
    fn compare(&self, found: &Recovered) -> io::Result<()> {
        let next = found.last.map_or(0, |last| last.index + 1);
        let vote = &self.synced_vote;
        if next < self.synced_next || found.vote < *vote {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the log was opened again after the disk was full, and came back with {:?} and \
                     vote {:?}; entries below {} and vote {vote:?} were durable",
                    found.last, found.vote, self.synced_next
                ),
            ));
        }
        Ok(())
    }

    /// Waits until there seems to be room for the group, which grows meanwhile.
    fn wait_for_room(&mut self, group: &mut Group) -> io::Result<()> {
        // Even when the disk says that there is room, as it does where a quota is the limit.
        let mut wait = RETRY_FIRST;
        loop {
            self.collect(group, wait)?;
            let bytes = group.ops.iter().map(Op::bytes).sum::<u64>();
            let needed = bytes
                .saturating_mul(OVERHEAD_TIMES)
                .saturating_add(OVERHEAD_BYTES);
            let Some(space) = self.space() else {
                return Ok(());
            };
            space.look();
            if space.room().free_bytes >= needed {
                return Ok(());
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Takes what is asked for while nothing can be written, or heartbeats would stop. A vote is told
    /// only when it is durable.
    fn collect(&mut self, group: &mut Group, wait: Duration) -> io::Result<()> {
        std::thread::sleep(wait);
        // Whoever asked meanwhile waits for room, not for a disk that stands still.
        self.shared.watch.end(false);
        loop {
            match self.queue.try_recv() {
                Ok(io) => group.take(io),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("stopped while the disk was full"));
                }
            }
        }
    }
}
