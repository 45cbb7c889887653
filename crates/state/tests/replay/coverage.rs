//! That the histories are worth replaying: they meet what the rules are about.

use std::collections::BTreeSet;

use regency_state::{Effect, Refusal, State};
use regency_testkit::Workload;
use regency_types::TaskState;

const N_HISTORIES: u64 = 60;

#[derive(Default)]
struct Met {
    accepted: BTreeSet<&'static str>,
    refused: BTreeSet<&'static str>,
    effects: BTreeSet<&'static str>,
    states: BTreeSet<TaskState>,
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WrongCluster => "WrongCluster",
        Refusal::TermOver(_) => "TermOver",
        Refusal::AgentUnknown(_) => "AgentUnknown",
        Refusal::AgentEpochDiffers(_) => "AgentEpochDiffers",
        Refusal::TotalBelowUsed(_) => "TotalBelowUsed",
        Refusal::AgentNotOverdue(_) => "AgentNotOverdue",
        Refusal::FrameworkUnknown(_) => "FrameworkUnknown",
        Refusal::FrameworkRemoved => "FrameworkRemoved",
        Refusal::PrincipalChanged => "PrincipalChanged",
        Refusal::StreamSuperseded => "StreamSuperseded",
        Refusal::DeadlineNotReached => "DeadlineNotReached",
        Refusal::RoleNotSubscribed(_) => "RoleNotSubscribed",
        Refusal::OffersInvalid(_) => "OffersInvalid",
        Refusal::UpdateUnknown => "UpdateUnknown",
        Refusal::OperationInvalid(_) => "OperationInvalid",
        Refusal::ResourcesInUse(_) => "ResourcesInUse",
        Refusal::RoleConfigInvalid(_) => "RoleConfigInvalid",
        Refusal::QuotaOvercommitted(_) => "QuotaOvercommitted",
        Refusal::QuotaExceeded(_) => "QuotaExceeded",
        Refusal::QuotaExists(_) => "QuotaExists",
        Refusal::QuotaUnknown(_) => "QuotaUnknown",
        Refusal::Internal(_) => "Internal",
    }
}

fn effect_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::SendOffers { .. } => "SendOffers",
        Effect::SendRescind { .. } => "SendRescind",
        Effect::SendUpdate { .. } => "SendUpdate",
        Effect::SendStatus { .. } => "SendStatus",
        Effect::SendFailure { .. } => "SendFailure",
        Effect::SendExecutorExit { .. } => "SendExecutorExit",
        Effect::SyncAgent { .. } => "SyncAgent",
        Effect::DetachAgent { .. } => "DetachAgent",
        Effect::CloseStream { .. } => "CloseStream",
        Effect::SendOperation { .. } => "SendOperation",
        Effect::SendRefusedOperation { .. } => "SendRefusedOperation",
        Effect::WakeAllocator => "WakeAllocator",
    }
}

fn meet(seed: u64, met: &mut Met) {
    let mut workload = Workload::new(seed);
    let mut state = State::default();
    for _ in 0..crate::N_ENTRIES {
        let proposal = workload.next(&state);
        let applied = state.apply(&proposal);
        workload.applied(&proposal, &applied);
        match &applied.verdict {
            Ok(_) => met.accepted.insert(proposal.command.name()),
            Err(refusal) => met.refused.insert(refusal_name(refusal)),
        };
        met.effects.extend(applied.effects.iter().map(effect_name));
        met.states.extend(state.tasks().map(|t| t.state));
        for framework in state.frameworks() {
            let completed = framework.completed_tasks.iter();
            met.states.extend(completed.map(|t| t.state));
        }
    }
}

#[test]
fn histories_meet_every_command_refusal_effect_and_state() {
    let mut met = Met::default();
    for seed in 0..N_HISTORIES {
        meet(seed, &mut met);
    }
    assert_eq!(met.accepted.len(), regency_testkit::arbitrary::N_COMMANDS);
    // All but Internal, which no history may meet.
    assert_eq!(met.refused.len(), 21, "{:?}", met.refused);
    assert!(!met.refused.contains("Internal"));
    assert_eq!(met.effects.len(), 12, "{:?}", met.effects);
    for state in [
        TaskState::Staging,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Killing,
        TaskState::Unreachable,
        TaskState::Finished,
        TaskState::Failed,
        TaskState::Killed,
        TaskState::Dropped,
        TaskState::Gone,
    ] {
        assert!(met.states.contains(&state), "{}", state.name());
    }
}
