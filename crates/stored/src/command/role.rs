//! Quotas and weights of roles.

use regency_resources::Milli;
use regency_state::model::Quota;
use regency_state::{QuotaConfig, RemoveQuota, SetQuota, UpdateQuota, UpdateWeights};

use crate::StoredError;
use crate::field::{Stored, load_all, store_all};
use crate::proto;
use crate::role::{load_guarantees, load_limits, store_guarantees, store_limits};

impl Stored for QuotaConfig {
    type Message = proto::QuotaConfig;

    fn store(&self) -> proto::QuotaConfig {
        proto::QuotaConfig {
            role: self.role.clone(),
            guarantees: store_guarantees(&self.quota.guarantees),
            limits: store_limits(&self.quota.limits),
        }
    }

    fn load(message: proto::QuotaConfig) -> Result<Self, StoredError> {
        Ok(Self {
            role: message.role,
            quota: Quota {
                guarantees: load_guarantees(message.guarantees, "QuotaConfig.guarantees")?,
                limits: load_limits(message.limits, "QuotaConfig.limits")?,
            },
        })
    }
}

impl Stored for UpdateQuota {
    type Message = proto::UpdateQuota;

    fn store(&self) -> proto::UpdateQuota {
        proto::UpdateQuota {
            configs: store_all(&self.configs),
            force: self.force,
        }
    }

    fn load(message: proto::UpdateQuota) -> Result<Self, StoredError> {
        Ok(Self {
            configs: load_all(message.configs)?,
            force: message.force,
        })
    }
}

impl Stored for SetQuota {
    type Message = proto::SetQuota;

    fn store(&self) -> proto::SetQuota {
        proto::SetQuota {
            role: self.role.clone(),
            guarantee: store_guarantees(&self.guarantee),
            force: self.force,
        }
    }

    fn load(message: proto::SetQuota) -> Result<Self, StoredError> {
        Ok(Self {
            role: message.role,
            guarantee: load_guarantees(message.guarantee, "SetQuota.guarantee")?,
            force: message.force,
        })
    }
}

impl Stored for RemoveQuota {
    type Message = proto::RemoveQuota;

    fn store(&self) -> proto::RemoveQuota {
        proto::RemoveQuota {
            role: self.role.clone(),
        }
    }

    fn load(message: proto::RemoveQuota) -> Result<Self, StoredError> {
        Ok(Self { role: message.role })
    }
}

impl Stored for UpdateWeights {
    type Message = proto::UpdateWeights;

    fn store(&self) -> proto::UpdateWeights {
        let weights = self.weights.iter();
        proto::UpdateWeights {
            weights: weights
                .map(|(role, weight)| proto::update_weights::Weight {
                    role: role.clone(),
                    weight: weight.0,
                })
                .collect(),
            initial: self.initial,
        }
    }

    fn load(message: proto::UpdateWeights) -> Result<Self, StoredError> {
        let weights = message.weights.into_iter();
        Ok(Self {
            weights: weights.map(|w| (w.role, Milli(w.weight))).collect(),
            initial: message.initial,
        })
    }
}
