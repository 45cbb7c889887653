//! What is kept of operations that a framework wants to hear of.

use bytes::Bytes;
use regency_types::{AgentId, OperationKey, UpdateUuid};

/// An operation that was carried out, until its framework acknowledged that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedOperation {
    /// Whose, and under which id.
    pub key: OperationKey,
    /// On which agent's resources.
    pub agent: AgentId,
    /// Identity of its status; the acknowledgement names it.
    pub uuid: UpdateUuid,
    /// The encoded `mesos.v1.Offer.Operation` as the framework sent it.
    pub info: Bytes,
}

/// An operation that was not carried out. Its status cannot be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedOperation {
    /// The id as the framework gave it, valid or not.
    pub id: String,
    /// What is wrong, for people.
    pub message: String,
}
