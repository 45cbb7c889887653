//! The values that the fixtures hold. Never change one: when a type gains a field, write here
//! what its absence in an old entry means.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet, Vector};
use regency_resources::{
    DiskInfo, Milli, Persistence, Quantities, Reservation, ReservationKind, Resources, Value,
    Volume, VolumeMode,
};
use regency_state::model::*;
use regency_state::*;
use regency_types::*;

const CLUSTER: ClusterId = ClusterId(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn resources(text: &str) -> Resources {
    regency_resources::parse::resources(text, "*").expect("a sample's resources parse")
}

fn key(framework: u64, task: &str) -> TaskKey {
    TaskKey {
        framework: CLUSTER.framework_id(framework),
        task: TaskId::new(task).expect("a sample's id is valid"),
    }
}

fn master() -> MasterInfo {
    MasterInfo {
        node: NodeId(3),
        incarnation: Incarnation(31),
        process: 32,
        hostname: "m3.example".into(),
        http: "m3.example:5050".into(),
        agent: "m3.example:5061".into(),
        version: "0.1.0".into(),
    }
}

fn agent_spec() -> AgentSpec {
    AgentSpec {
        info: Bytes::from_static(b"agent info"),
        hostname: "a1.example".into(),
        address: "10.0.0.1:5051".into(),
        total: resources(
            "cpus:8;mem:16384;disk(eng):100.5;ports:[31000-32000,33000-33000];rack:{r1}",
        ),
        version: "0.1.0".into(),
    }
}

fn framework_spec() -> FrameworkSpec {
    FrameworkSpec {
        info: Bytes::from_static(b"framework info"),
        name: "spark".into(),
        user: "root".into(),
        principal: Some("spark-principal".into()),
        roles: BTreeSet::from(["eng".to_owned(), "eng/web".to_owned()]),
        failover_timeout: DurationMs(604_800_000),
        checkpoint: true,
        capabilities: Capabilities {
            partition_aware: true,
            multi_role: true,
            gpu_resources: false,
            revocable_resources: true,
            shared_resources: false,
            reservation_refinement: true,
            task_killing_state: false,
            region_aware: true,
        },
        offer_constraints: Bytes::new(),
    }
}

fn reports() -> Vec<TaskReport> {
    vec![
        TaskReport {
            report_seq: 41,
            task: key(1, "t-1"),
            generation: Generation(7),
            task_seq: 2,
            head: Some(ReportedUpdate {
                uuid: UpdateUuid(77),
                state: TaskState::Running,
                status: Bytes::from_static(b"running"),
            }),
            latest_state: TaskState::Finished,
        },
        TaskReport {
            report_seq: 42,
            task: key(1, "t-2"),
            generation: Generation(8),
            task_seq: 0,
            head: None,
            latest_state: TaskState::Starting,
        },
    ]
}

/// One of each kind of command, under its name.
pub(crate) fn commands() -> Vec<Command> {
    let framework = CLUSTER.framework_id(1);
    let agent = CLUSTER.agent_id(0);
    vec![
        Command::BeginTerm(BeginTerm {
            cluster: CLUSTER,
            term: Term(12),
            master: master(),
        }),
        Command::RegisterAgent(RegisterAgent {
            epoch: AgentEpoch(101),
            boot: BootId(102),
            spec: agent_spec(),
        }),
        Command::ReregisterAgent(ReregisterAgent {
            agent: agent.clone(),
            epoch: AgentEpoch(101),
            boot: BootId(103),
            spec: agent_spec(),
        }),
        Command::SuspectAgents(SuspectAgents {
            agents: vec![
                (agent.clone(), ClusterTime(900)),
                (CLUSTER.agent_id(1), ClusterTime(901)),
            ],
        }),
        Command::ClearSuspicion(ClearSuspicion {
            agents: vec![agent.clone()],
        }),
        Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent: agent.clone(),
        }),
        Command::ApplyReports(ApplyReports {
            agent: agent.clone(),
            epoch: AgentEpoch(101),
            command_seq: 17,
            reports: reports(),
        }),
        Command::ResyncAgent(ResyncAgent {
            agent: agent.clone(),
            epoch: AgentEpoch(101),
            command_seq: 17,
            report_seq: 42,
            tasks: reports(),
        }),
        Command::SubscribeFramework(SubscribeFramework {
            framework: Some(framework.clone()),
            spec: framework_spec(),
            suppressed: vec!["eng".into()],
            stream: StreamId(201),
            kept: None,
        }),
        Command::FrameworkDisconnected(FrameworkDisconnected {
            framework: framework.clone(),
            stream: StreamId(201),
        }),
        Command::ExpireFramework(ExpireFramework {
            framework: framework.clone(),
        }),
        Command::TeardownFramework(TeardownFramework {
            framework: framework.clone(),
        }),
        Command::IssueOffers(IssueOffers {
            plans: vec![
                OfferPlan {
                    framework: framework.clone(),
                    role: "eng".into(),
                    agent: agent.clone(),
                    resources: resources("cpus:1.5;mem:64"),
                    described: 0,
                },
                OfferPlan {
                    framework: framework.clone(),
                    role: "eng/web".into(),
                    agent: CLUSTER.agent_id(1),
                    resources: resources("cpus:2;gpus:1;ports:[1-5]"),
                    described: 0,
                },
            ],
            timeout: Some(DurationMs(60_000)),
        }),
        Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: vec![Some(OfferId(0)), None, Some(OfferId(5))],
            operations: vec![Operation::Launch(vec![
                LaunchSpec::Valid(TaskSpec {
                    task: TaskId::new("t-1").expect("a sample's id is valid"),
                    agent: agent.clone(),
                    name: "one".into(),
                    resources: resources("cpus:0.1;mem:32"),
                    info: Bytes::from_static(b"task info"),
                    executor: None,
                }),
                LaunchSpec::Invalid {
                    task_id: "a/b".into(),
                    agent: Some(agent.clone()),
                    message: "'a/b' contains invalid characters".into(),
                },
            ])],
            refuse: DurationMs(5000),
            content: 0xfeed_face_cafe_beef,
        }),
        Command::DeclineOffers(DeclineOffers {
            framework: framework.clone(),
            offers: vec![OfferId(6), OfferId(7)],
            refuse: DurationMs(1_000),
        }),
        Command::RescindOffers(RescindOffers {
            offers: vec![OfferId(8)],
        }),
        Command::ExpireOffers(ExpireOffers {
            offers: vec![OfferId(9), OfferId(300)],
        }),
        Command::ExpireFilters(ExpireFilters),
        Command::ReviveOffers(ReviveOffers {
            framework: framework.clone(),
            roles: vec!["eng".into()],
        }),
        Command::SuppressOffers(SuppressOffers {
            framework: framework.clone(),
            roles: Vec::new(),
        }),
        Command::KillTask(KillTask {
            task: key(1, "t-1"),
            agent: Some(agent.clone()),
            grace: Some(DurationMs(3000)),
        }),
        Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: key(1, "t-1"),
            agent,
            uuid: UpdateUuid(77),
        }),
        Command::ReportStateHash(ReportStateHash {
            node: NodeId(2),
            index: 1000,
            schema: 1,
            digest: 0x0102_0304,
        }),
        Command::ChangeCluster(ChangeCluster {
            from: CLUSTER,
            to: ClusterId(17),
            index: 99,
        }),
        Command::TakeInventory(TakeInventory {
            agent: CLUSTER.agent_id(0),
            epoch: AgentEpoch(101),
            report_seq: 42,
            tasks: reports()
                .into_iter()
                .zip([Some("eng"), None])
                .map(|(report, role)| InventoryTask {
                    report,
                    spec: role.map(|_| TaskSpec {
                        task: TaskId::new("t-1").expect("a sample's id is valid"),
                        agent: CLUSTER.agent_id(0),
                        name: "one".into(),
                        resources: resources("cpus:1;mem:32"),
                        info: Bytes::from_static(b"task info"),
                        executor: None,
                    }),
                    role: role.map(Into::into),
                })
                .collect(),
        }),
        Command::RaiseFeatureLevel(RaiseFeatureLevel { level: 7 }),
        Command::ApplyOperation(ApplyOperation {
            agent: CLUSTER.agent_id(0),
            operation: ResourceOperation::Reserve(reserved("cpus:1;mem:32")),
            principal: Some("ops".into()),
        }),
        Command::AcknowledgeOperation(AcknowledgeOperation {
            operation: operation_key("op-1"),
            uuid: UpdateUuid(79),
        }),
        Command::EndExecutors(EndExecutors {
            agent: CLUSTER.agent_id(0),
            epoch: AgentEpoch(101),
            command_seq: 17,
            exits: vec![
                ExecutorExit {
                    report_seq: 43,
                    executor: executor_key(1),
                    instance: Generation(6),
                    status: Some(-9),
                },
                ExecutorExit {
                    report_seq: 44,
                    executor: executor_key(2),
                    instance: Generation(7),
                    status: None,
                },
            ],
        }),
        Command::ResyncExecutors(ResyncExecutors {
            agent: CLUSTER.agent_id(0),
            epoch: AgentEpoch(101),
            command_seq: 17,
            executors: vec![
                ReportedExecutor {
                    key: executor_key(1),
                    instance: Generation(6),
                    spec: Some(executor_spec()),
                    role: Some("eng".into()),
                },
                ReportedExecutor {
                    key: executor_key(2),
                    instance: Generation(7),
                    spec: None,
                    role: None,
                },
            ],
        }),
        Command::ShutdownExecutor(ShutdownExecutor {
            executor: executor_key(1),
            agent: CLUSTER.agent_id(0),
        }),
        Command::UpdateQuota(UpdateQuota {
            configs: vec![
                QuotaConfig {
                    role: "eng".into(),
                    quota: quota(),
                },
                QuotaConfig {
                    role: "ops".into(),
                    quota: Quota::default(),
                },
            ],
            force: true,
        }),
        Command::SetQuota(SetQuota {
            role: "eng".into(),
            guarantee: quota().guarantees,
            force: true,
        }),
        Command::RemoveQuota(RemoveQuota { role: "eng".into() }),
        Command::UpdateWeights(UpdateWeights {
            weights: vec![("eng".into(), Milli(1500)), ("eng/web".into(), Milli(500))],
            initial: true,
        }),
        Command::UpdateFramework(UpdateFramework {
            framework,
            spec: constrained_spec(),
            suppressed: vec!["eng".into()],
            kept: vec![OfferId(3), OfferId(4)],
        }),
        Command::UpdateMaintenance(UpdateMaintenance { windows: windows() }),
        Command::StartMaintenance(StartMaintenance {
            machines: vec![machine(1)],
        }),
        Command::StopMaintenance(StopMaintenance {
            machines: vec![machine(1), machine(2)],
        }),
        Command::IssueInverseOffers(IssueInverseOffers {
            plans: vec![(CLUSTER.framework_id(1), CLUSTER.agent_id(0))],
            timeout: Some(DurationMs(60_000)),
        }),
        Command::AnswerInverseOffers(AnswerInverseOffers {
            framework: CLUSTER.framework_id(1),
            offers: vec![OfferId(8), OfferId(300)],
            accepted: true,
            refuse: DurationMs(5_000),
        }),
        Command::DrainAgent(DrainAgent {
            agent: CLUSTER.agent_id(0),
            max_grace: Some(DurationMs(2_000)),
            mark_gone: true,
        }),
        Command::AgentDrained(AgentDrained {
            agent: CLUSTER.agent_id(0),
        }),
        Command::DeactivateAgent(DeactivateAgent {
            agent: CLUSTER.agent_id(0),
        }),
        Command::ReactivateAgent(ReactivateAgent {
            agent: CLUSTER.agent_id(0),
        }),
        Command::MarkAgentGone(MarkAgentGone {
            agent: CLUSTER.agent_id(0),
        }),
        Command::ForgetAgents(ForgetAgents {
            agents: vec![CLUSTER.agent_id(0), CLUSTER.agent_id(300)],
        }),
    ]
}

/// An operator that changes a reservation in one step.
fn reserve_anew() -> Command {
    Command::ApplyOperation(ApplyOperation {
        agent: CLUSTER.agent_id(0),
        operation: ResourceOperation::ReserveAnew {
            source: resources("cpus:1"),
            resources: reserved("cpus:1"),
        },
        principal: None,
    })
}

/// A framework that wants offers of some agents only.
fn constrained_spec() -> FrameworkSpec {
    FrameworkSpec {
        offer_constraints: Bytes::from_static(b"offer constraints"),
        ..framework_spec()
    }
}

/// A framework that subscribes again and says something else of itself.
fn subscribe_anew() -> Command {
    Command::SubscribeFramework(SubscribeFramework {
        framework: Some(CLUSTER.framework_id(1)),
        spec: constrained_spec(),
        suppressed: Vec::new(),
        stream: StreamId(202),
        kept: Some(vec![OfferId(3)]),
    })
}

/// Offers for a framework that described itself anew.
fn issue_described() -> Command {
    Command::IssueOffers(IssueOffers {
        plans: vec![OfferPlan {
            framework: CLUSTER.framework_id(1),
            role: "eng".into(),
            agent: CLUSTER.agent_id(0),
            resources: resources("cpus:1"),
            described: 2,
        }],
        timeout: None,
    })
}

/// A state with a framework that described itself anew.
pub(crate) fn described() -> State {
    let mut parts = raised().to_parts();
    parts.frameworks[0].spec = constrained_spec();
    parts.frameworks[0].described = 2;
    State::from_parts(parts).expect("the sample's records fit together")
}

fn operation_key(id: &str) -> OperationKey {
    OperationKey {
        framework: CLUSTER.framework_id(1),
        operation: OperationId::new(id).expect("a sample's id is valid"),
    }
}

fn reserved(text: &str) -> Resources {
    resources(text).push_reservation(&Reservation {
        kind: ReservationKind::Dynamic,
        role: "eng".into(),
        principal: Some("spark-principal".into()),
        labels: vec![("k".into(), Some("v".into()))],
    })
}

fn volume(size: i64) -> Resources {
    let mut key = reserved("disk:1").entries()[0].key.clone();
    key.disk = Some(Box::new(DiskInfo {
        persistence: Some(Persistence {
            id: "vol-1".into(),
            principal: Some("spark-principal".into()),
        }),
        volume: Some(Volume {
            container_path: "data".into(),
            host_path: None,
            mode: VolumeMode::ReadWrite,
        }),
        source: None,
    }));
    std::iter::once((key, Value::units(size))).collect()
}

/// An ACCEPT with each operation on resources.
pub(crate) fn conversions() -> Command {
    let operations = [
        ResourceOperation::Reserve(reserved("disk:10")),
        ResourceOperation::Create(volume(10)),
        ResourceOperation::GrowVolume {
            volume: volume(10),
            addition: reserved("disk:5"),
        },
        ResourceOperation::ShrinkVolume {
            volume: volume(15),
            subtract: Milli::from_units(5),
        },
        ResourceOperation::Destroy(volume(10)),
        ResourceOperation::Unreserve(reserved("disk:10")),
    ];
    let mut operations: Vec<Operation> = operations
        .into_iter()
        .map(|operation| {
            Operation::Convert(ConversionSpec {
                feedback: None,
                operation: Ok(operation),
            })
        })
        .collect();
    operations.push(Operation::Convert(ConversionSpec {
        feedback: Some(Feedback {
            id: "op-2".into(),
            uuid: UpdateUuid(80),
            info: Bytes::from_static(b"operation"),
        }),
        operation: Err("Resource cpus:1 is not dynamically reserved".into()),
    }));
    Command::AcceptOffers(AcceptOffers {
        framework: CLUSTER.framework_id(1),
        offers: vec![Some(OfferId(0))],
        operations,
        refuse: DurationMs(0),
        content: 1,
    })
}

fn executor_key(framework: u64) -> ExecutorKey {
    ExecutorKey {
        framework: CLUSTER.framework_id(framework),
        executor: ExecutorId::new("e-1").expect("a sample's id is valid"),
    }
}

fn executor_spec() -> ExecutorSpec {
    ExecutorSpec {
        executor: executor_key(1).executor,
        resources: resources("cpus:0.1;mem:32"),
        info: Bytes::from_static(b"executor info"),
    }
}

/// An ACCEPT with a task that has an executor.
fn accept_with_executor() -> Command {
    let task = TaskSpec {
        task: TaskId::new("t-1").expect("a sample's id is valid"),
        agent: CLUSTER.agent_id(0),
        name: "one".into(),
        resources: resources("cpus:0.1;mem:32"),
        info: Bytes::from_static(b"task info"),
        executor: Some(executor_spec()),
    };
    Command::AcceptOffers(AcceptOffers {
        framework: CLUSTER.framework_id(1),
        offers: vec![Some(OfferId(1))],
        operations: vec![Operation::Launch(vec![LaunchSpec::Valid(task)])],
        refuse: DurationMs(5000),
        content: 3,
    })
}

/// An ACCEPT with a task group.
fn accept_with_group() -> Command {
    let Command::AcceptOffers(mut accept) = accept_with_executor() else {
        unreachable!("it is an ACCEPT");
    };
    for operation in &mut accept.operations {
        if let Operation::Launch(tasks) = operation {
            let invalid = LaunchSpec::Invalid {
                task_id: "a/b".into(),
                agent: None,
                message: "'a/b' contains invalid characters".into(),
            };
            let mut tasks = tasks.clone();
            tasks.push(invalid);
            *operation = Operation::LaunchGroup(tasks);
        }
    }
    Command::AcceptOffers(accept)
}

/// The entry a command is stored in.
pub(crate) fn proposal(command: Command) -> Proposal {
    Proposal {
        proposed_at: ClusterTime(123_456),
        wall: WallTime(1_700_000_000_000),
        command,
    }
}

fn task(key: TaskKey, generation: u64, state: TaskState) -> Task {
    Task {
        key,
        generation: Generation(generation),
        agent: CLUSTER.agent_id(0),
        role: "eng".into(),
        name: "one".into(),
        info: Bytes::from_static(b"task info"),
        resources: resources("cpus:0.1;mem:32"),
        executor: None,
        launch_seq: generation,
        state,
        state_before_unreachable: None,
        unreachable: None,
        status: Bytes::from_static(b"status"),
        task_seq: 2,
        unacked: None,
        lost: state == TaskState::Failed,
        kill: None,
        statuses: vec![
            StatusRecord {
                state: TaskState::Staging,
                wall: WallTime(1),
            },
            StatusRecord {
                state,
                wall: WallTime(2),
            },
        ],
        launched: ClusterTime(5),
    }
}

fn agent(n: u64) -> Agent {
    let (task, generation) = (key(1, "t-2"), Generation(8));
    let commands = [
        AgentCommand::Launch {
            task: task.clone(),
            generation,
        },
        AgentCommand::DropLaunch {
            task: key(1, "t-9"),
            generation: Generation(3),
        },
        AgentCommand::Kill {
            task: task.clone(),
            generation,
            grace: Some(DurationMs(10)),
        },
        AgentCommand::Acknowledge {
            task,
            generation,
            uuid: UpdateUuid(78),
        },
        AgentCommand::ShutdownFramework {
            framework: CLUSTER.framework_id(0),
        },
    ];
    Agent {
        id: CLUSTER.agent_id(n),
        epoch: AgentEpoch(u128::from(n) + 101),
        boot: BootId(102),
        spec: agent_spec(),
        checkpointed: Resources::new(),
        total: Resources::new(),
        phase: AgentPhase::Registered,
        suspect_since: Some(ClusterTime(77)),
        inventory_due: false,
        // As in `under_maintenance`, from here on.
        deactivated: false,
        drain: None,
        answers: OrdMap::new(),
        registered: WallTime(3),
        reregistered: Some(WallTime(4)),
        report_seq: 42,
        command_seq: 12,
        confirmed_seq: 7,
        outbox: (8u64..).zip(commands).collect::<OrdMap<_, _>>(),
        executors: OrdMap::new(),
        allocated: Resources::new(),
        offered: Resources::new(),
        tasks: OrdSet::new(),
        offers: OrdSet::new(),
        inverse_offers: OrdSet::new(),
    }
}

fn framework(n: u64) -> Framework {
    let status = MasterStatus {
        task_id: "a/b".into(),
        agent: Some(CLUSTER.agent_id(0)),
        state: TaskState::Error,
        reason: StatusReason::TaskInvalid,
        message: "'a/b' contains invalid characters".into(),
        unreachable: Some(WallTime(9)),
    };
    let filter = Filter {
        role: "eng".into(),
        refused: resources("cpus:1"),
        until: ClusterTime(5000),
    };
    Framework {
        id: CLUSTER.framework_id(n),
        spec: framework_spec(),
        suppressed: BTreeSet::from(["eng/web".to_owned()]),
        phase: FrameworkPhase::Subscribed {
            stream: StreamId(202),
        },
        confirmed: true,
        subscribed_term: Term(12),
        registered: WallTime(6),
        reregistered: Some(WallTime(7)),
        tasks: OrdSet::new(),
        offers: OrdSet::new(),
        inverse_offers: OrdSet::new(),
        filters: OrdMap::unit(CLUSTER.agent_id(0), vec![filter]),
        n_unacked: 0,
        completed_tasks: Vector::unit(Arc::new(task(key(n, "t-0"), 1, TaskState::Failed))),
        retained: Vector::unit((ClusterTime(8), status)),
        // There were none when the fixture was made; `operated` has some.
        refused_operations: Vector::new(),
        described: 0,
    }
}

/// A state in which every field of every record is set somewhere.
pub(crate) fn state() -> State {
    let mut away = agent(1);
    away.phase = AgentPhase::Unreachable {
        since: ClusterTime(70),
        wall: WallTime(71),
    };
    away.outbox = OrdMap::new();
    away.confirmed_seq = away.command_seq;
    let mut disconnected = framework(2);
    disconnected.phase = FrameworkPhase::Disconnected {
        since: ClusterTime(80),
        deadline: ClusterTime(90),
    };
    let mut running = task(key(1, "t-1"), 7, TaskState::Running);
    running.unacked = Some(UnackedUpdate {
        uuid: UpdateUuid(77),
        state: TaskState::Running,
        status: Bytes::from_static(b"running"),
    });
    running.kill = Some(PendingKill {
        grace: Some(DurationMs(3000)),
        command_seq: 10,
    });
    let staging = task(key(1, "t-2"), 8, TaskState::Staging);
    let mut lost = task(key(2, "t-3"), 6, TaskState::Unreachable);
    lost.agent = away.id.clone();
    lost.state_before_unreachable = Some(TaskState::Running);
    lost.unreachable = Some(WallTime(71));
    let call = |content, verdict| Consumption::Call { content, verdict };
    let consumed = [
        Consumption::Rescinded,
        call(
            17,
            Ok(Outcome::Accepted {
                n_launched: 2,
                n_refused: 1,
            }),
        ),
        call(
            18,
            Err(Refusal::OffersInvalid("an offer is no longer valid".into())),
        ),
        call(0, Ok(Outcome::Done)),
    ];
    State::from_parts(Parts {
        cluster: Some(CLUSTER),
        now: ClusterTime(100),
        wall: WallTime(1_700_000_000_000),
        term: Some(TermRecord {
            term: Term(12),
            master: master(),
            began: ClusterTime(60),
            wall: WallTime(61),
        }),
        counters: Counters {
            framework: 3,
            agent: 2,
            offer: 10,
            generation: 8,
        },
        agents: vec![agent(0), away],
        frameworks: vec![framework(1), disconnected],
        completed: vec![CompletedFramework {
            framework: framework(0),
            unregistered: WallTime(50),
        }],
        tasks: vec![running, staging, lost],
        offers: vec![Offer {
            id: OfferId(9),
            framework: CLUSTER.framework_id(1),
            role: "eng".into(),
            agent: CLUSTER.agent_id(0),
            resources: resources("cpus:1;mem:1.001;ports:[31000-31002]"),
            deadline: Some(ClusterTime(200)),
            made: WallTime(99),
        }],
        consumed: (1..)
            .map(OfferId)
            .zip(consumed)
            .map(|(id, consumption)| {
                let framework = CLUSTER.framework_id(1);
                (
                    id,
                    ConsumedOffer {
                        framework,
                        consumption,
                    },
                )
            })
            .collect(),
        operations: Vec::new(),
        // There were none when the fixture was made; `governed` has some.
        roles: Vec::new(),
        inverse_offers: Vec::new(),
        windows: Vec::new(),
        down_machines: Vec::new(),
        gone: Vec::new(),
        // There were none when the fixture was made; `hashed` has some.
        hashes: Vec::new(),
        feature_level: 1,
        ancestors: Vec::new(),
    })
    .expect("the sample's records fit together")
}

/// A state with what masters said of theirs.
pub(crate) fn hashed() -> State {
    let said = |node, index| ReportStateHash {
        node: NodeId(node),
        index,
        schema: 1,
        digest: u128::from(index) << 64,
    };
    State::from_parts(Parts {
        hashes: vec![said(1, 1000), said(2, 1000), said(1, 2000)],
        ..state().to_parts()
    })
    .expect("the sample's records fit together")
}

/// A state that was another cluster's before.
pub(crate) fn descended() -> State {
    let mut parts = state().to_parts();
    parts.ancestors = vec![Ancestor {
        cluster: ClusterId(16),
        index: 98,
        wall: WallTime(97),
        n_frameworks: 3,
    }];
    parts.agents[0].inventory_due = true;
    State::from_parts(parts).expect("the sample's records fit together")
}

/// A state whose feature level was raised.
pub(crate) fn raised() -> State {
    State::from_parts(Parts {
        feature_level: 7,
        ..state().to_parts()
    })
    .expect("the sample's records fit together")
}

/// A state with reservations, a volume and operations that wait for their acknowledgement.
pub(crate) fn operated() -> State {
    let mut parts = raised().to_parts();
    let agent = &mut parts.agents[0];
    agent.checkpointed = reserved("cpus:1");
    let mut made = volume(10);
    for entry in volume(20).entries() {
        let mut entry = entry.clone();
        if let Some(persistence) = entry.key.disk.as_mut().and_then(|d| d.persistence.as_mut()) {
            persistence.id = "vol-2".into();
        }
        made += Resources::from(vec![entry]);
    }
    agent.spec.total += made.origin();
    agent.checkpointed += made;
    agent.command_seq += 1;
    let destroy = AgentCommand::DestroyVolume { volume: volume(5) };
    agent.outbox.insert(agent.command_seq, destroy);
    parts.frameworks[0].refused_operations = Vector::unit((
        ClusterTime(90),
        RefusedOperation {
            id: "op-2".into(),
            message: "there is not enough".into(),
        },
    ));
    parts.operations = vec![FinishedOperation {
        key: operation_key("op-1"),
        agent: CLUSTER.agent_id(0),
        uuid: UpdateUuid(79),
        info: Bytes::from_static(b"operation"),
    }];
    State::from_parts(parts).expect("the sample's records fit together")
}

/// A state with an executor that runs a task, and the commands about it.
pub(crate) fn executing() -> State {
    let mut parts = state().to_parts();
    let instance = Generation(5);
    parts.agents[0].executors = OrdMap::unit(
        executor_key(1),
        Arc::new(Executor {
            key: executor_key(1),
            instance,
            role: "eng".into(),
            info: Bytes::from_static(b"executor info"),
            resources: resources("cpus:0.1;mem:32"),
            launch_seq: 13,
            shutdown: true,
            launched: ClusterTime(5),
        }),
    );
    parts.agents[0].command_seq = 14;
    let executor = executor_key(1);
    for (seq, command) in (13..).zip([
        AgentCommand::LaunchExecutor {
            executor: executor.clone(),
            instance,
        },
        AgentCommand::ShutdownExecutor { executor, instance },
    ]) {
        parts.agents[0].outbox.insert(seq, command);
    }
    parts.tasks[0].executor = Some(TaskExecutor {
        executor: executor_key(1).executor,
        instance,
    });
    State::from_parts(Parts {
        feature_level: 3,
        ..parts
    })
    .expect("the sample's records fit together")
}

/// A state with quotas and weights.
pub(crate) fn governed() -> State {
    let config = |role: &str, weight, quota| RoleConfig {
        role: role.into(),
        weight,
        quota,
    };
    State::from_parts(Parts {
        roles: vec![
            config("eng", Some(Milli(1500)), quota()),
            config("eng/web", Some(Milli(2000)), Quota::default()),
            config("ops", None, quota()),
        ],
        ..raised().to_parts()
    })
    .expect("the sample's records fit together")
}

fn quota() -> Quota {
    Quota {
        guarantees: Quantities::from(&resources("cpus:1.5;mem:64")),
        limits: [("cpus", 2000), ("gpus", 0)]
            .into_iter()
            .map(|(name, milli)| (name.to_owned(), Milli(milli)))
            .collect(),
    }
}

/// A state with task groups on their way, and one that was refused.
pub(crate) fn grouped() -> State {
    let mut parts = executing().to_parts();
    let group = |ids: [&str; 2], n| {
        let tasks = ids.into_iter().zip(n..);
        tasks.map(|(id, n)| (key(1, id), Generation(n))).collect()
    };
    let agent = &mut parts.agents[0];
    for command in [
        AgentCommand::LaunchGroup {
            tasks: group(["g-1", "g-2"], 9),
        },
        AgentCommand::DropGroup {
            tasks: group(["g-3", "g-4"], 11),
        },
    ] {
        agent.command_seq += 1;
        agent.outbox.insert(agent.command_seq, command);
    }
    for (_, status) in &mut parts.frameworks[0].retained {
        status.reason = StatusReason::TaskGroupInvalid;
    }
    State::from_parts(parts).expect("the sample's records fit together")
}

fn machine(n: u64) -> MachineId {
    MachineId {
        hostname: Some(format!("a{n}.example")),
        ip: Some(format!("10.0.0.{n}")),
    }
}

fn windows() -> Vec<MaintenanceWindow> {
    let unavailability = Unavailability {
        start_ns: 1_795_159_765_677_113_344,
        duration_ns: Some(3_600_000_000_000),
    };
    let by_name = MachineId {
        hostname: Some("a3.example".into()),
        ip: None,
    };
    vec![
        MaintenanceWindow {
            machines: vec![machine(1), machine(2)],
            unavailability,
        },
        MaintenanceWindow {
            machines: vec![by_name],
            unavailability: Unavailability {
                duration_ns: None,
                ..unavailability
            },
        },
    ]
}

/// A state with a schedule, machines that are down, agents out of use, and inverse offers.
pub(crate) fn under_maintenance() -> State {
    let mut parts = raised().to_parts();
    parts.windows = windows();
    parts.down_machines = vec![machine(2)];
    parts.gone = vec![(CLUSTER.agent_id(7), ClusterTime(40))];
    parts.inverse_offers = vec![InverseOffer {
        id: OfferId(8),
        framework: CLUSTER.framework_id(1),
        agent: CLUSTER.agent_id(0),
        unavailability: parts.windows[0].unavailability,
        deadline: Some(ClusterTime(150)),
        made: WallTime(98),
    }];
    parts.agents[0].answers = OrdMap::unit(
        CLUSTER.framework_id(2),
        InverseAnswer {
            accepted: true,
            wall: WallTime(97),
            until: ClusterTime(120),
        },
    );
    let draining = &mut parts.agents[1];
    draining.deactivated = true;
    draining.drain = Some(Drain {
        progress: DrainProgress::Draining,
        max_grace: Some(DurationMs(2_000)),
        mark_gone: true,
        since: WallTime(96),
    });
    draining.command_seq += 1;
    let kill = AgentCommand::DrainTask {
        task: key(2, "t-3"),
        generation: Generation(6),
        max_grace: Some(DurationMs(2_000)),
        gone: true,
    };
    draining.outbox.insert(draining.command_seq, kill);
    let mut down = agent(2);
    down.phase = AgentPhase::Down {
        since: ClusterTime(60),
    };
    down.outbox = OrdMap::new();
    down.confirmed_seq = down.command_seq;
    down.deactivated = true;
    down.drain = Some(Drain {
        progress: DrainProgress::Drained,
        max_grace: None,
        mark_gone: false,
        since: WallTime(95),
    });
    parts.agents.push(down);
    State::from_parts(parts).expect("the sample's records fit together")
}

/// Everything a version of the format has a fixture of: file name and content.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = commands()
        .into_iter()
        .map(|command| {
            let name = format!("command-{}.bin", command.name());
            (name, regency_stored::encode_proposal(&proposal(command)))
        })
        .collect();
    all.push((
        "state-empty.bin".to_owned(),
        regency_stored::encode_state(&State::default()),
    ));
    all.push((
        "state-full.bin".to_owned(),
        regency_stored::encode_state(&state()),
    ));
    all.push((
        "state-hashed.bin".to_owned(),
        regency_stored::encode_state(&hashed()),
    ));
    all.push((
        "state-descended.bin".to_owned(),
        regency_stored::encode_state(&descended()),
    ));
    all.push((
        "command-accept_offers-executor.bin".to_owned(),
        regency_stored::encode_proposal(&proposal(accept_with_executor())),
    ));
    all.push((
        "state-executing.bin".to_owned(),
        regency_stored::encode_state(&executing()),
    ));
    all.push((
        "command-accept_offers-group.bin".to_owned(),
        regency_stored::encode_proposal(&proposal(accept_with_group())),
    ));
    all.push((
        "state-grouped.bin".to_owned(),
        regency_stored::encode_state(&grouped()),
    ));
    all.push((
        "state-under_maintenance.bin".to_owned(),
        regency_stored::encode_state(&under_maintenance()),
    ));
    all.push((
        "state-raised.bin".to_owned(),
        regency_stored::encode_state(&raised()),
    ));
    all.push((
        "command-subscribe_framework-anew.bin".to_owned(),
        regency_stored::encode_proposal(&proposal(subscribe_anew())),
    ));
    all.push((
        "command-apply_operation-anew.bin".to_owned(),
        regency_stored::encode_proposal(&proposal(reserve_anew())),
    ));
    all.push((
        "command-issue_offers-described.bin".to_owned(),
        regency_stored::encode_proposal(&proposal(issue_described())),
    ));
    all.push((
        "state-described.bin".to_owned(),
        regency_stored::encode_state(&described()),
    ));
    all.push((
        "state-operated.bin".to_owned(),
        regency_stored::encode_state(&operated()),
    ));
    all.push((
        "state-governed.bin".to_owned(),
        regency_stored::encode_state(&governed()),
    ));
    all.push((
        "command-accept_offers-conversions.bin".to_owned(),
        regency_stored::encode_proposal(&proposal(conversions())),
    ));
    all
}
