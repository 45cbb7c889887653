//! Answers of the operator side that the scheduler side does not need.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Response, StatusCode};

use super::consistency::INDEX_HEADER;
use crate::api::answer::text;

/// 200 with a body of this type.
pub(super) fn body(media_type: &'static str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 200 with an empty body.
pub(super) fn done() -> Response<Body> {
    Response::new(Body::empty())
}

/// 405 with the methods that there are.
pub(super) fn not_allowed(method: &Method, allowed: &'static [&'static str]) -> Response<Body> {
    let quoted: Vec<String> = allowed.iter().map(|one| format!("'{one}'")).collect();
    let message = format!(
        "405 Method Not Allowed. Expecting one of {{ {} }}, but received '{method}'.",
        quoted.join(", ")
    );
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, message);
    if let Ok(allow) = HeaderValue::from_str(&allowed.join(", ")) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// 400 with what is wrong.
pub(super) fn bad_request(what: impl Into<String>) -> Response<Body> {
    text(StatusCode::BAD_REQUEST, what)
}

/// Notes on an answer which entries it includes.
pub(super) fn with_index(mut response: Response<Body>, index: u64) -> Response<Body> {
    response
        .headers_mut()
        .insert(INDEX_HEADER, HeaderValue::from(index));
    response
}

/// Makes an answer on a thread that may take its time: a large state is long to write, and other
/// requests must not wait for it.
pub(super) async fn at_leisure(
    make: impl FnOnce() -> Response<Body> + Send + 'static,
) -> Response<Body> {
    match tokio::task::spawn_blocking(make).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "an answer could not be made");
            text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be made",
            )
        }
    }
}
