//! Endpoints of Mesos that are not there yet.
//!
//! Reading tells the truth: there are no quotas and nothing is under maintenance. Writing is
//! answered with 501, so that nobody believes it happened.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Response, Uri};
use axum::response::IntoResponse;
use axum::routing::any;
use regency_wire::content::APPLICATION_JSON;
use serde::Serialize;

use super::refused::Refused;
use super::reply::{body, not_allowed};
use super::{OperatorCx, both};

/// Paths with the methods they have in Mesos; those that can be read with what is read.
static ENDPOINTS: [(&str, &[&str], Option<&str>); 7] = [
    ("/quota", &["GET", "POST"], Some("{}")),
    ("/quota/{role}", &["DELETE"], None),
    ("/maintenance/schedule", &["GET", "POST"], Some("{}")),
    ("/maintenance/status", &["GET"], Some("{}")),
    ("/machine/down", &["POST"], None),
    ("/machine/up", &["POST"], None),
    ("/logging/toggle", &["GET"], None),
];

/// Files of a master can be browsed in Mesos; here there are none.
const FILES: [&str; 3] = ["/files/browse", "/files/read", "/files/download"];

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    let router = ENDPOINTS
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
        });
    let router = both(router, "/weights", weights::<C>);
    FILES.iter().fold(router, |router, path| {
        let no_file = || async { Refused::NoSuchFile };
        router
            .route(path, any(no_file))
            .route(&format!("{path}.json"), any(no_file))
    })
}

/// The weights that the masters' flags gave to roles.
async fn weights<C: OperatorCx>(State(cx): State<C>, method: Method, uri: Uri) -> Response<Body> {
    #[derive(Serialize)]
    struct Weight<'a> {
        role: &'a str,
        weight: f64,
    }
    match method {
        Method::GET => {
            let identity = cx.view().identity;
            let weights: Vec<Weight<'_>> = identity
                .weights
                .iter()
                .map(|(role, weight)| Weight {
                    role,
                    weight: *weight,
                })
                .collect();
            let json = serde_json::to_vec(&weights)
                .expect("writing to memory and string keys cannot fail");
            body(APPLICATION_JSON, json)
        }
        Method::PUT => not_implemented(&method, &uri),
        _ => not_allowed(&method, &["GET", "PUT"]),
    }
}

fn not_implemented(method: &Method, uri: &Uri) -> Response<Body> {
    Refused::NotImplemented(format!("{method} {}", uri.path())).into_response()
}
