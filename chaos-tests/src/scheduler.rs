//! A framework that remembers everything it was told.

use std::collections::BTreeMap;
use std::time::Duration;

use regency_client::v1::{
    InverseOffer, Offer, OfferId, OperationStatus, TaskInfo, TaskState, TaskStatus,
};
use regency_client::{Acknowledge, Event, Events, Framework, FrameworkBuilder};

use crate::cluster::{Cluster, Member};
use crate::wait::PATIENCE;

/// The role of the frameworks here.
const ROLE: &str = "chaos";

/// The framework and what it knows.
#[derive(Debug)]
pub struct Scheduler {
    /// For calls.
    pub framework: Framework,
    events: Events,
    /// Offers in hand, by id, as sent last.
    pub offers: BTreeMap<String, Offer>,
    /// Updates of each task in the order they came, repeated ones left out.
    pub updates: BTreeMap<String, Vec<TaskStatus>>,
    /// Statuses of operations by their id, as they came.
    pub operations: BTreeMap<String, Vec<OperationStatus>>,
    /// Executors that ended, with the status that was told.
    pub executors_ended: Vec<(String, Option<i32>)>,
    /// Inverse offers that it was asked and has not answered, by id.
    pub inverse_offers: BTreeMap<String, InverseOffer>,
    /// Masters it was subscribed at, in order.
    pub masters: Vec<String>,
}

impl Scheduler {
    /// Subscribes at these masters.
    ///
    /// # Panics
    /// When that is not possible within [`PATIENCE`].
    pub async fn start(name: &str, masters: &[String]) -> Self {
        let builder = Framework::builder(name).failover_timeout(Duration::from_secs(3600));
        Self::with(builder, masters).await
    }

    /// Subscribes as somebody special.
    ///
    /// # Panics
    /// When that is not possible within [`PATIENCE`].
    pub async fn with(builder: FrameworkBuilder, masters: &[String]) -> Self {
        let (framework, events) = builder
            .masters(masters.iter().cloned())
            .role(ROLE)
            .acknowledge(Acknowledge::Automatic)
            .connect()
            .expect("good addresses");
        let mut scheduler = Self {
            framework,
            events,
            offers: BTreeMap::new(),
            updates: BTreeMap::new(),
            operations: BTreeMap::new(),
            executors_ended: Vec::new(),
            inverse_offers: BTreeMap::new(),
            masters: Vec::new(),
        };
        scheduler
            .until("a subscription", |scheduler| !scheduler.masters.is_empty())
            .await;
        scheduler
    }

    /// Takes events until something holds.
    ///
    /// # Panics
    /// When it does not within [`PATIENCE`], or the framework is refused.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let all = async {
            while !holds(self) {
                let event = self.events.next().await.expect("the framework lives");
                self.note(event);
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            panic!("within {PATIENCE:?} never: {what}; known is {self:#?}");
        }
    }

    /// Takes events while something is awaited. The last update is acknowledged only when the next event
    /// is asked for.
    ///
    /// # Panics
    /// When the framework is refused.
    pub async fn meanwhile<T>(&mut self, awaited: impl Future<Output = T>) -> T {
        tokio::pin!(awaited);
        loop {
            tokio::select! {
                done = &mut awaited => return done,
                event = self.events.next() => self.note(event.expect("the framework lives")),
            }
        }
    }

    /// Waits for an offer, of any agent, and takes it.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub async fn take_offer(&mut self) -> Offer {
        self.until("an offer", |scheduler| !scheduler.offers.is_empty())
            .await;
        self.offers
            .pop_first()
            .map(|(_, offer)| offer)
            .expect("just seen")
    }

    /// Launches tasks with one offer; what is left over is offered again at once.
    ///
    /// # Panics
    /// When the master refuses the call.
    pub async fn launch(&self, offer: OfferId, tasks: Vec<TaskInfo>) {
        let again = regency_client::v1::Filters {
            refuse_seconds: Some(0.0),
        };
        self.framework
            .launch([offer], tasks, Some(again))
            .await
            .expect("an answer");
    }

    /// kill -9 of the leader; waits until the framework is subscribed at the next one. The old one is
    /// started again.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`].
    pub async fn kill_leader(&mut self, cluster: &mut Cluster) {
        let n_masters = self.masters.len();
        let old = cluster.leader().await.node_id;
        cluster.kill(Member::Master(old)).await;
        self.until("a subscription at the next leader", |s| {
            s.masters.len() > n_masters
        })
        .await;
        cluster.restart(Member::Master(old));
    }

    /// The last state of a task.
    #[must_use]
    pub fn state(&self, task: &str) -> Option<TaskState> {
        self.updates.get(task)?.last().map(TaskStatus::state)
    }

    /// Waits until the last state of all these tasks is this one.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`].
    pub async fn until_all_are(&mut self, state: TaskState, tasks: &[&str]) {
        let what = format!("{} of {tasks:?}", state.as_str_name());
        self.until(&what, |scheduler| {
            tasks
                .iter()
                .all(|task| scheduler.state(task) == Some(state))
        })
        .await;
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Subscribed { master, .. } => {
                // What is not sent again is gone.
                self.offers.clear();
                self.inverse_offers.clear();
                self.masters.push(master);
            }
            Event::Offers(offers) => {
                self.offers
                    .extend(offers.into_iter().map(|o| (o.id.value.clone(), o)));
            }
            Event::Rescinded(id) => {
                self.offers.remove(&id.value);
            }
            Event::InverseOffers(offers) => {
                self.inverse_offers
                    .extend(offers.into_iter().map(|o| (o.id.value.clone(), o)));
            }
            Event::InverseRescinded(id) => {
                self.inverse_offers.remove(&id.value);
            }
            Event::Update(status) => {
                let known = self
                    .updates
                    .entry(status.task_id.value.clone())
                    .or_default();
                let repeated = |one: &TaskStatus| one.uuid.is_some() && one.uuid == status.uuid;
                if !known.iter().any(repeated) {
                    known.push(status);
                }
            }
            Event::OperationUpdate(status) => {
                let id = status.operation_id.clone().unwrap_or_default().value;
                self.operations.entry(id).or_default().push(status);
            }
            Event::ExecutorEnded {
                executor_id,
                wait_status,
                ..
            } => self.executors_ended.push((executor_id.value, wait_status)),
            Event::Refused(reason) => panic!("the framework is refused: {reason}"),
            _ => {}
        }
    }
}
