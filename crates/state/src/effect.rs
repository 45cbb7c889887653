//! What the leader should do now because of what became true.
//!
//! Effects are hints for speed; the state is the truth. Followers drop them and a leader may die
//! before it acts, so each variant says how a new leader finds the same work from the state.

use regency_types::{AgentId, FrameworkId, OfferId, OperationKey, StreamId, TaskKey};

use crate::model::{ExecutorKey, MasterStatus, RefusedOperation};

/// Why the leader closes a framework's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// A newer subscription took its place: ERROR "Framework failed over" first.
    FailedOver,
    /// The framework was removed: the stream ends.
    Removed,
}

/// One thing for the leader to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send the offers to the framework's stream. *Again:* a subscription is sent all
    /// outstanding offers of its framework.
    SendOffers {
        /// To whom.
        framework: FrameworkId,
        /// Which, in ascending order.
        offers: Vec<OfferId>,
    },
    /// Tell the framework that an offer is no longer valid. *Again:* a subscription is sent only
    /// the offers that are outstanding; what is not sent is gone.
    SendRescind {
        /// To whom.
        framework: FrameworkId,
        /// Which.
        offer: OfferId,
    },
    /// Send the inverse offers to the framework's stream. *Again:* a subscription is sent all
    /// outstanding ones of its framework.
    SendInverseOffers {
        /// To whom.
        framework: FrameworkId,
        /// Which, in ascending order.
        offers: Vec<OfferId>,
    },
    /// Tell the framework that an inverse offer is no longer valid. *Again:* as with offers.
    SendRescindInverse {
        /// To whom.
        framework: FrameworkId,
        /// Which.
        offer: OfferId,
    },
    /// Send the unacknowledged update at the head of the task's stream. *Again:* the leader sends
    /// every unacknowledged head at a subscription and with a back-off until it is acknowledged.
    SendUpdate {
        /// Which task.
        task: TaskKey,
    },
    /// Send a status that the masters made. *Again:* statuses of refused launches are retained
    /// and sent at a subscription; the others only repeat what the state of the task tells, which
    /// a reconciliation answers.
    SendStatus {
        /// To whom.
        framework: FrameworkId,
        /// What.
        status: MasterStatus,
    },
    /// Tell the framework that an operation was carried out. *Again:* the leader sends every
    /// operation that is not acknowledged at a subscription and with a back-off.
    SendOperation {
        /// Which operation.
        operation: OperationKey,
    },
    /// Tell the framework that an operation was not carried out. *Again:* retained and sent at a
    /// subscription, like statuses of refused launches.
    SendRefusedOperation {
        /// To whom.
        framework: FrameworkId,
        /// What.
        refused: RefusedOperation,
    },
    /// Tell every subscribed framework that the agent is lost. *Again:* not; Mesos promises this
    /// event at most once, and the statuses of the agent's tasks tell it to whom it matters.
    SendFailure {
        /// Which agent.
        agent: AgentId,
    },
    /// Tell the framework that an executor of it is gone. *Again:* not, as in Mesos; the statuses of
    /// its tasks tell what was lost with it.
    SendExecutorExit {
        /// Which executor.
        executor: ExecutorKey,
        /// Where it was.
        agent: AgentId,
        /// How its process ended, when anybody saw it.
        status: Option<i32>,
    },
    /// Send the agent the commands it has not been sent. *Again:* an attachment is sent all
    /// commands above the agent's cursor.
    SyncAgent {
        /// Which agent.
        agent: AgentId,
    },
    /// End the attachment of an agent that was removed. *Again:* the agent is refused when it
    /// attaches.
    DetachAgent {
        /// Which agent.
        agent: AgentId,
    },
    /// End a framework's stream. *Again:* a new leader has no stream of an older subscription.
    CloseStream {
        /// Whose.
        framework: FrameworkId,
        /// Which.
        stream: StreamId,
        /// Why.
        reason: CloseReason,
    },
    /// Something became available or wanted: allocate soon. *Again:* a term begins with an
    /// allocation, and one runs every interval.
    WakeAllocator,
}
