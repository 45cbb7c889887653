//! SUBSCRIBE: the answer is a stream, also where the subscription is refused.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode, Uri};
use futures::StreamExt as _;
use regency_state::{Command, Outcome, SubscribeFramework};
use regency_types::StreamId;
use regency_wire::v1::scheduler::call::Type as CallType;
use regency_wire::v1::scheduler::{Call, Event};
use regency_wire::{ContentType, encode, recordio};

use super::framework_info::{self, Said};
use super::{STREAM_ID, update};
use crate::api::answer;
use crate::api::cx::ApiCx;
use crate::counters::of_framework;
use crate::leader::{FrameworkStream, Leader};
use crate::query;

pub(super) async fn subscribe(
    cx: &ApiCx,
    leader: &Arc<Leader>,
    uri: &Uri,
    content: ContentType,
    call: Call,
) -> Response<Body> {
    let stream = cx.ids.stream_id();
    let Some(subscribe) = call.subscribe else {
        return refused(content, stream, "Expecting 'subscribe' to be present");
    };
    let limits = leader.config.pattern_limits;
    let parsed = match framework_info::read(Said::from(&subscribe), limits) {
        Ok(parsed) => parsed,
        Err(error) => return refused(content, stream, &error.to_string()),
    };
    let kept = update::kept(&leader.state().state, &parsed, &leader.config);
    let command = Command::SubscribeFramework(SubscribeFramework {
        framework: parsed.framework,
        spec: parsed.spec,
        suppressed: subscribe.suppressed_roles,
        stream,
        kept,
    });
    let framework = match leader.consensus.propose(command).await {
        Ok(Ok(Outcome::Subscribed { framework })) => framework,
        Ok(Ok(other)) => {
            tracing::error!(?other, "a subscription had another outcome");
            return answer::text(StatusCode::INTERNAL_SERVER_ERROR, "unexpected outcome");
        }
        Ok(Err(refusal)) => return refused(content, stream, &refusal.to_string()),
        Err(error) => return answer::no_verdict(&error, uri),
    };
    let counts = of_framework(&framework, &leader.state().state);
    counts.call(CallType::Subscribe);
    let (events, body) = FrameworkStream::new(
        framework.clone(),
        stream,
        content,
        leader.cluster,
        leader.config.stream_buffer_bytes_max,
        leader.streams.departures.clone(),
        counts,
    );
    // Two subscriptions may be answered in another order than they were committed in: only the
    // newest may become the framework's stream.
    let current = leader
        .state()
        .state
        .framework(&framework)
        .and_then(|f| f.stream());
    if current != Some(stream) {
        return refused(content, stream, "Framework failed over");
    }
    leader.streams.insert(Arc::clone(&events));
    tracing::info!(framework_id = %framework, "framework subscribed");
    let state = leader.state();
    let Some(term) = state.state.term() else {
        return answer::no_leader();
    };
    let master = query::master::info(&term.master, leader.config.domain.as_ref());
    let subscribed = Event::subscribed((&framework).into(), master);
    events.open(&[subscribed, Event::heartbeat()], || {
        leader.state().state.clone()
    });
    leader.allocate.notify_one();
    // What lies here when this master must not lead any more is not sent: the next leader knows.
    let gate = leader.consensus.gate();
    let body = body.take_while(move |_| std::future::ready(gate.is_open()));
    streaming(content, stream, Body::from_stream(body))
}

/// A stream that says why and ends.
fn refused(content: ContentType, stream: StreamId, message: &str) -> Response<Body> {
    let record = recordio::frame(&encode(content, &Event::error(message)));
    let body = futures::stream::once(async { Ok::<_, std::convert::Infallible>(record) });
    streaming(content, stream, Body::from_stream(body))
}

fn streaming(content: ContentType, stream: StreamId, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content.media_type()));
    let id = HeaderValue::from_str(&stream.to_string()).expect("a uuid is a valid header value");
    headers.insert(STREAM_ID, id);
    response
}
