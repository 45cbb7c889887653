//! What others may ask the agent: health, version, state, metrics, and the executor API.
//!
//! The paths below `/slave(1)/` and those that end in `.json` are what Mesos and its tools call
//! the same things.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use prost::Message;
use regency_agent_core::{Phase, Task};
use regency_resources::{Resources, Value};
use regency_telemetry::Metrics;
use regency_types::{FrameworkId, WallTime};
use regency_wire::resources::{ResourceFormat, to_wire};
use regency_wire::v1;
use serde_json::{Map, Value as Json, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::description::Description;
use crate::directory::container_name;
use crate::driver::{Look, View};
use crate::executors::{Ask, api};

/// The Mesos version whose behaviour clients may count on; they read it as three integers.
const MESOS_VERSION: &str = "1.11.0";

/// How long the driver may take to answer before the agent counts as unhealthy. It answers
/// between two syncs of its disk.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// What Mesos agents of this version say they can do, as far as this one can.
const CAPABILITIES: [&str; 3] = ["MULTI_ROLE", "HIERARCHICAL_ROLE", "RESERVATION_REFINEMENT"];

/// Everything answers are made of.
pub(crate) struct Answers {
    description: Description,
    looks: mpsc::Sender<Look>,
    asks: mpsc::Sender<Ask>,
    metrics: Metrics,
    started: WallTime,
}

impl Answers {
    /// # Errors
    /// When metrics cannot be collected in this process.
    pub(crate) fn new(
        description: Description,
        looks: mpsc::Sender<Look>,
        asks: mpsc::Sender<Ask>,
    ) -> Result<Arc<Self>, regency_telemetry::MetricsError> {
        use regency_runtime::{Clock, SystemClock};
        Ok(Arc::new(Self {
            description,
            looks,
            asks,
            metrics: regency_telemetry::install_metrics()?,
            started: SystemClock::default().wall(),
        }))
    }

    async fn look(&self) -> Result<View, Unhealthy> {
        let (look, view) = oneshot::channel();
        let answer = async {
            self.looks.send(look).await.map_err(|_| Unhealthy)?;
            view.await.map_err(|_| Unhealthy)
        };
        match tokio::time::timeout(LOOK_TIMEOUT, answer).await {
            Ok(view) => view,
            Err(_) => Err(Unhealthy),
        }
    }
}

/// The driver does not answer.
#[derive(Debug)]
struct Unhealthy;

impl IntoResponse for Unhealthy {
    fn into_response(self) -> Response {
        let text = "the agent's loop does not answer\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, answers: Arc<Answers>) -> std::io::Result<()> {
    axum::serve(listener, routes(answers)).await
}

fn routes(answers: Arc<Answers>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/slave(1)/health", get(health))
        .route("/version", get(version))
        .route("/state", get(state))
        .route("/state.json", get(state))
        .route("/slave(1)/state", get(state))
        .route("/slave(1)/state.json", get(state))
        .route("/metrics", get(metrics))
        .merge(executor_api())
        .with_state(answers)
}

fn executor_api() -> Router<Arc<Answers>> {
    Router::new()
        .route("/api/v1/executor", any(executor))
        .route("/slave(1)/api/v1/executor", any(executor))
        .layer(DefaultBodyLimit::max(api::CALL_BYTES_MAX))
}

async fn executor(
    State(answers): State<Arc<Answers>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    api::answer(&answers.asks, &method, &headers, &body).await
}

async fn health(State(answers): State<Arc<Answers>>) -> Result<StatusCode, Unhealthy> {
    answers.look().await.map(|_| StatusCode::OK)
}

async fn version() -> axum::Json<Json> {
    axum::Json(json!({
        "version": MESOS_VERSION,
        "regency_version": env!("CARGO_PKG_VERSION"),
    }))
}

async fn metrics(State(answers): State<Arc<Answers>>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, content_type)],
        answers.metrics.render(),
    )
}

async fn state(State(answers): State<Arc<Answers>>) -> Result<axum::Json<Json>, Unhealthy> {
    let view = answers.look().await?;
    Ok(axum::Json(state_of(
        &answers.description,
        answers.started,
        &view,
    )))
}

fn state_of(description: &Description, started: WallTime, view: &View) -> Json {
    let total = &description.resources;
    let attributes = description.info.attributes.iter();
    let attributes: Map<String, Json> = attributes
        .filter_map(|attribute| Some((attribute.name.clone(), attribute_value(attribute)?)))
        .collect();
    let frameworks: Vec<Json> = view
        .durable
        .frameworks
        .iter()
        .map(|(id, info)| framework(id, info, description, view))
        .collect();
    json!({
        "version": MESOS_VERSION,
        "regency_version": env!("CARGO_PKG_VERSION"),
        "start_time": started.as_secs_f64(),
        "id": view.durable.agent_id.as_ref().map_or("", |id| id.as_str()),
        "pid": format!("slave(1)@{}", description.address),
        "hostname": description.info.hostname,
        "capabilities": CAPABILITIES,
        "resources": sums(total),
        "reserved_resources": reserved(total),
        "unreserved_resources": sums(&total.unreserved()),
        "unreserved_resources_full": full(&total.unreserved()),
        "attributes": attributes,
        "attached": view.attached_to.is_some(),
        "term": view.durable.highest_term.0,
        "frameworks": frameworks,
        "completed_frameworks": [],
    })
}

/// Sums by name: numbers for scalars, text for the rest, as Mesos shows resources.
fn sums(resources: &Resources) -> Json {
    let mut sums = Map::new();
    for name in ["cpus", "gpus", "mem", "disk"] {
        sums.insert(name.to_owned(), json!(0.0));
    }
    for (key, value) in resources.iter() {
        let shown = match value {
            Value::Scalar(_) => json!(resources.scalar(&key.name).to_f64()),
            Value::Ranges(ranges) => json!(ranges.to_string()),
            Value::Set(set) => json!(set.to_string()),
        };
        sums.insert(key.name.clone(), shown);
    }
    Json::Object(sums)
}

fn reserved(resources: &Resources) -> Json {
    let by_role = resources.reservations();
    Json::Object(
        by_role
            .iter()
            .map(|(role, part)| (role.clone(), sums(part)))
            .collect(),
    )
}

fn full(resources: &Resources) -> Vec<Json> {
    let wire = to_wire(resources, ResourceFormat::Endpoint, None);
    wire.iter().filter_map(as_json).collect()
}

fn as_json<M: regency_wire::WireMessage>(message: &M) -> Option<Json> {
    serde_json::from_slice(&regency_wire::json::to_vec(message)).ok()
}

fn attribute_value(attribute: &v1::Attribute) -> Option<Json> {
    let shown = as_json(attribute)?;
    let text = shown
        .pointer("/text/value")
        .or_else(|| shown.pointer("/scalar/value"));
    text.or_else(|| shown.get("ranges"))
        .or_else(|| shown.get("set"))
        .cloned()
}

fn framework(id: &FrameworkId, info: &[u8], description: &Description, view: &View) -> Json {
    let info = v1::FrameworkInfo::decode(info).unwrap_or_default();
    let tasks = view
        .durable
        .tasks
        .values()
        .filter(|task| task.launch.id.key.framework == *id && task.launch.executor.is_none());
    let executors: Vec<Json> = tasks
        .map(|task| command_executor(task, description, view))
        .chain(own_executors(id, description, view))
        .collect();
    json!({
        "id": id.as_str(),
        "name": info.name,
        "user": info.user,
        "failover_timeout": info.failover_timeout.unwrap_or(0.0),
        "checkpoint": info.checkpoint.unwrap_or(false),
        "hostname": info.hostname.unwrap_or_default(),
        "principal": info.principal.unwrap_or_default(),
        "roles": info.roles,
        "executors": executors,
        "completed_executors": [],
    })
}

/// The executors that a framework brought, with their tasks.
fn own_executors<'a>(
    framework: &'a FrameworkId,
    description: &'a Description,
    view: &'a View,
) -> impl Iterator<Item = Json> + 'a {
    let executors = view.durable.executors.iter();
    let own = executors.filter(move |(id, _)| id.key.framework == *framework);
    own.map(move |(id, executor)| {
        let info = v1::ExecutorInfo::decode(&executor.info[..]).unwrap_or_default();
        let resources: Vec<Json> = info.resources.iter().filter_map(as_json).collect();
        let tasks = |phase: fn(&Phase) -> bool| -> Vec<Json> {
            let tasks = view.durable.tasks.values();
            tasks
                .filter(|task| task.launch.executor.as_ref() == Some(id) && phase(&task.phase))
                .map(|task| shown(task, id.key.task.as_str(), view))
                .collect()
        };
        json!({
            "id": id.key.task.as_str(),
            "name": info.name.unwrap_or_default(),
            "source": info.source.unwrap_or_default(),
            "container": container_name(executor.container),
            "type": if executor.built_in { "DEFAULT" } else { "CUSTOM" },
            "agent": description.address.to_string(),
            "resources": resources,
            "tasks": tasks(|phase| matches!(phase, Phase::HandedOver | Phase::Started(_))),
            "queued_tasks": tasks(|phase| matches!(phase, Phase::Intended)),
            "completed_tasks": tasks(|phase| matches!(phase, Phase::Ended)),
        })
    })
}

fn shown(task: &Task, executor_id: &str, view: &View) -> Json {
    let info = v1::TaskInfo::decode(&task.launch.task_info[..]).unwrap_or_default();
    let resources: Vec<Json> = info.resources.iter().filter_map(as_json).collect();
    let id = &task.launch.id.key;
    let agent_id = view.durable.agent_id.as_ref().map_or("", |id| id.as_str());
    json!({
        "id": id.task.as_str(),
        "name": info.name,
        "framework_id": id.framework.as_str(),
        "executor_id": executor_id,
        "slave_id": agent_id,
        "state": task.latest_state.name(),
        "resources": resources,
        "generation": task.launch.id.generation.0,
    })
}

/// A command task is its own executor.
fn command_executor(task: &Task, description: &Description, view: &View) -> Json {
    let id = &task.launch.id.key;
    let container = container_name(task.launch.container);
    let shown = shown(task, id.task.as_str(), view);
    let lists = |ended: bool| {
        if ended {
            (json!([]), json!([shown.clone()]))
        } else {
            (json!([shown.clone()]), json!([]))
        }
    };
    let (tasks, completed) = lists(task.latest_state.is_terminal());
    json!({
        "id": id.task.as_str(),
        "name": format!("Command Executor (Task: {})", id.task),
        "source": id.task.as_str(),
        "container": container,
        "type": "DEFAULT",
        "agent": description.address.to_string(),
        "executor_pid": task.executor_pid,
        "tasks": tasks,
        "queued_tasks": [],
        "completed_tasks": completed,
    })
}
