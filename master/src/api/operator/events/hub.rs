//! Who watches the cluster from this master, and what was told last.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use metrics::{counter, gauge};
use regency_state::State;
use regency_wire::v1::master::Event;
use regency_wire::{ContentType, encode, recordio};
use tokio::sync::{mpsc, watch};

use super::position::Position;
use super::queue::Queue;
use crate::counters::applied;
use crate::metrics::{
    OPERATOR_EVENTS, OPERATOR_EVENTS_KEPT, OPERATOR_STREAMS, OPERATOR_STREAMS_CLOSED,
};
use crate::query::Identity;
use crate::query::v1::events::{Told, heartbeat, told_of};

/// What bounds the memory of event streams.
#[derive(Debug, Clone, Copy)]
pub struct EventLimits {
    /// Streams at a time; one more closes the oldest.
    pub streams: usize,
    /// Events kept for those who come back.
    pub kept: usize,
    /// Bytes that may wait for one watcher.
    pub waiting_bytes: usize,
}

/// An event that was told, and where it belongs.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) position: Position,
    pub(super) told: Arc<Told>,
}

/// How a watcher wants its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) content: ContentType,
    /// With their positions.
    pub(super) positions: bool,
}

impl Form {
    /// One record of a stream.
    pub(super) fn record(self, mut event: Event, position: Position) -> Bytes {
        if self.positions {
            event.regency_position = Some(position.to_string());
        }
        recordio::frame(&encode(self.content, &event))
    }
}

/// Takes what is applied, entry by entry, and tells it to those who watch.
#[derive(Debug)]
pub struct EventHub {
    identity: Arc<Identity>,
    limits: EventLimits,
    inner: Mutex<Inner>,
    /// Index of the last entry that was told.
    index: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    index: u64,
    /// Everything after this is in `kept`.
    since: Position,
    kept: VecDeque<Kept>,
    /// The oldest first.
    streams: VecDeque<Stream>,
    /// Number of the next stream.
    next: u64,
}

#[derive(Debug)]
struct Stream {
    id: u64,
    form: Form,
    records: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<AtomicUsize>,
}

/// What a new watcher gets.
#[derive(Debug)]
pub(super) struct Subscription {
    /// What it is told first: everything, or nothing where it goes on.
    pub(super) state: Option<State>,
    /// The point behind `state`, or where it goes on.
    pub(super) position: Position,
    /// What happened since.
    pub(super) missed: Vec<Kept>,
    /// What happens from now on.
    pub(super) queue: Queue,
}

/// Why a stream was closed from this side; the label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    TooSlow,
    TooMany,
    Gap,
    NoLeader,
}

impl Closed {
    fn name(self) -> &'static str {
        match self {
            Self::TooSlow => "too_slow",
            Self::TooMany => "too_many",
            Self::Gap => "gap",
            Self::NoLeader => "no_leader",
        }
    }
}

impl EventHub {
    /// A hub that knows this state, with the entries up to `index` in it.
    #[must_use]
    pub fn new(
        identity: Arc<Identity>,
        limits: EventLimits,
        index: u64,
        state: State,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            limits,
            inner: Mutex::new(Inner {
                state,
                index,
                since: Position::behind(index),
                kept: VecDeque::new(),
                streams: VecDeque::new(),
                next: 0,
            }),
            index: watch::Sender::new(index),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many watch.
    pub(crate) fn n_streams(&self) -> usize {
        self.lock().streams.len()
    }

    /// Index of the last entry that was told, and each change of it.
    pub(super) fn index(&self) -> watch::Receiver<u64> {
        self.index.subscribe()
    }

    /// Takes the state after the next entry, and tells what that changed.
    pub fn apply(&self, index: u64, state: State) {
        let mut inner = self.lock();
        if index <= inner.index {
            return;
        }
        let told = told_of(&inner.state, &state, &self.identity);
        applied(&inner.state, &state, &told);
        inner.state = state;
        inner.index = index;
        for (part, told) in (0..).zip(told) {
            let position = Position { index, part };
            counter!(OPERATOR_EVENTS, "event" => told.name()).increment(1);
            if !inner.streams.is_empty() {
                self.send(&mut inner, position, &told.event());
            }
            let told = Arc::new(told);
            inner.kept.push_back(Kept { position, told });
        }
        while inner.kept.len() > self.limits.kept {
            if let Some(dropped) = inner.kept.pop_front() {
                inner.since = dropped.position;
            }
        }
        gauge!(OPERATOR_EVENTS_KEPT).set(inner.kept.len() as f64);
        self.index.send_replace(index);
    }

    /// Takes a state that does not follow the last one: what happened in between is not known, so
    /// that nobody can go on from before.
    pub(super) fn restart(&self, index: u64, state: State) {
        let mut inner = self.lock();
        inner.state = state;
        inner.index = index;
        inner.since = Position::behind(index);
        inner.kept.clear();
        gauge!(OPERATOR_EVENTS_KEPT).set(0.0);
        close_all(&mut inner, Closed::Gap);
        self.index.send_replace(index);
    }

    /// Shows all watchers that their streams live, and how far they are.
    pub(super) fn heartbeat(&self) {
        let mut inner = self.lock();
        let position = Position::behind(inner.index);
        self.send(&mut inner, position, &heartbeat());
    }

    /// Ends all streams.
    pub(super) fn close(&self, why: Closed) {
        close_all(&mut self.lock(), why);
    }

    /// Opens a stream; after `after` where everything since is known, and with everything there is
    /// otherwise.
    pub(super) fn subscribe(self: &Arc<Self>, form: Form, after: Option<Position>) -> Subscription {
        let mut inner = self.lock();
        let end = Position::behind(inner.index);
        // Who knows nothing yet is given the state, not all that ever happened.
        let known = |after: &Position| after.index > 0 && (inner.since..=end).contains(after);
        let after = after.filter(known);
        let (state, position, missed) = match after {
            None => (Some(inner.state.clone()), end, Vec::new()),
            Some(after) => {
                let known = inner.kept.partition_point(|kept| kept.position <= after);
                let missed = inner.kept.iter().skip(known).cloned().collect();
                (None, after, missed)
            }
        };
        let id = inner.next;
        inner.next += 1;
        let (records, received) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        inner.streams.push_back(Stream {
            id,
            form,
            records,
            waiting: Arc::clone(&waiting),
        });
        while inner.streams.len() > self.limits.streams.max(1) {
            inner.streams.pop_front();
            closed(Closed::TooMany);
        }
        count(&inner);
        Subscription {
            state,
            position,
            missed,
            queue: Queue::new(received, waiting, id, Arc::downgrade(self)),
        }
    }

    /// Forgets a stream that nobody reads any more.
    pub(super) fn leave(&self, id: u64) {
        let mut inner = self.lock();
        inner.streams.retain(|stream| stream.id != id);
        count(&inner);
    }

    fn send(&self, inner: &mut Inner, position: Position, event: &Event) {
        // Most watchers want it in the same form: it is written once for each.
        let mut written: Vec<(Form, Bytes)> = Vec::new();
        inner.streams.retain(|stream| {
            let found = written.iter().find(|(form, _)| *form == stream.form);
            let record = match found {
                Some((_, record)) => record.clone(),
                None => {
                    let record = stream.form.record(event.clone(), position);
                    written.push((stream.form, record.clone()));
                    record
                }
            };
            let bytes = record.len();
            let waiting = stream.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if waiting > self.limits.waiting_bytes {
                tracing::warn!(
                    waiting_bytes_max = self.limits.waiting_bytes,
                    "an operator does not read its events; its stream is closed"
                );
                closed(Closed::TooSlow);
                return false;
            }
            stream.records.send(record).is_ok()
        });
        count(inner);
    }
}

fn close_all(inner: &mut Inner, why: Closed) {
    for _ in inner.streams.drain(..) {
        closed(why);
    }
    count(inner);
}

fn closed(why: Closed) {
    counter!(OPERATOR_STREAMS_CLOSED, "reason" => why.name()).increment(1);
}

fn count(inner: &Inner) {
    gauge!(OPERATOR_STREAMS).set(inner.streams.len() as f64);
}
