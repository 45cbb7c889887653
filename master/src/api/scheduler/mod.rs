//! `POST /api/v1/scheduler`: the calls of frameworks.
//!
//! The checks come in the order real masters make them, since clients were written against the
//! answers. A 202 means that the call was applied; what a framework gets wrong beyond the form of
//! its call is told by events.

mod calls;
mod counted;
mod executor;
mod framework_info;
mod group;
mod launch;
mod subscribe;
mod update;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use regency_types::{FrameworkId, StreamId};
use regency_wire::content::ContentTypeError;
use regency_wire::v1::scheduler::Call;
use regency_wire::v1::scheduler::call::Type;
use regency_wire::{ContentType, decode, validate};

use super::answer;
use super::cx::{ApiCx, Where};
use crate::leader::Leader;
use crate::metrics;

const STREAM_ID: &str = "mesos-stream-id";

/// Any request to the endpoint.
pub(crate) async fn call(
    State(cx): State<ApiCx>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let (name, response) = handle(&cx, &method, &uri, &headers, body).await;
    let code = response.status().as_str().to_owned();
    ::metrics::counter!(metrics::SCHEDULER_CALLS, "call" => name, "code" => code).increment(1);
    response
}

async fn handle(
    cx: &ApiCx,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> (&'static str, Response<Body>) {
    let leader = match cx.leader() {
        Where::Here(leader) => leader,
        Where::There(leader) => return ("none", answer::redirect(&leader.http, uri)),
        // Only a subscription is worth waiting for: everything else belongs to a stream that is
        // lost anyway.
        Where::Nowhere => {
            let subscribes = read(method, headers, &body).is_ok_and(|(_, t)| t == Type::Subscribe);
            if !subscribes {
                return ("none", answer::no_leader());
            }
            match cx.await_leader().await {
                Where::Here(leader) => leader,
                Where::There(leader) => {
                    return ("subscribe", answer::redirect(&leader.http, uri));
                }
                Where::Nowhere => return ("subscribe", answer::no_leader()),
            }
        }
    };
    let (call, call_type) = match read(method, headers, &body) {
        Ok(read) => read,
        Err(response) => return ("invalid", *response),
    };
    let response = tokio::select! {
        // What became of the call is for the next leader to know.
        () = leader.over() => {
            answer::text(StatusCode::SERVICE_UNAVAILABLE, "Leadership was lost; try again")
        }
        response = dispatch(cx, &leader, uri, headers, call, call_type) => response,
    };
    (label(call_type), response)
}

/// The call in a request, or the answer to a request that holds none.
fn read(
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Call, Type), Box<Response<Body>>> {
    if method != Method::POST {
        return Err(Box::new(answer::only_post(method)));
    }
    let header = headers.get(CONTENT_TYPE).map(|v| v.to_str().unwrap_or(""));
    let content = ContentType::of_request(header).map_err(|error| {
        let code = match error {
            ContentTypeError::Missing => StatusCode::BAD_REQUEST,
            ContentTypeError::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        Box::new(answer::text(code, error.to_string()))
    })?;
    let bad = |error: String| Box::new(answer::text(StatusCode::BAD_REQUEST, error));
    let call: Call = decode(content, body).map_err(|error| bad(error.to_string()))?;
    let call_type =
        validate::scheduler::check(&call, None).map_err(|error| bad(error.to_string()))?;
    Ok((call, call_type))
}

async fn dispatch(
    cx: &ApiCx,
    leader: &Arc<Leader>,
    uri: &Uri,
    headers: &HeaderMap,
    call: Call,
    call_type: Type,
) -> Response<Body> {
    if call_type == Type::Subscribe {
        let accept = headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok());
        let content = match ContentType::acceptable(accept) {
            Ok(content) => content,
            Err(error) => return answer::text(StatusCode::NOT_ACCEPTABLE, error.to_string()),
        };
        if headers.contains_key(STREAM_ID) {
            return answer::text(
                StatusCode::BAD_REQUEST,
                "Subscribe calls should not include the 'Mesos-Stream-Id' header",
            );
        }
        return subscribe::subscribe(cx, leader, uri, content, call).await;
    }
    match caller(leader, headers, &call).await {
        Ok(framework) => {
            counted::call(&framework, &leader.state().state, &call, call_type);
            if call_type == Type::UpdateFramework {
                let call = call.update_framework.unwrap_or_default();
                return update::update(leader, uri, framework, &call).await;
            }
            calls::carry_out(cx, leader, uri, framework, call, call_type).await
        }
        Err(response) => *response,
    }
}

/// The subscribed framework that a call comes from.
///
/// That it is not is told only when this master certainly leads: a leader that was frozen for a
/// while must not tell a framework that it is not known.
async fn caller(
    leader: &Leader,
    headers: &HeaderMap,
    call: &Call,
) -> Result<FrameworkId, Box<Response<Body>>> {
    match find_caller(leader, headers, call) {
        Ok(framework) => Ok(framework),
        Err(stranger) => Err(Box::new(match leader.consensus.read_barrier().await {
            Ok(_) => answer::text(stranger.status(), stranger.to_string()),
            Err(_) => answer::no_leader(),
        })),
    }
}

/// Why a call is nobody's; the texts are those of Mesos.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("Framework cannot be found")]
    Unknown,
    #[error("Framework is not subscribed")]
    NotSubscribed,
    #[error("All non-subscribe calls should include the 'Mesos-Stream-Id' header")]
    NoStream,
    #[error(
        "The stream ID '{given}' included in this request didn't match the stream ID currently \
         associated with framework ID {framework}"
    )]
    OtherStream {
        given: String,
        framework: FrameworkId,
    },
}

impl Stranger {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotSubscribed => StatusCode::FORBIDDEN,
            Self::Unknown | Self::NoStream | Self::OtherStream { .. } => StatusCode::BAD_REQUEST,
        }
    }
}

fn find_caller(leader: &Leader, headers: &HeaderMap, call: &Call) -> Result<FrameworkId, Stranger> {
    let id = call
        .framework_id
        .as_ref()
        .and_then(|id| FrameworkId::new(&id.value).ok());
    let framework = id
        .filter(|id| leader.state().state.framework(id).is_some())
        .ok_or(Stranger::Unknown)?;
    let stream = leader
        .streams
        .get(&framework)
        .ok_or(Stranger::NotSubscribed)?;
    let given = headers
        .get(STREAM_ID)
        .ok_or(Stranger::NoStream)?
        .to_str()
        .unwrap_or("");
    if given.parse::<StreamId>() != Ok(stream.id) {
        return Err(Stranger::OtherStream {
            given: given.to_owned(),
            framework,
        });
    }
    Ok(framework)
}

fn label(call_type: Type) -> &'static str {
    match call_type {
        Type::Subscribe => "subscribe",
        Type::Teardown => "teardown",
        Type::Accept => "accept",
        Type::Decline => "decline",
        Type::AcceptInverseOffers => "accept_inverse_offers",
        Type::DeclineInverseOffers => "decline_inverse_offers",
        Type::Revive => "revive",
        Type::Suppress => "suppress",
        Type::Kill => "kill",
        Type::Shutdown => "shutdown",
        Type::Acknowledge => "acknowledge",
        Type::AcknowledgeOperationStatus => "acknowledge_operation_status",
        Type::Reconcile => "reconcile",
        Type::ReconcileOperations => "reconcile_operations",
        Type::Message => "message",
        Type::Request => "request",
        Type::UpdateFramework => "update_framework",
        Type::Unknown => "unknown",
    }
}
