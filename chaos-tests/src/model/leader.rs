//! A leader's memory, and what its duties do with what [`regency_leader_core`] decides.

use std::collections::{BTreeMap, BTreeSet};

use regency_allocator::{Cycle, Options, allocate};
use regency_leader_core::awaited::Awaited;
use regency_leader_core::liveness::{Presence, judge, silence};
use regency_leader_core::retries::{Retries, Subject};
use regency_leader_core::{allocation, expiry};
use regency_state::{Command, ExpireFilters, State};
use regency_types::{
    AgentId, ClusterTime, DurationMs, FrameworkId, OfferId, StreamId, TaskKey, Term,
};

use super::{AGENT_TIMEOUT, FRAMEWORK_GRACE, OFFER_GRACE};

/// A framework's stream at its leader.
#[derive(Debug)]
pub struct OpenStream {
    /// Whose, by its place in the model.
    pub framework: usize,
    /// Which subscription.
    pub stream: StreamId,
    /// Offers sent and not known to have ended.
    pub offers: BTreeSet<OfferId>,
}

/// One term of leadership.
#[derive(Debug)]
pub struct Leader {
    /// The term.
    pub term: Term,
    /// What it applied.
    pub state: State,
    /// Monotonic milliseconds when it began to serve.
    pub began_ms: u64,
    /// Cluster time then.
    pub began_at: ClusterTime,
    /// Whether it was deposed and does not know.
    pub deposed: bool,
    /// Which attachment each agent has here.
    pub attached: BTreeMap<AgentId, u64>,
    /// When it last heard each agent.
    pub heard_ms: BTreeMap<AgentId, u64>,
    /// The streams open here.
    pub streams: BTreeMap<FrameworkId, OpenStream>,
    /// Frameworks that are missing.
    pub awaited: Awaited,
    /// When updates are sent again.
    pub retries: Retries,
    /// Until when it stood still.
    pub stalled_ms: u64,
    last_look_ms: u64,
    cycles: u64,
}

/// Between two looks of the liveness duty without which a leader stood still.
const STALL_MS: u64 = 3_000;

impl Leader {
    /// A leader that begins now.
    #[must_use]
    pub fn new(term: Term, state: State, now_ms: u64) -> Self {
        Self {
            term,
            began_at: state.now(),
            state,
            began_ms: now_ms,
            deposed: false,
            attached: BTreeMap::new(),
            heard_ms: BTreeMap::new(),
            streams: BTreeMap::new(),
            awaited: Awaited::default(),
            retries: Retries::default(),
            stalled_ms: 0,
            last_look_ms: now_ms,
            cycles: 0,
        }
    }

    /// Cluster time as this leader counts it.
    #[must_use]
    pub fn cluster_time(&self, now_ms: u64) -> ClusterTime {
        self.began_at + DurationMs(now_ms.saturating_sub(self.began_ms))
    }

    /// For how long it has not heard an agent.
    #[must_use]
    pub fn silent_ms(&self, agent: &AgentId, now_ms: u64) -> u64 {
        let heard_ms = self.heard_ms.get(agent).copied();
        let silent = silence(heard_ms, self.began_ms, self.stalled_ms, now_ms);
        u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)
    }

    /// The liveness duty.
    pub fn look_at_agents(&mut self, now_ms: u64) -> Vec<Command> {
        let lag_ms = now_ms.saturating_sub(self.last_look_ms);
        self.last_look_ms = now_ms;
        if lag_ms > STALL_MS {
            self.stalled_ms = now_ms;
            return Vec::new();
        }
        judge(
            &self.state,
            self.cluster_time(now_ms),
            AGENT_TIMEOUT,
            |agent| Presence {
                silent: std::time::Duration::from_millis(self.silent_ms(agent, now_ms)),
                left: self.heard_ms.contains_key(agent) && !self.attached.contains_key(agent),
            },
        )
    }

    /// The expiry duty.
    #[must_use]
    pub fn look_at_deadlines(&self, now_ms: u64) -> Vec<Command> {
        let now = self.cluster_time(now_ms);
        let mut commands = expiry::due(&self.state, now);
        if expiry::filters_due(&self.state, now) {
            commands.push(Command::ExpireFilters(ExpireFilters));
        }
        commands
    }

    /// The duty that awaits frameworks.
    pub fn look_for_frameworks(&mut self, now_ms: u64) -> Vec<Command> {
        let streams = self.streams.keys().cloned().collect();
        self.awaited
            .look(&self.state, &streams, now_ms, OFFER_GRACE, FRAMEWORK_GRACE)
    }

    /// The allocation duty.
    pub fn allocate(&mut self, now_ms: u64, timeout: Option<DurationMs>) -> Vec<Command> {
        let attached: BTreeSet<AgentId> = self.attached.keys().cloned().collect();
        let connected: BTreeSet<FrameworkId> = self.streams.keys().cloned().collect();
        if attached.is_empty() || connected.is_empty() {
            return Vec::new();
        }
        self.cycles += 1;
        let view = allocation::view(&self.state, &attached, &connected, |_| false);
        let cycle = Cycle {
            now: self.cluster_time(now_ms),
            seed: self.term.0.wrapping_mul(1 << 32).wrapping_add(self.cycles),
        };
        let plans = allocate(&view, &Options::default(), &cycle);
        let plans = allocation::plans(&self.state, plans);
        allocation::entries(plans, timeout)
            .into_iter()
            .map(Command::IssueOffers)
            .collect()
    }

    /// The duty that sends updates again: of which tasks, to which stream.
    pub fn look_at_updates(&mut self, now_ms: u64) -> Vec<TaskKey> {
        self.retries.tidy(&self.state);
        let mut due = Vec::new();
        for id in self.streams.keys() {
            let Some(framework) = self.state.framework(id) else {
                continue;
            };
            for task in self.state.tasks_of(framework) {
                let Some(update) = &task.unacked else {
                    continue;
                };
                let subject = Subject::Task(task.key.clone());
                if self.retries.is_due(subject, update.uuid, now_ms) {
                    due.push(task.key.clone());
                }
            }
        }
        due
    }
}
