//! Agents that operators take out of use: deactivated, drained, gone.

use axum::body::Body;
use axum::http::{Response, Uri};
use axum::response::IntoResponse;
use regency_state::{
    Command, DeactivateAgent, DrainAgent, MarkAgentGone, ReactivateAgent, Refusal,
};
use regency_types::{AgentId, DurationMs};
use regency_wire::v1::master::Call;
use regency_wire::v1::master::call::{self, Type};

use super::OperatorCx;
use super::refused::Refused;
use super::reply::{bad_request, done};
use super::teardown::elsewhere;
use crate::api::answer::no_verdict;

/// Carries out a v1 call about one agent, at the leader.
pub(super) async fn carry_out<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    call: &Call,
    call_type: Type,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let Some(text) = named(call, call_type) else {
        return Refused::NotImplemented(call_type.as_str_name().to_owned()).into_response();
    };
    let unknown = || match call_type {
        Type::MarkAgentGone => Refused::NoSuchAgent(text.to_owned()).into_response(),
        _ => Refused::UnknownAgent.into_response(),
    };
    // No agent ever had another id.
    let Ok(agent) = AgentId::new(text) else {
        return unknown();
    };
    match cx.propose(command(call, call_type, agent.clone())).await {
        Ok(Ok(_)) => {
            let what = call_type.as_str_name();
            tracing::info!(agent_id = %agent, call = what, "an operator spoke of an agent");
            done()
        }
        Ok(Err(Refusal::AgentUnknown(_))) => unknown(),
        Ok(Err(refusal)) => bad_request(refusal.to_string()),
        Err(error) => no_verdict(&error, uri),
    }
}

/// The agent that the call names.
fn named(call: &Call, call_type: Type) -> Option<&str> {
    let id = match call_type {
        Type::DrainAgent => &call.drain_agent.as_ref()?.agent_id,
        Type::DeactivateAgent => &call.deactivate_agent.as_ref()?.agent_id,
        Type::ReactivateAgent => &call.reactivate_agent.as_ref()?.agent_id,
        Type::MarkAgentGone => &call.mark_agent_gone.as_ref()?.agent_id,
        _ => return None,
    };
    Some(&id.value)
}

fn command(call: &Call, call_type: Type, agent: AgentId) -> Command {
    match call_type {
        Type::DeactivateAgent => Command::DeactivateAgent(DeactivateAgent { agent }),
        Type::ReactivateAgent => Command::ReactivateAgent(ReactivateAgent { agent }),
        Type::MarkAgentGone => Command::MarkAgentGone(MarkAgentGone { agent }),
        _ => {
            let part = call.drain_agent.as_ref();
            Command::DrainAgent(DrainAgent {
                agent,
                max_grace: part.and_then(max_grace),
                mark_gone: part.is_some_and(call::DrainAgent::mark_gone),
            })
        }
    }
}

/// Whole milliseconds; the validation of the call saw to it that it is not negative.
fn max_grace(part: &call::DrainAgent) -> Option<DurationMs> {
    let period = part.max_grace_period.as_ref()?;
    let seconds = u64::try_from(period.seconds).unwrap_or(0);
    let nanos = u64::try_from(period.nanos).unwrap_or(0);
    Some(DurationMs(
        seconds
            .saturating_mul(1_000)
            .saturating_add(nanos / 1_000_000),
    ))
}
