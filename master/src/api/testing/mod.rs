//! A master of its own, without sockets for clients: requests go straight into its router.

mod life;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request as HttpRequest, Response};
use clap::Parser;
use http_body_util::BodyExt as _;
use prost::Message as _;
use regency_raft_store::{AutopilotConfig, Config, Consensus, Limits, LogConfig, PeerSpec, Timing};
use regency_resources::Resources;
use regency_rpc::Listener;
use regency_runtime::{RandomIds, SystemClock};
use regency_state::model::AgentSpec;
use regency_state::{
    Command, FEATURE_LEVEL, IssueOffers, OfferPlan, Outcome, Proposal, RegisterAgent, State,
    TeardownFramework,
};
use regency_testkit::malformed::Request;
use regency_testkit::malformed::calls::Ids;
use regency_types::{AgentEpoch, AgentId, BootId, FrameworkId, NodeId};
use regency_wire::content::{APPLICATION_JSON, APPLICATION_PROTOBUF};
use regency_wire::{recordio, v1};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::MasterFlags;
use crate::api::operator::{EventHub, EventLimits};
use crate::api::{self, ApiCx};
use crate::leader::{LeaderConfig, supervise};
use crate::query::fixture::{identity, resources};

/// Longest body that this master takes.
pub(crate) const BODY_BYTES_MAX: usize = 32 * 1024;
/// How long anything may take before the test gives up. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    master: MasterFlags,
}

pub(crate) struct Master {
    _folder: TempDir,
    pub(crate) consensus: Consensus,
    router: Router,
    /// Open, or the framework would be gone.
    pub(crate) subscription: Body,
    pub(crate) ids: Ids,
    /// The state that nothing may change.
    before: State,
}

impl Master {
    /// A leader with an agent that is away, a framework, an offer and a task.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let raft = Listener::bind(([127, 0, 0, 1], 0).into()).expect("loopback");
        let raft_address = raft.local_addr().expect("bound").to_string();
        let flags = Program::try_parse_from([
            "master",
            "--id=1",
            "--peers=1=127.0.0.1:1:2:3",
            "--data-dir=unused",
            // Nothing may happen by itself.
            "--agent-ping-timeout=1h",
            "--offer-grace=1h",
            "--allocation-interval=1h",
        ]);
        let flags = flags.expect("good flags").master;
        let clock = Arc::new(SystemClock::default());
        let config = Config {
            autopilot: AutopilotConfig::default(),
            node: NodeId(1),
            data_dir: folder.path().join("master"),
            listener: raft,
            hostname: "m1".into(),
            peers: vec![PeerSpec {
                id: NodeId(1),
                raft: raft_address,
                http: "127.0.0.1:5050".into(),
                agent: "m1:5061".into(),
            }],
            bootstrap: true,
            process: 1,
            version: "test".into(),
            timing: Timing::default(),
            log: LogConfig {
                state_hash_every_entries: u64::MAX,
                ..LogConfig::default()
            },
            limits: Limits::default(),
            threads: 1,
        };
        let consensus = Consensus::start(config, Arc::clone(&clock) as _).await;
        let consensus = consensus.expect("a master starts");
        let (current, leader) = watch::channel(None);
        let leader_config = LeaderConfig::new(&flags, regency_allocator::Options::default());
        tokio::spawn(supervise(
            consensus.clone(),
            Arc::clone(&clock) as _,
            leader_config,
            current,
        ));
        let cx = ApiCx {
            consensus: consensus.clone(),
            leader: leader.clone(),
            gate: consensus.gate(),
            identity: Arc::new(identity()),
            clock,
            ids: Arc::new(RandomIds),
            recorder: regency_telemetry::install_metrics().expect("metrics"),
            max_request_bytes: BODY_BYTES_MAX,
            files: Arc::default(),
            leader_age_max: Duration::from_secs(1),
        };
        let applied = consensus.state().get();
        let limits = EventLimits {
            streams: 10,
            kept: 20,
            waiting_bytes: 64 * 1024,
        };
        let events = EventHub::new(
            Arc::clone(&cx.identity),
            limits,
            applied.index,
            applied.state.clone(),
        );
        tokio::spawn(api::operator::events::follow(
            cx.clone(),
            Arc::clone(&events),
        ));
        let router = api::router(cx, events);
        let mut leader = leader;
        let leads = leader.wait_for(|leader| leader.is_some());
        let leads = tokio::time::timeout(PATIENCE, leads).await;
        leads.expect("it leads in time").expect("it goes on");
        // It raises the feature level by itself.
        let mut states = consensus.state();
        let raised = async {
            while states.get().state.feature_level() < FEATURE_LEVEL {
                states.changed().await.expect("it goes on");
            }
        };
        let raised = tokio::time::timeout(PATIENCE, raised).await;
        raised.expect("the level is raised in time");
        let (ids, subscription) = inhabit(&consensus, &router).await;
        let before = consensus.state().get().state.clone();
        Self {
            _folder: folder,
            consensus,
            router,
            subscription,
            ids,
            before,
        }
    }

    /// Sends a request; gives the status and the text of the answer: of a stream its first record.
    pub(crate) async fn send(&self, request: &Request) -> (u16, String) {
        let response = self.respond(request).await;
        self.told(response).await
    }

    /// The status and the text of an answer: of a stream its first record.
    pub(crate) async fn told(&self, response: Response<Body>) -> (u16, String) {
        let (status, bytes) = self.told_bytes(response).await;
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same, as it came.
    pub(crate) async fn told_bytes(&self, mut response: Response<Body>) -> (u16, Vec<u8>) {
        let status = response.status().as_u16();
        let has_end = axum::body::HttpBody::size_hint(response.body())
            .exact()
            .is_some();
        let content = response.headers().get("content-type");
        let is_events =
            content.is_some_and(|value| value == APPLICATION_JSON || value == APPLICATION_PROTOBUF);
        if status == 200 && !has_end && is_events {
            return (status, first_record_bytes(response.body_mut()).await);
        }
        let body = response.into_body().collect().await.expect("a whole body");
        (status, body.to_bytes().to_vec())
    }

    /// Sends a request.
    pub(crate) async fn respond(&self, request: &Request) -> Response<Body> {
        respond(&self.router, request).await
    }

    /// Whether the state is what it was at the beginning, but for the time.
    pub(crate) fn is_unchanged(&mut self) -> Result<(), String> {
        let now = self.consensus.state().get();
        if now.state.now() == self.before.now() {
            return Ok(());
        }
        // What is refused changes nothing but the time.
        let refused = self.before.apply(&Proposal {
            proposed_at: now.state.now(),
            wall: now.state.wall(),
            command: Command::TeardownFramework(TeardownFramework {
                framework: FrameworkId::new("nobody").expect("an id"),
            }),
        });
        assert!(refused.verdict.is_err(), "there is no such framework");
        if now.state == self.before {
            return Ok(());
        }
        self.before = now.state.clone();
        Err("the state is another".to_owned())
    }
}

/// The next record of a stream, as text.
pub(crate) async fn first_record(body: &mut Body) -> String {
    let record = first_record_bytes(body).await;
    String::from_utf8_lossy(&record).into_owned()
}

/// The next record of a stream: one chunk is one record.
async fn first_record_bytes(body: &mut Body) -> Vec<u8> {
    let frame = tokio::time::timeout(PATIENCE, body.frame()).await;
    let frame = frame
        .expect("a record in time")
        .expect("the stream goes on");
    let chunk = frame.expect("a chunk").into_data().expect("data");
    let mut records = recordio::Decoder::new(1 << 20);
    records.feed(&chunk);
    let record = records.next_record().expect("well formed").expect("whole");
    record.to_vec()
}

async fn respond(router: &Router, request: &Request) -> Response<Body> {
    let mut http = HttpRequest::builder()
        .method(request.method.as_str())
        .uri(&request.path);
    for (name, value) in &request.headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a header");
        http = http.header(name, value);
    }
    let body = Body::from(request.body.clone());
    let http = http.body(body).expect("a request that HTTP can say");
    let answer = router.clone().oneshot(http);
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    answer
        .expect("an answer in time")
        .expect("a router answers whatever happens")
}

/// Has an entry committed that must be accepted.
async fn propose(consensus: &Consensus, command: Command) -> Outcome {
    let proposed = consensus.propose(command).await;
    proposed.expect("it leads").expect("it is accepted")
}

/// Brings the cluster to life.
async fn inhabit(consensus: &Consensus, router: &Router) -> (Ids, Body) {
    let propose = |command| propose(consensus, command);
    let info = v1::AgentInfo {
        hostname: "a1".into(),
        attributes: vec![v1::Attribute {
            name: "rack".into(),
            r#type: v1::value::Type::Text as i32,
            text: Some(v1::value::Text { value: "r1".into() }),
            ..v1::Attribute::default()
        }],
        ..v1::AgentInfo::default()
    };
    let registered = propose(Command::RegisterAgent(RegisterAgent {
        epoch: AgentEpoch(1),
        boot: BootId(1),
        spec: AgentSpec {
            info: info.encode_to_vec().into(),
            hostname: "a1".into(),
            address: "10.0.0.1:5051".into(),
            total: resources("cpus:4;mem:1024;disk:1024;ports:[31000-32000]"),
            version: "test".into(),
        },
    }));
    let Outcome::AgentRegistered { agent } = registered.await else {
        panic!("an agent is registered");
    };
    let subscribe = r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root",
        "name":"shop","failover_timeout":3600,"roles":["eng"],"principal":"golden-principal",
        "capabilities":[{"type":"MULTI_ROLE"},{"type":"RESERVATION_REFINEMENT"},
                        {"type":"PARTITION_AWARE"},{"type":"TASK_KILLING_STATE"}]}}}"#;
    let response = respond(router, &scheduler_call(subscribe.to_owned(), None)).await;
    let stream = response.headers()["mesos-stream-id"]
        .to_str()
        .expect("text")
        .to_owned();
    let state = consensus.state().get();
    let framework = state
        .state
        .frameworks()
        .next()
        .expect("it subscribed")
        .id
        .clone();
    let offer = |what: &str| offer(consensus, &framework, &agent, resources(what));
    let used = offer("cpus:1;mem:32").await;
    let accept = format!(
        r#"{{"type":"ACCEPT","framework_id":{{"value":"{framework}"}},"accept":{{
           "offer_ids":[{{"value":"{used}"}}],"operations":[{{"type":"LAUNCH","launch":{{
           "task_infos":[{{"name":"t","task_id":{{"value":"t"}},"agent_id":{{"value":"{agent}"}},
           "resources":[{{"name":"cpus","type":"SCALAR","scalar":{{"value":1}}}}],
           "command":{{"value":"true"}}}}]}}}}],"filters":{{"refuse_seconds":3600}}}}}}"#
    );
    let launched = respond(router, &scheduler_call(accept, Some(&stream))).await;
    assert_eq!(launched.status(), 202);
    let offer = offer("cpus:1;mem:64;disk:128;ports:[31000-31010]").await;
    let ids = Ids {
        framework: framework.to_string(),
        stream,
        agent: agent.to_string(),
        offer,
        task: "t".into(),
    };
    (ids, response.into_body())
}

/// A call to the scheduler API.
fn scheduler_call(body: String, stream: Option<&str>) -> Request {
    let headers = [
        ("content-type", Some("application/json")),
        ("mesos-stream-id", stream),
    ];
    Request {
        method: "POST".into(),
        path: "/api/v1/scheduler".into(),
        headers: headers
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect(),
        body: body.into_bytes(),
    }
}

/// Makes an offer and gives its visible id.
async fn offer(
    consensus: &Consensus,
    framework: &FrameworkId,
    agent: &AgentId,
    resources: Resources,
) -> String {
    let plan = OfferPlan {
        framework: framework.clone(),
        role: "eng".into(),
        agent: agent.clone(),
        resources,
        described: 0,
    };
    let issue = Command::IssueOffers(IssueOffers {
        plans: vec![plan],
        timeout: None,
    });
    let Outcome::OffersIssued { offers, .. } = propose(consensus, issue).await else {
        panic!("an offer is issued");
    };
    let state = consensus.state().get();
    let cluster = state.state.cluster().expect("there is a cluster");
    cluster.offer_id(offers[0])
}
