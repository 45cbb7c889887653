//! What waits for one watcher.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;

use super::hub::EventHub;

/// Records that happened since a stream was opened. Dropping it ends the stream.
#[derive(Debug)]
pub(super) struct Queue {
    records: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<AtomicUsize>,
    id: u64,
    hub: Weak<EventHub>,
}

impl Queue {
    pub(super) fn new(
        records: mpsc::UnboundedReceiver<Bytes>,
        waiting: Arc<AtomicUsize>,
        id: u64,
        hub: Weak<EventHub>,
    ) -> Self {
        Self {
            records,
            waiting,
            id,
            hub,
        }
    }
}

impl Stream for Queue {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = self.records.poll_recv(cx);
        if let Poll::Ready(Some(record)) = &polled {
            self.waiting.fetch_sub(record.len(), Ordering::Relaxed);
        }
        polled
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.leave(self.id);
        }
    }
}
