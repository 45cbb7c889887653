//! An operator who watches what happens, and remembers all of it.

use anyhow::Result;
use regency_chaos::events::EventStream;
use serde_json::Value;

use crate::wait::{PATIENCE, until};

/// An event and its position.
pub type Told = (String, Value);

/// A stream of events from one master.
#[derive(Debug)]
pub struct Watcher {
    stream: EventStream,
    /// `get_state` of SUBSCRIBED; none where the stream goes on.
    pub state: Option<Value>,
    /// What was told so far, without heartbeats.
    pub told: Vec<Told>,
    /// The last position that was seen.
    pub position: String,
}

impl Watcher {
    /// Subscribes behind a position, `0` for everything; tries until that is answered.
    ///
    /// # Panics
    /// When it is not within [`PATIENCE`].
    pub async fn start(master: &str, after: &str) -> Self {
        let mut stream = until("events of a master", || async {
            EventStream::open(master, after).await.ok()
        })
        .await;
        Self {
            state: stream.state.take(),
            told: Vec::new(),
            position: stream.position.clone(),
            stream,
        }
    }

    /// Reads until an event for which this holds, which is the last one then.
    ///
    /// # Errors
    /// When the stream ends or is not as it should be.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<()> {
        let all = async {
            loop {
                let event = self.stream.next().await?;
                self.position.clone_from(&self.stream.position);
                let found = holds(&event);
                self.told.push((self.position.clone(), event));
                if found {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(read) => read,
            Err(_) => panic!(
                "within {PATIENCE:?} never: {what}; told was {:#?}",
                self.told
            ),
        }
    }

    /// Reads until the stream ends.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn to_the_end(&mut self) {
        let ended = self.until("the end of the stream", |_| false).await;
        assert!(ended.is_err(), "nothing is looked for");
    }
}
