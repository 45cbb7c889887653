//! Ends a framework because an operator says so.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Form, FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, Uri};
use axum::response::IntoResponse;
use regency_state::Refusal;
use regency_types::FrameworkId;

use super::refused::Refused;
use super::reply::{bad_request, done};
use super::{LeaderAt, OperatorCx, both};
use crate::api::answer::{no_leader, no_verdict, only_post, redirect};

const NO_SUCH_FRAMEWORK: &str = "No framework found with specified ID";

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    both(router, "/teardown", teardown::<C>)
}

async fn teardown<C: OperatorCx>(
    State(cx): State<C>,
    parts: Parts,
    bytes: Bytes,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(&cx, &parts.uri) {
        return elsewhere;
    }
    if parts.method != Method::POST {
        return only_post(&parts.method);
    }
    let form = match form(bytes).await {
        Ok(form) => form,
        Err(refused) => return refused.into_response(),
    };
    match form.get("frameworkId") {
        Some(id) => carry_out(&cx, &parts.uri, id).await,
        None => bad_request("Missing 'frameworkId' query parameter in the request body"),
    }
}

/// The fields of a form. What type the request says it has does not matter, as in Mesos.
pub(super) async fn form(bytes: Bytes) -> Result<BTreeMap<String, String>, Refused> {
    let mut request = Request::new(Body::from(bytes));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    match Form::from_request(request, &()).await {
        Ok(Form(fields)) => Ok(fields),
        Err(error) => Err(Refused::Malformed(error.body_text())),
    }
}

/// Ends the framework with this id, at the leader.
pub(super) async fn carry_out<C: OperatorCx>(cx: &C, uri: &Uri, id: &str) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let Ok(framework) = FrameworkId::new(id) else {
        return bad_request(NO_SUCH_FRAMEWORK);
    };
    match cx.teardown(framework.clone()).await {
        Ok(Ok(_)) => {
            tracing::info!(framework_id = %framework, "an operator ended a framework");
            done()
        }
        Ok(Err(Refusal::FrameworkUnknown(_) | Refusal::FrameworkRemoved)) => {
            bad_request(NO_SUCH_FRAMEWORK)
        }
        Ok(Err(refusal)) => bad_request(refusal.to_string()),
        Err(error) => no_verdict(&error, uri),
    }
}

/// The answer of a master that does not lead to what must be written.
pub(super) fn elsewhere<C: OperatorCx>(cx: &C, uri: &Uri) -> Option<Response<Body>> {
    match cx.leader() {
        LeaderAt::Here => None,
        LeaderAt::There(http) => Some(redirect(&http, uri)),
        LeaderAt::Nowhere => Some(no_leader()),
    }
}
