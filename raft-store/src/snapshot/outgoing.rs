//! Snapshots on their way to other masters.
//!
//! A transfer that was interrupted goes on only if the same snapshot is sent again, so that one is held
//! until its transfer ends, also when newer ones were written meanwhile: the open file can be read when
//! its name is gone. It is given up when entries after it were purged from the log, because whoever
//! gets it would need the next snapshot at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regency_types::NodeId;

use super::{SnapshotFile, SnapshotProgress};
use crate::metrics;
use crate::types::SnapshotMeta;

/// A snapshot and what it is of.
type Snapshot = (SnapshotMeta, SnapshotFile);

/// The newest snapshot of this master, and those that are being sent.
pub(crate) struct Outgoing {
    purged: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    newest: Option<Snapshot>,
    transfers: BTreeMap<NodeId, Held>,
    /// Counts transfers, so that the end of one is not taken for that of the next.
    turn: u64,
}

struct Held {
    turn: u64,
    snapshot: Snapshot,
    done_bytes: u64,
    /// It ended before its time and will be begun again.
    interrupted: bool,
}

impl Outgoing {
    /// `purged` tells the index of the last entry that was removed from the log.
    pub(crate) fn new(purged: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            purged: Box::new(purged),
            inner: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Option<Snapshot> {
        self.lock().newest.clone()
    }

    /// Replaces the newest snapshot.
    pub(crate) fn set_newest(&self, meta: SnapshotMeta, file: SnapshotFile) {
        self.lock().newest = Some((meta, file));
    }

    /// As [`Self::set_newest`], unless there is a newer one.
    pub(crate) fn offer_newest(&self, meta: &SnapshotMeta, file: &SnapshotFile) {
        let mut inner = self.lock();
        let newer = |(known, _): &Snapshot| {
            known.last_log_id.map(|at| at.index) > meta.last_log_id.map(|at| at.index)
        };
        if !inner.newest.as_ref().is_some_and(newer) {
            inner.newest = Some((meta.clone(), file.clone()));
        }
    }

    /// What to send to a member that needs a snapshot: that of an interrupted transfer if it is still
    /// of use, else the newest.
    pub(crate) fn to_send(&self) -> Option<Snapshot> {
        // Before the lock: it takes another one.
        let purged = (self.purged)();
        let inner = self.lock();
        let useful = |held: &&Held| {
            held.interrupted && held.snapshot.0.last_log_id.map(|at| at.index) >= purged
        };
        let held = inner.transfers.values().filter(useful);
        held.max_by_key(|held| held.done_bytes)
            .map(|held| held.snapshot.clone())
            .or_else(|| inner.newest.clone())
    }

    /// How far the transfer to a member is.
    pub(crate) fn progress(&self, node: NodeId) -> Option<SnapshotProgress> {
        let inner = self.lock();
        inner.transfers.get(&node).map(|held| SnapshotProgress {
            done_bytes: held.done_bytes,
            bytes: held.snapshot.1.bytes(),
        })
    }

    /// Holds a snapshot for its transfer to `node` until what is returned is dropped.
    pub(crate) fn hold(self: &Arc<Self>, node: NodeId, snapshot: Snapshot) -> Transfer {
        let mut inner = self.lock();
        inner.turn += 1;
        let turn = inner.turn;
        let file = snapshot.1.clone();
        inner.transfers.insert(
            node,
            Held {
                turn,
                snapshot,
                done_bytes: 0,
                interrupted: false,
            },
        );
        Transfer {
            outgoing: Arc::clone(self),
            node,
            turn,
            file,
            complained: AtomicBool::new(false),
        }
    }
}

/// A transfer to one member, over as many connections as it takes.
pub(crate) struct Transfer {
    outgoing: Arc<Outgoing>,
    node: NodeId,
    turn: u64,
    file: SnapshotFile,
    complained: AtomicBool,
}

impl Transfer {
    /// Whether it is of this file.
    pub(crate) fn is_of(&self, file: &SnapshotFile) -> bool {
        Arc::ptr_eq(&self.file.file, &file.file)
    }

    /// The other side has, or has been sent, the file up to here.
    pub(crate) fn at(&self, done_bytes: u64) -> SnapshotProgress {
        self.change(|held| {
            held.done_bytes = done_bytes;
            held.interrupted = false;
        });
        let progress = SnapshotProgress {
            done_bytes,
            bytes: self.file.bytes(),
        };
        metrics::snapshot_sending(self.node, Some(progress));
        progress
    }

    /// Whether nothing was said about the file yet. It is tried again several times a second.
    pub(crate) fn is_first_complaint(&self) -> bool {
        !self.complained.swap(true, Ordering::Relaxed)
    }

    /// It will be begun again.
    pub(crate) fn interrupted(&self) {
        self.change(|held| held.interrupted = true);
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        let mut inner = self.outgoing.lock();
        let held = inner.transfers.get_mut(&self.node);
        if let Some(held) = held.filter(|held| held.turn == self.turn) {
            change(held);
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut inner = self.outgoing.lock();
        let held = inner.transfers.get(&self.node);
        if held.is_some_and(|held| held.turn == self.turn) {
            inner.transfers.remove(&self.node);
            metrics::snapshot_sending(self.node, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::types::log_id;

    const NODE: NodeId = NodeId(2);

    struct Fixture {
        dir: tempfile::TempDir,
        purged: Arc<AtomicU64>,
        outgoing: Arc<Outgoing>,
    }

    fn fixture() -> Fixture {
        let purged = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&purged);
        Fixture {
            dir: tempfile::tempdir().expect("temporary directory"),
            purged,
            outgoing: Outgoing::new(move || Some(told.load(Ordering::Relaxed))),
        }
    }

    impl Fixture {
        fn snapshot(&self, index: u64) -> Snapshot {
            let path = self.dir.path().join(index.to_string());
            std::fs::write(&path, [0; 100]).expect("writable");
            let meta = SnapshotMeta {
                last_log_id: Some(log_id(1, index)),
                last_membership: Default::default(),
            };
            (meta, SnapshotFile::open(&path).expect("there"))
        }

        fn next(&self) -> u64 {
            let (meta, _) = self.outgoing.to_send().expect("there is one");
            meta.last_log_id.expect("not of nothing").index
        }
    }

    #[test]
    fn an_interrupted_transfer_goes_on_with_its_own_snapshot() {
        let f = fixture();
        assert!(f.outgoing.to_send().is_none());
        let old = f.snapshot(10);
        f.outgoing.set_newest(old.0.clone(), old.1.clone());
        let transfer = f.outgoing.hold(NODE, old.clone());
        transfer.at(40);
        let newer = f.snapshot(20);
        f.outgoing.offer_newest(&newer.0, &newer.1);
        f.outgoing.offer_newest(&old.0, &old.1);
        // Others begin with the newest.
        assert_eq!(f.next(), 20);
        transfer.interrupted();
        assert_eq!(f.next(), 10);
        assert_eq!(f.outgoing.newest().expect("there").0, newer.0);
        let progress = f.outgoing.progress(NODE).expect("not given up");
        assert_eq!(progress.percent(), 40);
        assert!(transfer.is_of(&old.1) && !transfer.is_of(&newer.1));

        transfer.at(50);
        assert_eq!(f.next(), 20);
        transfer.interrupted();
        drop(transfer);
        assert_eq!(f.next(), 20);
        assert_eq!(f.outgoing.progress(NODE), None);
    }

    #[test]
    fn a_snapshot_whose_next_entries_are_gone_is_given_up() {
        let f = fixture();
        let (old, newer) = (f.snapshot(10), f.snapshot(20));
        f.outgoing.set_newest(newer.0, newer.1);
        let transfer = f.outgoing.hold(NODE, old);
        transfer.interrupted();
        f.purged.store(10, Ordering::Relaxed);
        assert_eq!(f.next(), 10);
        f.purged.store(11, Ordering::Relaxed);
        assert_eq!(f.next(), 20);
    }

    #[test]
    fn the_end_of_a_transfer_leaves_its_successor_alone() {
        let f = fixture();
        let first = f.outgoing.hold(NODE, f.snapshot(10));
        let second = f.outgoing.hold(NODE, f.snapshot(20));
        second.at(30);
        first.at(99);
        drop(first);
        assert_eq!(f.outgoing.progress(NODE).map(|p| p.done_bytes), Some(30));
    }
}
