//! Verdicts, which are remembered with consumed offers.

use regency_state::{Outcome, Refusal, Verdict};

use crate::StoredError;
use crate::field::{Stored, chosen, id, load_offer_ids, store_offer_ids};
use crate::proto;

impl Stored for Verdict {
    type Message = proto::Verdict;

    fn store(&self) -> proto::Verdict {
        proto::Verdict {
            verdict: Some(match self {
                Ok(outcome) => proto::verdict::Verdict::Outcome(outcome.store()),
                Err(refusal) => proto::verdict::Verdict::Refusal(refusal.store()),
            }),
        }
    }

    fn load(message: proto::Verdict) -> Result<Self, StoredError> {
        Ok(match chosen(message.verdict, "Verdict.verdict")? {
            proto::verdict::Verdict::Outcome(outcome) => Ok(Outcome::load(outcome)?),
            proto::verdict::Verdict::Refusal(refusal) => Err(Refusal::load(refusal)?),
        })
    }
}

impl Stored for Outcome {
    type Message = proto::Outcome;

    fn store(&self) -> proto::Outcome {
        use proto::outcome::{self as stored, Outcome as Choice};
        let outcome = match self {
            Self::Done => Choice::Done(stored::Nothing {}),
            Self::AgentRegistered { agent } => Choice::AgentRegistered(agent.as_str().to_owned()),
            Self::ReportsApplied { report_seq } => Choice::ReportsApplied(*report_seq),
            Self::Subscribed { framework } => Choice::Subscribed(framework.as_str().to_owned()),
            Self::OffersIssued { offers, n_skipped } => {
                Choice::OffersIssued(stored::OffersIssued {
                    offers: store_offer_ids(offers),
                    n_skipped: *n_skipped,
                })
            }
            Self::Accepted {
                n_launched,
                n_refused,
            } => Choice::Accepted(stored::Accepted {
                n_launched: *n_launched,
                n_refused: *n_refused,
            }),
            Self::TaskUnknown => Choice::TaskUnknown(stored::Nothing {}),
            Self::Removed { n } => Choice::Removed(*n),
        };
        proto::Outcome {
            outcome: Some(outcome),
        }
    }

    fn load(message: proto::Outcome) -> Result<Self, StoredError> {
        use proto::outcome::Outcome as Choice;
        Ok(match chosen(message.outcome, "Outcome.outcome")? {
            Choice::Done(_) => Self::Done,
            Choice::AgentRegistered(agent) => Self::AgentRegistered {
                agent: id(agent, "Outcome.agent_registered")?,
            },
            Choice::ReportsApplied(report_seq) => Self::ReportsApplied { report_seq },
            Choice::Subscribed(framework) => Self::Subscribed {
                framework: id(framework, "Outcome.subscribed")?,
            },
            Choice::OffersIssued(m) => Self::OffersIssued {
                offers: load_offer_ids(m.offers),
                n_skipped: m.n_skipped,
            },
            Choice::Accepted(m) => Self::Accepted {
                n_launched: m.n_launched,
                n_refused: m.n_refused,
            },
            Choice::TaskUnknown(_) => Self::TaskUnknown,
            Choice::Removed(n) => Self::Removed { n },
        })
    }
}

impl Stored for Refusal {
    type Message = proto::Refusal;

    fn store(&self) -> proto::Refusal {
        use proto::refusal::{Nothing, Refusal as Choice};
        let refusal = match self {
            Self::WrongCluster => Choice::WrongCluster(Nothing {}),
            Self::TermOver(term) => Choice::TermOver(*term),
            Self::AgentUnknown(agent) => Choice::AgentUnknown(agent.as_str().to_owned()),
            Self::AgentEpochDiffers(agent) => Choice::AgentEpochDiffers(agent.as_str().to_owned()),
            Self::TotalBelowUsed(what) => Choice::TotalBelowUsed(what.clone()),
            Self::AgentNotOverdue(agent) => Choice::AgentNotOverdue(agent.as_str().to_owned()),
            Self::MachineDown(machine) => Choice::MachineDown(machine.clone()),
            Self::MaintenanceInvalid(why) => Choice::MaintenanceInvalid(why.clone()),
            Self::AgentScheduled(agent) => Choice::AgentScheduled(agent.as_str().to_owned()),
            Self::AgentDraining(agent) => Choice::AgentDraining(agent.as_str().to_owned()),
            Self::AgentNotDeactivated(agent) => {
                Choice::AgentNotDeactivated(agent.as_str().to_owned())
            }
            Self::AgentNotEmpty(agent) => Choice::AgentNotEmpty(agent.as_str().to_owned()),
            Self::FrameworkUnknown(framework) => {
                Choice::FrameworkUnknown(framework.as_str().to_owned())
            }
            Self::FrameworkRemoved => Choice::FrameworkRemoved(Nothing {}),
            Self::PrincipalChanged => Choice::PrincipalChanged(Nothing {}),
            Self::FieldImmutable(field) => Choice::FieldImmutable(field.clone()),
            Self::StreamSuperseded => Choice::StreamSuperseded(Nothing {}),
            Self::DeadlineNotReached => Choice::DeadlineNotReached(Nothing {}),
            Self::RoleNotSubscribed(role) => Choice::RoleNotSubscribed(role.clone()),
            Self::OffersInvalid(reason) => Choice::OffersInvalid(reason.clone()),
            Self::UpdateUnknown => Choice::UpdateUnknown(Nothing {}),
            Self::RoleConfigInvalid(what) => Choice::RoleConfigInvalid(what.clone()),
            Self::QuotaOvercommitted(what) => Choice::QuotaOvercommitted(what.clone()),
            Self::QuotaExceeded(what) => Choice::QuotaExceeded(what.clone()),
            Self::QuotaExists(role) => Choice::QuotaExists(role.clone()),
            Self::QuotaUnknown(role) => Choice::QuotaUnknown(role.clone()),
            Self::Internal(what) => Choice::Internal(what.clone()),
            Self::OperationInvalid(what) => Choice::OperationInvalid(what.clone()),
            Self::ResourcesInUse(what) => Choice::ResourcesInUse(what.clone()),
        };
        proto::Refusal {
            refusal: Some(refusal),
        }
    }

    fn load(message: proto::Refusal) -> Result<Self, StoredError> {
        use proto::refusal::Refusal as Choice;
        Ok(match chosen(message.refusal, "Refusal.refusal")? {
            Choice::WrongCluster(_) => Self::WrongCluster,
            Choice::TermOver(term) => Self::TermOver(term),
            Choice::AgentUnknown(agent) => Self::AgentUnknown(id(agent, "Refusal.agent_unknown")?),
            Choice::AgentEpochDiffers(agent) => {
                Self::AgentEpochDiffers(id(agent, "Refusal.agent_epoch_differs")?)
            }
            Choice::TotalBelowUsed(what) => Self::TotalBelowUsed(what),
            Choice::AgentNotOverdue(agent) => {
                Self::AgentNotOverdue(id(agent, "Refusal.agent_not_overdue")?)
            }
            Choice::MachineDown(machine) => Self::MachineDown(machine),
            Choice::MaintenanceInvalid(why) => Self::MaintenanceInvalid(why),
            Choice::AgentScheduled(agent) => {
                Self::AgentScheduled(id(agent, "Refusal.agent_scheduled")?)
            }
            Choice::AgentDraining(agent) => {
                Self::AgentDraining(id(agent, "Refusal.agent_draining")?)
            }
            Choice::AgentNotDeactivated(agent) => {
                Self::AgentNotDeactivated(id(agent, "Refusal.agent_not_deactivated")?)
            }
            Choice::AgentNotEmpty(agent) => {
                Self::AgentNotEmpty(id(agent, "Refusal.agent_not_empty")?)
            }
            Choice::FrameworkUnknown(framework) => {
                Self::FrameworkUnknown(id(framework, "Refusal.framework_unknown")?)
            }
            Choice::FrameworkRemoved(_) => Self::FrameworkRemoved,
            Choice::PrincipalChanged(_) => Self::PrincipalChanged,
            Choice::FieldImmutable(field) => Self::FieldImmutable(field),
            Choice::StreamSuperseded(_) => Self::StreamSuperseded,
            Choice::DeadlineNotReached(_) => Self::DeadlineNotReached,
            Choice::RoleNotSubscribed(role) => Self::RoleNotSubscribed(role),
            Choice::OffersInvalid(reason) => Self::OffersInvalid(reason),
            Choice::UpdateUnknown(_) => Self::UpdateUnknown,
            Choice::RoleConfigInvalid(what) => Self::RoleConfigInvalid(what),
            Choice::QuotaOvercommitted(what) => Self::QuotaOvercommitted(what),
            Choice::QuotaExceeded(what) => Self::QuotaExceeded(what),
            Choice::QuotaExists(role) => Self::QuotaExists(role),
            Choice::QuotaUnknown(role) => Self::QuotaUnknown(role),
            Choice::Internal(what) => Self::Internal(what),
            Choice::OperationInvalid(what) => Self::OperationInvalid(what),
            Choice::ResourcesInUse(what) => Self::ResourcesInUse(what),
        })
    }
}
