//! The older read endpoints.
//!
//! Any method reads, as in Mesos: some clients POST to them.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::request::Parts;
use axum::routing::any;

use super::consistency::{Parameters, parameters, view};
use super::jsonp::{Callback, to_json};
use super::machine::Machine;
use super::refused::Refused;
use super::reply::{at_leisure, with_index};
use super::{OperatorCx, OwnedView, aliased};
use crate::flags::duration;
use crate::query::legacy::{self, Order, TasksQuery};
use crate::query::metrics;

#[derive(Debug, Clone, Copy)]
enum Endpoint {
    State,
    StateSummary,
    Slaves,
    Frameworks,
    Tasks,
    Roles,
    OfferConstraintsDebug,
    Version,
    Flags,
    MetricsSnapshot,
}

const ENDPOINTS: [(&str, Endpoint); 10] = [
    ("/state", Endpoint::State),
    ("/state-summary", Endpoint::StateSummary),
    ("/slaves", Endpoint::Slaves),
    ("/frameworks", Endpoint::Frameworks),
    ("/tasks", Endpoint::Tasks),
    ("/roles", Endpoint::Roles),
    (
        "/allocator/offer_constraints_debug",
        Endpoint::OfferConstraintsDebug,
    ),
    ("/version", Endpoint::Version),
    ("/flags", Endpoint::Flags),
    ("/metrics/snapshot", Endpoint::MetricsSnapshot),
];

pub(super) fn routes<C: OperatorCx>(router: Router<C>) -> Router<C> {
    ENDPOINTS.iter().fold(router, |router, (path, endpoint)| {
        let endpoint = *endpoint;
        aliased(router, path, || {
            any(move |State(cx): State<C>, parts: Parts| async move {
                read(&cx, endpoint, &parts).await
            })
        })
    })
}

async fn read<C: OperatorCx>(
    cx: &C,
    endpoint: Endpoint,
    parts: &Parts,
) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let callback = Callback::of(&parameters)?;
    let view = match endpoint {
        // Of this process, whatever is applied: monitoring must see a master that is not ready.
        Endpoint::Version | Endpoint::Flags => cx.view(),
        Endpoint::MetricsSnapshot => {
            if let Some(text) = parameters.get("timeout") {
                // Everything is at hand, so nothing is left out for want of time.
                duration(text).map_err(|error| {
                    Refused::Malformed(format!("'timeout' is a time, not '{text}': {error}"))
                })?;
            }
            measured(cx)
        }
        _ => view(cx, parts, &parameters).await?,
    };
    let tasks_query = match endpoint {
        Endpoint::Tasks => tasks_query(&parameters).map_err(Refused::Malformed)?,
        _ => TasksQuery::default(),
    };
    let answer = move || {
        let json = write(endpoint, &view, &parameters, &tasks_query);
        with_index(callback.answer(json), view.index)
    };
    Ok(at_leisure(answer).await)
}

fn write(
    endpoint: Endpoint,
    view: &OwnedView,
    parameters: &Parameters,
    tasks_query: &TasksQuery,
) -> Vec<u8> {
    let view = &view.view();
    let parameter = |name| parameters.get(name).map(String::as_str);
    match endpoint {
        Endpoint::State => to_json(&legacy::state(view)),
        Endpoint::StateSummary => to_json(&legacy::summary(view)),
        Endpoint::Slaves => to_json(&legacy::slaves(view, parameter("slave_id"))),
        Endpoint::Frameworks => to_json(&legacy::frameworks(view, parameter("framework_id"))),
        Endpoint::Tasks => to_json(&legacy::tasks(view, tasks_query)),
        Endpoint::Roles => to_json(&legacy::roles(view)),
        Endpoint::OfferConstraintsDebug => to_json(&legacy::offer_constraints_debug(view)),
        Endpoint::Version => to_json(&legacy::version(view)),
        Endpoint::Flags => to_json(&legacy::flags(view)),
        Endpoint::MetricsSnapshot => to_json(&metrics::snapshot(view)),
    }
}

/// What there is to read, and what this process measured beside it.
pub(super) fn measured<C: OperatorCx>(cx: &C) -> OwnedView {
    let mut view = cx.view();
    view.live.measured = cx.counted();
    // What cannot be measured is left out.
    if let Ok(machine) = Machine::measure() {
        view.live.measured.extend(machine.keys());
    }
    let watchers = cx.events().n_streams() as f64;
    let key = "master/operator_event_stream_subscribers";
    view.live.measured.insert(key.to_owned(), watchers);
    view
}

/// The parameters of `/tasks`.
fn tasks_query(parameters: &Parameters) -> Result<TasksQuery, String> {
    let number = |name: &str, default: usize| match parameters.get(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| format!("'{name}' is a number of tasks, not '{text}'")),
    };
    let default = TasksQuery::default();
    Ok(TasksQuery {
        limit: match parameters.get("limit").map(String::as_str) {
            // As large as can be: Mesos reads it so, and its own command line asks for all tasks by it.
            Some("-1") => usize::MAX,
            _ => number("limit", default.limit)?,
        },
        offset: number("offset", default.offset)?,
        order: match parameters.get("order").map(String::as_str) {
            None => default.order,
            Some("asc") => Order::Ascending,
            Some("des") => Order::Descending,
            Some(other) => return Err(format!("'order' is 'asc' or 'des', not '{other}'")),
        },
        framework_id: parameters.get("framework_id").cloned(),
        task_id: parameters.get("task_id").cloned(),
    })
}
