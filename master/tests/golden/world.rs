//! A master in the situations of the captures, without consensus below it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body_util::BodyExt;
use regency_master::api::operator::{
    EventHub, EventLimits, LeaderAt, OperatorCx, OwnedView, ShownFiles, Unavailable, not_found,
    routes,
};
use regency_master::query::Live;
use regency_raft_store::ProposeError;
use regency_resources::{
    DiskInfo, Milli, Persistence, Quantities, Reservation, ResourceKey, Resources, Value, Volume,
    VolumeMode,
};
use regency_state::model::{Capabilities, MachineId, MaintenanceWindow, Quota, Unavailability};
use regency_state::{
    AgentDrained, AnswerInverseOffers, ApplyOperation, Command, DeactivateAgent, DrainAgent,
    FrameworkDisconnected, IssueInverseOffers, IssueOffers, MarkAgentGone, OfferPlan, QuotaConfig,
    ResourceOperation, TeardownFramework, UpdateMaintenance, UpdateQuota, UpdateWeights, Verdict,
};
use regency_types::{AgentId, DurationMs, FrameworkId, TaskState, WallTime};
use regency_wire::v1::discovery_info::Visibility;
use regency_wire::v1::{DiscoveryInfo, ExecutorId, ExecutorInfo, Label, Labels, Port, Ports};
use tower::ServiceExt;

use super::fixture::{Cluster, WALL, identity, resources};

/// What the handlers reach in these tests.
#[derive(Clone)]
pub(crate) struct Fake {
    /// What there is to read.
    pub(crate) view: OwnedView,
    /// Where writes go.
    pub(crate) leader: LeaderAt,
    /// Whether reads may be answered.
    pub(crate) ready: Result<(), Unavailable>,
    /// What a read barrier gives.
    pub(crate) barrier: Result<u64, Unavailable>,
    /// What tells those who watch.
    pub(crate) events: Arc<EventHub>,
    /// The files that are shown.
    pub(crate) files: Arc<ShownFiles>,
}

impl OperatorCx for Fake {
    fn view(&self) -> OwnedView {
        self.view.clone()
    }

    fn ready(&self) -> Result<(), Unavailable> {
        self.ready.clone()
    }

    fn leader(&self) -> LeaderAt {
        self.leader.clone()
    }

    async fn barrier(&self) -> Result<u64, Unavailable> {
        self.barrier.clone()
    }

    async fn applied(&self, index: u64, _: Duration) -> Result<(), Unavailable> {
        if index <= self.view.index {
            Ok(())
        } else {
            Err(Unavailable(format!("entry {index} is not applied here")))
        }
    }

    async fn teardown(&self, framework: FrameworkId) -> Result<Verdict, ProposeError> {
        let mut state = self.view.state.clone();
        let applied = state.apply(&regency_state::Proposal {
            proposed_at: state.now(),
            wall: state.wall(),
            command: Command::TeardownFramework(TeardownFramework { framework }),
        });
        Ok(applied.verdict)
    }

    async fn apply_operation(&self, command: ApplyOperation) -> Result<Verdict, ProposeError> {
        let mut state = self.view.state.clone();
        let applied = state.apply(&regency_state::Proposal {
            proposed_at: state.now(),
            wall: state.wall(),
            command: Command::ApplyOperation(command),
        });
        Ok(applied.verdict)
    }

    async fn propose(&self, command: Command) -> Result<Verdict, ProposeError> {
        if self.barrier.is_err() {
            // Who cannot confirm a read cannot commit anything either.
            return Err(ProposeError::NotLeader { leader: None });
        }
        let mut state = self.view.state.clone();
        let applied = state.apply(&regency_state::Proposal {
            proposed_at: state.now(),
            wall: state.wall(),
            command,
        });
        Ok(applied.verdict)
    }

    fn events(&self) -> &Arc<EventHub> {
        &self.events
    }

    fn files(&self) -> Arc<ShownFiles> {
        Arc::clone(&self.files)
    }

    fn counted(&self) -> BTreeMap<String, f64> {
        regency_master::counters::keys(&self.view.state)
    }

    fn metrics_text(&self) -> String {
        "regency_test 1\n".to_owned()
    }
}

impl Fake {
    /// The leader over this state, with everybody connected who is not known to be gone.
    pub(crate) fn leading(cluster: &Cluster) -> Self {
        let state = cluster.state.clone();
        let limits = EventLimits {
            streams: 2,
            kept: 20,
            waiting_bytes: 64 * 1024,
        };
        Self {
            events: EventHub::new(Arc::new(identity()), limits, 17, state.clone()),
            view: OwnedView {
                live: Live {
                    leader: true,
                    attached: state.agents().map(|a| a.id.clone()).collect(),
                    connected: state.frameworks().map(|f| f.id.clone()).collect(),
                    now: WallTime(WALL + cluster.at),
                    ..Live::default()
                },
                index: 17,
                state,
                identity: Arc::new(identity()),
            },
            files: Arc::default(),
            leader: LeaderAt::Here,
            ready: Ok(()),
            barrier: Ok(17),
        }
    }

    /// Sends one request through the routes.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        let router: Router = routes::<Self>()
            .fallback(not_found)
            .with_state(self.clone());
        router
            .oneshot(request)
            .await
            .expect("a router answers whatever happens")
    }
}

/// The whole body as text.
pub(crate) async fn body_text(response: Response<Body>) -> String {
    let bytes = response
        .into_body()
        .collect()
        .await
        .expect("the body ends well")
        .to_bytes();
    String::from_utf8(bytes.to_vec()).expect("the body is text")
}

const ROLE: &str = "golden";
const TOTAL: &str = "cpus:8;mem:16384;disk:65536;ports:[31000-32000]";
const GOLDEN: Capabilities = Capabilities {
    partition_aware: true,
    multi_role: true,
    gpu_resources: false,
    revocable_resources: false,
    shared_resources: false,
    reservation_refinement: true,
    task_killing_state: true,
    region_aware: false,
};

/// Two agents, nothing else.
pub(crate) fn idle() -> Cluster {
    idle_with(resources(TOTAL)).0
}

fn idle_with(total: Resources) -> (Cluster, AgentId, AgentId) {
    let mut cluster = Cluster::new();
    let first = cluster.register(1, "10.0.0.1:5051", total);
    let second = cluster.agent(2, TOTAL);
    (cluster, first, second)
}

/// Two tasks run, one has ended; three frameworks, two of them gone away.
pub(crate) fn busy() -> Cluster {
    busy_with(resources(TOTAL)).0
}

fn busy_with(total: Resources) -> (Cluster, FrameworkId) {
    let (mut cluster, first, second) = idle_with(total);
    for _ in 0..2 {
        let gone = cluster.subscribe(ROLE, GOLDEN);
        disconnect(&mut cluster, &gone);
    }
    let framework = cluster.subscribe(ROLE, GOLDEN);
    let hello = (Cluster::task_info("hello"), "cpus:1;mem:64");
    cluster.launch(&framework, ROLE, &second, vec![hello]);
    let hello = Cluster::key(&framework, "hello");
    let ended = [TaskState::Starting, TaskState::Running, TaskState::Finished];
    cluster.run_through(&hello, &ended);

    let mut runs_on = Cluster::task_info("runs-on");
    runs_on.labels = Some(Labels {
        labels: vec![Label {
            key: "tier".into(),
            value: Some("front".into()),
        }],
    });
    runs_on.discovery = Some(Box::new(DiscoveryInfo {
        visibility: Visibility::Cluster as i32,
        name: Some("svc".into()),
        ports: Some(Ports {
            ports: vec![Port {
                number: 31_005,
                name: Some("http".into()),
                protocol: Some("tcp".into()),
                ..Port::default()
            }],
        }),
        ..DiscoveryInfo::default()
    }));
    let killed = Cluster::task_info("killed");
    cluster.launch(
        &framework,
        ROLE,
        &first,
        vec![
            (runs_on, "cpus:1;mem:64;ports:[31005-31006]"),
            (killed, "cpus:1;mem:64"),
        ],
    );
    for id in ["runs-on", "killed"] {
        let key = Cluster::key(&framework, id);
        cluster.run_through(&key, &[TaskState::Starting, TaskState::Running]);
    }
    cluster.offer(&framework, ROLE, &second, TOTAL);
    cluster.offer(&framework, ROLE, &first, "cpus:1;mem:64;disk:1024");
    (cluster, framework)
}

fn disconnect(cluster: &mut Cluster, framework: &FrameworkId) {
    let stream = cluster
        .state
        .framework(framework)
        .and_then(|framework| framework.stream())
        .expect("the framework is subscribed");
    cluster.ok(Command::FrameworkDisconnected(FrameworkDisconnected {
        framework: framework.clone(),
        stream,
    }));
}

/// As busy; then the framework subscribed again and went away. Something is reserved.
pub(crate) fn disconnected() -> Cluster {
    let (mut cluster, framework) = came_back();
    disconnect(&mut cluster, &framework);
    cluster
}

fn came_back() -> (Cluster, FrameworkId) {
    let reserved = ResourceKey {
        reservations: vec![Reservation::dynamic(ROLE, Some("golden-principal".into()))],
        ..ResourceKey::new("cpus")
    };
    let mut total = resources(TOTAL);
    total.insert(reserved, Value::units(1));
    let (mut cluster, framework) = busy_with(total);
    let killed = Cluster::key(&framework, "killed");
    for (n, state) in [(3, TaskState::Killing), (4, TaskState::Killed)] {
        cluster.report(&killed, n, state);
        cluster.acknowledge(&killed, n);
    }
    let agent = cluster
        .state
        .agents()
        .next()
        .expect("there are two")
        .id
        .clone();
    let mut fails = Cluster::task_info("fails");
    fails.executor = Some(ExecutorInfo {
        executor_id: ExecutorId {
            value: "default".into(),
        },
        ..ExecutorInfo::default()
    });
    cluster.launch(&framework, ROLE, &agent, vec![(fails, "cpus:1;mem:64")]);
    let fails = Cluster::key(&framework, "fails");
    cluster.run_through(&fails, &[TaskState::Failed]);
    cluster.subscribe_as(Some(framework.clone()), ROLE, GOLDEN);
    (cluster, framework)
}

/// The framework came back; it has a reservation with a label, and a volume, and is offered both.
pub(crate) fn reserved() -> Cluster {
    let (mut cluster, framework) = came_back();
    let agent = cluster.state.agents().nth(1).expect("there are two");
    let agent = agent.id.clone();
    let principal = Some("golden-principal".to_owned());
    let plain = Reservation::dynamic(ROLE, principal.clone());
    let labelled = Reservation {
        labels: vec![("k".into(), Some("v".into()))],
        ..plain.clone()
    };
    let disk = resources("disk:100").push_reservation(&plain);
    let mut volume = disk.entries()[0].key.clone();
    volume.disk = Some(Box::new(DiskInfo {
        persistence: Some(Persistence {
            id: "vol1".into(),
            principal,
        }),
        volume: Some(Volume {
            container_path: "data".into(),
            host_path: None,
            mode: VolumeMode::ReadWrite,
        }),
        source: None,
    }));
    let volume = std::iter::once((volume, Value::units(100))).collect();
    for operation in [
        ResourceOperation::Reserve(resources("cpus:1").push_reservation(&labelled) + disk),
        ResourceOperation::Create(volume),
    ] {
        cluster.ok(Command::ApplyOperation(ApplyOperation {
            agent: agent.clone(),
            operation,
            principal: None,
        }));
    }
    let resources = cluster.state.agent(&agent).expect("there").available();
    cluster.ok(Command::IssueOffers(IssueOffers {
        plans: vec![OfferPlan {
            framework,
            role: ROLE.into(),
            agent,
            resources,
            described: 0,
        }],
        timeout: None,
    }));
    cluster
}

/// As busy; something is reserved, and an operator gave the role a quota and a weight.
pub(crate) fn operator() -> Cluster {
    let mut cluster = busy();
    cluster.subscribe("silver", GOLDEN);
    let agents: Vec<AgentId> = cluster.state.agents().map(|a| a.id.clone()).collect();
    // The second one by an operator, who can take it back.
    let reserved = [
        (&agents[0], "cpus:1", None),
        (&agents[1], "mem:32", Some("op".to_owned())),
    ];
    for (agent, what, principal) in reserved {
        let reservation = Reservation::dynamic(ROLE, principal);
        let what = resources(what).push_reservation(&reservation);
        cluster.ok(Command::ApplyOperation(ApplyOperation {
            agent: agent.clone(),
            operation: ResourceOperation::Reserve(what),
            principal: None,
        }));
    }
    let amounts = |text: &str| Quantities::from(&resources(text));
    cluster.ok(Command::UpdateQuota(UpdateQuota {
        configs: vec![QuotaConfig {
            role: ROLE.into(),
            quota: Quota {
                guarantees: amounts("cpus:1;mem:64"),
                limits: amounts("cpus:4;mem:1024").into(),
            },
        }],
        force: false,
    }));
    cluster.ok(Command::UpdateWeights(UpdateWeights {
        weights: vec![(ROLE.into(), Milli(2500))],
        initial: false,
    }));
    cluster
}

/// As disconnected, but the framework ended.
pub(crate) fn after_teardown() -> Cluster {
    let (mut cluster, framework) = came_back();
    cluster.ok(Command::TeardownFramework(TeardownFramework { framework }));
    cluster
}

/// Machine `n` of the fixture's agents.
pub(crate) fn machine(n: u64) -> MachineId {
    MachineId {
        hostname: Some(format!("agent{n}.example")),
        ip: Some(format!("10.0.0.{n}")),
    }
}

/// The machine of the second agent is going to be unavailable; its framework says that it leaves.
pub(crate) fn maintenance() -> Cluster {
    let (mut cluster, framework) = came_back();
    let agent = second(&cluster);
    cluster.ok(Command::UpdateMaintenance(UpdateMaintenance {
        windows: vec![MaintenanceWindow {
            machines: vec![machine(2)],
            unavailability: Unavailability {
                start_ns: 1_795_159_765_677_113_344,
                duration_ns: Some(3_600_000_000_000),
            },
        }],
    }));
    cluster.offer(&framework, ROLE, &agent, "cpus:1;mem:64");
    cluster.ok(Command::IssueInverseOffers(IssueInverseOffers {
        plans: vec![(framework.clone(), agent)],
        timeout: None,
    }));
    let asked = cluster.state.inverse_offers().map(|offer| offer.id);
    cluster.ok(Command::AnswerInverseOffers(AnswerInverseOffers {
        framework,
        offers: asked.collect(),
        accepted: true,
        refuse: DurationMs(5_000),
    }));
    cluster
}

/// A schedule that is long to read.
pub(crate) fn many_machines() -> Cluster {
    let mut cluster = idle();
    cluster.ok(Command::UpdateMaintenance(UpdateMaintenance {
        windows: vec![MaintenanceWindow {
            machines: (1..=100).map(machine).collect(),
            unavailability: Unavailability {
                start_ns: 1,
                duration_ns: None,
            },
        }],
    }));
    cluster
}

fn second(cluster: &Cluster) -> AgentId {
    let agent = cluster.state.agents().nth(1).expect("there are two");
    agent.id.clone()
}

/// The second agent is out of use.
pub(crate) fn deactivated() -> Cluster {
    let (mut cluster, _) = came_back();
    let agent = second(&cluster);
    cluster.ok(Command::DeactivateAgent(DeactivateAgent { agent }));
    cluster
}

/// As after the end of the framework; the second agent was drained of the task of another one.
pub(crate) fn drained() -> Cluster {
    drained_of().0
}

fn drained_of() -> (Cluster, FrameworkId) {
    let mut cluster = after_teardown();
    let agent = second(&cluster);
    let legacy = cluster.subscribe("legacy", Capabilities::default());
    let task = (Cluster::task_info("drained"), "cpus:1;mem:64");
    cluster.launch(&legacy, "legacy", &agent, vec![task]);
    let task = Cluster::key(&legacy, "drained");
    cluster.run_through(&task, &[TaskState::Starting, TaskState::Running]);
    cluster.ok(Command::DrainAgent(DrainAgent {
        agent: agent.clone(),
        max_grace: Some(DurationMs(2_000)),
        mark_gone: false,
    }));
    cluster.report(&task, 3, TaskState::Killed);
    cluster.acknowledge(&task, 3);
    cluster.ok(Command::AgentDrained(AgentDrained { agent }));
    (cluster, legacy)
}

/// As drained; then the second agent was marked gone, and the first is offered to the framework.
pub(crate) fn gone() -> Cluster {
    let (mut cluster, legacy) = drained_of();
    let agent = second(&cluster);
    cluster.ok(Command::MarkAgentGone(MarkAgentGone { agent }));
    let first = cluster.state.agents().next().expect("one").id.clone();
    let rest = "cpus:7;mem:16384;disk:65536;ports:[31000-32000]";
    cluster.offer(&legacy, "legacy", &first, rest);
    cluster
}
