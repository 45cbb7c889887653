//! Short ways to make the events of the scheduler API.
//!
//! An event is a type and the part of the same name; setting one without the other is the
//! mistake these prevent.

use bytes::Bytes;

use crate::v1::scheduler::Event;
use crate::v1::scheduler::event::{
    self, Error, Failure, InverseOffers, Message, Offers, Rescind, RescindInverseOffer, Subscribed,
    Type, Update, UpdateOperationStatus,
};
use crate::v1::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, MasterInfo, Offer, OfferId, OperationStatus,
    TaskStatus,
};

/// What SUBSCRIBED tells about heartbeats, in seconds.
pub const HEARTBEAT_INTERVAL_SECONDS: f64 = 15.0;

impl Event {
    fn of(event_type: event::Type) -> Self {
        Self {
            r#type: Some(event_type as i32),
            ..Self::default()
        }
    }

    /// The first event of a stream.
    #[must_use]
    pub fn subscribed(framework_id: FrameworkId, master_info: MasterInfo) -> Self {
        Self {
            subscribed: Some(Subscribed {
                framework_id,
                heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL_SECONDS),
                master_info: Some(master_info),
            }),
            ..Self::of(Type::Subscribed)
        }
    }

    /// Shows that the stream lives.
    #[must_use]
    pub fn heartbeat() -> Self {
        Self::of(Type::Heartbeat)
    }

    /// New offers.
    #[must_use]
    pub fn offers(offers: Vec<Offer>) -> Self {
        Self {
            offers: Some(Offers { offers }),
            ..Self::of(Type::Offers)
        }
    }

    /// New inverse offers.
    #[must_use]
    pub fn inverse_offers(inverse_offers: Vec<InverseOffer>) -> Self {
        Self {
            inverse_offers: Some(InverseOffers { inverse_offers }),
            ..Self::of(Type::InverseOffers)
        }
    }

    /// An offer is no longer valid.
    #[must_use]
    pub fn rescind(offer_id: OfferId) -> Self {
        Self {
            rescind: Some(Rescind { offer_id }),
            ..Self::of(Type::Rescind)
        }
    }

    /// An inverse offer is no longer valid.
    #[must_use]
    pub fn rescind_inverse_offer(inverse_offer_id: OfferId) -> Self {
        Self {
            rescind_inverse_offer: Some(RescindInverseOffer { inverse_offer_id }),
            ..Self::of(Type::RescindInverseOffer)
        }
    }

    /// The status of a task; to be acknowledged if it carries a uuid.
    #[must_use]
    pub fn update(status: TaskStatus) -> Self {
        Self {
            update: Some(Update { status }),
            ..Self::of(Type::Update)
        }
    }

    /// The status of an operation; to be acknowledged if it carries a uuid.
    #[must_use]
    pub fn update_operation_status(status: OperationStatus) -> Self {
        Self {
            update_operation_status: Some(UpdateOperationStatus { status }),
            ..Self::of(Type::UpdateOperationStatus)
        }
    }

    /// Bytes from an executor.
    #[must_use]
    pub fn message(agent_id: AgentId, executor_id: ExecutorId, data: Bytes) -> Self {
        Self {
            message: Some(Message {
                agent_id,
                executor_id,
                data,
            }),
            ..Self::of(Type::Message)
        }
    }

    /// An agent is lost.
    #[must_use]
    pub fn agent_lost(agent_id: AgentId) -> Self {
        Self {
            failure: Some(Failure {
                agent_id: Some(agent_id),
                ..Failure::default()
            }),
            ..Self::of(Type::Failure)
        }
    }

    /// An executor ended with a wait status, as `wait(2)` gives it, when anybody saw that.
    #[must_use]
    pub fn executor_ended(
        agent_id: AgentId,
        executor_id: ExecutorId,
        wait_status: Option<i32>,
    ) -> Self {
        Self {
            failure: Some(Failure {
                agent_id: Some(agent_id),
                executor_id: Some(executor_id),
                status: wait_status,
            }),
            ..Self::of(Type::Failure)
        }
    }

    /// The subscription is refused or at an end; the last event of a stream.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            error: Some(Error {
                message: message.into(),
            }),
            ..Self::of(Type::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContentType, encode};

    #[test]
    fn an_event_has_its_type_and_the_part_of_that_name() {
        let id = |value: &str| OfferId {
            value: value.into(),
        };
        for (event, json) in [
            (Event::heartbeat(), r#"{"type":"HEARTBEAT"}"#),
            (
                Event::rescind(id("o")),
                r#"{"type":"RESCIND","rescind":{"offer_id":{"value":"o"}}}"#,
            ),
            (
                Event::error("gone"),
                r#"{"type":"ERROR","error":{"message":"gone"}}"#,
            ),
            (Event::offers(vec![]), r#"{"type":"OFFERS","offers":{}}"#),
            (
                Event::agent_lost(AgentId { value: "a".into() }),
                r#"{"type":"FAILURE","failure":{"agent_id":{"value":"a"}}}"#,
            ),
        ] {
            assert_eq!(encode(ContentType::Json, &event), json);
        }
    }
}
