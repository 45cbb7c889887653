//! A small cluster for tests: a state to which entries are applied as a leader would.

use std::collections::BTreeSet;

use prost::Message;
use regency_resources::Resources;
use regency_state::model::{AgentSpec, Capabilities, FrameworkSpec};
use regency_state::{
    AcceptOffers, AcknowledgeUpdate, Applied, ApplyReports, BeginTerm, Command, ExecutorSpec,
    IssueOffers, LaunchSpec, MarkAgentUnreachable, MasterInfo, OfferPlan, Operation, Outcome,
    Proposal, RegisterAgent, ReportedUpdate, State, SubscribeFramework, SuspectAgents, TaskReport,
    TaskSpec, UpdateFramework,
};
use regency_types::{
    AgentEpoch, AgentId, BootId, ClusterId, ClusterTime, DurationMs, ExecutorId, FrameworkId,
    Incarnation, NodeId, OfferId, StreamId, TaskId, TaskKey, TaskState, Term, UpdateUuid, WallTime,
};
use regency_wire::v1::value::{Text, Type};
use regency_wire::v1::{
    self, AgentInfo, Attribute, ContainerStatus, FrameworkInfo, OfferFilters, TaskInfo,
};

/// A wall clock in 2026, in milliseconds.
pub(crate) const WALL: u64 = 1_795_156_131_751;

/// The state, and the clocks it was last changed at.
pub(crate) struct Cluster {
    /// What the masters hold.
    pub(crate) state: State,
    /// Milliseconds since [`WALL`] and since the cluster began, advanced by every entry.
    pub(crate) at: u64,
    /// The next stream's identity.
    streams: u128,
    /// The state after each entry so far.
    pub(crate) states: Vec<State>,
}

/// Resources in Mesos' text form.
pub(crate) fn resources(text: &str) -> Resources {
    regency_resources::parse::resources(text, "*").expect("a test's resources parse")
}

impl Cluster {
    /// A cluster in its first term, with nothing in it.
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            state: State::default(),
            at: 0,
            streams: 0,
            states: Vec::new(),
        };
        cluster.ok(Command::BeginTerm(BeginTerm {
            cluster: ClusterId(7),
            term: Term(1),
            master: MasterInfo {
                node: NodeId(1),
                incarnation: Incarnation(1),
                process: 11,
                hostname: "m1.example".into(),
                http: "10.0.0.9:5050".into(),
                agent: "10.0.0.9:5061".into(),
                version: "0.1.0".into(),
            },
        }));
        cluster
    }

    /// Applies one entry.
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        self.at += 7;
        let applied = self.state.apply(&Proposal {
            proposed_at: ClusterTime(self.at),
            wall: WallTime(WALL + self.at),
            command,
        });
        self.state
            .check_invariants()
            .expect("the invariants hold after every entry");
        self.states.push(self.state.clone());
        applied
    }

    /// Applies one entry that must be accepted.
    pub(crate) fn ok(&mut self, command: Command) -> Outcome {
        self.apply(command)
            .verdict
            .expect("the command is accepted")
    }

    /// An agent with the checkpoint directory `epoch`, on the machine of that number.
    pub(crate) fn agent(&mut self, epoch: u128, total: &str) -> AgentId {
        self.agent_at(epoch, &format!("10.0.0.{epoch}:5051"), total)
    }

    /// An agent at an address.
    pub(crate) fn agent_at(&mut self, epoch: u128, address: &str, total: &str) -> AgentId {
        self.register(epoch, address, resources(total))
    }

    /// An agent with resources that text cannot say.
    pub(crate) fn register(&mut self, epoch: u128, address: &str, total: Resources) -> AgentId {
        let hostname = format!("agent{epoch}.example");
        let info = AgentInfo {
            hostname: hostname.clone(),
            port: Some(5051),
            attributes: vec![Attribute {
                name: "rack".into(),
                r#type: Type::Text as i32,
                text: Some(Text { value: "r1".into() }),
                ..Attribute::default()
            }],
            ..AgentInfo::default()
        };
        let outcome = self.ok(Command::RegisterAgent(RegisterAgent {
            epoch: AgentEpoch(epoch),
            boot: BootId(1),
            spec: AgentSpec {
                info: info.encode_to_vec().into(),
                hostname,
                address: address.into(),
                total,
                version: "0.1.0".into(),
            },
        }));
        match outcome {
            Outcome::AgentRegistered { agent } => agent,
            other => panic!("{other:?}"),
        }
    }

    /// A framework of one role.
    pub(crate) fn subscribe(&mut self, role: &str, capabilities: Capabilities) -> FrameworkId {
        self.subscribe_as(None, role, capabilities)
    }

    /// A subscribed framework wants offers as these constraints say, in JSON.
    pub(crate) fn constrain(&mut self, id: &FrameworkId, json: &str) {
        let constraints: v1::scheduler::OfferConstraints =
            regency_wire::json::from_slice(json.as_bytes()).expect("constraints");
        let known = self.state.framework(id).expect("the framework is known");
        let mut spec = known.spec.clone();
        spec.offer_constraints = constraints.encode_to_vec().into();
        self.update(id, spec);
    }

    /// A subscribed framework describes itself anew; its offers fit.
    pub(crate) fn update(&mut self, id: &FrameworkId, spec: FrameworkSpec) {
        let record = self.state.framework(id).expect("the framework is known");
        let kept = record.offers.iter().copied().collect();
        self.ok(Command::UpdateFramework(UpdateFramework {
            framework: id.clone(),
            spec,
            suppressed: Vec::new(),
            kept,
        }));
    }

    /// A framework subscribes, again when it has an id.
    pub(crate) fn subscribe_as(
        &mut self,
        id: Option<FrameworkId>,
        role: &str,
        capabilities: Capabilities,
    ) -> FrameworkId {
        use v1::framework_info::Capability;
        use v1::framework_info::capability::Type;
        use v1::offer_filters::MinAllocatableResources;
        self.streams += 1;
        let flags = [
            (capabilities.partition_aware, Type::PartitionAware),
            (capabilities.multi_role, Type::MultiRole),
            (
                capabilities.reservation_refinement,
                Type::ReservationRefinement,
            ),
            (capabilities.task_killing_state, Type::TaskKillingState),
        ];
        let info = FrameworkInfo {
            user: "root".into(),
            name: "golden".into(),
            role: (!capabilities.multi_role).then(|| role.to_owned()),
            roles: capabilities
                .multi_role
                .then(|| role.to_owned())
                .into_iter()
                .collect(),
            failover_timeout: Some(60.0),
            checkpoint: Some(false),
            hostname: Some("client.example".into()),
            principal: Some("golden-principal".into()),
            capabilities: flags
                .into_iter()
                .filter(|(on, _)| *on)
                .map(|(_, capability)| Capability {
                    r#type: Some(capability as i32),
                })
                .collect(),
            offer_filters: [(
                "other".to_owned(),
                OfferFilters {
                    min_allocatable_resources: Some(MinAllocatableResources::default()),
                },
            )]
            .into(),
            ..FrameworkInfo::default()
        };
        let outcome = self.ok(Command::SubscribeFramework(SubscribeFramework {
            framework: id,
            spec: FrameworkSpec {
                info: info.encode_to_vec().into(),
                name: info.name.clone(),
                user: info.user.clone(),
                principal: info.principal.clone(),
                roles: BTreeSet::from([role.to_owned()]),
                failover_timeout: DurationMs::from_secs(60),
                checkpoint: false,
                capabilities,
                offer_constraints: bytes::Bytes::new(),
            },
            suppressed: Vec::new(),
            stream: StreamId(self.streams),
            kept: None,
        }));
        match outcome {
            Outcome::Subscribed { framework } => framework,
            other => panic!("{other:?}"),
        }
    }

    /// An offer.
    pub(crate) fn offer(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        what: &str,
    ) -> OfferId {
        let outcome = self.ok(Command::IssueOffers(IssueOffers {
            plans: vec![OfferPlan {
                framework: framework.clone(),
                role: role.into(),
                agent: agent.clone(),
                resources: resources(what),
                described: 0,
            }],
            timeout: None,
        }));
        match outcome {
            Outcome::OffersIssued { offers, .. } => offers[0],
            other => panic!("{other:?}"),
        }
    }

    /// Offers the whole and launches tasks on a part of it; what is left is offered no more.
    pub(crate) fn launch(
        &mut self,
        framework: &FrameworkId,
        role: &str,
        agent: &AgentId,
        tasks: Vec<(TaskInfo, &str)>,
    ) {
        let sum: Resources = tasks
            .iter()
            .map(|(_, what)| resources(what))
            .fold(Resources::default(), |sum, next| sum + next);
        let offer = self.offer(framework, role, agent, &sum.to_string());
        let launches: Vec<LaunchSpec> = tasks
            .into_iter()
            .map(|(mut info, what)| {
                info.agent_id.value = agent.to_string();
                LaunchSpec::Valid(TaskSpec {
                    task: TaskId::new(&info.task_id.value).expect("a test's id is valid"),
                    agent: agent.clone(),
                    name: info.name.clone(),
                    resources: resources(what),
                    info: info.encode_to_vec().into(),
                    executor: None,
                })
            })
            .collect();
        let n = launches.len() as u64;
        let outcome = self.ok(Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: vec![Some(offer)],
            operations: vec![Operation::Launch(launches)],
            refuse: DurationMs(0),
            content: 42,
        }));
        assert_eq!(
            outcome,
            Outcome::Accepted {
                n_launched: n,
                n_refused: 0
            }
        );
    }

    /// Launches a task that uses `what` in an executor that uses half a processor.
    pub(crate) fn launch_in_executor(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        task: &str,
        what: &str,
        executor: &str,
    ) {
        let own = resources("cpus:0.5");
        let offer = self.offer(
            framework,
            "eng",
            agent,
            &(&own + &resources(what)).to_string(),
        );
        let info = v1::ExecutorInfo {
            executor_id: v1::ExecutorId {
                value: executor.to_owned(),
            },
            name: Some("the runner".to_owned()),
            ..v1::ExecutorInfo::default()
        };
        let outcome = self.ok(Command::AcceptOffers(AcceptOffers {
            framework: framework.clone(),
            offers: vec![Some(offer)],
            operations: vec![Operation::Launch(vec![LaunchSpec::Valid(TaskSpec {
                task: TaskId::new(task).expect("a test's id is valid"),
                agent: agent.clone(),
                name: task.to_owned(),
                resources: resources(what),
                info: Self::task_info(task).encode_to_vec().into(),
                executor: Some(ExecutorSpec {
                    executor: ExecutorId::new(executor).expect("a test's id is valid"),
                    resources: own,
                    info: info.encode_to_vec().into(),
                }),
            })])],
            refuse: DurationMs(0),
            content: 43,
        }));
        assert!(matches!(outcome, Outcome::Accepted { n_launched: 1, .. }));
    }

    /// A task without anything special.
    pub(crate) fn task_info(id: &str) -> TaskInfo {
        TaskInfo {
            name: id.into(),
            task_id: v1::TaskId { value: id.into() },
            ..TaskInfo::default()
        }
    }

    /// One agent, one partition-aware framework, one task `t` in STAGING.
    pub(crate) fn with_task() -> (Self, TaskKey) {
        Self::with_task_for(Capabilities {
            partition_aware: true,
            ..Capabilities::default()
        })
    }

    /// One agent, one framework, one task `t` in STAGING.
    pub(crate) fn with_task_for(capabilities: Capabilities) -> (Self, TaskKey) {
        let mut cluster = Self::new();
        let agent = cluster.agent(1, "cpus:4;mem:1024");
        let framework = cluster.subscribe("eng", capabilities);
        cluster.launch(
            &framework,
            "eng",
            &agent,
            vec![(Self::task_info("t"), "cpus:1;mem:32")],
        );
        let key = Self::key(&framework, "t");
        (cluster, key)
    }

    /// The key of a task.
    pub(crate) fn key(framework: &FrameworkId, id: &str) -> TaskKey {
        TaskKey {
            framework: framework.clone(),
            task: TaskId::new(id).expect("a test's id is valid"),
        }
    }

    /// Registers an agent and replaces it by another on the same machine. Gives the ids of the
    /// first agent of all, and of the replaced one.
    pub(crate) fn supersede_an_agent(&mut self) -> (String, String) {
        let removed = self.agent_at(100, "10.0.1.1:5051", "cpus:1");
        self.agent_at(101, "10.0.1.1:5051", "cpus:1");
        assert!(self.state.agent(&removed).is_none(), "it is superseded");
        let first = self.state.agents().next().expect("there is an agent");
        (first.id.to_string(), removed.to_string())
    }

    /// The agent reports a state as a new head of the task's stream.
    pub(crate) fn report(&mut self, key: &TaskKey, task_seq: u64, state: TaskState) {
        self.report_head(key, task_seq, state, state);
    }

    /// The agent reports a head and a newer state behind it. The update's uuid is `task_seq`.
    pub(crate) fn report_head(
        &mut self,
        key: &TaskKey,
        task_seq: u64,
        head: TaskState,
        latest: TaskState,
    ) {
        let reports = Self::report_of(&self.state, key, task_seq, head, latest, WALL + self.at);
        self.ok(Command::ApplyReports(reports));
    }

    /// What an agent says of a task's state, at this time of the wall clock.
    pub(crate) fn report_of(
        state: &State,
        key: &TaskKey,
        task_seq: u64,
        head: TaskState,
        latest: TaskState,
        wall_ms: u64,
    ) -> ApplyReports {
        let task = state.task(key).expect("the task is there").clone();
        let agent = state
            .agent(&task.agent)
            .expect("its agent is there")
            .clone();
        let uuid = UpdateUuid(u128::from(task_seq));
        let status = v1::TaskStatus {
            task_id: v1::TaskId {
                value: key.task.to_string(),
            },
            state: head.number(),
            source: Some(v1::task_status::Source::Executor as i32),
            message: head.is_terminal().then(|| "ended".to_owned()),
            reason: (head == TaskState::Failed)
                .then_some(v1::task_status::Reason::ExecutorTerminated as i32),
            agent_id: Some(v1::AgentId {
                value: agent.id.to_string(),
            }),
            executor_id: Some(v1::ExecutorId {
                value: key.task.to_string(),
            }),
            timestamp: Some(wall_ms as f64 / 1000.0),
            uuid: Some(uuid.to_bytes().to_vec().into()),
            container_status: Some(container_status()),
            ..v1::TaskStatus::default()
        };
        ApplyReports {
            agent: agent.id.clone(),
            epoch: agent.epoch,
            command_seq: agent.command_seq,
            reports: vec![TaskReport {
                report_seq: agent.report_seq + 1,
                task: key.clone(),
                generation: task.generation,
                task_seq,
                head: Some(ReportedUpdate {
                    uuid,
                    state: head,
                    status: status.encode_to_vec().into(),
                }),
                latest_state: latest,
            }],
        }
    }

    /// The framework acknowledges the update with this number.
    pub(crate) fn acknowledge(&mut self, key: &TaskKey, uuid: u64) {
        let agent = self
            .state
            .task(key)
            .expect("the task is there")
            .agent
            .clone();
        self.ok(Command::AcknowledgeUpdate(AcknowledgeUpdate {
            task: key.clone(),
            agent,
            uuid: UpdateUuid(u128::from(uuid)),
        }));
    }

    /// Reports and acknowledges states, the n-th under the uuid n.
    pub(crate) fn run_through(&mut self, key: &TaskKey, states: &[TaskState]) {
        for (n, state) in (1..).zip(states) {
            self.report(key, n, *state);
            self.acknowledge(key, n);
        }
    }

    /// The task's agent becomes unreachable. Gives its id.
    pub(crate) fn lose_agent(&mut self, key: &TaskKey) -> String {
        let agent = self
            .state
            .task(key)
            .expect("the task is there")
            .agent
            .clone();
        self.ok(Command::SuspectAgents(SuspectAgents {
            agents: vec![(agent.clone(), ClusterTime(self.at))],
        }));
        self.ok(Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent: agent.clone(),
        }));
        agent.to_string()
    }
}

fn container_status() -> ContainerStatus {
    use v1::network_info::IpAddress;
    ContainerStatus {
        container_id: Some(v1::ContainerId {
            value: "2b1b057e-352b-42ca-9178-082e49e8a2bd".into(),
            parent: None,
        }),
        network_infos: vec![v1::NetworkInfo {
            ip_addresses: vec![IpAddress {
                protocol: Some(v1::network_info::Protocol::IPv4 as i32),
                ip_address: Some("127.0.0.1".into()),
            }],
            ..v1::NetworkInfo::default()
        }],
        executor_pid: Some(19_602),
        ..ContainerStatus::default()
    }
}

/// The master that leads in [`Cluster::new`].
pub(crate) fn identity() -> super::Identity {
    super::Identity {
        process: uuid::Uuid::from_u128(11).hyphenated().to_string(),
        hostname: "m1.example".into(),
        ip: std::net::Ipv4Addr::new(10, 0, 0, 9).into(),
        port: 5050,
        version: "0.1.0".into(),
        started: WallTime(WALL),
        cluster: None,
        domain: None,
        flags: [("port".to_owned(), "5050".to_owned())].into(),
    }
}
