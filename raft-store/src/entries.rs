//! The state after each single entry, for who must miss none.
//!
//! Readers of the newest state (`StateReader`) may skip entries. Who tells others what changed may not:
//! it gets every state in turn, or is told that it does not.

use std::sync::{Arc, Mutex, PoisonError};

use regency_state::State;
use tokio::sync::mpsc;

/// The state after an entry.
#[derive(Debug, Clone)]
pub struct AppliedEntry {
    /// Index of the entry.
    pub index: u64,
    /// The state with it. A cheap clone.
    pub state: State,
    /// Whether this follows what was received before without a gap. There is one where a snapshot came
    /// in place of entries, and where the receiver was too slow.
    pub follows: bool,
}

/// Receives the state after each entry, from the moment it was made.
#[derive(Debug)]
pub struct EntryReceiver {
    entries: mpsc::Receiver<AppliedEntry>,
}

impl EntryReceiver {
    /// The next one; `None` when this master applies nothing any more, or another receiver was made.
    pub async fn recv(&mut self) -> Option<AppliedEntry> {
        self.entries.recv().await
    }
}

#[derive(Debug)]
struct Receiver {
    entries: mpsc::Sender<AppliedEntry>,
    /// Something was not put there.
    gap: bool,
}

/// Where apply puts states.
#[derive(Debug, Clone, Default)]
pub(crate) struct EntrySink {
    receiver: Arc<Mutex<Option<Receiver>>>,
}

impl EntrySink {
    fn with<T>(&self, act: impl FnOnce(&mut Option<Receiver>) -> T) -> T {
        act(&mut self.receiver.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The one receiver; what had it before ends.
    pub(crate) fn subscribe(&self, waiting_max: usize) -> EntryReceiver {
        let (sender, entries) = mpsc::channel(waiting_max.max(1));
        self.with(|receiver| {
            *receiver = Some(Receiver {
                entries: sender,
                gap: true,
            });
        });
        EntryReceiver { entries }
    }

    /// Whether somebody listens.
    pub(crate) fn is_wanted(&self) -> bool {
        self.with(|receiver| receiver.is_some())
    }

    /// Gives a state to the receiver. Never waits: to one that is too slow it is lost.
    pub(crate) fn put(&self, index: u64, state: State, follows: bool) {
        self.with(|slot| {
            let Some(receiver) = slot else { return };
            let entry = AppliedEntry {
                index,
                state,
                follows: follows && !receiver.gap,
            };
            match receiver.entries.try_send(entry) {
                Ok(()) => receiver.gap = false,
                Err(mpsc::error::TrySendError::Full(_)) => receiver.gap = true,
                Err(mpsc::error::TrySendError::Closed(_)) => *slot = None,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sink: &EntrySink, index: u64) {
        sink.put(index, State::default(), true);
    }

    async fn next(receiver: &mut EntryReceiver) -> (u64, bool) {
        let entry = receiver.recv().await.expect("there is one");
        (entry.index, entry.follows)
    }

    #[tokio::test]
    async fn every_entry_is_received_or_its_loss_is_told() {
        let sink = EntrySink::default();
        put(&sink, 1);
        assert!(!sink.is_wanted());
        let mut receiver = sink.subscribe(2);
        for index in 2..=5 {
            put(&sink, index);
        }
        assert_eq!(
            next(&mut receiver).await,
            (2, false),
            "what was before is not known"
        );
        assert_eq!(next(&mut receiver).await, (3, true));
        put(&sink, 6);
        assert_eq!(next(&mut receiver).await, (6, false), "4 and 5 are lost");
        put(&sink, 7);
        assert_eq!(next(&mut receiver).await, (7, true));
        sink.put(90, State::default(), false);
        assert_eq!(next(&mut receiver).await, (90, false), "a snapshot");
        drop(receiver);
        put(&sink, 91);
        assert!(!sink.is_wanted());
    }

    #[tokio::test]
    async fn a_newer_receiver_takes_the_place_of_the_older() {
        let sink = EntrySink::default();
        let mut old = sink.subscribe(2);
        let mut new = sink.subscribe(2);
        put(&sink, 1);
        assert!(old.recv().await.is_none());
        assert_eq!(next(&mut new).await, (1, false));
    }
}
