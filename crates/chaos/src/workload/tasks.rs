//! A framework that launches short tasks, which sign in a ledger where that can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::Rng;
use rand::rngs::StdRng;
use regency_client::v1::{Filters, Offer, TaskState, framework_info};
use regency_client::{Acknowledge, Event, Framework, TaskBuilder, is_terminal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Phase;
use crate::history::Happened;
use crate::record::Record;

/// How tasks are named, with a number behind.
pub const TASK_PREFIX: &str = "chaos-";
/// How many tasks may be open at once.
const OPEN_MAX: usize = 12;
/// One of so many offers is used a second time, which must be refused.
const SPENT_ONE_OF: u32 = 4;
/// How long an offer is not made again that was left.
const REFUSED: Filters = Filters {
    refuse_seconds: Some(1.0),
};
/// Longest time a task runs, in milliseconds.
const RUNS_MS_MAX: u32 = 1_500;
/// Longest time until an update is acknowledged: some are open when a leader dies.
const ACKNOWLEDGED_AFTER_MAX_MS: u64 = 400;

struct Books {
    record: Arc<Record>,
    framework: Framework,
    rng: StdRng,
    n_tasks: u64,
    open: BTreeSet<String>,
    /// Offers that a call was made with. Until that is answered one may be sent again after a change of
    /// leader; the call will use it.
    used: BTreeSet<String>,
    /// Of each update, when its acknowledgement is under way or done.
    acknowledged: BTreeSet<String>,
    calls: JoinSet<()>,
    ledger: Option<PathBuf>,
}

/// Launches while it may, goes on taking updates, and tears itself down in the end.
pub(super) async fn run(
    record: Arc<Record>,
    name: String,
    addresses: Vec<String>,
    ledger: Option<PathBuf>,
    rng: StdRng,
    mut phase: watch::Receiver<Phase>,
    open: watch::Sender<Vec<String>>,
) -> anyhow::Result<()> {
    let (framework, mut events) = Framework::builder(name)
        .masters(addresses)
        .role("chaos")
        .capability(framework_info::capability::Type::PartitionAware)
        .failover_timeout(Duration::from_secs(3600))
        .acknowledge(Acknowledge::Manual)
        .connect()?;
    let mut books = Books {
        record,
        framework,
        rng,
        n_tasks: 0,
        open: BTreeSet::new(),
        used: BTreeSet::new(),
        acknowledged: BTreeSet::new(),
        calls: JoinSet::new(),
        ledger,
    };
    loop {
        tokio::select! {
            event = events.next() => {
                let event = event.context("the framework's stream ended for good")?;
                let stopping = *phase.borrow() != Phase::Running;
                books.on(event, stopping)?;
                open.send_replace(books.open.iter().cloned().collect());
            }
            Some(ended) = books.calls.join_next() => ended.context("a call failed")?,
            // The sender lives as long as the clients.
            () = over(&mut phase) => {
                books.framework.teardown().await?;
                return Ok(());
            }
        }
    }
}

async fn over(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
}

impl Books {
    fn on(&mut self, event: Event, stopping: bool) -> anyhow::Result<()> {
        match event {
            Event::Subscribed { master, .. } => {
                self.record.framework(Happened::Subscribed { master });
            }
            Event::Disconnected(_) => self.record.framework(Happened::Disconnected),
            Event::Offers(offers) => {
                for offer in offers {
                    let id = offer.id.value.clone();
                    self.record.framework(Happened::Offered { offer: id });
                    self.answer(offer, stopping);
                }
            }
            Event::Rescinded(offer) => {
                let offer = offer.value;
                self.record.framework(Happened::Rescinded { offer });
            }
            Event::Update(status) => {
                let task = status.task_id.value.clone();
                let uuid: String = status
                    .uuid
                    .iter()
                    .flat_map(|uuid| uuid.iter())
                    .fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
                let terminal = is_terminal(&status);
                self.record.framework(Happened::Updated {
                    task: task.clone(),
                    state: TaskState::as_str_name(&status.state()).to_owned(),
                    terminal,
                    uuid: uuid.clone(),
                });
                if terminal {
                    self.open.remove(&task);
                }
                if !uuid.is_empty() && self.acknowledged.insert(uuid.clone()) {
                    let (record, framework) = (Arc::clone(&self.record), self.framework.clone());
                    let after = self.rng.random_range(0..ACKNOWLEDGED_AFTER_MAX_MS);
                    self.calls.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(after)).await;
                        if framework.acknowledge(&status).await.is_ok() {
                            record.framework(Happened::Acknowledged { task, uuid });
                        }
                    });
                }
            }
            Event::Refused(why) => anyhow::bail!("the framework is refused: {why}"),
            _ => {}
        }
        Ok(())
    }

    fn answer(&mut self, offer: Offer, stopping: bool) {
        if !self.used.insert(offer.id.value.clone()) {
            return;
        }
        let (record, framework) = (Arc::clone(&self.record), self.framework.clone());
        if stopping || self.open.len() >= OPEN_MAX || !fits(&offer) {
            self.calls.spawn(async move {
                // An offer that is gone is no error.
                let _ = framework.decline([offer.id], Some(REFUSED)).await;
            });
            return;
        }
        let first = self.task();
        let again = (self.rng.random_range(0..SPENT_ONE_OF) == 0).then(|| self.task());
        let tasks = [Some((first, false)), again.map(|task| (task, true))];
        for (task, spent) in tasks.iter().flatten() {
            // What was launched with a used offer may be refused without an update.
            if !spent {
                self.open.insert(task.clone());
            }
        }
        let runs = self.rng.random_range(0..RUNS_MS_MAX);
        let ledger = self.ledger.clone();
        self.calls.spawn(async move {
            for (task, spent) in tasks.into_iter().flatten() {
                record.framework(Happened::Launching {
                    task: task.clone(),
                    offer: offer.id.value.clone(),
                    spent,
                });
                let info = described(&task, runs, ledger.as_ref()).on(&offer);
                let sent = framework.launch([offer.id.clone()], [info], Some(REFUSED));
                if sent.await.is_ok() && !spent {
                    record.framework(Happened::Launched { task });
                }
            }
        });
    }

    fn task(&mut self) -> String {
        self.n_tasks += 1;
        format!("{TASK_PREFIX}{}", self.n_tasks)
    }
}

fn fits(offer: &Offer) -> bool {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for resource in &offer.resources {
        let value = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
        *sums.entry(&resource.name).or_default() += value;
    }
    let has = |name: &str| sums.get(name).copied().unwrap_or_default();
    has("cpus") >= 0.1 && has("mem") >= 32.0
}

fn described(id: &str, runs_ms: u32, ledger: Option<&PathBuf>) -> TaskBuilder {
    let sleep = format!("sleep {}.{:03}", runs_ms / 1000, runs_ms % 1000);
    let task = match ledger {
        Some(dir) => {
            let line = format!("echo \"$TASK\" >> \"$DIR/ledger\"; {sleep}");
            TaskBuilder::shell(id, line).env("DIR", dir.to_string_lossy())
        }
        None => TaskBuilder::shell(id, sleep),
    };
    task.env("TASK", id).cpus(0.1).mem_mb(32.0)
}
