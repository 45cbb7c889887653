//! `POST /api/v1`: the v1 operator calls.
//!
//! Checked in the order that Mesos checks in: method, type of the body, body, call, type of the
//! answer. Only then does it matter what is asked.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Method, Response};
use axum::routing::any;
use regency_wire::v1::master::Call;
use regency_wire::v1::master::call::Type;
use regency_wire::{ContentType, decode, encode, validate};

use super::consistency::{parameters, view};
use super::refused::Refused;
use super::reply::{at_leisure, body, with_index};
use super::{
    OperatorCx, agents, events, files, logging, maintenance, operations, quota, reads, teardown,
    weights,
};
use crate::query::v1;

/// Mesos takes the longest prefix that is a route, so more than one path arrives here.
const PATHS: [&str; 3] = ["/api/v1", "/api/v1/", "/api/v1/operator"];

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    PATHS.iter().fold(router, |router, path| {
        router
            .route(path, any(call::<C>))
            .route(&format!("/master{path}"), any(call::<C>))
    })
}

async fn call<C: OperatorCx>(
    State(cx): State<C>,
    parts: Parts,
    bytes: Bytes,
) -> Result<Response<Body>, Refused> {
    if parts.method != Method::POST {
        return Err(Refused::NotPost(parts.method));
    }
    // A value that is not text is none of those expected.
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or("?"));
    let call: Call = decode(ContentType::of_request(content_type)?, &bytes)?;
    let call_type = validate::operator::check(&call)?;
    let accept = parts.headers.get_all(ACCEPT).iter();
    let accepted = ContentType::acceptable(accept.filter_map(|value| value.to_str().ok()))?;
    match call_type {
        Type::Teardown => {
            let id = call.teardown.map(|part| part.framework_id.value);
            Ok(teardown::carry_out(&cx, &parts.uri, &id.unwrap_or_default()).await)
        }
        Type::ReserveResources
        | Type::UnreserveResources
        | Type::CreateVolumes
        | Type::DestroyVolumes
        | Type::GrowVolume
        | Type::ShrinkVolume => {
            let Some((agent, operation)) = operations::of_call(&call, call_type) else {
                return Err(Refused::NotImplemented(call_type.as_str_name().to_owned()));
            };
            Ok(operations::carry_out(&cx, &parts.uri, &agent, &operation).await)
        }
        Type::UpdateQuota => {
            let part = call.update_quota.unwrap_or_default();
            Ok(quota::update(&cx, &parts.uri, part).await)
        }
        Type::SetQuota => {
            let part = call.set_quota.unwrap_or_default();
            Ok(quota::set(&cx, &parts.uri, &part.quota_request).await)
        }
        Type::RemoveQuota => {
            let part = call.remove_quota.unwrap_or_default();
            Ok(quota::remove(&cx, &parts.uri, part.role).await)
        }
        Type::UpdateWeights => {
            let part = call.update_weights.unwrap_or_default();
            Ok(weights::update(&cx, &parts.uri, part.weight_infos).await)
        }
        Type::Subscribe => events::subscribe(&cx, &parts, accepted).await,
        Type::SetLoggingLevel => logging::set_level(call.set_logging_level.as_ref()),
        Type::ListFiles => files::list(&cx, call.list_files, accepted).await,
        Type::ReadFile => files::read_file(&cx, call.read_file, accepted).await,
        Type::DrainAgent | Type::DeactivateAgent | Type::ReactivateAgent | Type::MarkAgentGone => {
            Ok(agents::carry_out(&cx, &parts.uri, &call, call_type).await)
        }
        Type::UpdateMaintenanceSchedule | Type::StartMaintenance | Type::StopMaintenance => {
            Ok(maintenance::carry_out(&cx, &parts.uri, &call, call_type).await)
        }
        _ => read(&cx, &parts, call_type, accepted).await,
    }
}

async fn read<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    call_type: Type,
    accepted: ContentType,
) -> Result<Response<Body>, Refused> {
    let Some(what) = v1::answer_to(call_type) else {
        return Err(Refused::NotImplemented(call_type.as_str_name().to_owned()));
    };
    let view = match call_type {
        // Of this process, whatever is applied.
        Type::GetHealth | Type::GetVersion | Type::GetFlags | Type::GetLoggingLevel => cx.view(),
        Type::GetMetrics => reads::measured(cx),
        _ => view(cx, parts, &parameters(parts)?).await?,
    };
    let answer = move || {
        let bytes = encode(accepted, &v1::answer(&view.view(), what));
        with_index(body(accepted.media_type(), bytes), view.index)
    };
    Ok(at_leisure(answer).await)
}
