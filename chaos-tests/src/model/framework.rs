//! Frameworks of the model: they play by the rules of Mesos and remember what they were told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use regency_resources::Resources;
use regency_state::Command;
use regency_state::model::{Capabilities, FrameworkSpec};
use regency_types::{
    AgentId, DurationMs, FrameworkId, Generation, OfferId, StreamId, TaskId, TaskKey, TaskState,
    Term, UpdateUuid,
};

/// What a framework is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is subscribed.
    Subscribed(FrameworkId),
    /// Offers.
    Offers(Vec<(OfferId, AgentId, Resources)>),
    /// An offer is no longer valid.
    Rescind(OfferId),
    /// News of a task.
    Update {
        /// Which.
        task: TaskId,
        /// Where.
        agent: Option<AgentId>,
        /// The news.
        state: TaskState,
        /// What an acknowledgement names; `None`: it is not to be acknowledged.
        uuid: Option<UpdateUuid>,
        /// Which launch, which real frameworks are not told.
        generation: Option<Generation>,
    },
    /// The stream ends.
    Error(String),
}

/// A task as its framework knows it.
#[derive(Debug, Clone)]
pub struct KnownTask {
    /// Where.
    pub agent: AgentId,
    /// What it was told last.
    pub state: Option<TaskState>,
    /// Its end was told and acknowledged, so that the id may be used again.
    pub is_over: bool,
}

/// A framework.
#[derive(Debug)]
pub struct SimFramework {
    /// Its place.
    pub n: usize,
    /// What it says of itself.
    pub spec: FrameworkSpec,
    /// Its id, once it was told.
    pub id: Option<FrameworkId>,
    /// The subscription it asked for, and under which leader.
    pub asked: Option<(StreamId, Term)>,
    /// Whether that subscription's stream is open.
    pub is_open: bool,
    /// What it was sent and has not read.
    pub events: VecDeque<Event>,
    /// Offers it may use.
    pub offers: BTreeMap<OfferId, (AgentId, Resources)>,
    /// Offers that were valid once.
    pub past_offers: Vec<OfferId>,
    /// Its tasks.
    pub tasks: BTreeMap<TaskId, KnownTask>,
    /// Updates to acknowledge.
    pub unacknowledged: VecDeque<(TaskId, AgentId, UpdateUuid)>,
    /// Calls whose answers are on their way.
    pub calls: BTreeMap<u64, Command>,
    /// Calls whose fate it does not know.
    pub unknown: Vec<Command>,
    /// Number of its next call.
    pub n_calls: u64,
    /// Number of its next task.
    pub n_tasks: u64,
    /// It ended itself, or was told that it ended.
    pub is_over: bool,
    /// Every end it was told, by launch.
    pub ends: BTreeMap<(TaskKey, Generation), BTreeSet<TaskState>>,
    /// Every update it was told, by its uuid.
    pub updates: BTreeSet<UpdateUuid>,
    /// Offers sent on the present stream.
    pub on_stream: BTreeSet<OfferId>,
}

impl SimFramework {
    /// A framework that has not subscribed.
    #[must_use]
    pub fn new(n: usize, role: &str, failover_timeout: DurationMs, partition_aware: bool) -> Self {
        Self {
            n,
            spec: FrameworkSpec {
                info: Bytes::from_static(b"framework"),
                name: format!("framework {n}"),
                user: "root".to_owned(),
                principal: None,
                roles: BTreeSet::from([role.to_owned()]),
                failover_timeout,
                checkpoint: true,
                capabilities: Capabilities {
                    partition_aware,
                    ..Capabilities::default()
                },
                offer_constraints: Bytes::new(),
            },
            id: None,
            asked: None,
            is_open: false,
            events: VecDeque::new(),
            offers: BTreeMap::new(),
            past_offers: Vec::new(),
            tasks: BTreeMap::new(),
            unacknowledged: VecDeque::new(),
            calls: BTreeMap::new(),
            unknown: Vec::new(),
            n_calls: 0,
            n_tasks: 0,
            is_over: false,
            ends: BTreeMap::new(),
            updates: BTreeSet::new(),
            on_stream: BTreeSet::new(),
        }
    }

    /// The stream it may call on.
    #[must_use]
    pub fn open_stream(&self) -> Option<(StreamId, Term)> {
        self.asked.filter(|_| self.is_open)
    }

    /// Everything of a stream ends with it.
    pub fn hang_up(&mut self) {
        self.asked = None;
        self.is_open = false;
        self.events.clear();
        // It does not know which of them are still valid until it is told again.
        self.past_offers.extend(self.offers.keys().copied());
        self.offers.clear();
        self.unacknowledged.clear();
        self.on_stream.clear();
    }

    /// Begins as another framework, as schedulers do that were told that theirs was removed.
    pub fn begin_anew(&mut self) {
        let (ends, updates) = (
            std::mem::take(&mut self.ends),
            std::mem::take(&mut self.updates),
        );
        let role = self.spec.roles.first().cloned().unwrap_or_default();
        let fresh = Self::new(
            self.n,
            &role,
            self.spec.failover_timeout,
            self.spec.capabilities.partition_aware,
        );
        *self = Self {
            n_calls: self.n_calls,
            ends,
            updates,
            ..fresh
        };
    }
}
