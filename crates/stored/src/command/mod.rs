//! Commands, one file per family as in `regency-state`.

mod agent;
mod ancestry;
mod drain;
mod executor;
mod framework;
mod hash;
mod inventory;
mod level;
mod maintenance;
mod offer;
mod operation;
mod report;
mod role;
mod task;

use regency_state::{
    AcceptOffers, AcknowledgeOperation, AcknowledgeUpdate, AgentDrained, AnswerInverseOffers,
    ApplyOperation, ApplyReports, BeginTerm, ChangeCluster, ClearSuspicion, Command,
    DeactivateAgent, DeclineOffers, DrainAgent, EndExecutors, ExpireFilters, ExpireFramework,
    ExpireOffers, ForgetAgents, FrameworkDisconnected, IssueInverseOffers, IssueOffers, KillTask,
    MarkAgentGone, MarkAgentUnreachable, RaiseFeatureLevel, ReactivateAgent, RegisterAgent,
    RemoveQuota, ReportStateHash, ReregisterAgent, RescindOffers, ResyncAgent, ResyncExecutors,
    ReviveOffers, SetQuota, ShutdownExecutor, StartMaintenance, StopMaintenance,
    SubscribeFramework, SuppressOffers, SuspectAgents, TakeInventory, TeardownFramework,
    UpdateFramework, UpdateMaintenance, UpdateQuota, UpdateWeights,
};

use crate::StoredError;
use crate::field::Stored;
use crate::proto;
use crate::proto::proposal::Command as Choice;

pub(crate) fn store(command: &Command) -> Choice {
    match command {
        Command::BeginTerm(c) => Choice::BeginTerm(c.store()),
        Command::RegisterAgent(c) => Choice::RegisterAgent(c.store()),
        Command::ReregisterAgent(c) => Choice::ReregisterAgent(c.store()),
        Command::SuspectAgents(c) => Choice::SuspectAgents(c.store()),
        Command::ClearSuspicion(c) => Choice::ClearSuspicion(c.store()),
        Command::MarkAgentUnreachable(c) => Choice::MarkAgentUnreachable(c.store()),
        Command::UpdateMaintenance(c) => Choice::UpdateMaintenance(c.store()),
        Command::StartMaintenance(c) => Choice::StartMaintenance(c.store()),
        Command::StopMaintenance(c) => Choice::StopMaintenance(c.store()),
        Command::IssueInverseOffers(c) => Choice::IssueInverseOffers(c.store()),
        Command::AnswerInverseOffers(c) => Choice::AnswerInverseOffers(c.store()),
        Command::DrainAgent(c) => Choice::DrainAgent(c.store()),
        Command::AgentDrained(c) => Choice::AgentDrained(c.store()),
        Command::DeactivateAgent(c) => Choice::DeactivateAgent(c.store()),
        Command::ReactivateAgent(c) => Choice::ReactivateAgent(c.store()),
        Command::MarkAgentGone(c) => Choice::MarkAgentGone(c.store()),
        Command::ForgetAgents(c) => Choice::ForgetAgents(c.store()),
        Command::ApplyReports(c) => Choice::ApplyReports(c.store()),
        Command::ResyncAgent(c) => Choice::ResyncAgent(c.store()),
        Command::SubscribeFramework(c) => Choice::SubscribeFramework(c.store()),
        Command::UpdateFramework(c) => Choice::UpdateFramework(c.store()),
        Command::FrameworkDisconnected(c) => Choice::FrameworkDisconnected(c.store()),
        Command::ExpireFramework(c) => Choice::ExpireFramework(c.store()),
        Command::TeardownFramework(c) => Choice::TeardownFramework(c.store()),
        Command::IssueOffers(c) => Choice::IssueOffers(c.store()),
        Command::AcceptOffers(c) => Choice::AcceptOffers(c.store()),
        Command::DeclineOffers(c) => Choice::DeclineOffers(c.store()),
        Command::RescindOffers(c) => Choice::RescindOffers(c.store()),
        Command::ExpireOffers(c) => Choice::ExpireOffers(c.store()),
        Command::ExpireFilters(ExpireFilters) => Choice::ExpireFilters(proto::ExpireFilters {}),
        Command::ReviveOffers(c) => Choice::ReviveOffers(c.store()),
        Command::SuppressOffers(c) => Choice::SuppressOffers(c.store()),
        Command::KillTask(c) => Choice::KillTask(c.store()),
        Command::AcknowledgeUpdate(c) => Choice::AcknowledgeUpdate(c.store()),
        Command::ReportStateHash(c) => Choice::ReportStateHash(c.store()),
        Command::ChangeCluster(c) => Choice::ChangeCluster(c.store()),
        Command::TakeInventory(c) => Choice::TakeInventory(c.store()),
        Command::RaiseFeatureLevel(c) => Choice::RaiseFeatureLevel(c.store()),
        Command::ApplyOperation(c) => Choice::ApplyOperation(c.store()),
        Command::AcknowledgeOperation(c) => Choice::AcknowledgeOperation(c.store()),
        Command::UpdateQuota(c) => Choice::UpdateQuota(c.store()),
        Command::SetQuota(c) => Choice::SetQuota(c.store()),
        Command::RemoveQuota(c) => Choice::RemoveQuota(c.store()),
        Command::UpdateWeights(c) => Choice::UpdateWeights(c.store()),
        Command::EndExecutors(c) => Choice::EndExecutors(c.store()),
        Command::ResyncExecutors(c) => Choice::ResyncExecutors(c.store()),
        Command::ShutdownExecutor(c) => Choice::ShutdownExecutor(c.store()),
    }
}

pub(crate) fn load(command: Choice) -> Result<Command, StoredError> {
    Ok(match command {
        Choice::BeginTerm(m) => Command::BeginTerm(BeginTerm::load(m)?),
        Choice::RegisterAgent(m) => Command::RegisterAgent(RegisterAgent::load(m)?),
        Choice::ReregisterAgent(m) => Command::ReregisterAgent(ReregisterAgent::load(m)?),
        Choice::SuspectAgents(m) => Command::SuspectAgents(SuspectAgents::load(m)?),
        Choice::ClearSuspicion(m) => Command::ClearSuspicion(ClearSuspicion::load(m)?),
        Choice::MarkAgentUnreachable(m) => {
            Command::MarkAgentUnreachable(MarkAgentUnreachable::load(m)?)
        }
        Choice::UpdateMaintenance(m) => Command::UpdateMaintenance(UpdateMaintenance::load(m)?),
        Choice::StartMaintenance(m) => Command::StartMaintenance(StartMaintenance::load(m)?),
        Choice::StopMaintenance(m) => Command::StopMaintenance(StopMaintenance::load(m)?),
        Choice::IssueInverseOffers(m) => Command::IssueInverseOffers(IssueInverseOffers::load(m)?),
        Choice::AnswerInverseOffers(m) => {
            Command::AnswerInverseOffers(AnswerInverseOffers::load(m)?)
        }
        Choice::DrainAgent(m) => Command::DrainAgent(DrainAgent::load(m)?),
        Choice::AgentDrained(m) => Command::AgentDrained(AgentDrained::load(m)?),
        Choice::DeactivateAgent(m) => Command::DeactivateAgent(DeactivateAgent::load(m)?),
        Choice::ReactivateAgent(m) => Command::ReactivateAgent(ReactivateAgent::load(m)?),
        Choice::MarkAgentGone(m) => Command::MarkAgentGone(MarkAgentGone::load(m)?),
        Choice::ForgetAgents(m) => Command::ForgetAgents(ForgetAgents::load(m)?),
        Choice::ApplyReports(m) => Command::ApplyReports(ApplyReports::load(m)?),
        Choice::ResyncAgent(m) => Command::ResyncAgent(ResyncAgent::load(m)?),
        Choice::SubscribeFramework(m) => Command::SubscribeFramework(SubscribeFramework::load(m)?),
        Choice::UpdateFramework(m) => Command::UpdateFramework(UpdateFramework::load(m)?),
        Choice::FrameworkDisconnected(m) => {
            Command::FrameworkDisconnected(FrameworkDisconnected::load(m)?)
        }
        Choice::ExpireFramework(m) => Command::ExpireFramework(ExpireFramework::load(m)?),
        Choice::TeardownFramework(m) => Command::TeardownFramework(TeardownFramework::load(m)?),
        Choice::IssueOffers(m) => Command::IssueOffers(IssueOffers::load(m)?),
        Choice::AcceptOffers(m) => Command::AcceptOffers(AcceptOffers::load(m)?),
        Choice::DeclineOffers(m) => Command::DeclineOffers(DeclineOffers::load(m)?),
        Choice::RescindOffers(m) => Command::RescindOffers(RescindOffers::load(m)?),
        Choice::ExpireOffers(m) => Command::ExpireOffers(ExpireOffers::load(m)?),
        Choice::ExpireFilters(proto::ExpireFilters {}) => Command::ExpireFilters(ExpireFilters),
        Choice::ReviveOffers(m) => Command::ReviveOffers(ReviveOffers::load(m)?),
        Choice::SuppressOffers(m) => Command::SuppressOffers(SuppressOffers::load(m)?),
        Choice::KillTask(m) => Command::KillTask(KillTask::load(m)?),
        Choice::AcknowledgeUpdate(m) => Command::AcknowledgeUpdate(AcknowledgeUpdate::load(m)?),
        Choice::ReportStateHash(m) => Command::ReportStateHash(ReportStateHash::load(m)?),
        Choice::ChangeCluster(m) => Command::ChangeCluster(ChangeCluster::load(m)?),
        Choice::TakeInventory(m) => Command::TakeInventory(TakeInventory::load(m)?),
        Choice::RaiseFeatureLevel(m) => Command::RaiseFeatureLevel(RaiseFeatureLevel::load(m)?),
        Choice::ApplyOperation(m) => Command::ApplyOperation(ApplyOperation::load(m)?),
        Choice::AcknowledgeOperation(m) => {
            Command::AcknowledgeOperation(AcknowledgeOperation::load(m)?)
        }
        Choice::UpdateQuota(m) => Command::UpdateQuota(UpdateQuota::load(m)?),
        Choice::SetQuota(m) => Command::SetQuota(SetQuota::load(m)?),
        Choice::RemoveQuota(m) => Command::RemoveQuota(RemoveQuota::load(m)?),
        Choice::UpdateWeights(m) => Command::UpdateWeights(UpdateWeights::load(m)?),
        Choice::EndExecutors(m) => Command::EndExecutors(EndExecutors::load(m)?),
        Choice::ResyncExecutors(m) => Command::ResyncExecutors(ResyncExecutors::load(m)?),
        Choice::ShutdownExecutor(m) => Command::ShutdownExecutor(ShutdownExecutor::load(m)?),
    })
}
