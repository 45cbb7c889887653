//! Offers, outstanding and consumed.

use regency_resources::Resources;
use regency_state::Verdict;
use regency_state::model::{ConsumedOffer, Consumption, Offer};
use regency_types::{ClusterTime, OfferId, WallTime};

use crate::StoredError;
use crate::field::{Stored, chosen, id, required};
use crate::proto;

impl Stored for Offer {
    type Message = proto::Offer;

    fn store(&self) -> proto::Offer {
        proto::Offer {
            id: self.id.0,
            framework: self.framework.as_str().to_owned(),
            role: self.role.clone(),
            agent: self.agent.as_str().to_owned(),
            resources: Some(self.resources.store()),
            deadline_ms: self.deadline.map(|t| t.0),
            made_wall_ms: self.made.0,
        }
    }

    fn load(message: proto::Offer) -> Result<Self, StoredError> {
        Ok(Self {
            id: OfferId(message.id),
            framework: id(message.framework, "Offer.framework")?,
            role: message.role,
            agent: id(message.agent, "Offer.agent")?,
            resources: Resources::load(required(message.resources, "Offer.resources")?)?,
            deadline: message.deadline_ms.map(ClusterTime),
            made: WallTime(message.made_wall_ms),
        })
    }
}

pub(crate) fn store_consumed(offer: OfferId, consumed: &ConsumedOffer) -> proto::ConsumedOffer {
    use proto::consumed_offer as stored;
    proto::ConsumedOffer {
        offer: offer.0,
        framework: consumed.framework.as_str().to_owned(),
        consumption: Some(match &consumed.consumption {
            Consumption::Call { content, verdict } => stored::Consumption::Call(stored::Call {
                content: *content,
                verdict: Some(verdict.store()),
            }),
            Consumption::Rescinded => stored::Consumption::Rescinded(stored::Rescinded {}),
        }),
    }
}

pub(crate) fn load_consumed(
    message: proto::ConsumedOffer,
) -> Result<(OfferId, ConsumedOffer), StoredError> {
    use proto::consumed_offer as stored;
    let consumption = match chosen(message.consumption, "ConsumedOffer.consumption")? {
        stored::Consumption::Call(call) => Consumption::Call {
            content: call.content,
            verdict: Verdict::load(required(call.verdict, "ConsumedOffer.Call.verdict")?)?,
        },
        stored::Consumption::Rescinded(_) => Consumption::Rescinded,
    };
    let consumed = ConsumedOffer {
        framework: id(message.framework, "ConsumedOffer.framework")?,
        consumption,
    };
    Ok((OfferId(message.offer), consumed))
}
