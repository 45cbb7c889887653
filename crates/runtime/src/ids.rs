//! Minting ids by chance, at the edge; the pure crates only carry them.

use std::fmt;

use regency_types::{AgentEpoch, ClusterId, Incarnation, StreamId, UpdateUuid};

/// Where a component gets new ids.
pub trait IdMint: fmt::Debug + Send + Sync + 'static {
    /// A uuid that nobody had before.
    fn uuid(&self) -> u128;

    /// Identity of a new cluster.
    fn cluster_id(&self) -> ClusterId {
        ClusterId(self.uuid())
    }

    /// Identity of a master's data directory used for the first time.
    fn incarnation(&self) -> Incarnation {
        Incarnation(self.uuid())
    }

    /// Identity of an agent's checkpoint directory used for the first time.
    fn agent_epoch(&self) -> AgentEpoch {
        AgentEpoch(self.uuid())
    }

    /// Identity of a new subscription.
    fn stream_id(&self) -> StreamId {
        StreamId(self.uuid())
    }

    /// Identity of a new status update.
    fn update_uuid(&self) -> UpdateUuid {
        UpdateUuid(self.uuid())
    }
}

/// Version 4 uuids from the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdMint for RandomIds {
    fn uuid(&self) -> u128 {
        uuid::Uuid::new_v4().as_u128()
    }
}

/// Ids 1, 2, 3 … so that a test can name them.
#[cfg(any(test, feature = "test-util"))]
#[derive(Debug, Default)]
pub struct CountingIds(std::sync::atomic::AtomicU64);

#[cfg(any(test, feature = "test-util"))]
impl IdMint for CountingIds {
    fn uuid(&self) -> u128 {
        u128::from(self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ_and_are_version_four() {
        let (a, b) = (RandomIds.uuid(), RandomIds.uuid());
        assert_ne!(a, b);
        assert_eq!(uuid::Uuid::from_u128(a).get_version_num(), 4);
    }

    #[test]
    fn counted_ids_repeat_from_run_to_run() {
        let mint = CountingIds::default();
        assert_eq!((mint.uuid(), mint.uuid()), (1, 2));
    }
}
