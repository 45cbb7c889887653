//! The agent's HTTP port: what operators may ask, and the executor API.
//!
//! The paths below `/slave(1)/` and those that end in `.json` are what Mesos and its tools call
//! the same things.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use regency_runtime::{Clock, SystemClock};
use regency_telemetry::Metrics;
use regency_types::WallTime;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::containers::Containers;
use crate::description::Description;
use crate::directory::Paths;
use crate::driver::{Look, View};
use crate::executors::{Ask, api};
use crate::flags::AgentFlags;
use crate::operator;
use crate::operator::files::Files;
use crate::refused::Refused;
use crate::tasks::Ground;

/// How long the driver may take to answer before the agent counts as unhealthy. It answers
/// between two syncs of its disk.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// What every path may begin with: nothing, and the name that an agent has in Mesos, as it is or with its
/// parentheses encoded.
pub(crate) const PREFIXES: [&str; 3] = ["", "/slave(1)", "/slave%281%29"];

/// Everything answers are made of.
pub(crate) struct Answers {
    pub(crate) description: Description,
    pub(crate) paths: Paths,
    pub(crate) ground: Arc<Ground>,
    pub(crate) containers: Arc<Containers>,
    /// As they are shown.
    pub(crate) flags: BTreeMap<String, String>,
    pub(crate) files: Arc<Files>,
    pub(crate) metrics: Metrics,
    pub(crate) started: WallTime,
    looks: mpsc::Sender<Look>,
    asks: mpsc::Sender<Ask>,
    clock: SystemClock,
}

impl Answers {
    /// # Errors
    /// When metrics cannot be collected in this process.
    pub(crate) fn new(
        description: Description,
        ground: Arc<Ground>,
        containers: Arc<Containers>,
        flags: &AgentFlags,
        looks: mpsc::Sender<Look>,
        asks: mpsc::Sender<Ask>,
    ) -> Result<Arc<Self>, regency_telemetry::MetricsError> {
        let clock = SystemClock::default();
        let files = Files {
            work_dir: ground.paths.root().to_owned(),
            log: flags.operator.external_log_file.clone(),
            read_bytes_max: flags.operator.files_read_max,
            downloads: Arc::new(Semaphore::new(flags.operator.files_downloads_max)),
        };
        Ok(Arc::new(Self {
            description,
            paths: ground.paths.clone(),
            ground,
            containers,
            flags: operator::shown_flags(flags),
            files: Arc::new(files),
            metrics: regency_telemetry::install_metrics()?,
            started: clock.wall(),
            looks,
            asks,
            clock,
        }))
    }

    /// What there is to see at this moment.
    pub(crate) async fn look(&self) -> Result<View, Refused> {
        let (look, view) = oneshot::channel();
        let answer = async {
            self.looks.send(look).await.ok()?;
            view.await.ok()
        };
        let answer = tokio::time::timeout(LOOK_TIMEOUT, answer).await;
        answer.ok().flatten().ok_or_else(unhealthy)
    }

    pub(crate) fn now(&self) -> WallTime {
        self.clock.wall()
    }

    /// Does what may take its time or wait for a disk on a thread where nobody else waits.
    pub(crate) async fn at_leisure<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            tracing::error!(%error, "an answer could not be made");
            Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be made",
            )
        })
    }
}

fn unhealthy() -> Refused {
    Refused::full("the agent's loop does not answer\n")
}

/// Serves until the listener fails.
pub(crate) async fn serve(listener: TcpListener, answers: Arc<Answers>) -> std::io::Result<()> {
    let routes = operator::routes()
        .merge(executor_api())
        .fallback(not_found)
        .with_state(answers);
    axum::serve(listener, routes).await
}

/// In Mesos' words.
async fn not_found() -> Refused {
    Refused::not_found("404 Not Found.")
}

fn executor_api() -> Router<Arc<Answers>> {
    PREFIXES
        .iter()
        .fold(Router::new(), |router, prefix| {
            router.route(&format!("{prefix}/api/v1/executor"), any(executor))
        })
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
