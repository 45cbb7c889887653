//! How much this master logs: `/logging/toggle`, and the calls about the level.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::routing::any;
use regency_telemetry::{log_level, set_log_level};
use regency_wire::v1::master::call::SetLoggingLevel;

use super::OperatorCx;
use super::consistency::parameters;
use super::refused::Refused;
use super::reply::done;
use crate::api::answer::text;
use crate::flags::duration;

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    router.route(
        "/logging/toggle",
        any(|State(_): State<C>, parts: Parts| async move { toggle(&parts) }),
    )
}

/// Without parameters the level, with both of them a change.
fn toggle(parts: &Parts) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let missing = |name: &str| Refused::Malformed(format!("Expecting '{name}=value' in query."));
    let (level, lasting) = match (parameters.get("level"), parameters.get("duration")) {
        (None, None) => return Ok(text(StatusCode::OK, log_level().to_string())),
        (None, Some(_)) => return Err(missing("level")),
        (Some(_), None) => return Err(missing("duration")),
        (Some(level), Some(lasting)) => (level, lasting),
    };
    let level = level
        .parse()
        .map_err(|_| Refused::Malformed(format!("'level' is a number from 0, not '{level}'")))?;
    let lasting = duration(lasting).map_err(|error| {
        Refused::Malformed(format!("'duration' is a time, not '{lasting}': {error}"))
    })?;
    set(level, lasting)
}

/// Carries out SET_LOGGING_LEVEL.
pub(super) fn set_level(call: Option<&SetLoggingLevel>) -> Result<Response<Body>, Refused> {
    let missing = || Refused::Malformed("Expecting 'set_logging_level' to be present".to_owned());
    let call = call.ok_or_else(missing)?;
    let nanoseconds = call.duration.nanoseconds;
    let lasting = u64::try_from(nanoseconds).map_err(|_| {
        Refused::Malformed(format!(
            "'set_logging_level.duration' is {nanoseconds} ns, but it cannot be negative"
        ))
    })?;
    set(call.level, Duration::from_nanos(lasting))
}

fn set(level: u32, lasting: Duration) -> Result<Response<Body>, Refused> {
    let set = set_log_level(level).map_err(|error| {
        tracing::error!(%error, level, "the level of logs was not changed");
        Refused::Failed("the level of logs was not changed")
    })?;
    tracing::info!(level, ?lasting, "an operator set the level of logs");
    tokio::spawn(async move {
        tokio::time::sleep(lasting).await;
        match set.take_back() {
            Ok(()) => tracing::info!("the level of logs is no longer raised"),
            Err(error) => tracing::error!(%error, "the level of logs stays as it is"),
        }
    });
    Ok(done())
}
