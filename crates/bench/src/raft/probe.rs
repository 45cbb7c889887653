//! Steady writers: one for each member, each sending a write every few milliseconds whether or not
//! earlier ones were answered, so that the end of a gap is seen at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::client::{Client, ClientError};
use super::cluster::{Cluster, Door, MEMBERS};
use super::load::Values;

/// How long a write or a connection may take before it is given up.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// An acknowledged write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    /// Who acknowledged it.
    pub(crate) member: usize,
    pub(crate) sent: Instant,
    pub(crate) acknowledged: Instant,
}

/// The writers; they end with this value.
#[derive(Debug)]
pub(crate) struct Probes {
    tasks: Vec<AbortHandle>,
    unknown: Arc<AtomicU64>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Probes {
    /// Starts a writer for each member.
    pub(crate) fn start(
        cluster: &Cluster,
        every: Duration,
    ) -> (Self, mpsc::UnboundedReceiver<Ack>) {
        let (acks, receiver) = mpsc::unbounded_channel();
        let unknown = Arc::new(AtomicU64::new(0));
        let values = Arc::new(Values::new());
        let tasks = (0..MEMBERS)
            .map(|member| {
                let probe = Probe {
                    member,
                    door: cluster.door(member),
                    every,
                    values: Arc::clone(&values),
                    acks: acks.clone(),
                    unknown: Arc::clone(&unknown),
                };
                tokio::spawn(probe.run()).abort_handle()
            })
            .collect();
        (Self { tasks, unknown }, receiver)
    }

    /// Writes so far of which nobody knows whether they were carried out.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }
}

struct Probe {
    member: usize,
    door: Door,
    every: Duration,
    values: Arc<Values>,
    acks: mpsc::UnboundedSender<Ack>,
    unknown: Arc<AtomicU64>,
}

impl Probe {
    async fn run(self) {
        loop {
            let connecting = tokio::time::timeout(ATTEMPT_TIMEOUT, self.door.connect());
            if let Ok(Ok(client)) = connecting.await {
                self.write_until_broken(Arc::new(client)).await;
            }
            tokio::time::sleep(self.every).await;
        }
    }

    async fn write_until_broken(&self, client: Arc<Client>) {
        let broken = Arc::new(AtomicBool::new(false));
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while !broken.load(Ordering::Relaxed) {
            ticks.tick().await;
            let (key, value) = self.values.next();
            let (client, broken) = (Arc::clone(&client), Arc::clone(&broken));
            let (acks, unknown) = (self.acks.clone(), Arc::clone(&self.unknown));
            let member = self.member;
            tokio::spawn(async move {
                let sent = Instant::now();
                match tokio::time::timeout(ATTEMPT_TIMEOUT, client.put(key, value)).await {
                    Ok(Ok(())) => {
                        // Nobody listens any more when the trial is over.
                        let _ = acks.send(Ack {
                            member,
                            sent,
                            acknowledged: Instant::now(),
                        });
                    }
                    Ok(Err(ClientError::NotLeader)) => {}
                    Ok(Err(ClientError::Broken(_))) => {
                        broken.store(true, Ordering::Relaxed);
                        unknown.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(Err(ClientError::Failed(_))) | Err(_) => {
                        unknown.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    }
}
