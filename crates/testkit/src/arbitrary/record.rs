//! Arbitrary records of the state. Those of one state name each other, as they must; beyond that
//! anything goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use regency_resources::{Milli, Resources};
use regency_state::model::{
    Agent, AgentCommand, AgentPhase, AgentSpec, Ancestor, Capabilities, CompletedFramework,
    ConsumedOffer, Consumption, Drain, DrainProgress, Executor, ExecutorKey, Filter,
    FinishedOperation, Framework, FrameworkPhase, FrameworkSpec, InverseAnswer, InverseOffer,
    MachineId, MaintenanceWindow, MasterStatus, Offer, PendingKill, Quota, RefusedOperation,
    RoleConfig, StatusReason, StatusRecord, Task, TaskExecutor, UnackedUpdate, Unavailability,
};
use regency_state::{
    Counters, MasterInfo, Outcome, Parts, Refusal, ReportStateHash, TermRecord, Verdict,
};
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterId, ClusterTime, ExecutorId, FrameworkId, Incarnation,
    NodeId, OfferId, OperationKey, StreamId, TaskKey, Term,
};

use super::{
    agent_id, bytes, duration, framework_id, generation, operation_key, resources, task_id,
    task_key, task_state, text, time, uuid, wall,
};
use crate::Rng;

/// The parts of some state, each kind in the order of its ids.
pub fn parts(rng: &mut Rng) -> Parts {
    let agents: BTreeMap<AgentId, Agent> = rng
        .several(4, agent)
        .into_iter()
        .map(|a| (a.id.clone(), a))
        .collect();
    let frameworks: BTreeMap<FrameworkId, Framework> = rng
        .several(4, framework)
        .into_iter()
        .map(|f| (f.id.clone(), f))
        .collect();
    let agent_ids: Vec<AgentId> = agents.keys().cloned().collect();
    let framework_ids: Vec<FrameworkId> = frameworks.keys().cloned().collect();
    let tasks: BTreeMap<TaskKey, Task> = rng
        .several(8, |rng| placed_task(rng, &agent_ids, &framework_ids))
        .into_iter()
        .flatten()
        .map(|t| (t.key.clone(), t))
        .collect();
    let offers: BTreeMap<OfferId, Offer> = rng
        .several(6, |rng| placed_offer(rng, &agent_ids, &framework_ids))
        .into_iter()
        .flatten()
        .map(|o| (o.id, o))
        .collect();
    let inverse_offers: BTreeMap<OfferId, InverseOffer> = rng
        .several(4, |rng| {
            placed_inverse_offer(rng, &agent_ids, &framework_ids)
        })
        .into_iter()
        .flatten()
        .map(|o| (o.id, o))
        .collect();
    let windows = distinct(rng.several(3, maintenance_window));
    let machines: BTreeSet<MachineId> = windows
        .iter()
        .flat_map(|window| window.machines.iter().cloned())
        .collect();
    let gone: BTreeMap<AgentId, ClusterTime> = rng
        .several(3, |rng| (agent_id(rng), time(rng)))
        .into_iter()
        .collect();
    let consumed: BTreeMap<OfferId, ConsumedOffer> = rng
        .several(6, |rng| (OfferId(rng.any_size()), consumed(rng)))
        .into_iter()
        .collect();
    let operations: BTreeMap<OperationKey, FinishedOperation> = rng
        .several(4, |rng| finished_operation(rng, &framework_ids))
        .into_iter()
        .flatten()
        .map(|o| (o.key.clone(), o))
        .collect();
    let roles: BTreeMap<String, RoleConfig> = rng
        .several(4, |rng| RoleConfig {
            role: text(rng),
            weight: rng.maybe(|rng| Milli(rng.any_size().cast_signed())),
            quota: quota(rng),
        })
        .into_iter()
        .map(|config| (config.role.clone(), config))
        .collect();
    let hashes: BTreeMap<_, ReportStateHash> = rng
        .several(6, super::command::state_hash)
        .into_iter()
        .map(|h| ((h.index, h.schema, h.node), h))
        .collect();
    Parts {
        cluster: rng.maybe(|rng| ClusterId(rng.wide_number())),
        now: time(rng),
        wall: wall(rng),
        term: rng.maybe(|rng| TermRecord {
            term: Term(rng.any_size()),
            master: master_info(rng),
            began: time(rng),
            wall: wall(rng),
        }),
        counters: Counters {
            framework: rng.any_size(),
            agent: rng.any_size(),
            offer: rng.any_size(),
            generation: rng.any_size(),
        },
        agents: agents.into_values().collect(),
        frameworks: frameworks.into_values().collect(),
        completed: rng.several(3, |rng| CompletedFramework {
            framework: framework(rng),
            unregistered: wall(rng),
        }),
        tasks: tasks.into_values().collect(),
        offers: offers.into_values().collect(),
        inverse_offers: inverse_offers.into_values().collect(),
        windows,
        down_machines: machines.into_iter().filter(|_| rng.chance(50)).collect(),
        gone: gone.into_iter().collect(),
        consumed: consumed.into_iter().collect(),
        operations: operations.into_values().collect(),
        roles: roles.into_values().collect(),
        hashes: hashes.into_values().collect(),
        feature_level: 1 + u32::try_from(rng.below(3)).unwrap_or(0),
        ancestors: rng.several(3, ancestor),
    }
}

/// Some quota, also one that cannot be.
pub fn quota(rng: &mut Rng) -> Quota {
    let amounts = |rng: &mut Rng| -> BTreeMap<String, Milli> {
        rng.several(3, |rng| (text(rng), Milli(rng.any_size().cast_signed())))
            .into_iter()
            .collect()
    };
    Quota {
        guarantees: amounts(rng).into(),
        limits: amounts(rng),
    }
}

/// The windows with each machine in the first one that names it.
fn distinct(windows: Vec<MaintenanceWindow>) -> Vec<MaintenanceWindow> {
    let mut named = BTreeSet::new();
    let first_only = |mut window: MaintenanceWindow| {
        window.machines.retain(|name| named.insert(name.clone()));
        window
    };
    windows.into_iter().map(first_only).collect()
}

pub(super) fn machine_id(rng: &mut Rng) -> MachineId {
    MachineId {
        hostname: rng.maybe(text),
        ip: rng.maybe(text),
    }
}

fn unavailability(rng: &mut Rng) -> Unavailability {
    Unavailability {
        start_ns: rng.any_size().cast_signed(),
        duration_ns: rng.maybe(|rng| rng.any_size().cast_signed()),
    }
}

pub(super) fn maintenance_window(rng: &mut Rng) -> MaintenanceWindow {
    MaintenanceWindow {
        machines: rng.several(3, machine_id),
        unavailability: unavailability(rng),
    }
}

fn placed_inverse_offer(
    rng: &mut Rng,
    agents: &[AgentId],
    frameworks: &[FrameworkId],
) -> Option<InverseOffer> {
    Some(InverseOffer {
        id: OfferId(rng.any_size()),
        framework: rng.pick(frameworks)?.clone(),
        agent: rng.pick(agents)?.clone(),
        unavailability: unavailability(rng),
        deadline: rng.maybe(time),
        made: wall(rng),
    })
}

fn drain(rng: &mut Rng) -> Drain {
    Drain {
        progress: if rng.chance(50) {
            DrainProgress::Draining
        } else {
            DrainProgress::Drained
        },
        max_grace: rng.maybe(duration),
        mark_gone: rng.chance(50),
        since: wall(rng),
    }
}

fn inverse_answer(rng: &mut Rng) -> InverseAnswer {
    InverseAnswer {
        accepted: rng.chance(50),
        wall: wall(rng),
        until: time(rng),
    }
}

fn ancestor(rng: &mut Rng) -> Ancestor {
    Ancestor {
        cluster: ClusterId(rng.wide_number()),
        index: rng.any_size(),
        wall: wall(rng),
        n_frameworks: rng.any_size(),
    }
}

fn placed_task(rng: &mut Rng, agents: &[AgentId], frameworks: &[FrameworkId]) -> Option<Task> {
    let mut task = task(rng);
    task.key.framework = rng.pick(frameworks)?.clone();
    // A task that has ended may outlive its agent.
    if !task.is_terminal() || rng.chance(50) {
        task.agent = rng.pick(agents)?.clone();
    }
    Some(task)
}

fn finished_operation(rng: &mut Rng, frameworks: &[FrameworkId]) -> Option<FinishedOperation> {
    let mut key = operation_key(rng);
    key.framework = rng.pick(frameworks)?.clone();
    Some(FinishedOperation {
        key,
        agent: agent_id(rng),
        uuid: uuid(rng),
        info: bytes(rng),
    })
}

fn placed_offer(rng: &mut Rng, agents: &[AgentId], frameworks: &[FrameworkId]) -> Option<Offer> {
    Some(Offer {
        id: OfferId(rng.any_size()),
        framework: rng.pick(frameworks)?.clone(),
        role: text(rng),
        agent: rng.pick(agents)?.clone(),
        resources: resources(rng),
        deadline: rng.maybe(time),
        made: wall(rng),
    })
}

pub(super) fn master_info(rng: &mut Rng) -> MasterInfo {
    MasterInfo {
        node: NodeId(rng.any_size()),
        incarnation: Incarnation(rng.wide_number()),
        process: rng.wide_number(),
        hostname: text(rng),
        http: text(rng),
        agent: text(rng),
        version: text(rng),
    }
}

pub(super) fn agent_spec(rng: &mut Rng) -> AgentSpec {
    AgentSpec {
        info: bytes(rng),
        hostname: text(rng),
        address: text(rng),
        total: resources(rng),
        version: text(rng),
    }
}

fn agent(rng: &mut Rng) -> Agent {
    let confirmed_seq = rng.below(1 << 40);
    let waiting = rng.below(6);
    let outbox: OrdMap<u64, AgentCommand> = (1..=waiting)
        .map(|n| (confirmed_seq + n, agent_command(rng)))
        .collect();
    let mut spec = agent_spec(rng);
    // Made of what the agent has, whatever that is.
    let checkpointed = resources(rng).checkpointed();
    spec.total += checkpointed.origin();
    Agent {
        id: agent_id(rng),
        epoch: AgentEpoch(rng.wide_number()),
        boot: BootId(rng.wide_number()),
        spec,
        checkpointed,
        total: Resources::new(),
        phase: match rng.below(3) {
            0 => AgentPhase::Registered,
            1 => AgentPhase::Down { since: time(rng) },
            _ => AgentPhase::Unreachable {
                since: time(rng),
                wall: wall(rng),
            },
        },
        suspect_since: rng.maybe(time),
        inventory_due: rng.chance(20),
        deactivated: rng.chance(50),
        drain: rng.maybe(drain),
        answers: rng
            .several(3, |rng| (framework_id(rng), inverse_answer(rng)))
            .into_iter()
            .collect(),
        registered: wall(rng),
        reregistered: rng.maybe(wall),
        report_seq: rng.any_size(),
        command_seq: confirmed_seq + waiting,
        confirmed_seq,
        outbox,
        executors: rng
            .several(3, executor)
            .into_iter()
            .map(|e| (e.key.clone(), Arc::new(e)))
            .collect(),
        allocated: Resources::new(),
        offered: Resources::new(),
        tasks: OrdSet::new(),
        offers: OrdSet::new(),
        inverse_offers: OrdSet::new(),
    }
}

pub(super) fn executor_key(rng: &mut Rng) -> ExecutorKey {
    ExecutorKey {
        framework: framework_id(rng),
        executor: ExecutorId::new(task_id(rng).as_str()).expect("ids of both kinds look alike"),
    }
}

fn executor(rng: &mut Rng) -> Executor {
    Executor {
        key: executor_key(rng),
        instance: generation(rng),
        role: text(rng),
        info: bytes(rng),
        resources: resources(rng),
        launch_seq: rng.any_size(),
        shutdown: rng.chance(50),
        launched: time(rng),
    }
}

fn agent_command(rng: &mut Rng) -> AgentCommand {
    let (task, generation) = (task_key(rng), generation(rng));
    let group = |rng: &mut Rng| rng.several(3, |rng| (task_key(rng), self::generation(rng)));
    match rng.below(11) {
        7 => AgentCommand::LaunchGroup { tasks: group(rng) },
        8 => AgentCommand::DropGroup { tasks: group(rng) },
        9 => AgentCommand::DrainTask {
            task,
            generation,
            max_grace: rng.maybe(duration),
            gone: rng.chance(50),
        },
        0 => AgentCommand::DestroyVolume {
            volume: resources(rng),
        },
        6 => AgentCommand::Launch { task, generation },
        1 => AgentCommand::DropLaunch { task, generation },
        2 => AgentCommand::Kill {
            task,
            generation,
            grace: rng.maybe(duration),
        },
        3 => AgentCommand::Acknowledge {
            task,
            generation,
            uuid: uuid(rng),
        },
        4 => AgentCommand::LaunchExecutor {
            executor: executor_key(rng),
            instance: generation,
        },
        5 => AgentCommand::ShutdownExecutor {
            executor: executor_key(rng),
            instance: generation,
        },
        _ => AgentCommand::ShutdownFramework {
            framework: framework_id(rng),
        },
    }
}

pub(super) fn framework_spec(rng: &mut Rng) -> FrameworkSpec {
    FrameworkSpec {
        info: bytes(rng),
        name: text(rng),
        user: text(rng),
        principal: rng.maybe(text),
        roles: rng.several(3, text).into_iter().collect(),
        failover_timeout: duration(rng),
        checkpoint: rng.chance(50),
        capabilities: Capabilities {
            partition_aware: rng.chance(50),
            multi_role: rng.chance(50),
            gpu_resources: rng.chance(50),
            revocable_resources: rng.chance(50),
            shared_resources: rng.chance(50),
            reservation_refinement: rng.chance(50),
            task_killing_state: rng.chance(50),
            region_aware: rng.chance(50),
        },
        offer_constraints: rng.maybe(bytes).unwrap_or_default(),
    }
}

fn framework(rng: &mut Rng) -> Framework {
    Framework {
        id: framework_id(rng),
        spec: framework_spec(rng),
        suppressed: rng.several(3, text).into_iter().collect::<BTreeSet<_>>(),
        described: rng.any_size(),
        phase: if rng.chance(50) {
            FrameworkPhase::Subscribed {
                stream: StreamId(rng.wide_number()),
            }
        } else {
            FrameworkPhase::Disconnected {
                since: time(rng),
                deadline: time(rng),
            }
        },
        confirmed: rng.chance(50),
        subscribed_term: Term(rng.any_size()),
        registered: wall(rng),
        reregistered: rng.maybe(wall),
        tasks: OrdSet::new(),
        offers: OrdSet::new(),
        inverse_offers: OrdSet::new(),
        filters: rng
            .several(3, |rng| (agent_id(rng), rng.several(3, filter)))
            .into_iter()
            .collect(),
        n_unacked: 0,
        completed_tasks: rng
            .several(3, |rng| Arc::new(task(rng)))
            .into_iter()
            .collect(),
        retained: rng
            .several(3, |rng| (time(rng), master_status(rng)))
            .into_iter()
            .collect(),
        refused_operations: rng
            .several(3, |rng| {
                let (id, message) = (text(rng), text(rng));
                (time(rng), RefusedOperation { id, message })
            })
            .into_iter()
            .collect(),
    }
}

fn filter(rng: &mut Rng) -> Filter {
    Filter {
        role: text(rng),
        refused: resources(rng),
        until: time(rng),
    }
}

fn task(rng: &mut Rng) -> Task {
    Task {
        key: TaskKey {
            framework: framework_id(rng),
            task: task_id(rng),
        },
        generation: generation(rng),
        agent: agent_id(rng),
        role: text(rng),
        name: text(rng),
        info: bytes(rng),
        resources: resources(rng),
        executor: rng.maybe(|rng| TaskExecutor {
            executor: executor_key(rng).executor,
            instance: generation(rng),
        }),
        launch_seq: rng.any_size(),
        state: task_state(rng),
        state_before_unreachable: rng.maybe(task_state),
        unreachable: rng.maybe(wall),
        status: bytes(rng),
        task_seq: rng.any_size(),
        unacked: rng.maybe(|rng| UnackedUpdate {
            uuid: uuid(rng),
            state: task_state(rng),
            status: bytes(rng),
        }),
        lost: rng.chance(50),
        kill: rng.maybe(|rng| PendingKill {
            grace: rng.maybe(duration),
            command_seq: rng.any_size(),
        }),
        statuses: rng.several(3, |rng| StatusRecord {
            state: task_state(rng),
            wall: wall(rng),
        }),
        launched: time(rng),
    }
}

fn master_status(rng: &mut Rng) -> MasterStatus {
    let reasons = [
        StatusReason::InvalidOffers,
        StatusReason::TaskInvalid,
        StatusReason::TaskGroupInvalid,
        StatusReason::AgentRemoved,
        StatusReason::AgentRemovedByOperator,
        StatusReason::AgentReregistered,
        StatusReason::FrameworkRemoved,
        StatusReason::Reconciliation,
    ];
    MasterStatus {
        task_id: text(rng),
        agent: rng.maybe(agent_id),
        state: task_state(rng),
        reason: reasons[rng.index(reasons.len())],
        message: text(rng),
        unreachable: rng.maybe(wall),
    }
}

fn consumed(rng: &mut Rng) -> ConsumedOffer {
    ConsumedOffer {
        framework: framework_id(rng),
        consumption: if rng.chance(30) {
            Consumption::Rescinded
        } else {
            Consumption::Call {
                content: rng.any_size(),
                verdict: verdict(rng),
            }
        },
    }
}

/// Some verdict.
pub fn verdict(rng: &mut Rng) -> Verdict {
    if rng.chance(50) {
        return Ok(outcome(rng));
    }
    Err(match rng.below(28) {
        0 => Refusal::WrongCluster,
        1 => Refusal::TermOver(rng.any_size()),
        2 => Refusal::AgentUnknown(agent_id(rng)),
        3 => Refusal::AgentEpochDiffers(agent_id(rng)),
        4 => Refusal::TotalBelowUsed(text(rng)),
        5 => Refusal::AgentNotOverdue(agent_id(rng)),
        6 => Refusal::FrameworkUnknown(framework_id(rng)),
        7 => Refusal::FrameworkRemoved,
        8 => Refusal::PrincipalChanged,
        9 => Refusal::StreamSuperseded,
        10 => Refusal::DeadlineNotReached,
        11 => Refusal::RoleNotSubscribed(text(rng)),
        12 => Refusal::OffersInvalid(text(rng)),
        13 => Refusal::UpdateUnknown,
        14 => Refusal::OperationInvalid(text(rng)),
        15 => Refusal::ResourcesInUse(text(rng)),
        16 => Refusal::RoleConfigInvalid(text(rng)),
        17 => Refusal::QuotaOvercommitted(text(rng)),
        18 => Refusal::QuotaExceeded(text(rng)),
        19 => Refusal::QuotaExists(text(rng)),
        20 => Refusal::QuotaUnknown(text(rng)),
        21 => Refusal::MachineDown(text(rng)),
        22 => Refusal::MaintenanceInvalid(text(rng)),
        23 => Refusal::AgentScheduled(agent_id(rng)),
        24 => Refusal::AgentDraining(agent_id(rng)),
        25 => Refusal::AgentNotDeactivated(agent_id(rng)),
        26 => Refusal::AgentNotEmpty(agent_id(rng)),
        _ => Refusal::Internal(text(rng)),
    })
}

fn outcome(rng: &mut Rng) -> Outcome {
    match rng.below(8) {
        0 => Outcome::Done,
        1 => Outcome::AgentRegistered {
            agent: agent_id(rng),
        },
        2 => Outcome::ReportsApplied {
            report_seq: rng.any_size(),
        },
        3 => Outcome::Subscribed {
            framework: framework_id(rng),
        },
        4 => Outcome::OffersIssued {
            offers: rng.several(4, |rng| OfferId(rng.any_size())),
            n_skipped: rng.any_size(),
        },
        5 => Outcome::Accepted {
            n_launched: rng.any_size(),
            n_refused: rng.any_size(),
        },
        6 => Outcome::TaskUnknown,
        _ => Outcome::Removed { n: rng.any_size() },
    }
}
