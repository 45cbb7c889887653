//! Writes as a client makes them: to the leader, and once more when the first try fails.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use serde::Serialize;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::client::{Client, ClientError};
use super::cluster::{Cluster, MEMBERS};
use super::load::Values;

/// How long a try, or the search for the leader between two of them, may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// How the requests went.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    /// Those whose first try failed.
    pub(crate) retried: u64,
    /// Those whose second try failed as well.
    pub(crate) failed: u64,
    /// Why the first of these did.
    pub(crate) first_failure: Option<String>,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.sent += more.sent;
        self.retried += more.retried;
        self.failed += more.failed;
        self.first_failure = self.first_failure.take().or(more.first_failure);
    }
}

/// Requests at a fixed rate; they end with this value.
#[derive(Debug)]
pub(crate) struct Requests {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// A connection to each member.
    members: Vec<Client>,
    /// Who led when last looked.
    leader: AtomicUsize,
    values: Values,
    sent: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    first_failure: OnceLock<String>,
    stop: AtomicBool,
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

impl Requests {
    /// Sends one every so often, whether or not earlier ones were answered.
    pub(crate) async fn start(
        cluster: &Cluster,
        leader: usize,
        every: Duration,
    ) -> anyhow::Result<Self> {
        let mut members = Vec::new();
        for i in 0..MEMBERS {
            members.push(cluster.connect(i).await?);
        }
        let shared = Arc::new(Shared {
            members,
            leader: AtomicUsize::new(leader),
            values: Values::new(),
            sent: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            first_failure: OnceLock::new(),
            stop: AtomicBool::new(false),
        });
        let sending = Arc::clone(&shared);
        let sender = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            // Ends the requests when this task ends.
            let mut under_way = JoinSet::new();
            while !sending.stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                while under_way.try_join_next().is_some() {}
                sending.sent.fetch_add(1, Ordering::Relaxed);
                let shared = Arc::clone(&sending);
                under_way.spawn(async move { shared.request().await });
            }
            under_way.join_all().await;
        });
        Ok(Self { shared, sender })
    }

    /// Sends no more, and waits until all that were sent are answered or given up.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Counts> {
        let shared = Arc::clone(&self.shared);
        shared.stop.store(true, Ordering::Relaxed);
        // Two tries and the search between them.
        tokio::time::timeout(ATTEMPT_TIMEOUT * 4, &mut self.sender)
            .await
            .context("requests are neither answered nor given up")??;
        Ok(Counts {
            sent: shared.sent.load(Ordering::Relaxed),
            retried: shared.retried.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
            first_failure: shared.first_failure.get().cloned(),
        })
    }
}

impl Shared {
    async fn request(&self) {
        let (key, value) = self.values.next();
        let first = self.leader.load(Ordering::Relaxed);
        if self.attempt(first, key, value.clone()).await.is_err() {
            self.retried.fetch_add(1, Ordering::Relaxed);
            let next = self.leader_after(first).await;
            if let Err(error) = self.attempt(next, key, value).await {
                self.failed.fetch_add(1, Ordering::Relaxed);
                self.first_failure
                    .get_or_init(|| format!("member {}: {error}", next + 1));
            }
        }
    }

    async fn attempt(&self, at: usize, key: u32, value: Bytes) -> Result<(), ClientError> {
        let put = self.members[at].put(key, value);
        match tokio::time::timeout(ATTEMPT_TIMEOUT, put).await {
            Ok(result) => result,
            Err(_) => Err(ClientError::Failed(format!(
                "no answer within {ATTEMPT_TIMEOUT:?}"
            ))),
        }
    }

    /// Waits until another member than this one, which just refused, says that it leads. Whoever is
    /// handing over still leads, but takes no writes. When the time is up it is asked again.
    async fn leader_after(&self, refused: usize) -> usize {
        let looking = async {
            loop {
                for (i, member) in self.members.iter().enumerate() {
                    if i != refused && matches!(member.leads().await, Ok(true)) {
                        self.leader.store(i, Ordering::Relaxed);
                        return i;
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let found = tokio::time::timeout(ATTEMPT_TIMEOUT, looking).await;
        found.unwrap_or(refused)
    }
}
