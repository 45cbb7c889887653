//! The thread that writes.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::again::Again;
use super::group::Io;
use super::reader::Shared;
use super::stopped;
use crate::engine::LogEngine;
use crate::metrics;
use crate::space::is_full;
use crate::types::Vote;

/// While there is work, old keys are removed at least this often.
const TIDY_EVERY: Duration = Duration::from_millis(2);

/// While there is work, the size of the log is measured this often.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Waits for the end of the writer thread, and with it for the closing of the engine.
pub(crate) struct WriterEnd(pub(super) Mutex<Option<JoinHandle<()>>>);

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

/// The thread that owns the engine.
pub(super) struct Writer {
    /// `None` while it is opened again.
    pub(super) engine: Option<Box<dyn LogEngine>>,
    pub(super) queue: mpsc::Receiver<Io>,
    pub(super) shared: Arc<Shared>,
    pub(super) again: Option<Again>,
    /// All entries below this index are durable, and none behind it was acknowledged.
    pub(super) synced_next: u64,
    pub(super) synced_vote: Option<Vote>,
}

impl Writer {
    pub(super) fn run(mut self) {
        if let Err(error) = self.serve() {
            // The disk cannot be believed any more. Everybody who waits or will wait hears it,
            // the core stops, and with it this master.
            tracing::error!(%error, "the log cannot be written, this master stops");
            while let Some(io) = self.queue.blocking_recv() {
                io.refuse(&error);
            }
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut untidy = true;
        let mut tidied = Instant::now();
        let mut measured = None::<Instant>;
        loop {
            if measured.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
                let bytes = self.engine()?.bytes()?;
                metrics::log_bytes(bytes.disk, bytes.live);
                measured = Some(Instant::now());
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
                tidied = Instant::now();
            }
        }
        self.close()
    }

    /// Writes what is left when nobody asks for anything any more.
    pub(super) fn close(&mut self) -> io::Result<()> {
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

    pub(super) fn engine(&mut self) -> io::Result<&mut dyn LogEngine> {
        self.engine.as_deref_mut().ok_or_else(stopped)
    }
}
