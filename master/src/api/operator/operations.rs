//! Reservations and persistent volumes, made and undone by operators: the v1 calls and the older
//! form posts.
//!
//! What an operator changes must be used by nobody; offers in the way are taken back. A 202 means
//! that it is committed.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use regency_state::{ApplyOperation, Refusal};
use regency_types::AgentId;
use regency_wire::v1::master::Call;
use regency_wire::v1::master::call::Type as CallType;
use regency_wire::v1::offer::operation::{
    Create, Destroy, GrowVolume, Reserve, ShrinkVolume, Type, Unreserve,
};
use regency_wire::v1::{Resource, offer};

use super::refused::Refused;
use super::reply::{bad_request, not_allowed};
use super::teardown::{elsewhere, form};
use super::{OperatorCx, both};
use crate::api::answer::{accepted, no_verdict, text};
use crate::api::resource_operation;

const NO_SUCH_AGENT: &str = "No agent found with specified ID";

/// Path, operation, and the field of the form that holds the resources.
static FORMS: [(&str, Type, &str); 4] = [
    ("/reserve", Type::Reserve, "resources"),
    ("/unreserve", Type::Unreserve, "resources"),
    ("/create-volumes", Type::Create, "volumes"),
    ("/destroy-volumes", Type::Destroy, "volumes"),
];

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    FORMS.iter().fold(router, |router, (path, kind, field)| {
        let handler = move |State(cx): State<C>, parts: Parts, bytes: Bytes| async move {
            match post(&cx, &parts, bytes, *kind, field).await {
                Ok(response) => response,
                Err(refused) => refused.into_response(),
            }
        };
        both(router, path, handler)
    })
}

async fn post<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    bytes: Bytes,
    kind: Type,
    field: &str,
) -> Result<Response<Body>, Refused> {
    if let Some(elsewhere) = elsewhere(cx, &parts.uri) {
        return Ok(elsewhere);
    }
    if parts.method != Method::POST {
        return Ok(not_allowed(&parts.method, &["POST"]));
    }
    let form = form(bytes).await?;
    let agent = given(&form, "slaveId")?;
    let resources = list(field, given(&form, field)?)?;
    let source = match form.get("source") {
        Some(text) if kind == Type::Reserve => list("source", text)?,
        _ => Vec::new(),
    };
    let operation = operation(kind, resources, source);
    Ok(carry_out(cx, &parts.uri, agent, &operation).await)
}

fn given<'a>(form: &'a BTreeMap<String, String>, field: &str) -> Result<&'a str, Refused> {
    form.get(field).map(String::as_str).ok_or_else(|| {
        Refused::Malformed(format!(
            "Missing '{field}' query parameter in the request body"
        ))
    })
}

fn list(field: &str, text: &str) -> Result<Vec<Resource>, Refused> {
    serde_json::from_str(text).map_err(|error| {
        Refused::Malformed(format!(
            "Error in parsing '{field}' query parameter in the request body: {error}"
        ))
    })
}

fn operation(kind: Type, resources: Vec<Resource>, source: Vec<Resource>) -> offer::Operation {
    let mut operation = offer::Operation {
        r#type: Some(kind as i32),
        ..offer::Operation::default()
    };
    match kind {
        Type::Reserve => operation.reserve = Some(Reserve { resources, source }),
        Type::Unreserve => operation.unreserve = Some(Unreserve { resources }),
        Type::Create => operation.create = Some(Create { volumes: resources }),
        _ => operation.destroy = Some(Destroy { volumes: resources }),
    }
    operation
}

/// The agent and the operation of a v1 call; `None` when it is no such call.
pub(super) fn of_call(call: &Call, call_type: CallType) -> Option<(String, offer::Operation)> {
    let call = call.clone();
    Some(match call_type {
        CallType::ReserveResources => {
            let part = call.reserve_resources?;
            let operation = operation(Type::Reserve, part.resources, part.source);
            (part.agent_id.value, operation)
        }
        CallType::UnreserveResources => {
            let part = call.unreserve_resources?;
            let operation = operation(Type::Unreserve, part.resources, Vec::new());
            (part.agent_id.value, operation)
        }
        CallType::CreateVolumes => {
            let part = call.create_volumes?;
            let operation = operation(Type::Create, part.volumes, Vec::new());
            (part.agent_id.value, operation)
        }
        CallType::DestroyVolumes => {
            let part = call.destroy_volumes?;
            let operation = operation(Type::Destroy, part.volumes, Vec::new());
            (part.agent_id.value, operation)
        }
        CallType::GrowVolume => {
            let part = call.grow_volume?;
            let operation = offer::Operation {
                r#type: Some(Type::GrowVolume as i32),
                grow_volume: Some(Box::new(GrowVolume {
                    volume: part.volume,
                    addition: part.addition,
                })),
                ..offer::Operation::default()
            };
            (part.agent_id?.value, operation)
        }
        CallType::ShrinkVolume => {
            let part = call.shrink_volume?;
            let operation = offer::Operation {
                r#type: Some(Type::ShrinkVolume as i32),
                shrink_volume: Some(Box::new(ShrinkVolume {
                    volume: part.volume,
                    subtract: part.subtract,
                })),
                ..offer::Operation::default()
            };
            (part.agent_id?.value, operation)
        }
        _ => return None,
    })
}

/// Changes the resources of an agent, at the leader.
pub(super) async fn carry_out<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    agent: &str,
    operation: &offer::Operation,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let name = operation.r#type().as_str_name();
    let invalid = |why: String| bad_request(format!("Invalid {name} operation: {why}"));
    let Ok(agent) = AgentId::new(agent) else {
        return bad_request(NO_SUCH_AGENT);
    };
    let operation = match resource_operation::read(operation, None) {
        Ok(operation) => operation,
        Err(why) => return invalid(why),
    };
    let command = ApplyOperation {
        agent: agent.clone(),
        operation,
        principal: None,
    };
    match cx.apply_operation(command).await {
        Ok(Ok(_)) => {
            tracing::info!(agent_id = %agent, operation = name, "an operator changed an agent's resources");
            accepted()
        }
        Ok(Err(Refusal::AgentUnknown(_))) => bad_request(NO_SUCH_AGENT),
        Ok(Err(Refusal::OperationInvalid(why))) => invalid(why),
        Ok(Err(refusal @ Refusal::ResourcesInUse(_))) => {
            text(StatusCode::CONFLICT, refusal.to_string())
        }
        Ok(Err(refusal)) => bad_request(refusal.to_string()),
        Err(error) => no_verdict(&error, uri),
    }
}
