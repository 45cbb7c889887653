//! Answers in the form Mesos gives them.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri};
use regency_raft_store::ProposeError;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A plain text answer.
pub(crate) fn text(code: StatusCode, message: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::from(message.into()));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

/// 202 with an empty body.
pub(crate) fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// 405 for a path that takes POST only.
pub(crate) fn only_post(method: &Method) -> Response<Body> {
    let message =
        format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, message);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// 405 for a path that does not take this method.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Response<Body> {
    let message = format!(
        "405 Method Not Allowed. '{method}' is no method of '{}'.",
        uri.path()
    );
    text(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// 307 to another master, protocol-relative as Mesos sends it.
pub(crate) fn redirect(http: &str, uri: &Uri) -> Response<Body> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let Ok(location) = HeaderValue::from_str(&format!("//{http}{path}")) else {
        return no_leader();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response
}

/// 503 while nobody leads.
pub(crate) fn no_leader() -> Response<Body> {
    text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected")
}

/// The answer to a call whose proposal has no verdict.
pub(crate) fn no_verdict(error: &ProposeError, uri: &Uri) -> Response<Body> {
    match error {
        ProposeError::NotLeader {
            leader: Some(leader),
        } => redirect(&leader.http, uri),
        ProposeError::NotLeader { leader: None } => no_leader(),
        ProposeError::TooLarge { .. } => text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        ProposeError::Unknown
        | ProposeError::Halted(_)
        | ProposeError::Busy
        | ProposeError::NoRoom(_)
        | ProposeError::FeatureLevel { .. } => {
            text(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
    }
}
