//! Executors: the streams to them, and what comes in over the executor API.
//!
//! * [`api`]: the HTTP endpoint. It asks the driver and answers what the driver says.
//! * [`Streams`]: where events for executors go. What is decided about them is in the machine.
//! * [`event`] and [`status`]: between the words of the API and those of the machine.

pub(crate) mod api;
pub(crate) mod event;
pub(crate) mod status;

use std::collections::BTreeMap;

use regency_agent_core::{ExecutorUpdate, InstanceId};
use regency_types::TaskId;
use regency_wire::v1;
use regency_wire::v1::executor::Event;
use tokio::sync::{mpsc, oneshot};

use crate::metrics;

/// Events that may wait for an executor to read; one that is further behind must subscribe again.
const EVENTS_MAX: usize = 1024;

/// Updates of one task that may wait for its framework's acknowledgement before its executor must
/// wait, too. The end of a task is always taken.
pub(crate) const UPDATES_WAITING_MAX: usize = 1000;

/// A call of an executor, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The framework's id as the executor gave it.
    pub(crate) framework: String,
    /// The executor's id as it gave it.
    pub(crate) executor: String,
    pub(crate) what: What,
}

/// What an executor asks.
#[derive(Debug)]
pub(crate) enum What {
    /// To be told everything from now on.
    Subscribe {
        tasks: Vec<TaskId>,
        updates: Vec<v1::TaskStatus>,
        answer: oneshot::Sender<Result<mpsc::Receiver<Event>, Stranger>>,
    },
    /// To pass an update on. Answered when it is durable.
    Update {
        status: Box<v1::TaskStatus>,
        answer: oneshot::Sender<Result<(), Stranger>>,
    },
    /// To pass a message on.
    Message {
        data: bytes::Bytes,
        answer: oneshot::Sender<Result<(), Stranger>>,
    },
}

/// Why a call is not carried out; the texts are those of Mesos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stranger {
    #[error("Framework cannot be found")]
    Framework,
    #[error("Executor cannot be found")]
    Executor,
    #[error("Executor is not subscribed")]
    NotSubscribed,
    #[error(
        "more than {UPDATES_WAITING_MAX} updates of the task wait for its framework; try again later"
    )]
    TooManyUpdates,
}

/// An update with what only the agent knows, or the reason why it is none.
pub(crate) type Completed = Result<ExecutorUpdate, status::BadStatus>;

/// The stream of each executor that is subscribed.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: BTreeMap<InstanceId, mpsc::Sender<Event>>,
}

impl Streams {
    /// Opens a stream; an earlier one of the executor ends.
    pub(crate) fn open(&mut self, id: InstanceId) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        self.open.insert(id, events);
        ::metrics::counter!(metrics::EXECUTOR_SUBSCRIPTIONS_TOTAL).increment(1);
        self.gauge();
        receiver
    }

    /// Whether an executor listens.
    pub(crate) fn is_open(&self, id: &InstanceId) -> bool {
        self.open.get(id).is_some_and(|events| !events.is_closed())
    }

    /// Sends an event. An executor that is gone or does not read loses its stream: it is told
    /// everything that counts when it subscribes again. `false` when there is none (any more).
    pub(crate) fn send(&mut self, id: &InstanceId, event: Event) -> bool {
        let Some(events) = self.open.get(id) else {
            return false;
        };
        if let Err(error) = events.try_send(event) {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                tracing::warn!(executor = %id, "an executor does not read its events");
            }
            self.close(id);
            return false;
        }
        true
    }

    /// Ends the stream of an executor.
    pub(crate) fn close(&mut self, id: &InstanceId) {
        self.open.remove(id);
        self.gauge();
    }

    fn gauge(&self) {
        ::metrics::gauge!(metrics::EXECUTORS_SUBSCRIBED).set(self.open.len() as f64);
    }
}
