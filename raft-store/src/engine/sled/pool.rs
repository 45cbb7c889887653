//! Keeps most threads of sled's pool asleep.
//!
//! sled hands each write of its log to a pool of seven threads, and wakes all seven. One of them writes,
//! and the others find nothing to do: a quarter of the processor time of a commit when commits come
//! one after the other. There is no option for it. But who waits for an asynchronous flush is woken by
//! the thread of the pool that did it, and that may take its time. So most of the threads are told to
//! flush, again and again, by somebody whose waking up takes [`NAP`].
//!
//! A nap is short, because tasks of the pool can need each other: the lock of the accounts of segments is
//! held while a segment is awaited that the pool cuts off, and tasks that were begun before may wait for
//! that lock. Whatever the threads that are awake cannot do is done after a nap at most.

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sled::Db;

/// How many of the seven threads may sleep at once.
const NAPS_MAX: usize = 5;
/// How long one of them sleeps.
const NAP: Duration = Duration::from_millis(200);

/// Naps that are under way or ordered. The pool is that of the process.
static NAPS: AtomicUsize = AtomicUsize::new(0);

/// One thread's nap.
struct Nap;

impl Nap {
    fn order() -> Option<Self> {
        NAPS.fetch_update(Relaxed, Relaxed, |naps| {
            (naps < NAPS_MAX).then_some(naps + 1)
        })
        .ok()
        .map(|_| Self)
    }
}

impl Wake for Nap {
    fn wake(self: Arc<Self>) {
        std::thread::sleep(NAP);
    }
}

impl Drop for Nap {
    fn drop(&mut self) {
        NAPS.fetch_sub(1, Relaxed);
    }
}

/// Sends threads of the pool to sleep, as many as may. To be called when there is nothing to flush: what
/// an asynchronous flush of something says is heard by nobody here.
pub(super) fn rest(db: &Db) {
    while let Some(nap) = Nap::order() {
        let waker = Waker::from(Arc::new(nap));
        let flush = pin!(db.flush_async());
        if flush.poll(&mut Context::from_waker(&waker)).is_ready() {
            // It was done before anybody waited for it. The next sync tries again.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    // Other tests in this process have databases, too, and send threads of the same pool to sleep.
    #[test]
    fn most_threads_sleep_and_the_database_goes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let db = sled::open(dir.path()).expect("opens");
        let begun = Instant::now();
        while NAPS.load(Relaxed) < NAPS_MAX {
            rest(&db);
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "they do not sleep"
            );
        }
        for i in 0..1000_u32 {
            rest(&db);
            assert!(NAPS.load(Relaxed) <= NAPS_MAX);
            db.insert(i.to_be_bytes(), vec![0; 64]).expect("inserts");
            db.flush().expect("flushes");
        }
        drop(db);
        let db = sled::open(dir.path()).expect("opens again");
        assert_eq!(db.len(), 1000);
    }
}
