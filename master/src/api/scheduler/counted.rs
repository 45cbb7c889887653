//! What of the calls is counted by Mesos' keys.

use regency_state::{Command, Outcome, Refusal, State};
use regency_types::FrameworkId;
use regency_wire::v1::offer::operation::Type as OperationType;
use regency_wire::v1::scheduler::Call;
use regency_wire::v1::scheduler::call::Type;

use crate::counters::{Count, OfferEnd, count, count_either, of_framework};

/// A call of a framework that is subscribed.
pub(super) fn call(framework: &FrameworkId, state: &State, call: &Call, call_type: Type) {
    let counts = of_framework(framework, state);
    counts.call(call_type);
    for operation in call.accept.iter().flat_map(|accept| &accept.operations) {
        counts.operation(operation.r#type());
    }
    let launches = |call: &Call| {
        let mut operations = call.accept.iter().flat_map(|accept| &accept.operations);
        operations.any(|one| {
            matches!(
                one.r#type(),
                OperationType::Launch | OperationType::LaunchGroup
            )
        })
    };
    let message = match call_type {
        Type::Accept if launches(call) => Count::MessagesLaunchTasks,
        Type::Decline => Count::MessagesDeclineOffers,
        Type::Revive => Count::MessagesReviveOffers,
        Type::Suppress => Count::MessagesSuppressOffers,
        Type::Kill => Count::MessagesKillTask,
        Type::Acknowledge => Count::MessagesAcknowledge,
        Type::AcknowledgeOperationStatus => Count::MessagesAcknowledgeOperation,
        Type::Reconcile => Count::MessagesReconcileTasks,
        Type::ReconcileOperations => Count::MessagesReconcileOperations,
        Type::Message => Count::MessagesFrameworkToExecutor,
        Type::Request => Count::MessagesResourceRequest,
        Type::Teardown => Count::MessagesUnregisterFramework,
        Type::Unknown
        | Type::Subscribe
        | Type::Accept
        | Type::AcceptInverseOffers
        | Type::DeclineInverseOffers
        | Type::Shutdown
        | Type::UpdateFramework => return,
    };
    count(message);
}

/// A command that a call was, as far as its verdict is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum About {
    Acknowledgement,
    OperationAcknowledgement,
    /// Offers that are used.
    Accept(usize),
    /// Offers that are given back.
    Decline(usize),
    Other,
}

impl About {
    pub(super) fn of(command: &Command) -> Self {
        match command {
            Command::AcknowledgeUpdate(_) => Self::Acknowledgement,
            Command::AcknowledgeOperation(_) => Self::OperationAcknowledgement,
            Command::AcceptOffers(accept) => Self::Accept(accept.offers.iter().flatten().count()),
            Command::DeclineOffers(decline) => Self::Decline(decline.offers.len()),
            _ => Self::Other,
        }
    }

    /// Counts what became of it.
    pub(super) fn verdict(
        self,
        framework: &FrameworkId,
        state: &State,
        verdict: &Result<Outcome, Refusal>,
    ) {
        let is_valid = verdict.is_ok();
        let offers = |end, n| of_framework(framework, state).offers(end, n);
        match self {
            Self::Acknowledgement => count_either(
                is_valid,
                Count::ValidAcknowledgements,
                Count::InvalidAcknowledgements,
            ),
            Self::OperationAcknowledgement => count_either(
                is_valid,
                Count::ValidOperationAcknowledgements,
                Count::InvalidOperationAcknowledgements,
            ),
            Self::Accept(n) if is_valid => offers(OfferEnd::Accepted, n),
            Self::Decline(n) if is_valid => offers(OfferEnd::Declined, n),
            Self::Accept(_) | Self::Decline(_) | Self::Other => {}
        }
        if !is_valid {
            count(Count::DroppedMessages);
        }
    }
}
