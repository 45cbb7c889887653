//! A state that goes on as that of another cluster.

use regency_state::ChangeCluster;
use regency_state::model::Ancestor;
use regency_types::{ClusterId, WallTime};

use crate::StoredError;
use crate::field::{Stored, load_u128, store_u128};
use crate::proto;

impl Stored for ChangeCluster {
    type Message = proto::ChangeCluster;

    fn store(&self) -> proto::ChangeCluster {
        proto::ChangeCluster {
            from: store_u128(self.from.0),
            to: store_u128(self.to.0),
            index: self.index,
        }
    }

    fn load(message: proto::ChangeCluster) -> Result<Self, StoredError> {
        Ok(Self {
            from: ClusterId(load_u128(&message.from, "ChangeCluster.from")?),
            to: ClusterId(load_u128(&message.to, "ChangeCluster.to")?),
            index: message.index,
        })
    }
}

impl Stored for Ancestor {
    type Message = proto::Ancestor;

    fn store(&self) -> proto::Ancestor {
        proto::Ancestor {
            cluster: store_u128(self.cluster.0),
            index: self.index,
            wall_ms: self.wall.0,
            n_frameworks: self.n_frameworks,
        }
    }

    fn load(message: proto::Ancestor) -> Result<Self, StoredError> {
        Ok(Self {
            cluster: ClusterId(load_u128(&message.cluster, "Ancestor.cluster")?),
            index: message.index,
            wall: WallTime(message.wall_ms),
            n_frameworks: message.n_frameworks,
        })
    }
}
