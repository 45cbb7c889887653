//! `POST /api/v1/executor`, checked in the order that Mesos checks in.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use axum::response::IntoResponse;
use regency_types::TaskId;
use regency_wire::v1::executor::call::Type;
use regency_wire::v1::executor::{Call, Event};
use regency_wire::{ContentType, decode, encode, recordio, validate};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use super::{Ask, Stranger, What, event, status};
use crate::refused::Refused;

/// Most bytes of a call. A subscription names all tasks and updates that were not acknowledged.
pub(crate) const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often a stream without events shows that it lives (Mesos).
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30 * 60);
/// Events that are encoded ahead of what the executor reads.
const AHEAD_MAX: usize = 16;

impl From<Stranger> for Refused {
    fn from(stranger: Stranger) -> Self {
        let code = match stranger {
            Stranger::Framework | Stranger::Executor => StatusCode::BAD_REQUEST,
            Stranger::NotSubscribed => StatusCode::FORBIDDEN,
            Stranger::TooManyUpdates => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(code, stranger)
    }
}

/// Answers a call, asking the driver through `asks`.
pub(crate) async fn answer(
    asks: &mpsc::Sender<Ask>,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Response<Body> {
    let answer = carry_out(asks, method, headers, body).await;
    answer.unwrap_or_else(IntoResponse::into_response)
}

async fn carry_out(
    asks: &mpsc::Sender<Ask>,
    method: &Method,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response<Body>, Refused> {
    if method != Method::POST {
        return Err(Refused::not_post(method));
    }
    let header = headers.get(CONTENT_TYPE).map(|v| v.to_str().unwrap_or(""));
    let content = ContentType::of_request(header)?;
    let call: Call = decode(content, body).map_err(Refused::bad)?;
    let call_type = validate::executor::check(&call).map_err(Refused::bad)?;
    let (framework, executor) = (call.framework_id.value, call.executor_id.value);
    let ask = |what| Ask {
        framework,
        executor,
        what,
    };
    match call_type {
        Type::Heartbeat => Ok(accepted()),
        Type::Unknown => Err(Refused::new(
            StatusCode::NOT_IMPLEMENTED,
            "the call UNKNOWN is not implemented",
        )),
        Type::Subscribe => {
            let accept = headers.get_all(ACCEPT).iter();
            let accept = accept.filter_map(|value| value.to_str().ok());
            let accepts = ContentType::acceptable(accept)?;
            let subscribe = call.subscribe.unwrap_or_default();
            let tasks = subscribe.unacknowledged_tasks.iter();
            let tasks = tasks.map(|task| TaskId::new(&task.task_id.value));
            let tasks = tasks.collect::<Result<_, _>>().map_err(|error| {
                Refused::bad(format!(
                    "'subscribe.unacknowledged_tasks' is invalid: {error}"
                ))
            })?;
            let updates = subscribe.unacknowledged_updates.into_iter();
            let updates: Vec<_> = updates.map(|update| update.status).collect();
            for update in &updates {
                status::check(update).map_err(Refused::bad)?;
            }
            let events = asked(asks, |answer| {
                ask(What::Subscribe {
                    tasks,
                    updates,
                    answer,
                })
            });
            Ok(stream(events.await?, accepts))
        }
        Type::Update => {
            let Some(update) = call.update else {
                return Err(Refused::bad("'update' is missing"));
            };
            status::check(&update.status).map_err(Refused::bad)?;
            let status = Box::new(update.status);
            asked(asks, |answer| ask(What::Update { status, answer })).await?;
            Ok(accepted())
        }
        Type::Message => {
            let data = call.message.unwrap_or_default().data;
            asked(asks, |answer| ask(What::Message { data, answer })).await?;
            Ok(accepted())
        }
    }
}

fn accepted() -> Response<Body> {
    StatusCode::ACCEPTED.into_response()
}

async fn asked<T>(
    asks: &mpsc::Sender<Ask>,
    ask: impl FnOnce(oneshot::Sender<Result<T, Stranger>>) -> Ask,
) -> Result<T, Refused> {
    let (answer, answered) = oneshot::channel();
    let asked = asks.send(ask(answer)).await;
    asked.map_err(|_| Refused::busy())?;
    let answer = answered.await.map_err(|_| Refused::busy())?;
    Ok(answer?)
}

/// The events as records, until either side ends.
fn stream(mut events: mpsc::Receiver<Event>, content: ContentType) -> Response<Body> {
    let (records, body) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(AHEAD_MAX);
    tokio::spawn(async move {
        let begin = tokio::time::Instant::now() + HEARTBEAT_INTERVAL;
        let mut heartbeat = tokio::time::interval_at(begin, HEARTBEAT_INTERVAL);
        loop {
            let event = tokio::select! {
                event = events.recv() => match event {
                    Some(event) => event,
                    None => return,
                },
                _ = heartbeat.tick() => event::heartbeat(),
                () = records.closed() => return,
            };
            let record = recordio::frame(&encode(content, &event));
            if records.send(Ok(record)).await.is_err() {
                return;
            }
        }
    });
    let body = Body::from_stream(ReceiverStream::new(body));
    ([(CONTENT_TYPE, content.media_type())], body).into_response()
}
