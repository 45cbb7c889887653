//! Operations on resources.

use regency_resources::{Milli, Resources};
use regency_state::{
    AcknowledgeOperation, ApplyOperation, ConversionSpec, Feedback, ResourceOperation,
};
use regency_types::{OperationKey, UpdateUuid};

use crate::StoredError;
use crate::field::{Stored, chosen, id, load_u128, required, store_u128};
use crate::proto;

impl Stored for ConversionSpec {
    type Message = proto::Conversion;

    fn store(&self) -> proto::Conversion {
        proto::Conversion {
            feedback: self.feedback.as_ref().map(Stored::store),
            what: Some(match &self.operation {
                Ok(operation) => proto::conversion::What::Operation(operation.store()),
                Err(message) => proto::conversion::What::Invalid(message.clone()),
            }),
        }
    }

    fn load(message: proto::Conversion) -> Result<Self, StoredError> {
        Ok(Self {
            feedback: message.feedback.map(Feedback::load).transpose()?,
            operation: match chosen(message.what, "Conversion.what")? {
                proto::conversion::What::Operation(operation) => {
                    Ok(ResourceOperation::load(operation)?)
                }
                proto::conversion::What::Invalid(message) => Err(message),
            },
        })
    }
}

impl Stored for Feedback {
    type Message = proto::Feedback;

    fn store(&self) -> proto::Feedback {
        proto::Feedback {
            id: self.id.clone(),
            uuid: store_u128(self.uuid.0),
            info: self.info.clone(),
        }
    }

    fn load(message: proto::Feedback) -> Result<Self, StoredError> {
        Ok(Self {
            id: message.id,
            uuid: UpdateUuid(load_u128(&message.uuid, "Feedback.uuid")?),
            info: message.info,
        })
    }
}

impl Stored for ResourceOperation {
    type Message = proto::ResourceOperation;

    fn store(&self) -> proto::ResourceOperation {
        use proto::resource_operation::{self as stored, Operation as Choice};
        let operation = match self {
            Self::Reserve(resources) => Choice::Reserve(resources.store()),
            Self::Unreserve(resources) => Choice::Unreserve(resources.store()),
            Self::ReserveAnew { source, resources } => Choice::ReserveAnew(stored::ReserveAnew {
                source: Some(source.store()),
                resources: Some(resources.store()),
            }),
            Self::Create(volumes) => Choice::Create(volumes.store()),
            Self::Destroy(volumes) => Choice::Destroy(volumes.store()),
            Self::GrowVolume { volume, addition } => Choice::GrowVolume(stored::GrowVolume {
                volume: Some(volume.store()),
                addition: Some(addition.store()),
            }),
            Self::ShrinkVolume { volume, subtract } => Choice::ShrinkVolume(stored::ShrinkVolume {
                volume: Some(volume.store()),
                subtract: subtract.0,
            }),
        };
        proto::ResourceOperation {
            operation: Some(operation),
        }
    }

    fn load(message: proto::ResourceOperation) -> Result<Self, StoredError> {
        use proto::resource_operation::Operation as Choice;
        Ok(
            match chosen(message.operation, "ResourceOperation.operation")? {
                Choice::Reserve(m) => Self::Reserve(Resources::load(m)?),
                Choice::Unreserve(m) => Self::Unreserve(Resources::load(m)?),
                Choice::ReserveAnew(m) => Self::ReserveAnew {
                    source: Resources::load(required(m.source, "ReserveAnew.source")?)?,
                    resources: Resources::load(required(m.resources, "ReserveAnew.resources")?)?,
                },
                Choice::Create(m) => Self::Create(Resources::load(m)?),
                Choice::Destroy(m) => Self::Destroy(Resources::load(m)?),
                Choice::GrowVolume(m) => Self::GrowVolume {
                    volume: Resources::load(required(m.volume, "GrowVolume.volume")?)?,
                    addition: Resources::load(required(m.addition, "GrowVolume.addition")?)?,
                },
                Choice::ShrinkVolume(m) => Self::ShrinkVolume {
                    volume: Resources::load(required(m.volume, "ShrinkVolume.volume")?)?,
                    subtract: Milli(m.subtract),
                },
            },
        )
    }
}

impl Stored for ApplyOperation {
    type Message = proto::ApplyOperation;

    fn store(&self) -> proto::ApplyOperation {
        proto::ApplyOperation {
            agent: self.agent.as_str().to_owned(),
            operation: Some(self.operation.store()),
            principal: self.principal.clone(),
        }
    }

    fn load(message: proto::ApplyOperation) -> Result<Self, StoredError> {
        let operation = required(message.operation, "ApplyOperation.operation")?;
        Ok(Self {
            agent: id(message.agent, "ApplyOperation.agent")?,
            operation: ResourceOperation::load(operation)?,
            principal: message.principal,
        })
    }
}

impl Stored for AcknowledgeOperation {
    type Message = proto::AcknowledgeOperation;

    fn store(&self) -> proto::AcknowledgeOperation {
        proto::AcknowledgeOperation {
            framework: self.operation.framework.as_str().to_owned(),
            operation: self.operation.operation.as_str().to_owned(),
            uuid: store_u128(self.uuid.0),
        }
    }

    fn load(message: proto::AcknowledgeOperation) -> Result<Self, StoredError> {
        Ok(Self {
            operation: OperationKey {
                framework: id(message.framework, "AcknowledgeOperation.framework")?,
                operation: id(message.operation, "AcknowledgeOperation.operation")?,
            },
            uuid: UpdateUuid(load_u128(&message.uuid, "AcknowledgeOperation.uuid")?),
        })
    }
}
