//! What masters say their states were.

use regency_state::ReportStateHash;
use regency_types::NodeId;

use crate::StoredError;
use crate::field::{Stored, load_u128, store_u128};
use crate::proto;

impl Stored for ReportStateHash {
    type Message = proto::ReportStateHash;

    fn store(&self) -> proto::ReportStateHash {
        let Self {
            node,
            index,
            schema,
            digest,
        } = *self;
        proto::ReportStateHash {
            node: node.0,
            index,
            schema,
            digest: store_u128(digest),
        }
    }

    fn load(message: proto::ReportStateHash) -> Result<Self, StoredError> {
        Ok(Self {
            node: NodeId(message.node),
            index: message.index,
            schema: message.schema,
            digest: load_u128(&message.digest, "ReportStateHash.digest")?,
        })
    }
}
