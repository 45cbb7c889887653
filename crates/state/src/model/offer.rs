//! Outstanding offers, and what is remembered of consumed ones.

use regency_resources::Resources;
use regency_types::{AgentId, ClusterTime, FrameworkId, OfferId, WallTime};

use crate::Verdict;

/// An outstanding offer: resources of one agent promised to one role of one framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its number.
    pub id: OfferId,
    /// To whom.
    pub framework: FrameworkId,
    /// For which of the framework's roles.
    pub role: String,
    /// On which agent.
    pub agent: AgentId,
    /// What.
    pub resources: Resources,
    /// When it expires; `None`: never.
    pub deadline: Option<ClusterTime>,
    /// When it was made, for display.
    pub made: WallTime,
}

/// How an offer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumption {
    /// Used by a call; a repetition with the same content gets the same verdict.
    Call {
        /// Digest of the call's content as the edge computed it.
        content: u64,
        /// What the first call was told.
        verdict: Verdict,
    },
    /// Taken back.
    Rescinded,
}

/// What is remembered of an offer that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedOffer {
    /// Whose offer it was.
    pub framework: FrameworkId,
    /// How it ended.
    pub consumption: Consumption,
}
