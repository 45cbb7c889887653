//! The feature level.

use regency_state::RaiseFeatureLevel;

use crate::StoredError;
use crate::field::Stored;
use crate::proto;

impl Stored for RaiseFeatureLevel {
    type Message = proto::RaiseFeatureLevel;

    fn store(&self) -> proto::RaiseFeatureLevel {
        proto::RaiseFeatureLevel { level: self.level }
    }

    fn load(message: proto::RaiseFeatureLevel) -> Result<Self, StoredError> {
        Ok(Self {
            level: message.level,
        })
    }
}
