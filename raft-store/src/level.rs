//! The feature level of the cluster: what keeps to it, and when it may rise.

use regency_rpc::proto::regency::raft::v1 as proto;
use regency_state::{Command, FEATURE_LEVEL_FIRST};
use regency_types::NodeId;

use crate::consensus::Consensus;
use crate::propose::ProposeError;

/// The cluster uses what this master does not know, or is held back from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster is at feature level {cluster}, which never goes back, and this master supports \
     {supported} at most: start a newer version, or take --feature-level-max away"
)]
pub struct BeyondLevel {
    /// That of the cluster.
    pub cluster: u32,
    /// What this program supports, or its configuration allows.
    pub supported: u32,
}

/// The program that a master runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The highest feature level that it supports, or is held at.
    pub feature_level_max: u32,
}

impl Program {
    /// What a master says about itself.
    pub(crate) fn of(answer: &proto::IdentifyResponse) -> Self {
        Self {
            version: answer.version.clone(),
            // Programs from before there were levels do not tell.
            feature_level_max: answer.feature_level_max.max(FEATURE_LEVEL_FIRST),
        }
    }
}

/// Whether a master may take part in a cluster of this level.
pub(crate) fn fits(cluster: u32, supported: u32) -> Result<(), BeyondLevel> {
    if cluster > supported {
        return Err(BeyondLevel { cluster, supported });
    }
    Ok(())
}

impl Consensus {
    /// The level of the cluster, as far as this master applied the log.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.state().get().state.feature_level()
    }

    /// The highest level that this master supports, or is held at.
    #[must_use]
    pub fn feature_level_max(&self) -> u32 {
        self.conditions().own_program().feature_level_max
    }

    /// What a member runs; on others than the leader only that of this master is known.
    #[must_use]
    pub fn program(&self, node: NodeId) -> Option<Program> {
        self.conditions().program(node)
    }

    /// As leader: the level that all members support and the state does not have yet. `None` also
    /// while a member has not told what it supports.
    #[must_use]
    pub fn feature_level_to_raise(&self) -> Option<u32> {
        let members = self.status().members;
        let members = members.iter().map(|member| member.node);
        let supported = self.conditions().level_supported(members)?;
        (supported > self.feature_level()).then_some(supported)
    }

    /// Whether everybody who applies the log knows this command.
    pub(crate) fn check_level(&self, command: &Command) -> Result<(), ProposeError> {
        let needed = command.feature_level();
        if needed <= FEATURE_LEVEL_FIRST {
            return Ok(());
        }
        let level = self.feature_level();
        if level < needed {
            return Err(ProposeError::FeatureLevel { needed, level });
        }
        Ok(())
    }
}
