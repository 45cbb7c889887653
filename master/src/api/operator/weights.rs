//! Weights of roles: UPDATE_WEIGHTS and `/weights`.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, Response, Uri};
use axum::response::IntoResponse;
use regency_resources::{Milli, role};
use regency_state::model::{WEIGHT_MAX, WEIGHT_MIN};
use regency_state::{Command, UpdateWeights};
use regency_wire::v1::WeightInfo;
use serde::Serialize;

use super::consistency::{parameters, view};
use super::jsonp::Callback;
use super::refused::Refused;
use super::reply::{bad_request, done, not_allowed, with_index};
use super::teardown::elsewhere;
use super::{OperatorCx, OwnedView, both};
use crate::api::answer::no_verdict;

/// How an answer to weights that cannot be begins.
const WHAT: &str = "Failed to validate update weights request JSON";

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    both(router, "/weights", answer::<C>)
}

async fn answer<C: OperatorCx>(State(cx): State<C>, parts: Parts, bytes: Bytes) -> Response<Body> {
    match parts.method {
        Method::GET => match show(&cx, &parts).await {
            Ok(response) => response,
            Err(refused) => refused.into_response(),
        },
        Method::PUT => {
            if let Some(elsewhere) = elsewhere(&cx, &parts.uri) {
                return elsewhere;
            }
            match serde_json::from_slice::<Vec<WeightInfo>>(&bytes) {
                Ok(weights) => update(&cx, &parts.uri, weights).await,
                Err(error) => bad_request(format!(
                    "Failed to parse update weights request JSON '{}': {error}",
                    String::from_utf8_lossy(&bytes)
                )),
            }
        }
        _ => not_allowed(&parts.method, &["GET", "PUT"]),
    }
}

async fn show<C: OperatorCx>(cx: &C, parts: &Parts) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let callback = Callback::of(&parameters)?;
    let view = view(cx, parts, &parameters).await?;
    Ok(with_index(callback.answer(written(&view)), view.index))
}

fn written(view: &OwnedView) -> Vec<u8> {
    #[derive(Serialize)]
    struct Weight<'a> {
        role: &'a str,
        weight: f64,
    }
    let configs = view.state.role_configs();
    let weights: Vec<Weight<'_>> = configs
        .filter_map(|config| {
            Some(Weight {
                role: &config.role,
                weight: config.weight?.to_f64(),
            })
        })
        .collect();
    serde_json::to_vec(&weights).expect("writing to memory and string keys cannot fail")
}

/// Gives roles weights, at the leader.
pub(super) async fn update<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    given: Vec<WeightInfo>,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let mut weights = Vec::new();
    for info in given {
        // Mesos takes blanks at the ends for a slip.
        let name = info.role.as_deref().unwrap_or("").trim().to_owned();
        if let Err(error) = role::validate(&name) {
            return bad_request(format!("{WHAT}: Invalid role '{name}': {error}"));
        }
        match weight(info.weight) {
            Ok(weight) => weights.push((name, weight)),
            Err(why) => {
                return bad_request(format!("{WHAT} for role '{name}': Invalid weight {why}"));
            }
        }
    }
    let roles: Vec<String> = weights.iter().map(|(role, _)| role.clone()).collect();
    let command = UpdateWeights {
        weights,
        initial: false,
    };
    match cx.propose(Command::UpdateWeights(command)).await {
        Ok(Ok(_)) => {
            tracing::info!(?roles, "an operator changed weights");
            done()
        }
        Ok(Err(refusal)) => bad_request(format!("{WHAT}: {refusal}")),
        Err(error) => no_verdict(&error, uri),
    }
}

/// A weight in thousandths, which is as finely as they are kept.
fn weight(given: f64) -> Result<Milli, String> {
    if given.is_nan() || given <= 0.0 {
        return Err(format!("'{given}': Weights must be positive"));
    }
    match Milli::from_f64(given) {
        Ok(weight) if (WEIGHT_MIN..=WEIGHT_MAX).contains(&weight) => Ok(weight),
        _ => Err(format!(
            "'{given}': Weights must be within {WEIGHT_MIN} and {WEIGHT_MAX}"
        )),
    }
}
