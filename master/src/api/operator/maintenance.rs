//! The maintenance schedule, and machines that go down and come up: the v1 calls and the older
//! endpoints.
//!
//! | path (each also below `/master`) | what |
//! |---|---|
//! | `/maintenance/schedule` | GET shows it, POST puts another in its place |
//! | `/maintenance/status` | machines that are down or going to be, with what frameworks say |
//! | `/machine/down` `/machine/up` | POST of a list of machines |

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, Response, Uri};
use axum::response::IntoResponse;
use regency_state::model::{MachineId, MaintenanceWindow, Unavailability};
use regency_state::{Command, StartMaintenance, StopMaintenance, UpdateMaintenance};
use regency_wire::v1::maintenance::Schedule;
use regency_wire::v1::master::Call;
use regency_wire::v1::master::call::Type;
use regency_wire::{json, v1};

use super::consistency::{parameters, view};
use super::jsonp::{Callback, to_json};
use super::refused::Refused;
use super::reply::{bad_request, done, not_allowed, with_index};
use super::teardown::elsewhere;
use super::{OperatorCx, both};
use crate::api::answer::{no_verdict, only_post};
use crate::query::maintenance;

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    let router = both(router, "/maintenance/schedule", schedule::<C>);
    let router = both(router, "/maintenance/status", status::<C>);
    let router = both(router, "/machine/down", down::<C>);
    both(router, "/machine/up", up::<C>)
}

async fn schedule<C: OperatorCx>(
    State(cx): State<C>,
    parts: Parts,
    bytes: Bytes,
) -> Result<Response<Body>, Refused> {
    match parts.method {
        Method::GET => read(&cx, &parts, |state| to_json(&maintenance::schedule(state))).await,
        Method::POST => {
            if let Some(elsewhere) = elsewhere(&cx, &parts.uri) {
                return Ok(elsewhere);
            }
            let schedule: Schedule =
                json::from_slice(&bytes).map_err(|error| Refused::Malformed(error.to_string()))?;
            Ok(propose(&cx, &parts.uri, update(&schedule)).await)
        }
        _ => Ok(not_allowed(&parts.method, &["GET", "POST"])),
    }
}

async fn status<C: OperatorCx>(
    State(cx): State<C>,
    parts: Parts,
) -> Result<Response<Body>, Refused> {
    match parts.method {
        Method::GET => read(&cx, &parts, |state| to_json(&maintenance::status(state))).await,
        _ => Ok(not_allowed(&parts.method, &["GET"])),
    }
}

async fn down<C: OperatorCx>(State(cx): State<C>, parts: Parts, bytes: Bytes) -> Response<Body> {
    machines(&cx, &parts, &bytes, start).await
}

async fn up<C: OperatorCx>(State(cx): State<C>, parts: Parts, bytes: Bytes) -> Response<Body> {
    machines(&cx, &parts, &bytes, stop).await
}

async fn read<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    answer: impl FnOnce(&regency_state::State) -> Vec<u8>,
) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let callback = Callback::of(&parameters)?;
    let view = view(cx, parts, &parameters).await?;
    let response = callback.answer(answer(&view.state));
    Ok(with_index(response, view.index))
}

async fn machines<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    bytes: &[u8],
    command: fn(&[v1::MachineId]) -> Result<Command, String>,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, &parts.uri) {
        return elsewhere;
    }
    if parts.method != Method::POST {
        return only_post(&parts.method);
    }
    match serde_json::from_slice::<Vec<v1::MachineId>>(bytes) {
        Ok(machines) => propose(cx, &parts.uri, command(&machines)).await,
        Err(error) => bad_request(format!("Expecting a list of machines: {error}")),
    }
}

/// Carries out a v1 call about maintenance, at the leader.
pub(super) async fn carry_out<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    call: &Call,
    call_type: Type,
) -> Response<Body> {
    if let Some(elsewhere) = elsewhere(cx, uri) {
        return elsewhere;
    }
    let command = match call_type {
        Type::UpdateMaintenanceSchedule => {
            let part = call.update_maintenance_schedule.as_ref();
            part.map(|part| update(&part.schedule))
        }
        Type::StartMaintenance => {
            let part = call.start_maintenance.as_ref();
            part.map(|part| start(&part.machines))
        }
        Type::StopMaintenance => {
            let part = call.stop_maintenance.as_ref();
            part.map(|part| stop(&part.machines))
        }
        _ => None,
    };
    match command {
        Some(command) => propose(cx, uri, command).await,
        None => Refused::NotImplemented(call_type.as_str_name().to_owned()).into_response(),
    }
}

async fn propose<C: OperatorCx>(
    cx: &C,
    uri: &Uri,
    command: Result<Command, String>,
) -> Response<Body> {
    let command = match command {
        Ok(command) => command,
        Err(why) => return bad_request(why),
    };
    let name = command.name();
    match cx.propose(command).await {
        Ok(Ok(_)) => {
            tracing::info!(
                command = name,
                "an operator changed what is under maintenance"
            );
            done()
        }
        Ok(Err(refusal)) => bad_request(refusal.to_string()),
        Err(error) => no_verdict(&error, uri),
    }
}

fn update(schedule: &Schedule) -> Result<Command, String> {
    let windows = schedule.windows.iter().map(|window| {
        let when = &window.unavailability;
        Ok(MaintenanceWindow {
            machines: named(&window.machine_ids)?,
            unavailability: Unavailability {
                start_ns: when.start.nanoseconds,
                duration_ns: when.duration.as_ref().map(|d| d.nanoseconds),
            },
        })
    });
    let windows = windows.collect::<Result<_, String>>()?;
    Ok(Command::UpdateMaintenance(UpdateMaintenance { windows }))
}

fn start(machines: &[v1::MachineId]) -> Result<Command, String> {
    let machines = named(machines)?;
    Ok(Command::StartMaintenance(StartMaintenance { machines }))
}

fn stop(machines: &[v1::MachineId]) -> Result<Command, String> {
    let machines = named(machines)?;
    Ok(Command::StopMaintenance(StopMaintenance { machines }))
}

fn named(machines: &[v1::MachineId]) -> Result<Vec<MachineId>, String> {
    machines.iter().map(machine).collect()
}

/// A machine as the state names it: host names do not depend on case, and an address has one form.
fn machine(machine: &v1::MachineId) -> Result<MachineId, String> {
    let given = |part: &Option<String>| part.clone().filter(|text| !text.is_empty());
    let ip = given(&machine.ip).map(|text| {
        let ip = text.parse::<IpAddr>();
        ip.map_err(|_| format!("'ip' of a machine is no address: '{text}'"))
    });
    let id = MachineId {
        hostname: given(&machine.hostname).map(|name| name.to_lowercase()),
        ip: ip.transpose()?.map(|ip| ip.to_string()),
    };
    if id == MachineId::default() {
        return Err("Both 'hostname' and 'ip' for a machine are empty".to_owned());
    }
    Ok(id)
}
