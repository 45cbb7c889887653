//! SUBSCRIBE of the operator API: everything that happens, as it happens.
//!
//! Every master tells it, from what it applies, entry by entry: the same events in the same order
//! everywhere. Each has a [`Position`] in the log, so that a watcher that lost its master goes on at
//! another one without missing or repeating anything:
//!
//! - the header [`AFTER_HEADER`], or the parameter `after`, asks for positions: every event then has
//!   a member `regency_position`;
//! - its value is the last position that the watcher got, or `0` for a new one. When this master
//!   remembers all that happened since, SUBSCRIBED comes without `get_state` and the rest follows;
//!   when it does not, `get_state` is there and takes the place of what the watcher knew.
//!
//! Without the header the stream is as in Mesos.

mod hub;
mod position;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Response, StatusCode, Version};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use regency_wire::ContentType;
use tokio::time::MissedTickBehavior;

pub use hub::{EventHub, EventLimits};
pub use position::{NoPosition, Position};

use self::hub::{Closed, Form, Subscription};
use super::consistency::{self, MIN_INDEX_WAIT_MAX, Parameters, parameters};
use super::refused::Refused;
use super::reply::{body, with_index};
use super::{LeaderAt, OperatorCx, Unavailable};
use crate::api::cx::{ApiCx, Where};
use crate::query::v1::events::{heartbeat, subscribed};

/// Header of requests: the position behind which the stream goes on.
pub const AFTER_HEADER: &str = "x-regency-after";

/// How often watchers are shown that their streams live, as SUBSCRIBED says.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Entries that may wait to be told. When there are more, all watchers have to begin anew.
const ENTRIES_WAITING_MAX: usize = 16 * 1024;

/// Marks an answer that goes on for ever. It is not compressed: a compressor holds back what is small.
#[derive(Debug, Clone, Copy)]
struct Endless;

/// Whether an answer has an end.
pub(super) fn ends(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<Endless>().is_none()
}

/// Opens a stream.
pub(super) async fn subscribe<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    content: ContentType,
) -> Result<Response<Body>, Refused> {
    let parameters = parameters(parts)?;
    let after = after(parts, &parameters)?;
    let mut index = consistency::view(cx, parts, &parameters).await?.index;
    if let Some(after) = after.filter(|after| after.index > index) {
        cx.applied(after.index, MIN_INDEX_WAIT_MAX).await?;
        index = after.index;
    }
    if cx.leader() == LeaderAt::Nowhere {
        return Err(Unavailable("no leader is known".to_owned()).into());
    }
    // What is applied is told a moment later.
    let hub = cx.events();
    let mut told = hub.index();
    let caught_up = told.wait_for(|told| *told >= index);
    match tokio::time::timeout(MIN_INDEX_WAIT_MAX, caught_up).await {
        Ok(Ok(_)) => {}
        _ => return Err(Unavailable(format!("entry {index} is not told yet")).into()),
    }
    let form = Form {
        content,
        positions: after.is_some(),
    };
    let Subscription {
        state,
        position,
        missed,
        queue,
    } = hub.subscribe(form, after);
    // The state may be large.
    let hub = Arc::clone(hub);
    let first = move || form.record(subscribed(state.as_ref(), hub.identity()), position);
    let first = tokio::task::spawn_blocking(first).await.map_err(|error| {
        tracing::error!(%error, "the first event of a stream could not be made");
        Unavailable("the state could not be written".to_owned())
    })?;
    let first = [first, form.record(heartbeat(), position)];
    let missed =
        stream::iter(missed).map(move |kept| form.record(kept.told.event(), kept.position));
    let records = stream::iter(first)
        .chain(missed)
        .chain(queue)
        .map(Ok::<Bytes, std::convert::Infallible>);
    let streaming = body(content.media_type(), Body::from_stream(records));
    let mut response = with_index(streaming, position.index);
    response.extensions_mut().insert(Endless);
    Ok(response)
}

/// What the watcher knows already, if it wants positions.
fn after(parts: &Parts, parameters: &Parameters) -> Result<Option<Position>, Refused> {
    let (name, text) = match parameters.get("after") {
        Some(text) => ("after", text.as_str()),
        None => match parts.headers.get(AFTER_HEADER) {
            Some(value) => (AFTER_HEADER, value.to_str().unwrap_or("?")),
            None => return Ok(None),
        },
    };
    let wrong = |error: NoPosition| Refused::Malformed(format!("'{name}' is '{text}': {error}"));
    text.parse().map(Some).map_err(wrong)
}

/// Brings a hub every entry that is applied here, until nothing is any more.
pub(crate) async fn follow(cx: ApiCx, hub: Arc<EventHub>) {
    let mut entries = cx.consensus.entries(ENTRIES_WAITING_MAX);
    let applied = cx.consensus.state().get();
    hub.restart(applied.index, applied.state.clone());
    let mut last = applied.index;
    drop(applied);
    let mut tick = tokio::time::interval(HEARTBEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            entry = entries.recv() => {
                let Some(entry) = entry else { return };
                if entry.index <= last {
                    continue;
                }
                // The first one to be received follows what was read above.
                if entry.follows || entry.index == last + 1 {
                    hub.apply(entry.index, entry.state);
                } else {
                    hub.restart(entry.index, entry.state);
                }
                last = entry.index;
            }
            _ = tick.tick() => match cx.leader() {
                // Silence would pass for quiet.
                Where::Nowhere => hub.close(Closed::NoLeader),
                Where::Here(_) | Where::There(_) => hub.heartbeat(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
