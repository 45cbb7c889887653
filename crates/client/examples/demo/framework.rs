//! The framework itself: launches short tasks through the public v1 API until it is told to stop, and
//! keeps books on every one.
//!
//! Each task appends its id to a ledger, a file in the cluster's directory, before anything else.
//! What ran, and how often, is read from there and believed to nobody else. Offers are held for a
//! moment before they are used, so that there are some in hand when a leader dies.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use regency_client::v1::{Filters, Offer, OfferId, TaskInfo};
use regency_client::{CallError, Event as SchedulerEvent, Events, Framework};
use regency_client::{OfferExt as _, TaskBuilder, v1};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::accounts::{Accounts, Lost};

const ROLE: &str = "demo";
/// What a task needs, and how long it runs after it has signed the ledger.
const TASK_CPUS: f64 = 0.1;
const TASK_MEM_MB: f64 = 32.0;
const TASK_SECONDS: [f64; 4] = [0.1, 0.4, 0.8, 1.5];
/// How many tasks are launched with one offer, at most.
const TASKS_PER_OFFER_MAX: usize = 4;
/// How many tasks may be open before no more are launched.
const TASKS_OPEN_MAX: usize = 200;
/// For how long an offer is held before it is used.
const HOLD: Duration = Duration::from_millis(400);
/// How long after a new subscription an offer of the old one may take to be sent again.
const RESEND_GRACE: Duration = Duration::from_secs(3);
/// How many of the offers used last are remembered.
const OFFERS_USED_MAX: usize = 10_000;
/// How often offers in hand are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Longer than any run: nothing may be removed because the framework was away for a moment.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a call is tried; beyond any failover.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a teardown may take at the end.
const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// When the framework last saw what a failover is measured by.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sight {
    pub(crate) subscribed_at: Option<Instant>,
    /// The first offers of that subscription.
    pub(crate) first_offers_at: Option<Instant>,
}

/// What whoever runs the framework is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// It is subscribed.
    Subscribed {
        /// `host:port` of the leading master.
        master: String,
        /// Whether it was before.
        resumed: bool,
    },
    /// It lost its subscription.
    Disconnected {
        /// How.
        reason: String,
    },
    /// A task ended in another way than it should.
    Lost(Lost),
}

/// The framework while it runs.
pub(crate) struct Demo {
    framework: Framework,
    events: Events,
    ledger: PathBuf,
    tell: Box<dyn Fn(Told) + Send>,
    accounts: Arc<Mutex<Accounts>>,
    sight: watch::Sender<Sight>,
    hand: BTreeMap<String, Held>,
    /// Offers that a call was made with. Until its call is answered an offer may be sent again
    /// after a change of leader; that call will use it.
    used: VecDeque<String>,
    /// Calls on their way.
    calls: JoinSet<()>,
    subscribed_at: Option<Instant>,
    n_tasks: u64,
}

/// An offer in hand.
struct Held {
    offer: Offer,
    since: Instant,
    /// The subscription it was last sent on.
    sent_at: Instant,
    /// Whether it was first sent on an earlier one.
    carried_over: bool,
}

impl Demo {
    /// Subscribes at these masters; tasks sign in `ledger`, and `tell` hears what happens.
    pub(crate) fn start(
        masters: impl IntoIterator<Item = String>,
        ledger: PathBuf,
        tell: impl Fn(Told) + Send + 'static,
    ) -> anyhow::Result<Self> {
        std::fs::write(&ledger, "")
            .with_context(|| format!("cannot write {}", ledger.display()))?;
        let (framework, events) = Framework::builder("regency-local-demo")
            .masters(masters)
            .role(ROLE)
            .capability(v1::framework_info::capability::Type::PartitionAware)
            .failover_timeout(FAILOVER_TIMEOUT)
            .call_timeout(CALL_TIMEOUT)
            .connect()?;
        Ok(Self {
            framework,
            events,
            ledger,
            tell: Box::new(tell),
            accounts: Arc::default(),
            sight: watch::Sender::default(),
            hand: BTreeMap::new(),
            used: VecDeque::new(),
            calls: JoinSet::new(),
            subscribed_at: None,
            n_tasks: 0,
        })
    }

    /// The books, to look into while the framework runs.
    pub(crate) fn accounts(&self) -> Arc<Mutex<Accounts>> {
        Arc::clone(&self.accounts)
    }

    /// What a failover is measured by.
    pub(crate) fn sight(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    /// Launches tasks until `stop` gives a time; then waits so long for those that are open, and
    /// ends the framework.
    pub(crate) async fn run(
        mut self,
        mut stop: watch::Receiver<Option<Duration>>,
    ) -> anyhow::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut drained_by: Option<Instant> = None;
        loop {
            tokio::select! {
                event = self.events.next() => {
                    let event = event.context("the demonstration framework was ended")?;
                    self.on_event(event)?;
                }
                Some(ended) = self.calls.join_next() => ended.context("a call panicked")?,
                _ = tick.tick() => match drained_by {
                    None => self.use_offers(),
                    Some(end) if Instant::now() >= end || books(&self.accounts).n_open() == 0 => {
                        break;
                    }
                    Some(_) => {}
                },
                Ok(()) = stop.changed(), if drained_by.is_none() => {
                    drained_by = stop.borrow().map(|drain| Instant::now() + drain);
                }
            }
        }
        // What is left over is taken by the teardown; a master that does not answer now is not
        // waited for.
        self.calls.shutdown().await;
        match timeout(TEARDOWN_TIMEOUT, self.framework.teardown()).await {
            Ok(Err(error)) => tracing::warn!(%error, "the framework is not torn down"),
            Err(_elapsed) => tracing::warn!("the framework is not torn down in time"),
            Ok(Ok(())) => {}
        }
        Ok(())
    }

    fn on_event(&mut self, event: SchedulerEvent) -> anyhow::Result<()> {
        match event {
            SchedulerEvent::Subscribed {
                master, resumed, ..
            } => {
                let now = Instant::now();
                self.subscribed_at = Some(now);
                self.sight.send_replace(Sight {
                    subscribed_at: Some(now),
                    first_offers_at: None,
                });
                (self.tell)(Told::Subscribed { master, resumed });
            }
            SchedulerEvent::Disconnected(why) => {
                self.subscribed_at = None;
                (self.tell)(Told::Disconnected {
                    reason: why.to_string(),
                });
            }
            SchedulerEvent::Offers(offers) => self.on_offers(offers),
            SchedulerEvent::Rescinded(id) => {
                if self.hand.remove(&id.value).is_some() {
                    books(&self.accounts).offers().rescinded += 1;
                }
            }
            SchedulerEvent::Update(status) => {
                let lost = books(&self.accounts).update(&status);
                if let Some(lost) = lost {
                    (self.tell)(Told::Lost(lost));
                }
            }
            SchedulerEvent::Refused(reason) => {
                anyhow::bail!("the master refuses the demonstration framework: {reason}");
            }
            SchedulerEvent::InverseOffers(_)
            | SchedulerEvent::InverseRescinded(_)
            | SchedulerEvent::OperationUpdate(_)
            | SchedulerEvent::Message { .. }
            | SchedulerEvent::AgentLost(_)
            | SchedulerEvent::ExecutorEnded { .. } => {}
        }
        Ok(())
    }

    fn on_offers(&mut self, offers: Vec<Offer>) {
        let now = Instant::now();
        self.sight.send_if_modified(|sight| {
            let first = sight.first_offers_at.is_none();
            sight.first_offers_at.get_or_insert(now);
            first
        });
        for offer in offers {
            match self.hand.get_mut(&offer.id.value) {
                Some(held) => {
                    held.sent_at = now;
                    held.carried_over = true;
                }
                None if self.used.contains(&offer.id.value) => {}
                None => {
                    books(&self.accounts).offers().received += 1;
                    let held = Held {
                        offer,
                        since: now,
                        sent_at: now,
                        carried_over: false,
                    };
                    self.hand.insert(held.offer.id.value.clone(), held);
                }
            }
        }
    }

    fn use_offers(&mut self) {
        let Some(subscribed_at) = self.subscribed_at else {
            return;
        };
        let now = Instant::now();
        let resent = now > subscribed_at + RESEND_GRACE;
        let accounts = Arc::clone(&self.accounts);
        self.hand.retain(|_, held| {
            let lost = held.sent_at < subscribed_at && resent;
            books(&accounts).offers().lost += u64::from(lost);
            !lost
        });
        if books(&self.accounts).n_open() >= TASKS_OPEN_MAX {
            return;
        }
        let ripe: Vec<String> = self
            .hand
            .iter()
            .filter(|(_, held)| held.since + HOLD <= now && held.sent_at >= subscribed_at)
            .map(|(id, _)| id.clone())
            .collect();
        for held in ripe
            .iter()
            .filter_map(|id| self.hand.remove(id))
            .collect::<Vec<_>>()
        {
            self.launch(held);
        }
    }

    fn launch(&mut self, held: Held) {
        if self.used.len() == OFFERS_USED_MAX {
            self.used.pop_front();
        }
        self.used.push_back(held.offer.id.value.clone());
        let tasks: Vec<TaskInfo> = (0..how_many(&held.offer))
            .map(|_| self.task(&held.offer))
            .collect();
        let ids: Vec<String> = tasks
            .iter()
            .map(|task| task.task_id.value.clone())
            .collect();
        {
            let now = std::time::Instant::now();
            let mut accounts = books(&self.accounts);
            ids.iter().for_each(|id| accounts.launching(id, now));
        }
        let (framework, accounts) = (self.framework.clone(), Arc::clone(&self.accounts));
        self.calls.spawn(async move {
            // What is left over may be offered again at once.
            let again = Some(Filters {
                refuse_seconds: Some(0.0),
            });
            let offer: OfferId = held.offer.id;
            let answer = if tasks.is_empty() {
                framework.decline([offer], again).await
            } else {
                framework.launch([offer], tasks, again).await
            };
            let mut accounts = books(&accounts);
            match answer {
                Ok(()) => {
                    ids.iter().for_each(|id| accounts.accepted(id));
                    accounts.offers().carried_over += u64::from(held.carried_over);
                }
                Err(CallError::Unanswered { sent: true, .. }) => {
                    tracing::warn!("an ACCEPT was never answered");
                }
                Err(error) => {
                    tracing::warn!(%error, "an ACCEPT failed");
                    ids.iter().for_each(|id| accounts.never_sent(id));
                }
            }
        });
    }

    fn task(&mut self, offer: &Offer) -> TaskInfo {
        let seconds = TASK_SECONDS[(self.n_tasks % TASK_SECONDS.len() as u64) as usize];
        self.n_tasks += 1;
        let id = format!("task-{}", self.n_tasks);
        TaskBuilder::shell(
            &id,
            format!("echo \"$TASK\" >> \"$LEDGER\" && sleep {seconds}"),
        )
        .env("TASK", &id)
        .env("LEDGER", self.ledger.to_string_lossy())
        .cpus(TASK_CPUS)
        .mem_mb(TASK_MEM_MB)
        .on(offer)
    }
}

pub(crate) fn books(accounts: &Mutex<Accounts>) -> MutexGuard<'_, Accounts> {
    accounts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ids that tasks wrote, one for each time that one ran.
pub(crate) fn read_ledger(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// How many tasks fit into an offer, up to the bound.
fn how_many(offer: &Offer) -> usize {
    // Rounded up a little: 0.3 processors hold three tasks, whatever floats think.
    let fit = (offer.cpus() / TASK_CPUS + 1e-6).min(offer.mem_mb() / TASK_MEM_MB + 1e-6);
    (fit as usize).min(TASKS_PER_OFFER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_tasks_as_fit_up_to_the_bound() {
        let offer = |cpus, mem| Offer {
            resources: vec![
                regency_client::scalar("cpus", cpus),
                regency_client::scalar("mem", mem),
            ],
            ..Offer::default()
        };
        assert_eq!(how_many(&offer(0.3, 1000.0)), 3);
        assert_eq!(how_many(&offer(10.0, 33.0)), 1);
        assert_eq!(how_many(&offer(10.0, 31.9)), 0);
        assert_eq!(how_many(&offer(10.0, 1000.0)), TASKS_PER_OFFER_MAX);
        assert_eq!(how_many(&Offer::default()), 0);
    }
}
