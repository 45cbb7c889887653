//! The agents attached to this leader, and when each was last heard.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use regency_state::model::ExecutorKey;
use regency_types::AgentId;
use tokio::sync::mpsc;

use crate::counters::{Count, count_either};
use crate::metrics;

/// What an attachment's task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The agent may have commands it was not sent.
    Sync,
    /// A newer attachment of the agent took over.
    Superseded,
    /// The agent was removed.
    Removed,
    /// This master does not lead any more.
    Over,
}

/// What a framework says to one of its executors.
#[derive(Debug)]
pub(crate) struct ToExecutor {
    pub(crate) executor: ExecutorKey,
    pub(crate) data: Bytes,
}

/// One attachment as the leader knows it.
#[derive(Debug)]
struct Attachment {
    /// Tells attachments of one agent apart.
    generation: u64,
    signals: mpsc::Sender<Signal>,
    messages: mpsc::Sender<ToExecutor>,
}

impl Attachment {
    /// Tells the attachment's task. A full queue holds a `Sync` already; the other signals are
    /// the last ones, and a task whose sender is gone knows that it is over.
    fn tell(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }
}

#[derive(Debug, Default)]
struct Inner {
    attached: BTreeMap<AgentId, Attachment>,
    /// Monotonic milliseconds at which each agent was last heard by this leader, also of agents
    /// that are not attached any more.
    heard_ms: BTreeMap<AgentId, u64>,
    next_generation: u64,
    closed: bool,
}

/// All attachments of this leader.
#[derive(Debug, Default)]
pub(crate) struct Attachments {
    inner: Mutex<Inner>,
}

impl Attachments {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches an agent and gives the attachment its number; an older one of the agent ends.
    /// `None` when the term is over.
    pub(crate) fn attach(
        &self,
        agent: AgentId,
        signals: mpsc::Sender<Signal>,
        messages: mpsc::Sender<ToExecutor>,
        now_ms: u64,
    ) -> Option<u64> {
        let mut inner = self.lock();
        if inner.closed {
            return None;
        }
        inner.next_generation += 1;
        let generation = inner.next_generation;
        inner.heard_ms.insert(agent.clone(), now_ms);
        if let Some(old) = inner.attached.insert(
            agent,
            Attachment {
                generation,
                signals,
                messages,
            },
        ) {
            old.tell(Signal::Superseded);
        }
        count(&inner);
        Some(generation)
    }

    /// Takes an attachment away, if it is still the agent's.
    pub(crate) fn detach(&self, agent: &AgentId, generation: u64) {
        let mut inner = self.lock();
        if inner
            .attached
            .get(agent)
            .is_some_and(|a| a.generation == generation)
        {
            inner.attached.remove(agent);
            count(&inner);
        }
    }

    /// Notes that an agent was heard.
    pub(crate) fn heard(&self, agent: &AgentId, now_ms: u64) {
        if let Some(heard) = self.lock().heard_ms.get_mut(agent) {
            *heard = now_ms;
        }
    }

    /// When this leader last heard the agent, in monotonic milliseconds; `None`: never.
    pub(crate) fn last_heard_ms(&self, agent: &AgentId) -> Option<u64> {
        self.lock().heard_ms.get(agent).copied()
    }

    /// Whether the agent was attached to this leader and is not any more.
    pub(crate) fn has_left(&self, agent: &AgentId) -> bool {
        let inner = self.lock();
        inner.heard_ms.contains_key(agent) && !inner.attached.contains_key(agent)
    }

    /// The agents attached.
    pub(crate) fn attached(&self) -> std::collections::BTreeSet<AgentId> {
        self.lock().attached.keys().cloned().collect()
    }

    /// Passes a message on to an executor; drops it when the agent is not attached here or does not
    /// keep up.
    pub(crate) fn pass_on(&self, agent: &AgentId, message: ToExecutor) {
        let sent = match self.lock().attached.get(agent) {
            Some(attachment) => attachment.messages.try_send(message).is_ok(),
            None => false,
        };
        count_either(
            sent,
            Count::ValidFrameworkMessages,
            Count::InvalidFrameworkMessages,
        );
        if !sent {
            tracing::debug!(agent_id = %agent, "a message to an executor was dropped");
        }
    }

    /// Has the agent's commands sent.
    pub(crate) fn sync(&self, agent: &AgentId) {
        if let Some(attachment) = self.lock().attached.get(agent) {
            attachment.tell(Signal::Sync);
        }
    }

    /// Has the commands of all agents sent.
    pub(crate) fn sync_all(&self) {
        for attachment in self.lock().attached.values() {
            attachment.tell(Signal::Sync);
        }
    }

    /// Ends the attachment of an agent that was removed.
    pub(crate) fn remove(&self, agent: &AgentId) {
        let mut inner = self.lock();
        inner.heard_ms.remove(agent);
        if let Some(attachment) = inner.attached.remove(agent) {
            attachment.tell(Signal::Removed);
        }
        count(&inner);
    }

    /// Ends all attachments, now and for ever.
    pub(crate) fn close_all(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        for (_, attachment) in std::mem::take(&mut inner.attached) {
            attachment.tell(Signal::Over);
        }
        count(&inner);
    }
}

fn count(inner: &Inner) {
    ::metrics::gauge!(metrics::AGENTS_ATTACHED).set(inner.attached.len() as f64);
}
