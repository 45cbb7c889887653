//! A steady load of writes whose answers are remembered: frameworks that subscribe one after the
//! other. A subscription is answered when it is committed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regency_client::{Event, Framework, Http};
use serde_json::Value;

use crate::wait::PATIENCE;

/// How long a framework waits before the next one subscribes: a light load.
const BETWEEN_WRITES: Duration = Duration::from_millis(40);

/// Writers that run until they are stopped.
#[derive(Debug)]
pub struct Writes {
    stop: Arc<AtomicBool>,
    written: Vec<tokio::task::JoinHandle<BTreeSet<String>>>,
}

impl Writes {
    /// Starts `n` writers, which find their way among these masters.
    #[must_use]
    pub fn start(n: usize, masters: &[String]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = |_| {
            let (masters, stop) = (masters.to_vec(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut written = BTreeSet::new();
                while !stop.load(Ordering::Relaxed) {
                    written.insert(write(&masters).await);
                    tokio::time::sleep(BETWEEN_WRITES).await;
                }
                written
            })
        };
        let written = (0..n).map(writer).collect();
        Self { stop, written }
    }

    /// Stops, and gives what was acknowledged.
    ///
    /// # Panics
    /// When a write was not acknowledged, however often it was tried.
    pub async fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for writer in self.written {
            all.extend(writer.await.expect("all subscribed"));
        }
        all
    }
}

/// The id of a framework that subscribed and went away; it is remembered for an hour.
///
/// # Panics
/// When it is not acknowledged within two minutes, however often it was tried.
pub async fn write(masters: &[String]) -> String {
    let (framework, mut events) = Framework::builder("written")
        .masters(masters.iter().cloned())
        .failover_timeout(Duration::from_secs(3600))
        .connect()
        .expect("good addresses");
    let subscribed = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::Subscribed { .. }) {
                return framework.id().map(|id| id.value);
            }
        }
        None
    };
    let id = tokio::time::timeout(PATIENCE * 2, subscribed).await;
    id.ok().flatten().expect("a subscription")
}

/// The ids of all frameworks that a master knows once it has applied everything that was
/// acknowledged.
///
/// # Panics
/// When it does not answer.
pub async fn known_to(master: &str) -> BTreeSet<String> {
    let answer = Http::default()
        .get(master, "/frameworks?consistent=true", PATIENCE)
        .await
        .expect("an answer");
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let all = body["frameworks"].as_array().expect("frameworks");
    all.iter()
        .filter_map(|framework| framework["id"].as_str())
        .map(str::to_owned)
        .collect()
}
