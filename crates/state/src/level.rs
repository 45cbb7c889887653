//! Feature levels: what every member of a cluster has to understand before anybody proposes it.
//!
//! While masters are upgraded one after the other, old and new ones apply the same log. A command that
//! an old one does not know would stop it. So each command needs a level, and the state has one, which
//! is raised only when all members support it.
//!
//! | level | adds |
//! |---|---|
//! | 1 | all that was there before there were levels |
//! | 2 | [`Command::ReportStateHash`]; [`Operation::Convert`], [`Command::ApplyOperation`], [`Command::AcknowledgeOperation`]; roles: [`Command::UpdateQuota`], [`Command::SetQuota`], [`Command::RemoveQuota`], [`Command::UpdateWeights`]; executors: [`Command::EndExecutors`], [`Command::ResyncExecutors`], [`Command::ShutdownExecutor`], and tasks with an executor in [`Command::AcceptOffers`]; [`Operation::LaunchGroup`]; [`Command::UpdateFramework`], and frameworks that describe themselves anew in [`Command::SubscribeFramework`]; maintenance: [`Command::UpdateMaintenance`], [`Command::StartMaintenance`], [`Command::StopMaintenance`], [`Command::IssueInverseOffers`], [`Command::AnswerInverseOffers`], [`Command::DrainAgent`], [`Command::AgentDrained`], [`Command::DeactivateAgent`], [`Command::ReactivateAgent`], [`Command::MarkAgentGone`], [`Command::ForgetAgents`] |

use crate::command::{Command, LaunchSpec, Operation};

/// The highest level that this program supports.
pub const FEATURE_LEVEL: u32 = 2;
/// The level of a new cluster.
pub const FEATURE_LEVEL_FIRST: u32 = 1;

impl Command {
    /// The level that the state must have before this command is proposed.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        // Without a default: whoever adds a command has to give it a level.
        match self {
            Self::BeginTerm(_)
            | Self::RegisterAgent(_)
            | Self::ReregisterAgent(_)
            | Self::SuspectAgents(_)
            | Self::ClearSuspicion(_)
            | Self::MarkAgentUnreachable(_)
            | Self::ApplyReports(_)
            | Self::ResyncAgent(_)
            | Self::FrameworkDisconnected(_)
            | Self::TeardownFramework(_)
            | Self::ExpireFramework(_)
            | Self::IssueOffers(_)
            | Self::DeclineOffers(_)
            | Self::RescindOffers(_)
            | Self::ExpireOffers(_)
            | Self::ExpireFilters(_)
            | Self::ReviveOffers(_)
            | Self::SuppressOffers(_)
            | Self::KillTask(_)
            | Self::AcknowledgeUpdate(_)
            // Only a program that knows it can be asked for it: the cluster is new.
            | Self::ChangeCluster(_)
            // Only in a state with ancestors, which older programs do not read.
            | Self::TakeInventory(_)
            // Proposed when all members support the level it names, and thus know it.
            | Self::RaiseFeatureLevel(_) => FEATURE_LEVEL_FIRST,
            Self::SubscribeFramework(c) => {
                if c.kept.is_some() || !c.spec.offer_constraints.is_empty() {
                    2
                } else {
                    FEATURE_LEVEL_FIRST
                }
            }
            Self::AcceptOffers(c) => {
                if c.operations.iter().any(is_of_level_2) {
                    2
                } else {
                    FEATURE_LEVEL_FIRST
                }
            }
            Self::ReportStateHash(_)
            | Self::UpdateMaintenance(_)
            | Self::StartMaintenance(_)
            | Self::StopMaintenance(_)
            | Self::IssueInverseOffers(_)
            | Self::AnswerInverseOffers(_)
            | Self::DrainAgent(_)
            | Self::AgentDrained(_)
            | Self::DeactivateAgent(_)
            | Self::ReactivateAgent(_)
            | Self::MarkAgentGone(_)
            | Self::ForgetAgents(_)
            | Self::ApplyOperation(_)
            | Self::UpdateFramework(_)
            | Self::AcknowledgeOperation(_)
            | Self::UpdateQuota(_)
            | Self::SetQuota(_)
            | Self::RemoveQuota(_)
            | Self::UpdateWeights(_)
            | Self::EndExecutors(_)
            | Self::ResyncExecutors(_)
            | Self::ShutdownExecutor(_) => 2,
        }
    }
}

fn is_of_level_2(operation: &Operation) -> bool {
    let in_executor =
        |task: &LaunchSpec| matches!(task, LaunchSpec::Valid(spec) if spec.executor.is_some());
    match operation {
        Operation::Convert(_) | Operation::LaunchGroup(_) => true,
        Operation::Launch(tasks) => tasks.iter().any(in_executor),
    }
}
