//! The edge that speaks HTTP with clients. Routes, as a table of contents:
//!
//! | path | what | where |
//! |---|---|---|
//! | `/api/v1/scheduler` | the Mesos v1 scheduler API | `scheduler` |
//! | `/regency/status` | this master's view of the cluster, for tools | `status` |
//! | `/regency/members` and below | the members, for those who run the cluster | `admin` |
//! | everything else | operator API, legacy endpoints, health, metrics | [`operator`] |

mod admin;
mod answer;
mod cx;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod malformed;
pub mod operator;
mod resource_operation;
mod scheduler;
mod status;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get};

use self::operator::EventHub;
pub(crate) use cx::{ApiCx, Where};

/// Everything this master answers over HTTP.
pub(crate) fn router(cx: ApiCx, events: Arc<EventHub>) -> Router {
    let body_max = cx.max_request_bytes;
    let own = Router::new()
        .route("/api/v1/scheduler", any(scheduler::call))
        .route("/master/api/v1/scheduler", any(scheduler::call))
        .route("/regency/status", get(status::status))
        .merge(admin::routes())
        .method_not_allowed_fallback(answer::no_such_method)
        .with_state(cx.clone());
    let here = operator::Here::new(cx, events);
    tokio::spawn(here.clone().catch_up());
    let operator = operator::routes().with_state(here);
    own.merge(operator)
        .fallback(operator::not_found)
        .layer(DefaultBodyLimit::max(body_max))
}
