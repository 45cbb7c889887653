//! What clients do while faults strike: all of it through the public APIs, and all of it noted.

mod observer;
mod registers;
mod tasks;
mod watchers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use tasks::TASK_PREFIX;

use crate::record::Record;
use crate::scenario::Workload;

/// How long the framework may take to be torn down. One that does not lead any more is not waited
/// for: the cluster may be one that did not heal.
const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Everybody does what they do.
    Running,
    /// Nothing new is launched; registers go on.
    WindingDown,
    /// The framework ends.
    Over,
}

/// The clients of a run.
#[derive(Debug)]
pub struct Clients {
    phase: watch::Sender<Phase>,
    running: Vec<JoinHandle<()>>,
    framework: Option<JoinHandle<anyhow::Result<()>>>,
    /// What tasks have not ended yet.
    pub open: watch::Receiver<Vec<String>>,
    watching: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts them.
    #[must_use]
    pub fn start(
        record: &Arc<Record>,
        workload: &Workload,
        seed: u64,
        addresses: Vec<String>,
        ledger: Option<PathBuf>,
    ) -> Self {
        let (phase, seen) = watch::channel(Phase::Running);
        let mut rng = StdRng::seed_from_u64(seed);
        let run = format!("chaos-{:08x}", rng.random::<u32>());
        let mut running = vec![tokio::spawn(observer::observe(Arc::clone(record)))];
        for client in 0..workload.writers + workload.readers {
            let client = registers::Client {
                id: client,
                writes: client < workload.writers,
                record: Arc::clone(record),
                keys: workload.keys,
                pause: workload.pause,
                run: run.clone(),
                rng: StdRng::seed_from_u64(rng.random()),
                seen: 0,
            };
            running.push(tokio::spawn(client.run()));
        }
        let watching = (0..workload.watchers)
            .map(|reader| {
                let rng = StdRng::seed_from_u64(rng.random());
                tokio::spawn(watchers::watch(Arc::clone(record), reader, rng))
            })
            .collect();
        let (open_tasks, open) = watch::channel(Vec::new());
        let framework = workload.tasks.then(|| {
            let rng = StdRng::seed_from_u64(rng.random());
            let record = Arc::clone(record);
            tokio::spawn(tasks::run(
                record, run, addresses, ledger, rng, seen, open_tasks,
            ))
        });
        Self {
            phase,
            running,
            framework,
            open,
            watching,
        }
    }

    /// Tells that nothing new shall be launched; registers go on until the end.
    pub fn wind_down_tasks(&self) {
        self.phase.send_replace(Phase::WindingDown);
    }

    /// Whether the framework ended before it was told to.
    #[must_use]
    pub fn framework_ended(&self) -> bool {
        self.framework.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Ends all of them.
    ///
    /// # Errors
    /// When one of them did not work: what it would have found is not known.
    pub async fn end(self) -> anyhow::Result<()> {
        self.phase.send_replace(Phase::Over);
        for task in self.running.iter().chain(&self.watching) {
            task.abort();
        }
        for task in self.running.into_iter().chain(self.watching) {
            if let Err(error) = task.await {
                anyhow::ensure!(error.is_cancelled(), "a client failed: {error}");
            }
        }
        if let Some(mut framework) = self.framework {
            match tokio::time::timeout(TEARDOWN_TIMEOUT, &mut framework).await {
                Ok(ended) => ended??,
                Err(_elapsed) => framework.abort(),
            }
        }
        Ok(())
    }
}
