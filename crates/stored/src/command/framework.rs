//! Frameworks come, come back, leave and end, and say what they want.

use regency_state::model::FrameworkSpec;
use regency_state::{
    ExpireFramework, FrameworkDisconnected, ReviveOffers, SubscribeFramework, SuppressOffers,
    TeardownFramework, UpdateFramework,
};
use regency_types::StreamId;

use crate::StoredError;
use crate::field::{
    Stored, id, load_offer_ids, load_u128, optional_id, required, store_offer_ids, store_u128,
};
use crate::proto;

impl Stored for SubscribeFramework {
    type Message = proto::SubscribeFramework;

    fn store(&self) -> proto::SubscribeFramework {
        proto::SubscribeFramework {
            framework: self.framework.as_ref().map(|f| f.as_str().to_owned()),
            spec: Some(self.spec.store()),
            suppressed: self.suppressed.clone(),
            stream: store_u128(self.stream.0),
            kept: self.kept.as_ref().map(|kept| proto::FittingOffers {
                offers: store_offer_ids(kept),
            }),
        }
    }

    fn load(message: proto::SubscribeFramework) -> Result<Self, StoredError> {
        Ok(Self {
            framework: optional_id(message.framework, "SubscribeFramework.framework")?,
            spec: FrameworkSpec::load(required(message.spec, "SubscribeFramework.spec")?)?,
            suppressed: message.suppressed,
            stream: StreamId(load_u128(&message.stream, "SubscribeFramework.stream")?),
            kept: message.kept.map(|kept| load_offer_ids(kept.offers)),
        })
    }
}

impl Stored for UpdateFramework {
    type Message = proto::UpdateFramework;

    fn store(&self) -> proto::UpdateFramework {
        proto::UpdateFramework {
            framework: self.framework.as_str().to_owned(),
            spec: Some(self.spec.store()),
            suppressed: self.suppressed.clone(),
            kept: store_offer_ids(&self.kept),
        }
    }

    fn load(message: proto::UpdateFramework) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "UpdateFramework.framework")?,
            spec: FrameworkSpec::load(required(message.spec, "UpdateFramework.spec")?)?,
            suppressed: message.suppressed,
            kept: load_offer_ids(message.kept),
        })
    }
}

impl Stored for FrameworkDisconnected {
    type Message = proto::FrameworkDisconnected;

    fn store(&self) -> proto::FrameworkDisconnected {
        proto::FrameworkDisconnected {
            framework: self.framework.as_str().to_owned(),
            stream: store_u128(self.stream.0),
        }
    }

    fn load(message: proto::FrameworkDisconnected) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "FrameworkDisconnected.framework")?,
            stream: StreamId(load_u128(&message.stream, "FrameworkDisconnected.stream")?),
        })
    }
}

impl Stored for ExpireFramework {
    type Message = proto::ExpireFramework;

    fn store(&self) -> proto::ExpireFramework {
        proto::ExpireFramework {
            framework: self.framework.as_str().to_owned(),
        }
    }

    fn load(message: proto::ExpireFramework) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "ExpireFramework.framework")?,
        })
    }
}

impl Stored for TeardownFramework {
    type Message = proto::TeardownFramework;

    fn store(&self) -> proto::TeardownFramework {
        proto::TeardownFramework {
            framework: self.framework.as_str().to_owned(),
        }
    }

    fn load(message: proto::TeardownFramework) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "TeardownFramework.framework")?,
        })
    }
}

impl Stored for ReviveOffers {
    type Message = proto::ReviveOffers;

    fn store(&self) -> proto::ReviveOffers {
        proto::ReviveOffers {
            framework: self.framework.as_str().to_owned(),
            roles: self.roles.clone(),
        }
    }

    fn load(message: proto::ReviveOffers) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "ReviveOffers.framework")?,
            roles: message.roles,
        })
    }
}

impl Stored for SuppressOffers {
    type Message = proto::SuppressOffers;

    fn store(&self) -> proto::SuppressOffers {
        proto::SuppressOffers {
            framework: self.framework.as_str().to_owned(),
            roles: self.roles.clone(),
        }
    }

    fn load(message: proto::SuppressOffers) -> Result<Self, StoredError> {
        Ok(Self {
            framework: id(message.framework, "SuppressOffers.framework")?,
            roles: message.roles,
        })
    }
}
