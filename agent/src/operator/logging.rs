//! How much this agent logs: `/logging/toggle`, and the calls about the level.

use axum::body::Body;
use axum::extract::Query;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use regency_telemetry::{LogLevelFor, log_level};
use regency_wire::v1::agent::call::SetLoggingLevel;

use super::reply::Parameters;
use crate::refused::Refused;

/// Without parameters the level, with both of them a change.
pub(super) async fn toggle(
    Query(parameters): Query<Parameters>,
) -> Result<Response<Body>, Refused> {
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    let wanted = LogLevelFor::of_query(parameter("level"), parameter("duration"));
    match wanted.map_err(Refused::bad)? {
        // Text with the end of its line, as in Mesos.
        None => Ok(format!("{}\n", log_level()).into_response()),
        Some(wanted) => set(wanted),
    }
}

/// Carries out SET_LOGGING_LEVEL.
pub(super) fn set_level(call: &SetLoggingLevel) -> Result<Response<Body>, Refused> {
    let wanted = LogLevelFor::of_call(call.level, call.duration.nanoseconds);
    set(wanted.map_err(Refused::bad)?)
}

fn set(wanted: LogLevelFor) -> Result<Response<Body>, Refused> {
    wanted.set().map_err(|error| {
        tracing::error!(%error, level = wanted.level, "the level of logs was not changed");
        Refused::failed("the level of logs was not changed")
    })?;
    Ok(StatusCode::OK.into_response())
}
