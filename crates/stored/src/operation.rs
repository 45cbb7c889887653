//! Operations that are not acknowledged.

use regency_state::model::FinishedOperation;
use regency_types::{OperationKey, UpdateUuid};

use crate::StoredError;
use crate::field::{Stored, id, load_u128, store_u128};
use crate::proto;

impl Stored for FinishedOperation {
    type Message = proto::FinishedOperation;

    fn store(&self) -> proto::FinishedOperation {
        let Self {
            key,
            agent,
            uuid,
            info,
        } = self;
        proto::FinishedOperation {
            framework: key.framework.as_str().to_owned(),
            operation: key.operation.as_str().to_owned(),
            agent: agent.as_str().to_owned(),
            uuid: store_u128(uuid.0),
            info: info.clone(),
        }
    }

    fn load(message: proto::FinishedOperation) -> Result<Self, StoredError> {
        Ok(Self {
            key: OperationKey {
                framework: id(message.framework, "FinishedOperation.framework")?,
                operation: id(message.operation, "FinishedOperation.operation")?,
            },
            agent: id(message.agent, "FinishedOperation.agent")?,
            uuid: UpdateUuid(load_u128(&message.uuid, "FinishedOperation.uuid")?),
            info: message.info,
        })
    }
}
