//! The framework streams open at this leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regency_types::{FrameworkId, StreamId};
use tokio::sync::mpsc;

use super::frameworks::Departure;
use super::stream::FrameworkStream;
use crate::metrics;

#[derive(Debug, Default)]
struct Open {
    streams: BTreeMap<FrameworkId, Arc<FrameworkStream>>,
    /// The term is over: no stream is opened any more.
    closed: bool,
}

/// At most one stream per framework: the newest subscription.
#[derive(Debug)]
pub(crate) struct Streams {
    open: Mutex<Open>,
    pub(crate) departures: mpsc::UnboundedSender<Departure>,
}

impl Streams {
    pub(crate) fn new(departures: mpsc::UnboundedSender<Departure>) -> Self {
        Self {
            open: Mutex::default(),
            departures,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a stream the framework's; the one it had is told so and ends. After the term is over
    /// the new one ends at once, without a word.
    pub(crate) fn insert(&self, stream: Arc<FrameworkStream>) {
        let old = {
            let mut open = self.lock();
            if open.closed {
                drop(open);
                stream.close(None);
                return;
            }
            let old = open.streams.insert(stream.framework.clone(), stream);
            count(&open);
            old
        };
        if let Some(old) = old {
            old.close(Some("Framework failed over"));
        }
    }

    /// The framework's stream.
    pub(crate) fn get(&self, framework: &FrameworkId) -> Option<Arc<FrameworkStream>> {
        self.lock().streams.get(framework).cloned()
    }

    /// Takes the framework's stream away if it is this one.
    pub(crate) fn remove(
        &self,
        framework: &FrameworkId,
        stream: StreamId,
    ) -> Option<Arc<FrameworkStream>> {
        let mut open = self.lock();
        if open.streams.get(framework)?.id != stream {
            return None;
        }
        let removed = open.streams.remove(framework);
        count(&open);
        removed
    }

    /// All streams.
    pub(crate) fn all(&self) -> Vec<Arc<FrameworkStream>> {
        self.lock().streams.values().cloned().collect()
    }

    /// Ends all streams, now and for ever, without a word: drivers abort on an ERROR event.
    pub(crate) fn close_all(&self) {
        let all = {
            let mut open = self.lock();
            open.closed = true;
            let all = std::mem::take(&mut open.streams);
            count(&open);
            all
        };
        for stream in all.into_values() {
            stream.close(None);
        }
    }
}

fn count(open: &Open) {
    ::metrics::gauge!(metrics::STREAMS_OPEN).set(open.streams.len() as f64);
}
