//! What a framework is told, in the order in which it happened.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use regency_wire::v1::scheduler;
use regency_wire::v1::scheduler::event::Type;
use regency_wire::v1::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, Offer, OfferId, OperationStatus, TaskStatus,
};
use tokio::sync::mpsc;

use crate::session::Break;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The framework is subscribed. Offers that were outstanding and updates that were not
    /// acknowledged follow; offers that do not follow are gone.
    Subscribed {
        /// Its id; the same for all its life.
        framework_id: FrameworkId,
        /// `host:port` of the leading master.
        master: String,
        /// Whether it was subscribed before, in this process or an earlier one.
        resumed: bool,
    },
    /// The subscription was lost; another attempt is under way and ends in
    /// [`Event::Subscribed`]. Nothing has to be done.
    Disconnected(Break),
    /// Resources are offered. After a new subscription outstanding offers are sent again under
    /// their old ids; also one whose ACCEPT is still on its way: that call will use it.
    Offers(Vec<Offer>),
    /// These offers cannot be accepted any more.
    Rescinded(OfferId),
    /// Resources are asked back for maintenance.
    InverseOffers(Vec<InverseOffer>),
    /// The master no longer asks.
    InverseRescinded(OfferId),
    /// A task changed its state. With a `uuid` it is repeated until acknowledged.
    Update(TaskStatus),
    /// An operation changed its state. With a `uuid` it is repeated until acknowledged.
    OperationUpdate(OperationStatus),
    /// An executor says something.
    Message {
        /// Where the executor is.
        agent_id: AgentId,
        /// Who says it.
        executor_id: ExecutorId,
        /// What.
        data: Bytes,
    },
    /// An agent is lost; its tasks have updates of their own.
    AgentLost(AgentId),
    /// An executor ended.
    ExecutorEnded {
        /// Where it was.
        agent_id: Option<AgentId>,
        /// Which.
        executor_id: ExecutorId,
        /// How, as `wait(2)` tells.
        wait_status: Option<i32>,
    },
    /// The master refuses the framework, or another process took over its id. The last event.
    Refused(String),
}

/// What a record of the stream means to this crate.
#[derive(Debug, PartialEq)]
pub(crate) enum Record {
    Subscribed(scheduler::event::Subscribed),
    Heartbeat,
    Event(Event),
    /// A type this crate does not know, or one without its part.
    Unknown(i32),
}

impl Record {
    pub(crate) fn of(event: scheduler::Event) -> Self {
        let number = event.r#type.unwrap_or_default();
        let known = match event.r#type() {
            Type::Unknown => None,
            Type::Heartbeat => return Self::Heartbeat,
            Type::Subscribed => match event.subscribed {
                Some(subscribed) => return Self::Subscribed(subscribed),
                None => None,
            },
            Type::Offers => event.offers.map(|part| Event::Offers(part.offers)),
            Type::Rescind => event.rescind.map(|part| Event::Rescinded(part.offer_id)),
            Type::InverseOffers => event
                .inverse_offers
                .map(|part| Event::InverseOffers(part.inverse_offers)),
            Type::RescindInverseOffer => event
                .rescind_inverse_offer
                .map(|part| Event::InverseRescinded(part.inverse_offer_id)),
            Type::Update => event.update.map(|part| Event::Update(part.status)),
            Type::UpdateOperationStatus => event
                .update_operation_status
                .map(|part| Event::OperationUpdate(part.status)),
            Type::Message => event.message.map(|part| Event::Message {
                agent_id: part.agent_id,
                executor_id: part.executor_id,
                data: part.data,
            }),
            Type::Failure => event.failure.and_then(|part| match part.executor_id {
                Some(executor_id) => Some(Event::ExecutorEnded {
                    agent_id: part.agent_id,
                    executor_id,
                    wait_status: part.status,
                }),
                None => part.agent_id.map(Event::AgentLost),
            }),
            Type::Error => event.error.map(|part| Event::Refused(part.message)),
        };
        known.map_or(Self::Unknown(number), Self::Event)
    }
}

/// The events of one framework, to be read one after the other. Also a [`tokio_stream::Stream`].
///
/// Dropping it ends the subscription; the framework and its tasks then live on for its failover
/// timeout. Tear it down first if they should not.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    /// Where updates go that are acknowledged by themselves.
    acknowledge: Option<mpsc::Sender<TaskStatus>>,
    /// The update handed out last: acknowledged when the next event is asked for, because only
    /// then it is certain that the framework has dealt with it.
    handed_out: Option<TaskStatus>,
}

impl Events {
    pub(crate) fn new(
        events: mpsc::Receiver<Event>,
        acknowledge: Option<mpsc::Sender<TaskStatus>>,
    ) -> Self {
        Self {
            events,
            acknowledge,
            handed_out: None,
        }
    }

    /// The next event; `None` after the end of the subscription ([`Event::Refused`], or
    /// [`crate::Framework::teardown`]).
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let (Some(status), Some(acknowledge)) = (self.handed_out.take(), &self.acknowledge) {
            // A full queue means that the master has not taken acknowledgements for long; what
            // finds no place is repeated by the master and acknowledged then.
            if acknowledge.try_send(status).is_err() {
                tracing::debug!("too many acknowledgements are waiting");
            }
        }
        let event = std::task::ready!(self.events.poll_recv(cx));
        if let Some(Event::Update(status)) = &event
            && self.acknowledge.is_some()
            && status.uuid.is_some()
        {
            self.handed_out = Some(status.clone());
        }
        Poll::Ready(event)
    }
}

impl tokio_stream::Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_events_of_the_same_meaning() {
        let offer_id = OfferId { value: "o".into() };
        assert_eq!(
            Record::of(scheduler::Event::rescind(offer_id.clone())),
            Record::Event(Event::Rescinded(offer_id))
        );
        assert_eq!(Record::of(scheduler::Event::heartbeat()), Record::Heartbeat);
        let agent_id = AgentId { value: "a".into() };
        assert_eq!(
            Record::of(scheduler::Event::agent_lost(agent_id.clone())),
            Record::Event(Event::AgentLost(agent_id.clone()))
        );
        let executor_id = ExecutorId { value: "e".into() };
        assert_eq!(
            Record::of(scheduler::Event::executor_ended(
                agent_id.clone(),
                executor_id.clone(),
                Some(9)
            )),
            Record::Event(Event::ExecutorEnded {
                agent_id: Some(agent_id),
                executor_id,
                wait_status: Some(9)
            })
        );
        assert_eq!(
            Record::of(scheduler::Event::error("no")),
            Record::Event(Event::Refused("no".into()))
        );
    }

    #[test]
    fn a_type_from_the_future_or_without_its_part_is_no_event() {
        let mut event = scheduler::Event {
            r#type: Some(77),
            ..scheduler::Event::default()
        };
        assert_eq!(Record::of(event.clone()), Record::Unknown(77));
        event.r#type = Some(Type::Offers as i32);
        assert_eq!(Record::of(event), Record::Unknown(Type::Offers as i32));
    }
}
