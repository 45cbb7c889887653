//! What is known of the log without the disk.

use std::collections::VecDeque;

use crate::record::Position;
use crate::types::{Entry, EntryPayload, LogId, Vote};

/// Entries the cache keeps for their overhead in memory, besides their bytes.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 128;

/// What is in the log. `cache` holds the entries from `cached_from` to the last one.
pub(super) struct Log {
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    /// `committed`, until the writer thread is told.
    pub(super) committed_untold: Option<Position>,
    pub(super) cache: VecDeque<Entry>,
    pub(super) cached_from: u64,
    pub(super) cached_bytes: usize,
    /// All entries below this index are durable.
    pub(super) durable_to: u64,
    /// Changes when entries disappear, so that a reader of the disk can tell.
    pub(super) removals: u64,
}

impl Log {
    pub(super) fn next_index(&self) -> u64 {
        self.last.map_or(0, |last| last.index + 1)
    }

    pub(super) fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.cached_bytes += cost(&entry);
        self.last = Some(entry.log_id);
        self.cache.push_back(entry);
    }

    pub(super) fn pop_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cached_bytes -= cost(&entry);
            self.cached_from += 1;
        }
    }

    /// Forgets old entries that the disk has.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        while self.cached_bytes > bytes_max && self.cached_from < self.durable_to {
            self.pop_front();
        }
    }
}

pub(super) fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_BYTES + payload_bytes(entry)
}

pub(super) fn payload_bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}
