//! The maintenance schedule, and inverse offers.

use regency_state::{
    AnswerInverseOffers, IssueInverseOffers, StartMaintenance, StopMaintenance, UpdateMaintenance,
};
use regency_types::DurationMs;

use crate::StoredError;
use crate::field::{Stored, id, load_all, load_offer_ids, store_all, store_offer_ids};
use crate::proto;

impl Stored for UpdateMaintenance {
    type Message = proto::UpdateMaintenance;

    fn store(&self) -> proto::UpdateMaintenance {
        proto::UpdateMaintenance {
            windows: store_all(&self.windows),
        }
    }

    fn load(message: proto::UpdateMaintenance) -> Result<Self, StoredError> {
        Ok(Self {
            windows: load_all(message.windows)?,
        })
    }
}

impl Stored for StartMaintenance {
    type Message = proto::StartMaintenance;

    fn store(&self) -> proto::StartMaintenance {
        proto::StartMaintenance {
            machines: store_all(&self.machines),
        }
    }

    fn load(message: proto::StartMaintenance) -> Result<Self, StoredError> {
        Ok(Self {
            machines: load_all(message.machines)?,
        })
    }
}

impl Stored for StopMaintenance {
    type Message = proto::StopMaintenance;

    fn store(&self) -> proto::StopMaintenance {
        proto::StopMaintenance {
            machines: store_all(&self.machines),
        }
    }

    fn load(message: proto::StopMaintenance) -> Result<Self, StoredError> {
        Ok(Self {
            machines: load_all(message.machines)?,
        })
    }
}

impl Stored for IssueInverseOffers {
    type Message = proto::IssueInverseOffers;

    fn store(&self) -> proto::IssueInverseOffers {
        let plans = self.plans.iter();
        proto::IssueInverseOffers {
            plans: plans
                .map(|(framework, agent)| proto::issue_inverse_offers::Plan {
                    framework: framework.as_str().to_owned(),
                    agent: agent.as_str().to_owned(),
                })
                .collect(),
            timeout_ms: self.timeout.map(|t| t.0),
        }
    }

    fn load(message: proto::IssueInverseOffers) -> Result<Self, StoredError> {
        let plans = message.plans.into_iter();
        let plans = plans.map(|plan| {
            Ok((
                id(plan.framework, "IssueInverseOffers.Plan.framework")?,
                id(plan.agent, "IssueInverseOffers.Plan.agent")?,
            ))
        });
        Ok(Self {
            plans: plans.collect::<Result<_, StoredError>>()?,
            timeout: message.timeout_ms.map(DurationMs),
        })
    }
}

impl Stored for AnswerInverseOffers {
    type Message = proto::AnswerInverseOffers;

    fn store(&self) -> proto::AnswerInverseOffers {
        proto::AnswerInverseOffers {
            framework: self.framework.as_str().to_owned(),
            offers: store_offer_ids(&self.offers),
            accepted: self.accepted,
            refuse_ms: self.refuse.0,
        }
    }

    fn load(message: proto::AnswerInverseOffers) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "AnswerInverseOffers.framework")?,
            offers: load_offer_ids(message.offers),
            accepted: message.accepted,
            refuse: DurationMs(message.refuse_ms),
        })
    }
}
