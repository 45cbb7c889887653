//! What clients and faults share: who the masters are, the clock, and the history as it grows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::history::{FrameworkEvent, Happened, History, Operation, Outcome};

/// Shared by all that takes part in a run.
#[derive(Debug)]
pub struct Record {
    origin: Instant,
    history: Mutex<History>,
    masters: Mutex<BTreeMap<u64, MasterAt>>,
    /// Operations that were answered, and those that were not.
    pub answered: AtomicU64,
    /// See there.
    pub unanswered: AtomicU64,
    /// Values for registers; none is given twice.
    values: AtomicU64,
}

/// A master that clients know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAt {
    /// Its `host:port`.
    pub http: String,
    /// How often it was started again.
    pub start: u32,
}

impl Record {
    /// Begins now, with these masters.
    #[must_use]
    pub fn new(masters: impl IntoIterator<Item = (u64, String)>) -> Self {
        let masters = masters.into_iter();
        Self {
            origin: Instant::now(),
            history: Mutex::default(),
            masters: Mutex::new(
                masters
                    .map(|(id, http)| (id, MasterAt { http, start: 0 }))
                    .collect(),
            ),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            values: AtomicU64::new(0),
        }
    }

    /// Microseconds since the run began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The history.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, MasterAt>> {
        self.masters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The masters that clients know.
    #[must_use]
    pub fn masters(&self) -> BTreeMap<u64, MasterAt> {
        self.known().clone()
    }

    /// Their addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.known().values().map(|at| at.http.clone()).collect()
    }

    /// The master at an address.
    #[must_use]
    pub fn at(&self, address: &str) -> Option<u64> {
        let known = self.known();
        let mut found = known.iter().filter(|(_, at)| at.http == address);
        found.next().map(|(id, _)| *id)
    }

    /// A master is about to be started again.
    pub fn starts(&self, id: u64) {
        if let Some(at) = self.known().get_mut(&id) {
            at.start += 1;
        }
    }

    /// A master takes the place of another.
    pub fn replaced(&self, old: u64, new: u64, http: String) {
        let mut known = self.known();
        known.remove(&old);
        known.insert(new, MasterAt { http, start: 0 });
    }

    /// A value that no register ever had.
    pub fn value(&self) -> u64 {
        self.values.fetch_add(1, Relaxed) + 1
    }

    /// Notes an operation.
    pub fn done(&self, operation: Operation) {
        match operation.outcome {
            Outcome::Written | Outcome::Told { .. } => self.answered.fetch_add(1, Relaxed),
            Outcome::Failed | Outcome::Unknown => self.unanswered.fetch_add(1, Relaxed),
        };
        self.history().operations.push(operation);
    }

    /// Notes what a framework did or was told.
    pub fn framework(&self, what: Happened) {
        let at_us = self.now_us();
        self.history()
            .framework
            .push(FrameworkEvent { at_us, what });
    }
}
