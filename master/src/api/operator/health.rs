//! What a master says of itself alone: it needs neither leader nor state for it.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, Response, StatusCode};

use super::refused::Refused;
use super::{LeaderAt, OperatorCx, both, reply};
use crate::api::answer::no_leader;

/// Media type of Prometheus' text form.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    let router = both(router, "/health", health);
    let router = both(router, "/livez", health);
    let router = both(router, "/readyz", readyz::<C>);
    let router = both(router, "/redirect", redirect::<C>);
    router.route("/metrics", axum::routing::get(metrics::<C>))
}

/// The process answers. Mesos' `/health` says no more than that either.
async fn health() -> Response<Body> {
    reply::done()
}

/// Whether this master can answer reads.
async fn readyz<C: OperatorCx>(State(cx): State<C>) -> Result<Response<Body>, Refused> {
    cx.ready()?;
    Ok(reply::done())
}

/// The way to the leader: always a redirect, also at the leader itself.
async fn redirect<C: OperatorCx>(State(cx): State<C>) -> Response<Body> {
    let http = match cx.leader() {
        LeaderAt::There(http) => http,
        LeaderAt::Here => match cx.view().state.term() {
            Some(term) => term.master.http.clone(),
            None => return no_leader(),
        },
        LeaderAt::Nowhere => return no_leader(),
    };
    let Ok(location) = HeaderValue::from_str(&format!("//{http}")) else {
        return no_leader();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response
}

async fn metrics<C: OperatorCx>(State(cx): State<C>) -> Response<Body> {
    reply::body(PROMETHEUS, cx.metrics_text())
}
