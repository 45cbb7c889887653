//! Quotas: the v1 calls, and `/quota` in its older form.
//!
//! Reading is answered by every master. What is written is checked by the entry that makes it true,
//! so the answer is about the cluster as it is at that entry; a 200 means that it is committed and
//! that offers which are in its way are taken back.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use regency_resources::{Milli, Quantities};
use regency_state::model::Quota;
use regency_state::{Command, QuotaConfig, Refusal, RemoveQuota, SetQuota, UpdateQuota};
use regency_wire::json::{self, JsonError};
use regency_wire::resources::entries_from_wire;
use regency_wire::v1::master::call;
use regency_wire::v1::quota::QuotaRequest;
use regency_wire::v1::value::Scalar;

use super::consistency::{parameters, view};
use super::jsonp::Callback;
use super::refused::Refused;
use super::reply::{bad_request, done, not_allowed, with_index};
use super::teardown::elsewhere;
use super::{OperatorCx, both};
use crate::api::answer::{no_verdict, text};
use crate::query::v1::quota_status;

const METHODS: &[&str] = &["GET", "POST", "DELETE"];

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    let of_all = |State(cx): State<C>, parts: Parts, bytes: Bytes| async move {
        answer(&cx, &parts, &bytes, None).await
    };
    let of_one = |State(cx): State<C>, Path(role): Path<String>, parts: Parts, bytes: Bytes| async move {
        answer(&cx, &parts, &bytes, Some(role)).await
    };
    let router = both(router, "/quota", of_all);
    both(router, "/quota/{role}", of_one)
}

async fn answer<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    bytes: &[u8],
    role: Option<String>,
) -> Response<Body> {
    match parts.method {
        Method::GET => match show(cx, parts).await {
            Ok(response) => response,
            Err(refused) => refused.into_response(),
        },
        Method::POST => set_from_json(cx, &parts.uri, bytes).await,
        Method::DELETE => match role {
            Some(role) => {
                let what = format!("Failed to remove quota for path '/master/quota/{role}'");
                take_away(cx, &parts.uri, role, &what).await
            }
            None => bad_request("Failed to remove quota: the path '/master/quota' names no role"),
        },
        _ => not_allowed(&parts.method, METHODS),
    }
}

async fn show<C: OperatorCx>(cx: &C, parts: &Parts) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let callback = Callback::of(&parameters)?;
    let view = view(cx, parts, &parameters).await?;
    let json = json::to_vec(&quota_status(&view.view()));
    Ok(with_index(callback.answer(json), view.index))
}

async fn set_from_json<C: OperatorCx>(cx: &C, uri: &Uri, bytes: &[u8]) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let given = String::from_utf8_lossy(bytes);
    match json::from_slice::<QuotaRequest>(bytes) {
        Ok(request) => set(cx, uri, &request).await,
        Err(error @ JsonError::Syntax { .. }) => bad_request(format!(
            "Failed to parse set quota request JSON '{given}': {error}"
        )),
        Err(error @ JsonError::Mismatch(_)) => bad_request(format!(
            "Failed to convert set quota request JSON '{given}' to protobuf: {error}"
        )),
    }
}

/// UPDATE_QUOTA.
pub(super) async fn update<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    part: call::UpdateQuota,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let invalid = |why: String| bad_request(format!("Invalid QuotaConfig: {why}"));
    let force = part.force.unwrap_or(false);
    let mut configs = Vec::new();
    for config in part.quota_configs {
        let quota = match (
            amounts("guarantees", &config.role, &config.guarantees),
            amounts("limits", &config.role, &config.limits),
        ) {
            (Ok(guarantees), Ok(limits)) => Quota {
                guarantees: guarantees.into(),
                limits,
            },
            (Err(why), _) | (_, Err(why)) => return invalid(why),
        };
        configs.push(QuotaConfig {
            role: config.role,
            quota,
        });
    }
    let roles: Vec<String> = configs.iter().map(|config| config.role.clone()).collect();
    match cx
        .propose(Command::UpdateQuota(UpdateQuota { configs, force }))
        .await
    {
        Ok(Ok(_)) => {
            tracing::info!(?roles, force, "an operator changed quotas");
            done()
        }
        Ok(Err(refusal)) => invalid(refusal.to_string()),
        Err(error) => no_verdict(&error, uri),
    }
}

fn amounts(
    field: &str,
    role: &str,
    given: &BTreeMap<String, Scalar>,
) -> Result<BTreeMap<String, Milli>, String> {
    let one = |(name, scalar): (&String, &Scalar)| {
        let amount = Milli::amount_from_f64(scalar.value)
            .map_err(|error| format!("'{field}' of role '{role}': '{name}': {error}"))?;
        Ok((name.clone(), amount))
    };
    given.iter().map(one).collect()
}

/// SET_QUOTA and `POST /quota`. That the cluster has too little is a conflict and not a bad
/// request, as in Mesos.
pub(super) async fn set<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    request: &QuotaRequest,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let invalid = |why: String| bad_request(format!("Failed to validate set quota request: {why}"));
    let Some(role) = request.role.clone() else {
        return invalid("'role' is not set".to_owned());
    };
    let guarantee = match guarantee(request) {
        Ok(guarantee) => guarantee,
        Err(why) => return invalid(why),
    };
    let command = SetQuota {
        role: role.clone(),
        guarantee,
        force: request.force.unwrap_or(false),
    };
    match cx.propose(Command::SetQuota(command)).await {
        Ok(Ok(_)) => {
            tracing::info!(role, "an operator set a quota");
            done()
        }
        Ok(Err(refusal @ Refusal::QuotaOvercommitted(_))) => {
            let why = format!("Failed to set quota: {refusal}");
            text(StatusCode::CONFLICT, why)
        }
        Ok(Err(refusal)) => invalid(refusal.to_string()),
        Err(error) => no_verdict(&error, uri),
    }
}

/// The guarantee of a request: plain scalars, each name once.
fn guarantee(request: &QuotaRequest) -> Result<Quantities, String> {
    let entries = entries_from_wire(&request.guarantee)
        .map_err(|error| format!("'guarantee' is invalid: {error}"))?;
    let mut sum = Quantities::new();
    for (key, value) in entries {
        let plain = key.reservations.is_empty()
            && key.disk.is_none()
            && key.provider_id.is_none()
            && !key.revocable
            && !key.shared;
        let Some(amount) = value.as_scalar().filter(|_| plain) else {
            return Err(format!(
                "'guarantee' has '{}', which is not a plain scalar",
                key.name
            ));
        };
        if sum.has(&key.name) {
            return Err(format!("'guarantee' has '{}' twice", key.name));
        }
        sum.add(&key.name, amount);
    }
    Ok(sum)
}

/// REMOVE_QUOTA.
pub(super) async fn remove<C: OperatorCx>(cx: &C, uri: &Uri, role: String) -> Response<Body> {
    take_away(cx, uri, role, "Failed to remove quota").await
}

/// `what` begins the answer when it cannot be.
async fn take_away<C: OperatorCx>(cx: &C, uri: &Uri, role: String, what: &str) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let command = Command::RemoveQuota(RemoveQuota { role: role.clone() });
    match cx.propose(command).await {
        Ok(Ok(_)) => {
            tracing::info!(role, "an operator removed a quota");
            done()
        }
        Ok(Err(refusal)) => bad_request(format!("{what}: {refusal}")),
        Err(error) => no_verdict(&error, uri),
    }
}
