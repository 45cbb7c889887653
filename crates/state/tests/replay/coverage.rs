//! That the histories are worth replaying: they meet what the rules are about.

use std::collections::BTreeSet;

use regency_state::{Command, Effect, LaunchSpec, Operation, Refusal, State};
use regency_testkit::Workload;
use regency_types::{TaskKey, TaskState};

const N_HISTORIES: u64 = 200;

#[derive(Default)]
struct Met {
    accepted: BTreeSet<&'static str>,
    refused: BTreeSet<&'static str>,
    effects: BTreeSet<&'static str>,
    states: BTreeSet<TaskState>,
    /// How many groups were launched, and how many were refused.
    groups: (u64, u64),
}

fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::WrongCluster => "WrongCluster",
        Refusal::TermOver(_) => "TermOver",
        Refusal::AgentUnknown(_) => "AgentUnknown",
        Refusal::AgentEpochDiffers(_) => "AgentEpochDiffers",
        Refusal::TotalBelowUsed(_) => "TotalBelowUsed",
        Refusal::AgentNotOverdue(_) => "AgentNotOverdue",
        Refusal::MachineDown(_) => "MachineDown",
        Refusal::MaintenanceInvalid(_) => "MaintenanceInvalid",
        Refusal::AgentScheduled(_) => "AgentScheduled",
        Refusal::AgentDraining(_) => "AgentDraining",
        Refusal::AgentNotDeactivated(_) => "AgentNotDeactivated",
        Refusal::AgentNotEmpty(_) => "AgentNotEmpty",
        Refusal::FrameworkUnknown(_) => "FrameworkUnknown",
        Refusal::FrameworkRemoved => "FrameworkRemoved",
        Refusal::PrincipalChanged => "PrincipalChanged",
        Refusal::FieldImmutable(_) => "FieldImmutable",
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
        Effect::SendInverseOffers { .. } => "SendInverseOffers",
        Effect::SendRescindInverse { .. } => "SendRescindInverse",
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
        if let Command::AcceptOffers(accept) = &proposal.command {
            let groups = accept
                .operations
                .iter()
                .filter_map(|operation| match operation {
                    Operation::LaunchGroup(tasks) if tasks.len() > 1 => Some(tasks),
                    _ => None,
                });
            for tasks in groups {
                let is_launched = tasks.iter().all(|task| {
                    matches!(task, LaunchSpec::Valid(spec) if state.task(&TaskKey {
                        framework: accept.framework.clone(),
                        task: spec.task.clone(),
                    }).is_some_and(|task| task.launched == state.now()))
                });
                met.groups.0 += u64::from(is_launched);
                met.groups.1 += u64::from(!is_launched);
            }
        }
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
    assert_eq!(met.refused.len(), 28, "{:?}", met.refused);
    assert!(!met.refused.contains("Internal"));
    assert_eq!(met.effects.len(), 14, "{:?}", met.effects);
    assert!(met.groups.0 > 20 && met.groups.1 > 20, "{:?}", met.groups);
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
        TaskState::GoneByOperator,
        TaskState::Lost,
    ] {
        assert!(met.states.contains(&state), "{}", state.name());
    }
}
