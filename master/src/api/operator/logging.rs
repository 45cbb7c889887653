//! How much this master logs: `/logging/toggle`, and the calls about the level.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::routing::any;
use regency_telemetry::{BadLevel, LogLevelFor, log_level};
use regency_wire::v1::master::call::SetLoggingLevel;

use super::OperatorCx;
use super::consistency::parameters;
use super::refused::Refused;
use super::reply::done;
use crate::api::answer::text;

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    router.route(
        "/logging/toggle",
        any(|State(_): State<C>, parts: Parts| async move { toggle(&parts) }),
    )
}

/// Without parameters the level, with both of them a change.
fn toggle(parts: &Parts) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let parameter = |name: &str| parameters.get(name).map(String::as_str);
    let wanted = LogLevelFor::of_query(parameter("level"), parameter("duration"));
    match wanted.map_err(malformed)? {
        None => Ok(text(StatusCode::OK, format!("{}\n", log_level()))),
        Some(wanted) => set(wanted),
    }
}

/// Carries out SET_LOGGING_LEVEL.
pub(super) fn set_level(call: Option<&SetLoggingLevel>) -> Result<Response<Body>, Refused> {
    let missing = || Refused::Malformed("Expecting 'set_logging_level' to be present".to_owned());
    let call = call.ok_or_else(missing)?;
    let wanted = LogLevelFor::of_call(call.level, call.duration.nanoseconds);
    set(wanted.map_err(malformed)?)
}

fn malformed(error: BadLevel) -> Refused {
    Refused::Malformed(error.to_string())
}

fn set(wanted: LogLevelFor) -> Result<Response<Body>, Refused> {
    wanted.set().map_err(|error| {
        tracing::error!(%error, level = wanted.level, "the level of logs was not changed");
        Refused::Failed("the level of logs was not changed")
    })?;
    Ok(done())
}
