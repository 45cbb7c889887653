//! Operators that read streams of events, and go on at another master when theirs breaks.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use xxhash_rust::xxh3::xxh3_64;

use crate::events::EventStream;
use crate::history::Stream;
use crate::record::Record;

/// Pause after a master that does not answer.
const BACKOFF: Duration = Duration::from_millis(100);
/// After so long without any event a stream is left: a frozen master holds its connections.
const SILENCE_MAX: Duration = Duration::from_secs(4);
/// After so many events another master is tried, so that all are heard.
const EVENTS_MAX: usize = 200;

/// Never returns.
pub(super) async fn watch(record: Arc<Record>, reader: u32, mut rng: StdRng) {
    let mut after = "0".to_owned();
    loop {
        let masters = record.masters();
        let n = rng.random_range(0..masters.len().max(1));
        let Some((id, at)) = masters.iter().nth(n) else {
            continue;
        };
        let Ok(mut stream) = EventStream::open(&at.http, &after).await else {
            tokio::time::sleep(BACKOFF).await;
            continue;
        };
        let place = {
            let mut history = record.history();
            history.streams.push(Stream {
                reader,
                master: *id,
                after: after.clone(),
                fresh: stream.state.is_some(),
                events: Vec::new(),
            });
            history.streams.len() - 1
        };
        if stream.state.is_some() {
            after.clone_from(&stream.position);
        }
        for _ in 0..EVENTS_MAX {
            let next = tokio::time::timeout(SILENCE_MAX, stream.next()).await;
            let Ok(Ok(event)) = next else {
                break;
            };
            let digest = xxh3_64(event.to_string().as_bytes());
            after.clone_from(&stream.position);
            let told = (stream.position.clone(), digest);
            record.history().streams[place].events.push(told);
        }
    }
}
