//! Effects of applied entries, on their way to the leader's runtime.
//!
//! Effects are hints for speed: whoever misses some finds the work again in the state. So the
//! channel drops rather than grows, and says so.

use std::sync::Arc;

use regency_state::Effect;
use regency_types::Term;
use tokio::sync::broadcast;

/// The effects of one entry.
#[derive(Debug)]
pub struct EffectBatch {
    /// Index of the entry.
    pub index: u64,
    /// Its term.
    pub term: Term,
    /// In the order the state gave them; never empty.
    pub effects: Vec<Effect>,
}

/// Why there is no next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EffectsLost {
    /// The receiver was too slow, and this many batches are gone: it must sweep the state. After
    /// this the next batch follows as usual.
    #[error("{0} batches of effects were dropped")]
    Lagged(u64),
    /// This master applies nothing any more.
    #[error("this master has stopped")]
    Stopped,
}

/// Receives effects from the moment it was made.
#[derive(Debug)]
pub struct EffectReceiver {
    batches: broadcast::Receiver<Arc<EffectBatch>>,
}

impl EffectReceiver {
    /// The next batch, in log order.
    ///
    /// # Errors
    /// When batches were lost, or no more will come.
    pub async fn recv(&mut self) -> Result<Arc<EffectBatch>, EffectsLost> {
        self.batches.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(batches) => EffectsLost::Lagged(batches),
            broadcast::error::RecvError::Closed => EffectsLost::Stopped,
        })
    }
}

/// Where apply puts effects.
#[derive(Debug, Clone)]
pub(crate) struct EffectSink {
    batches: broadcast::Sender<Arc<EffectBatch>>,
}

impl EffectSink {
    /// A sink that keeps up to about `batches_max` batches for its slowest receiver.
    pub(crate) fn new(batches_max: usize) -> Self {
        Self {
            batches: broadcast::Sender::new(batches_max.max(1)),
        }
    }

    /// Gives effects to whoever listens; to nobody, when nobody does.
    pub(crate) fn put(&self, batch: EffectBatch) {
        if batch.effects.is_empty() || self.batches.receiver_count() == 0 {
            return;
        }
        // An error says that the last receiver went away meanwhile, which is fine.
        let _ = self.batches.send(Arc::new(batch));
    }

    /// Batches that the slowest receiver has not taken yet.
    pub(crate) fn queued(&self) -> usize {
        if self.batches.receiver_count() == 0 {
            return 0;
        }
        self.batches.len()
    }

    pub(crate) fn subscribe(&self) -> EffectReceiver {
        EffectReceiver {
            batches: self.batches.subscribe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use regency_types::{ClusterId, OfferId};

    use super::*;

    #[tokio::test]
    async fn the_queue_is_bounded_and_who_is_too_slow_hears_of_it() {
        let sink = EffectSink::new(4);
        let put = |index| {
            sink.put(EffectBatch {
                index,
                term: Term(1),
                effects: vec![Effect::SendRescind {
                    framework: ClusterId(1).framework_id(1),
                    offer: OfferId(1),
                }],
            });
        };
        put(1);
        assert_eq!(sink.queued(), 0, "nobody listens");
        let mut receiver = sink.subscribe();
        for index in 2..=4 {
            put(index);
        }
        assert_eq!(sink.queued(), 3);
        assert_eq!(receiver.recv().await.expect("not lost").index, 2);
        assert_eq!(sink.queued(), 2);
        for index in 5..=100 {
            put(index);
        }
        assert_eq!(sink.queued(), 4);
        let lost = receiver.recv().await.expect_err("too slow");
        assert_eq!(lost, EffectsLost::Lagged(94));
        assert_eq!(receiver.recv().await.expect("what stayed").index, 97);
    }
}
