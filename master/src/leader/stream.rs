//! One framework's event stream: what was sent on it, and how much waits to be read.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use regency_leader_core::subscription;
use regency_state::State;
use regency_types::{ClusterId, FrameworkId, OfferId, OperationKey, StreamId, TaskKey};
use regency_wire::v1::scheduler::Event;
use regency_wire::{ContentType, encode, recordio};
use tokio::sync::mpsc;

use super::frameworks::Departure;
use crate::counters::{OfFramework, OfferEnd};
use crate::metrics;
use crate::query;

/// The sending side of a subscription.
///
/// Every event passes here, so here it is kept that each offer is sent at most once on a stream
/// and that nobody hears of the end of an offer it was never sent.
#[derive(Debug)]
pub(crate) struct FrameworkStream {
    pub(crate) framework: FrameworkId,
    pub(crate) id: StreamId,
    content: ContentType,
    cluster: ClusterId,
    bytes_max: usize,
    queued: Arc<AtomicUsize>,
    counts: Arc<OfFramework>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Absent once the stream is closed.
    events: Option<mpsc::UnboundedSender<Bytes>>,
    /// Offers and inverse offers sent and not known to have ended.
    offers: BTreeSet<OfferId>,
}

impl FrameworkStream {
    /// A stream and the body its records come out of. Whoever drops the body before the stream
    /// was closed has left, which `departures` is told.
    pub(crate) fn new(
        framework: FrameworkId,
        id: StreamId,
        content: ContentType,
        cluster: ClusterId,
        bytes_max: usize,
        departures: mpsc::UnboundedSender<Departure>,
        counts: Arc<OfFramework>,
    ) -> (Arc<Self>, EventBody) {
        // Bounded by bytes, not by records: `put` closes the stream before more than `bytes_max` wait.
        let (events, records) = mpsc::unbounded_channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let stream = Arc::new(Self {
            framework: framework.clone(),
            id,
            content,
            cluster,
            bytes_max,
            queued: Arc::clone(&queued),
            counts,
            inner: Mutex::new(Inner {
                events: Some(events),
                offers: BTreeSet::new(),
            }),
        });
        let departure = Departure {
            framework,
            stream: id,
        };
        let body = EventBody {
            records,
            queued,
            departure: Some((departure, departures)),
        };
        (stream, body)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the beginning of a subscription in one piece: nothing that happens meanwhile comes in
    /// between. `first` are SUBSCRIBED and HEARTBEAT; `state` is read after the stream became
    /// known to the executor of effects, so that what is not in it follows as an effect.
    pub(crate) fn open(&self, first: &[Event], state: impl FnOnce() -> State) {
        let mut inner = self.lock();
        for event in first {
            self.put(&mut inner, event);
        }
        let state = state();
        let Some(framework) = state.framework(&self.framework).cloned() else {
            return;
        };
        let offers: Vec<OfferId> = framework.offers.iter().copied().collect();
        self.put_offers(&mut inner, &state, &offers);
        let inverse: Vec<OfferId> = framework.inverse_offers.iter().copied().collect();
        self.put_inverse_offers(&mut inner, &state, &inverse);
        for task in state.tasks_of(&framework) {
            if task.unacked.is_some() {
                self.put_update(&mut inner, &state, &task.key);
            }
        }
        for operation in state.operations_of(&framework.id) {
            let status = query::operation::finished(operation);
            self.put(&mut inner, &Event::update_operation_status(status));
        }
        for (_, refused) in &framework.refused_operations {
            let status = query::operation::refused(refused);
            self.put(&mut inner, &Event::update_operation_status(status));
        }
        for status in subscription::statuses(&state, &framework) {
            let status =
                query::status::of_master(status, &framework.spec.capabilities, state.wall());
            self.put(&mut inner, &Event::update(status));
        }
    }

    /// Sends one event.
    pub(crate) fn send(&self, event: &Event) {
        self.put(&mut self.lock(), event);
    }

    /// Sends those of the offers that are outstanding and were not sent on this stream.
    pub(crate) fn send_offers(&self, state: &State, offers: &[OfferId]) {
        self.put_offers(&mut self.lock(), state, offers);
    }

    /// Sends those of the inverse offers that are outstanding and were not sent on this stream.
    pub(crate) fn send_inverse_offers(&self, state: &State, offers: &[OfferId]) {
        self.put_inverse_offers(&mut self.lock(), state, offers);
    }

    /// Tells the end of an inverse offer, if it was sent on this stream.
    pub(crate) fn rescind_inverse(&self, offer: OfferId) {
        let mut inner = self.lock();
        if inner.offers.remove(&offer) {
            let value = self.cluster.offer_id(offer);
            let id = regency_wire::v1::OfferId { value };
            self.put(&mut inner, &Event::rescind_inverse_offer(id));
        }
    }

    /// Tells the end of an offer, if it was sent on this stream.
    pub(crate) fn rescind(&self, offer: OfferId) {
        let mut inner = self.lock();
        if inner.offers.remove(&offer) {
            self.counts.offers(OfferEnd::Rescinded, 1);
            let value = self.cluster.offer_id(offer);
            self.put(
                &mut inner,
                &Event::rescind(regency_wire::v1::OfferId { value }),
            );
        }
    }

    /// Forgets offers that the framework itself used or gave back.
    pub(crate) fn forget_offers(&self, offers: impl IntoIterator<Item = OfferId>) {
        let mut inner = self.lock();
        for offer in offers {
            inner.offers.remove(&offer);
        }
    }

    /// Sends the unacknowledged update at the head of a task's stream.
    pub(crate) fn send_update(&self, state: &State, task: &TaskKey) {
        self.put_update(&mut self.lock(), state, task);
    }

    /// Tells that an operation was carried out, if that is not acknowledged.
    pub(crate) fn send_operation(&self, state: &State, operation: &OperationKey) {
        if let Some(operation) = state.operation(operation) {
            let status = query::operation::finished(operation);
            self.send(&Event::update_operation_status(status));
        }
    }

    /// Ends the stream, after an ERROR event where there is something to say.
    pub(crate) fn close(&self, error: Option<&str>) {
        let mut inner = self.lock();
        if let Some(message) = error {
            self.put(&mut inner, &Event::error(message));
        }
        inner.events = None;
    }

    fn put_offers(&self, inner: &mut Inner, state: &State, offers: &[OfferId]) {
        let mut fresh = Vec::new();
        for id in offers {
            let Some(offer) = state.offer(*id).filter(|o| o.framework == self.framework) else {
                continue;
            };
            if inner.offers.insert(*id)
                && let Some(offer) = query::offer::encode(state, offer)
            {
                fresh.push(offer);
            }
        }
        if !fresh.is_empty() {
            self.counts.offers(OfferEnd::Sent, fresh.len());
            self.put(inner, &Event::offers(fresh));
        }
    }

    fn put_inverse_offers(&self, inner: &mut Inner, state: &State, offers: &[OfferId]) {
        let mut fresh = Vec::new();
        for id in offers {
            let offer = state.inverse_offer(*id);
            let Some(offer) = offer.filter(|o| o.framework == self.framework) else {
                continue;
            };
            if inner.offers.insert(*id)
                && let Some(offer) = query::maintenance::inverse_offer(state, offer)
            {
                fresh.push(offer);
            }
        }
        if !fresh.is_empty() {
            self.put(inner, &Event::inverse_offers(fresh));
        }
    }

    fn put_update(&self, inner: &mut Inner, state: &State, task: &TaskKey) {
        let Some(framework) = state.framework(&self.framework) else {
            return;
        };
        let Some(task) = state.task(task) else { return };
        let Some(update) = &task.unacked else { return };
        let status = query::status::of_update(task, update, &framework.spec.capabilities);
        self.put(inner, &Event::update(status));
    }

    fn put(&self, inner: &mut Inner, event: &Event) {
        let Some(events) = &inner.events else { return };
        let record = recordio::frame(&encode(self.content, event));
        let bytes = record.len();
        if self.queued.fetch_add(bytes, Ordering::Relaxed) + bytes > self.bytes_max {
            tracing::warn!(
                framework_id = %self.framework,
                bytes_max = self.bytes_max,
                "the framework does not read its events; its stream is closed"
            );
            ::metrics::counter!(metrics::STREAMS_TOO_SLOW).increment(1);
            inner.events = None;
            return;
        }
        ::metrics::counter!(metrics::EVENTS_SENT, "event" => name(event)).increment(1);
        self.counts.event(event.r#type());
        if events.send(record).is_err() {
            inner.events = None;
        }
    }
}

fn name(event: &Event) -> &'static str {
    use regency_wire::v1::scheduler::event::Type;
    match event.r#type() {
        Type::Subscribed => "subscribed",
        Type::Heartbeat => "heartbeat",
        Type::Offers => "offers",
        Type::Rescind => "rescind",
        Type::InverseOffers => "inverse_offers",
        Type::RescindInverseOffer => "rescind_inverse_offer",
        Type::Update => "update",
        Type::UpdateOperationStatus => "update_operation_status",
        Type::Failure => "failure",
        Type::Error => "error",
        _ => "other",
    }
}

/// The records of a subscription as a response body: one record, one chunk.
#[derive(Debug)]
pub(crate) struct EventBody {
    records: mpsc::UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
    departure: Option<(Departure, mpsc::UnboundedSender<Departure>)>,
}

impl futures::Stream for EventBody {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.records.poll_recv(cx) {
            Poll::Ready(Some(record)) => {
                self.queued.fetch_sub(record.len(), Ordering::Relaxed);
                Poll::Ready(Some(Ok(record)))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        // Dropped whole or in the middle: either way nobody reads this stream any more. Whether
        // that is a disconnection is for the leader to judge, who may have closed it itself.
        if let Some((departure, departures)) = self.departure.take() {
            let _ = departures.send(departure);
        }
    }
}
