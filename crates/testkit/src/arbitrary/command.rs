//! Arbitrary commands.

use regency_resources::Milli;
use regency_state::{
    AcceptOffers, AcknowledgeOperation, AcknowledgeUpdate, AgentDrained, AnswerInverseOffers,
    ApplyOperation, ApplyReports, BeginTerm, ChangeCluster, ClearSuspicion, Command,
    ConversionSpec, DeactivateAgent, DeclineOffers, DrainAgent, EndExecutors, ExecutorExit,
    ExecutorSpec, ExpireFilters, ExpireFramework, ExpireOffers, Feedback, ForgetAgents,
    FrameworkDisconnected, InventoryTask, IssueInverseOffers, IssueOffers, KillTask, LaunchSpec,
    MarkAgentGone, MarkAgentUnreachable, OfferPlan, Operation, QuotaConfig, RaiseFeatureLevel,
    ReactivateAgent, RegisterAgent, RemoveQuota, ReportStateHash, ReportedExecutor, ReportedUpdate,
    ReregisterAgent, RescindOffers, ResourceOperation, ResyncAgent, ResyncExecutors, ReviveOffers,
    SetQuota, ShutdownExecutor, StartMaintenance, StopMaintenance, SubscribeFramework,
    SuppressOffers, SuspectAgents, TakeInventory, TaskReport, TaskSpec, TeardownFramework,
    UpdateFramework, UpdateMaintenance, UpdateQuota, UpdateWeights,
};
use regency_types::{AgentEpoch, BootId, ClusterId, NodeId, OfferId, StreamId, Term};

use super::record::{
    agent_spec, executor_key, framework_spec, machine_id, maintenance_window, master_info, quota,
};
use super::{
    agent_id, bytes, duration, framework_id, generation, operation_key, resources, task_id,
    task_key, task_state, text, time, uuid,
};
use crate::Rng;

/// How many kinds of command there are.
pub const N_COMMANDS: usize = 47;

/// The place of a command's kind, from 0; [`command`] makes one of each place.
#[must_use]
pub const fn place_of(command: &Command) -> usize {
    match command {
        Command::BeginTerm(_) => 0,
        Command::RegisterAgent(_) => 1,
        Command::ReregisterAgent(_) => 2,
        Command::SuspectAgents(_) => 3,
        Command::ClearSuspicion(_) => 4,
        Command::MarkAgentUnreachable(_) => 5,
        Command::ApplyReports(_) => 6,
        Command::ResyncAgent(_) => 7,
        Command::SubscribeFramework(_) => 8,
        Command::FrameworkDisconnected(_) => 9,
        Command::ExpireFramework(_) => 10,
        Command::TeardownFramework(_) => 11,
        Command::IssueOffers(_) => 12,
        Command::AcceptOffers(_) => 13,
        Command::DeclineOffers(_) => 14,
        Command::RescindOffers(_) => 15,
        Command::ExpireOffers(_) => 16,
        Command::ExpireFilters(_) => 17,
        Command::ReviveOffers(_) => 18,
        Command::SuppressOffers(_) => 19,
        Command::KillTask(_) => 20,
        Command::AcknowledgeUpdate(_) => 21,
        Command::ReportStateHash(_) => 22,
        Command::ChangeCluster(_) => 23,
        Command::TakeInventory(_) => 24,
        Command::RaiseFeatureLevel(_) => 25,
        Command::ApplyOperation(_) => 26,
        Command::AcknowledgeOperation(_) => 27,
        Command::EndExecutors(_) => 28,
        Command::ResyncExecutors(_) => 29,
        Command::ShutdownExecutor(_) => 30,
        Command::UpdateQuota(_) => 31,
        Command::SetQuota(_) => 32,
        Command::RemoveQuota(_) => 33,
        Command::UpdateWeights(_) => 34,
        Command::UpdateFramework(_) => 35,
        Command::UpdateMaintenance(_) => 36,
        Command::StartMaintenance(_) => 37,
        Command::StopMaintenance(_) => 38,
        Command::IssueInverseOffers(_) => 39,
        Command::AnswerInverseOffers(_) => 40,
        Command::DrainAgent(_) => 41,
        Command::AgentDrained(_) => 42,
        Command::DeactivateAgent(_) => 43,
        Command::ReactivateAgent(_) => 44,
        Command::MarkAgentGone(_) => 45,
        Command::ForgetAgents(_) => 46,
    }
}

/// Some command of the kind at this place.
///
/// # Panics
/// When there is no such place.
pub fn command(rng: &mut Rng, place: usize) -> Command {
    match place {
        0 => Command::BeginTerm(BeginTerm {
            cluster: ClusterId(rng.wide_number()),
            term: Term(rng.any_size()),
            master: master_info(rng),
        }),
        1 => Command::RegisterAgent(RegisterAgent {
            epoch: AgentEpoch(rng.wide_number()),
            boot: BootId(rng.wide_number()),
            spec: agent_spec(rng),
        }),
        2 => Command::ReregisterAgent(ReregisterAgent {
            agent: agent_id(rng),
            epoch: AgentEpoch(rng.wide_number()),
            boot: BootId(rng.wide_number()),
            spec: agent_spec(rng),
        }),
        3 => Command::SuspectAgents(SuspectAgents {
            agents: rng.several(3, |rng| (agent_id(rng), time(rng))),
        }),
        4 => Command::ClearSuspicion(ClearSuspicion {
            agents: rng.several(3, agent_id),
        }),
        5 => Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent: agent_id(rng),
        }),
        6 => Command::ApplyReports(ApplyReports {
            agent: agent_id(rng),
            epoch: AgentEpoch(rng.wide_number()),
            command_seq: rng.any_size(),
            reports: rng.several(3, report),
        }),
        7 => Command::ResyncAgent(ResyncAgent {
            agent: agent_id(rng),
            epoch: AgentEpoch(rng.wide_number()),
            command_seq: rng.any_size(),
            report_seq: rng.any_size(),
            tasks: rng.several(3, report),
        }),
        8..=11 | 18 | 19 | 35 => of_framework(rng, place),
        12..=17 => of_offer(rng, place),
        20 => Command::KillTask(KillTask {
            task: task_key(rng),
            agent: rng.maybe(agent_id),
            grace: rng.maybe(duration),
        }),
        21 => Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: task_key(rng),
            agent: agent_id(rng),
            uuid: uuid(rng),
        }),
        22 => Command::ReportStateHash(state_hash(rng)),
        23 => Command::ChangeCluster(ChangeCluster {
            from: ClusterId(rng.wide_number()),
            to: ClusterId(rng.wide_number()),
            index: rng.any_size(),
        }),
        24 => Command::TakeInventory(TakeInventory {
            agent: agent_id(rng),
            epoch: AgentEpoch(rng.wide_number()),
            report_seq: rng.any_size(),
            tasks: rng.several(3, |rng| InventoryTask {
                report: report(rng),
                spec: rng.maybe(task_spec),
                role: rng.maybe(text),
            }),
        }),
        25 => Command::RaiseFeatureLevel(RaiseFeatureLevel {
            level: u32::try_from(rng.below(100)).unwrap_or(1),
        }),
        26 => Command::ApplyOperation(ApplyOperation {
            agent: agent_id(rng),
            operation: resource_operation(rng),
            principal: rng.maybe(text),
        }),
        27 => Command::AcknowledgeOperation(AcknowledgeOperation {
            operation: operation_key(rng),
            uuid: uuid(rng),
        }),
        28..=30 => of_executor(rng, place),
        31..=34 => of_role(rng, place),
        36..=40 => of_maintenance(rng, place),
        41..=46 => of_operator(rng, place),
        _ => panic!("there are {N_COMMANDS} kinds of command, none at {place}"),
    }
}

fn of_executor(rng: &mut Rng, place: usize) -> Command {
    let agent = agent_id(rng);
    match place {
        28 => Command::EndExecutors(EndExecutors {
            agent,
            epoch: AgentEpoch(rng.wide_number()),
            command_seq: rng.any_size(),
            exits: rng.several(3, |rng| ExecutorExit {
                report_seq: rng.any_size(),
                executor: executor_key(rng),
                instance: generation(rng),
                status: rng.maybe(|rng| rng.any_size() as i32),
            }),
        }),
        29 => Command::ResyncExecutors(ResyncExecutors {
            agent,
            epoch: AgentEpoch(rng.wide_number()),
            command_seq: rng.any_size(),
            executors: rng.several(3, |rng| ReportedExecutor {
                key: executor_key(rng),
                instance: generation(rng),
                spec: rng.maybe(executor_spec),
                role: rng.maybe(text),
            }),
        }),
        _ => Command::ShutdownExecutor(ShutdownExecutor {
            executor: executor_key(rng),
            agent,
        }),
    }
}

fn of_role(rng: &mut Rng, place: usize) -> Command {
    match place {
        31 => Command::UpdateQuota(UpdateQuota {
            configs: rng.several(3, |rng| QuotaConfig {
                role: text(rng),
                quota: quota(rng),
            }),
            force: rng.chance(50),
        }),
        32 => Command::SetQuota(SetQuota {
            role: text(rng),
            guarantee: quota(rng).guarantees,
            force: rng.chance(50),
        }),
        33 => Command::RemoveQuota(RemoveQuota { role: text(rng) }),
        _ => Command::UpdateWeights(UpdateWeights {
            weights: rng.several(3, |rng| (text(rng), Milli(rng.any_size().cast_signed()))),
            initial: rng.chance(50),
        }),
    }
}

fn of_maintenance(rng: &mut Rng, place: usize) -> Command {
    match place {
        36 => Command::UpdateMaintenance(UpdateMaintenance {
            windows: rng.several(3, maintenance_window),
        }),
        37 => Command::StartMaintenance(StartMaintenance {
            machines: rng.several(3, machine_id),
        }),
        38 => Command::StopMaintenance(StopMaintenance {
            machines: rng.several(3, machine_id),
        }),
        39 => Command::IssueInverseOffers(IssueInverseOffers {
            plans: rng.several(3, |rng| (framework_id(rng), agent_id(rng))),
            timeout: rng.maybe(duration),
        }),
        _ => Command::AnswerInverseOffers(AnswerInverseOffers {
            framework: framework_id(rng),
            offers: rng.several(3, |rng| OfferId(rng.any_size())),
            accepted: rng.chance(50),
            refuse: duration(rng),
        }),
    }
}

fn of_operator(rng: &mut Rng, place: usize) -> Command {
    let agent = agent_id(rng);
    match place {
        41 => Command::DrainAgent(DrainAgent {
            agent,
            max_grace: rng.maybe(duration),
            mark_gone: rng.chance(50),
        }),
        42 => Command::AgentDrained(AgentDrained { agent }),
        43 => Command::DeactivateAgent(DeactivateAgent { agent }),
        44 => Command::ReactivateAgent(ReactivateAgent { agent }),
        46 => Command::ForgetAgents(ForgetAgents {
            agents: rng.several(3, agent_id),
        }),
        _ => Command::MarkAgentGone(MarkAgentGone { agent }),
    }
}

fn executor_spec(rng: &mut Rng) -> ExecutorSpec {
    ExecutorSpec {
        executor: executor_key(rng).executor,
        resources: resources(rng),
        info: bytes(rng),
    }
}

fn of_framework(rng: &mut Rng, place: usize) -> Command {
    let framework = framework_id(rng);
    match place {
        8 => Command::SubscribeFramework(SubscribeFramework {
            framework: rng.maybe(framework_id),
            spec: framework_spec(rng),
            suppressed: rng.several(3, text),
            stream: StreamId(rng.wide_number()),
            kept: rng.maybe(|rng| rng.several(3, offer_id)),
        }),
        35 => Command::UpdateFramework(UpdateFramework {
            framework,
            spec: framework_spec(rng),
            suppressed: rng.several(3, text),
            kept: rng.several(3, offer_id),
        }),
        9 => Command::FrameworkDisconnected(FrameworkDisconnected {
            framework,
            stream: StreamId(rng.wide_number()),
        }),
        10 => Command::ExpireFramework(ExpireFramework { framework }),
        11 => Command::TeardownFramework(TeardownFramework { framework }),
        18 => Command::ReviveOffers(ReviveOffers {
            framework,
            roles: rng.several(3, text),
        }),
        _ => Command::SuppressOffers(SuppressOffers {
            framework,
            roles: rng.several(3, text),
        }),
    }
}

fn of_offer(rng: &mut Rng, place: usize) -> Command {
    match place {
        12 => Command::IssueOffers(IssueOffers {
            plans: plans(rng),
            timeout: rng.maybe(duration),
        }),
        13 => Command::AcceptOffers(AcceptOffers {
            framework: framework_id(rng),
            offers: rng.several(4, |rng| rng.maybe(offer_id)),
            operations: rng.several(2, operation),
            refuse: duration(rng),
            content: rng.any_size(),
        }),
        14 => Command::DeclineOffers(DeclineOffers {
            framework: framework_id(rng),
            offers: rng.several(4, offer_id),
            refuse: duration(rng),
        }),
        15 => Command::RescindOffers(RescindOffers {
            offers: rng.several(4, offer_id),
        }),
        16 => Command::ExpireOffers(ExpireOffers {
            offers: rng.several(4, offer_id),
        }),
        _ => Command::ExpireFilters(ExpireFilters),
    }
}

/// Some master's word about its state.
pub(super) fn state_hash(rng: &mut Rng) -> ReportStateHash {
    ReportStateHash {
        node: NodeId(rng.any_size()),
        index: rng.any_size(),
        schema: rng.below(3) as u32,
        digest: rng.wide_number(),
    }
}

fn offer_id(rng: &mut Rng) -> OfferId {
    OfferId(rng.any_size())
}

/// Plans that repeat their frameworks, roles and agents, as those of an allocation do.
fn plans(rng: &mut Rng) -> Vec<OfferPlan> {
    let frameworks: Vec<_> = (0..3).map(|_| framework_id(rng)).collect();
    let agents: Vec<_> = (0..3).map(|_| agent_id(rng)).collect();
    let roles: Vec<_> = (0..2).map(|_| text(rng)).collect();
    rng.several(8, |rng| OfferPlan {
        framework: frameworks[rng.index(frameworks.len())].clone(),
        role: roles[rng.index(roles.len())].clone(),
        agent: agents[rng.index(agents.len())].clone(),
        resources: resources(rng),
        described: if rng.chance(50) { 0 } else { rng.any_size() },
    })
}

fn operation(rng: &mut Rng) -> Operation {
    if rng.chance(50) {
        return Operation::Launch(rng.several(3, launch));
    }
    if rng.chance(30) {
        return Operation::LaunchGroup(rng.several(3, launch));
    }
    Operation::Convert(ConversionSpec {
        feedback: rng.maybe(|rng| Feedback {
            id: text(rng),
            uuid: uuid(rng),
            info: bytes(rng),
        }),
        operation: if rng.chance(80) {
            Ok(resource_operation(rng))
        } else {
            Err(text(rng))
        },
    })
}

/// Some operation on resources.
pub fn resource_operation(rng: &mut Rng) -> ResourceOperation {
    let what = resources(rng);
    match rng.below(7) {
        5 => ResourceOperation::ReserveAnew {
            source: what,
            resources: resources(rng),
        },
        0 => ResourceOperation::Reserve(what),
        1 => ResourceOperation::Unreserve(what),
        2 => ResourceOperation::Create(what),
        3 => ResourceOperation::Destroy(what),
        4 => ResourceOperation::GrowVolume {
            volume: what,
            addition: resources(rng),
        },
        _ => ResourceOperation::ShrinkVolume {
            volume: what,
            subtract: Milli(rng.any_size().cast_signed()),
        },
    }
}

fn launch(rng: &mut Rng) -> LaunchSpec {
    if rng.chance(30) {
        return LaunchSpec::Invalid {
            task_id: text(rng),
            agent: rng.maybe(agent_id),
            message: text(rng),
        };
    }
    LaunchSpec::Valid(task_spec(rng))
}

fn task_spec(rng: &mut Rng) -> TaskSpec {
    TaskSpec {
        task: task_id(rng),
        agent: agent_id(rng),
        name: text(rng),
        resources: resources(rng),
        info: bytes(rng),
        executor: rng.maybe(executor_spec),
    }
}

fn report(rng: &mut Rng) -> TaskReport {
    TaskReport {
        report_seq: rng.any_size(),
        task: task_key(rng),
        generation: generation(rng),
        task_seq: rng.any_size(),
        head: rng.maybe(|rng| ReportedUpdate {
            uuid: uuid(rng),
            state: task_state(rng),
            status: bytes(rng),
        }),
        latest_state: task_state(rng),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_makes_its_kind() {
        for place in 0..N_COMMANDS {
            assert_eq!(place_of(&command(&mut Rng::new(3), place)), place);
        }
    }
}
