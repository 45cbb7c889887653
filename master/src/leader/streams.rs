//! The framework streams open at this leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regency_types::{FrameworkId, StreamId};
use tokio::sync::mpsc;

use super::frameworks::Departure;
use super::stream::FrameworkStream;
use crate::metrics;

/// At most one stream per framework: the newest subscription.
#[derive(Debug)]
pub(crate) struct Streams {
    open: Mutex<BTreeMap<FrameworkId, Arc<FrameworkStream>>>,
    pub(crate) departures: mpsc::UnboundedSender<Departure>,
}

impl Streams {
    pub(crate) fn new(departures: mpsc::UnboundedSender<Departure>) -> Self {
        Self {
            open: Mutex::default(),
            departures,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FrameworkId, Arc<FrameworkStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a stream the framework's; the one it had is told so and ends.
    pub(crate) fn insert(&self, stream: Arc<FrameworkStream>) {
        let old = {
            let mut open = self.lock();
            let old = open.insert(stream.framework.clone(), stream);
            count(&open);
            old
        };
        if let Some(old) = old {
            old.close(Some("Framework failed over"));
        }
    }

    /// The framework's stream.
    pub(crate) fn get(&self, framework: &FrameworkId) -> Option<Arc<FrameworkStream>> {
        self.lock().get(framework).cloned()
    }

    /// Takes the framework's stream away if it is this one.
    pub(crate) fn remove(
        &self,
        framework: &FrameworkId,
        stream: StreamId,
    ) -> Option<Arc<FrameworkStream>> {
        let mut open = self.lock();
        if open.get(framework)?.id != stream {
            return None;
        }
        let removed = open.remove(framework);
        count(&open);
        removed
    }

    /// All streams.
    pub(crate) fn all(&self) -> Vec<Arc<FrameworkStream>> {
        self.lock().values().cloned().collect()
    }

    /// Ends all streams without a word: drivers abort on an ERROR event.
    pub(crate) fn close_all(&self) {
        let all = {
            let mut open = self.lock();
            let all = std::mem::take(&mut *open);
            count(&open);
            all
        };
        for stream in all.into_values() {
            stream.close(None);
        }
    }
}

fn count(open: &BTreeMap<FrameworkId, Arc<FrameworkStream>>) {
    ::metrics::gauge!(metrics::STREAMS_OPEN).set(open.len() as f64);
}
