//! Endpoints of Mesos that are not there yet.
//!
//! Reading tells the truth: nothing is under maintenance. Writing is answered with 501, so that nobody
//! believes it happened.

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Response, Uri};
use axum::response::IntoResponse;
use regency_wire::content::APPLICATION_JSON;

use super::refused::Refused;
use super::reply::{body, not_allowed};
use super::{OperatorCx, both};

/// Paths with the methods they have in Mesos; those that can be read with what is read.
static ENDPOINTS: [(&str, &[&str], Option<&str>); 4] = [
    ("/maintenance/schedule", &["GET", "POST"], Some("{}")),
    ("/maintenance/status", &["GET"], Some("{}")),
    ("/machine/down", &["POST"], None),
    ("/machine/up", &["POST"], None),
];

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    ENDPOINTS
        .iter()
        .fold(router, |router, (path, methods, nothing)| {
            let handler = move |method: Method, uri: Uri| async move {
                match nothing {
                    _ if !methods.contains(&method.as_str()) => not_allowed(&method, methods),
                    Some(nothing) if method == Method::GET => body(APPLICATION_JSON, *nothing),
                    _ => not_implemented(&method, &uri),
                }
            };
            both(router, path, handler)
        })
}

fn not_implemented(method: &Method, uri: &Uri) -> Response<Body> {
    Refused::NotImplemented(format!("{method} {}", uri.path())).into_response()
}
