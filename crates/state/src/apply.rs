//! The one way the state changes.

use crate::command::{Command, Proposal};
use crate::commands::{
    agent, ancestry, description, drain, executor, framework, hash, inventory, inverse_offer,
    level, maintenance, offer, operation, report, role, task, term,
};
use crate::effect::Effect;
use crate::outcome::{Outcome, Refusal, Verdict};
use crate::state::State;

/// Everything one applied proposal gives back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The same on every master; told to whoever proposed.
    pub verdict: Verdict,
    /// Work for the leader. Followers drop it.
    pub effects: Vec<Effect>,
}

impl Applied {
    pub(crate) fn done(effects: Vec<Effect>) -> Self {
        Self {
            verdict: Ok(Outcome::Done),
            effects,
        }
    }

    pub(crate) fn ok(outcome: Outcome, effects: Vec<Effect>) -> Self {
        Self {
            verdict: Ok(outcome),
            effects,
        }
    }
}

impl From<Refusal> for Applied {
    fn from(refusal: Refusal) -> Self {
        Self {
            verdict: Err(refusal),
            effects: Vec::new(),
        }
    }
}

impl State {
    /// Applies one committed proposal.
    ///
    /// Total: a command that no longer fits gives a [`Refusal`] and changes nothing but the time.
    ///
    /// # Panics
    /// Only where an invariant of the state is broken. The caller applies to a clone and discards
    /// it then, on every master alike.
    pub fn apply(&mut self, proposal: &Proposal) -> Applied {
        self.now = self.now.max(proposal.proposed_at);
        self.wall = proposal.wall;
        let applied = self.apply_command(&proposal.command);
        if let Some(framework) = proposal.command.caller()
            && applied.verdict.is_ok()
        {
            self.confirm_framework(framework);
        }
        applied
    }

    fn apply_command(&mut self, command: &Command) -> Applied {
        match command {
            Command::BeginTerm(c) => term::begin(self, c),
            Command::RegisterAgent(c) => agent::register(self, c),
            Command::ReregisterAgent(c) => agent::reregister(self, c),
            Command::SuspectAgents(c) => agent::suspect(self, c),
            Command::ClearSuspicion(c) => agent::clear_suspicion(self, c),
            Command::MarkAgentUnreachable(c) => agent::mark_unreachable(self, c),
            Command::UpdateMaintenance(c) => maintenance::update(self, c),
            Command::StartMaintenance(c) => maintenance::start(self, c),
            Command::StopMaintenance(c) => maintenance::stop(self, c),
            Command::IssueInverseOffers(c) => inverse_offer::issue(self, c),
            Command::AnswerInverseOffers(c) => inverse_offer::answer(self, c),
            Command::DrainAgent(c) => drain::drain(self, c),
            Command::AgentDrained(c) => drain::drained(self, c),
            Command::DeactivateAgent(c) => drain::deactivate(self, c),
            Command::ReactivateAgent(c) => drain::reactivate(self, c),
            Command::MarkAgentGone(c) => drain::mark_gone(self, c),
            Command::ForgetAgents(c) => drain::forget(self, c),
            Command::ApplyReports(c) => report::apply_reports(self, c),
            Command::ResyncAgent(c) => report::resync(self, c),
            Command::SubscribeFramework(c) => framework::subscribe(self, c),
            Command::UpdateFramework(c) => description::update(self, c),
            Command::FrameworkDisconnected(c) => framework::disconnected(self, c),
            Command::ExpireFramework(c) => framework::expire(self, c),
            Command::TeardownFramework(c) => framework::teardown(self, c),
            Command::IssueOffers(c) => offer::issue(self, c),
            Command::AcceptOffers(c) => offer::accept(self, c),
            Command::DeclineOffers(c) => offer::decline(self, c),
            Command::RescindOffers(c) => offer::rescind(self, c),
            Command::ExpireOffers(c) => offer::expire(self, c),
            Command::ExpireFilters(_) => offer::expire_filters(self),
            Command::ReviveOffers(c) => framework::revive(self, c),
            Command::SuppressOffers(c) => framework::suppress(self, c),
            Command::KillTask(c) => task::kill(self, c),
            Command::AcknowledgeUpdate(c) => task::acknowledge(self, c),
            Command::ReportStateHash(c) => hash::report(self, c),
            Command::ChangeCluster(c) => ancestry::change_cluster(self, *c),
            Command::TakeInventory(c) => inventory::take(self, c),
            Command::RaiseFeatureLevel(c) => level::raise(self, *c),
            Command::ApplyOperation(c) => operation::apply_for_operator(self, c),
            Command::AcknowledgeOperation(c) => operation::acknowledge(self, c),
            Command::UpdateQuota(c) => role::update_quota(self, c),
            Command::SetQuota(c) => role::set_quota(self, c),
            Command::RemoveQuota(c) => role::remove_quota(self, c),
            Command::UpdateWeights(c) => role::update_weights(self, c),
            Command::EndExecutors(c) => executor::end(self, c),
            Command::ResyncExecutors(c) => executor::resync(self, c),
            Command::ShutdownExecutor(c) => executor::shutdown(self, c),
        }
    }
}
