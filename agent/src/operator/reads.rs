//! The older endpoints that only read.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value as Json, json};

use super::reply::{Parameters, json_answer};
use super::usage::Processes;
use super::{shown, snapshot, state, version};
use crate::http::Answers;
use crate::refused::Refused;

type Answer = Result<Response<Body>, Refused>;

pub(super) async fn health(State(answers): State<Arc<Answers>>) -> Result<StatusCode, Refused> {
    answers.look().await.map(|_| StatusCode::OK)
}

pub(super) async fn version(Query(parameters): Query<Parameters>) -> Answer {
    json_answer(&parameters, &version::version())
}

pub(super) async fn metrics(State(answers): State<Arc<Answers>>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let text = answers.metrics.render();
    ([(header::CONTENT_TYPE, content_type)], text)
}

pub(super) async fn state(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let view = answers.look().await?;
    let about = state::About {
        description: &answers.description,
        paths: &answers.paths,
        started: answers.started,
        flags: &answers.flags,
    };
    json_answer(&parameters, &state::state(&about, &view))
}

pub(super) async fn flags(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    json_answer(&parameters, &json!({ "flags": answers.flags }))
}

pub(super) async fn metrics_snapshot(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    if let Some(text) = parameters.get("timeout") {
        // Everything is at hand, so nothing is left out for want of time.
        humantime::parse_duration(text)
            .map_err(|error| Refused::bad(format!("'timeout' is a time, not '{text}': {error}")))?;
    }
    let keys = answers.snapshot().await?;
    json_answer(&parameters, &json!(keys))
}

/// The containers of tasks and executors; `container_id` asks for one of them.
pub(super) async fn containers(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let mut all = answers.containers_of_frameworks().await?;
    if let Some(wanted) = parameters.get("container_id") {
        all.retain(|shown| shown.id.value == *wanted);
    }
    let all: Vec<Json> = all.iter().map(|one| shown::legacy(one, false)).collect();
    json_answer(&parameters, &json!(all))
}

pub(super) async fn statistics(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let all = answers.containers_of_frameworks().await?;
    let all: Vec<Json> = all.iter().map(|one| shown::legacy(one, true)).collect();
    json_answer(&parameters, &json!(all))
}

/// Containers whose launch or end hangs, as far as anybody can tell: those in preparation.
pub(super) async fn containerizer_debug(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let view = answers.look().await?;
    let in_preparation = view.durable.tasks.values().filter(|task| {
        matches!(task.phase, regency_agent_core::Phase::Intended) && task.launch.executor.is_none()
    });
    let pending: Vec<Json> = in_preparation
        .map(|task| {
            json!({
                "operation": "launch",
                "args": {"containerId": crate::directory::container_name(task.launch.container)},
            })
        })
        .collect();
    json_answer(&parameters, &json!({ "pending": pending }))
}

impl Answers {
    /// Mesos' metric keys.
    pub(super) async fn snapshot(
        &self,
    ) -> Result<std::collections::BTreeMap<String, f64>, Refused> {
        let view = self.look().await?;
        let uptime_ms = self.now().0.saturating_sub(self.started.0);
        Ok(snapshot::snapshot(
            &view,
            &self.paths,
            &self.description.resources,
            uptime_ms as f64 / 1000.0,
            &self.metrics.render(),
        ))
    }

    pub(super) async fn containers_of_frameworks(&self) -> Result<Vec<shown::Shown>, Refused> {
        let view = self.look().await?;
        let processes = self.at_leisure(Processes::look).await?;
        let now = self.now().as_secs_f64();
        let mut all = shown::of_frameworks(&view, &self.paths, &processes, now);
        all.retain(|shown| shown.id.parent.is_none());
        Ok(all)
    }
}
