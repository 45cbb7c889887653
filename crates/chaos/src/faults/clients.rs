//! Clients that behave badly.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Arena, Done};
use crate::driver::Driver;
use crate::events::request;

/// Readers per master that never read.
const SLOW_READERS: usize = 20;
/// Clients that connect at once, per master.
const STORM_CLIENTS: usize = 100;
/// Pause between two waves.
const STORM_PAUSE: Duration = Duration::from_millis(200);
/// How long one of them waits.
const STORM_TIMEOUT: Duration = Duration::from_secs(2);

impl<D: Driver> Arena<'_, D> {
    /// Subscribes to events, many times, and never reads them.
    pub(super) async fn slow_readers(&mut self, lasts: Duration) -> anyhow::Result<Done> {
        let mut open = Vec::new();
        for address in self.record.addresses() {
            for _ in 0..SLOW_READERS {
                let Ok(mut stream) = TcpStream::connect(&address).await else {
                    continue;
                };
                let asked = stream.write_all(request(&address, "0").as_bytes()).await;
                if asked.is_ok() {
                    open.push(stream);
                }
            }
        }
        sleep(lasts).await;
        let mut confirmed = 0;
        for stream in &open {
            // There is something to read that nobody read.
            let mut one = [0; 1];
            let peeked = tokio::time::timeout(Duration::from_millis(1), stream.peek(&mut one));
            confirmed += u64::from(matches!(peeked.await, Ok(Ok(1))));
        }
        Ok(Done {
            targets: self.record.addresses(),
            confirmed,
            evidence: format!("{confirmed} of {} streams were not read", open.len()),
        })
    }

    /// Connects many clients at once, again and again.
    pub(super) async fn storm(&mut self, lasts: Duration) -> anyhow::Result<Done> {
        let until = Instant::now() + lasts;
        let (mut connected, mut refused) = (0, 0);
        while Instant::now() < until {
            let mut wave = JoinSet::new();
            for address in self.record.addresses() {
                for _ in 0..STORM_CLIENTS {
                    let address = address.clone();
                    wave.spawn(tokio::time::timeout(STORM_TIMEOUT, async move {
                        let mut stream = TcpStream::connect(&address).await?;
                        // Half a request, and away.
                        stream.write_all(b"GET /state HTTP/1.1\r\n").await
                    }));
                }
            }
            for one in wave.join_all().await {
                match one {
                    Ok(Ok(())) => connected += 1,
                    _ => refused += 1,
                }
            }
            sleep(STORM_PAUSE).await;
        }
        Ok(Done {
            targets: self.record.addresses(),
            confirmed: connected,
            evidence: format!("{connected} connections, {refused} more were not taken"),
        })
    }
}
