//! The stream of events, beside one of a real Mesos; and what we add to it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use regency_master::api::operator::{EventHub, EventLimits, LeaderAt, Unavailable};
use regency_state::model::Capabilities;
use regency_state::{Command, TeardownFramework};
use regency_wire::v1::master::Event;
use regency_wire::v1::master::event::Type;
use regency_wire::{ContentType, decode, recordio};

use crate::fixture::{Cluster, identity};
use crate::judge::Deviation;
use crate::shape::{Paths, Shape, headers_that_matter, missing, shape_of};
use crate::shapes;
use crate::world::{Fake, after_teardown, body_text};

/// The index that [`Fake`] says it is at.
const INDEX: u64 = 17;
const LIMITS: EventLimits = EventLimits {
    streams: 10,
    kept: 1_000,
    waiting_bytes: 1 << 20,
};

/// How many entries a cluster began with: the first term and two agents.
const BEGUN: usize = 3;

/// A master of a cluster in which nothing has happened yet.
fn at_the_beginning(cluster: &Cluster) -> Fake {
    let first = cluster.states[BEGUN - 1].clone();
    Fake {
        events: EventHub::new(Arc::new(identity()), LIMITS, INDEX, first),
        ..Fake::leading(cluster)
    }
}

/// Everything that happened, at that master.
fn go_on(fake: &Fake, cluster: &Cluster) {
    for (index, state) in (INDEX + 1..).zip(&cluster.states[BEGUN..]) {
        fake.events.apply(index, state.clone());
    }
}

async fn watch(fake: &Fake, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::post("/api/v1").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Body::from(r#"{"type":"SUBSCRIBE"}"#);
    fake.send(request.body(body).expect("a request")).await
}

/// The next record: one chunk is one record.
async fn next(body: &mut Body) -> Vec<u8> {
    let frame = body.frame().await.expect("the stream goes on");
    let chunk = frame.expect("a chunk").into_data().expect("data");
    let mut records = recordio::Decoder::new(1 << 20);
    records.feed(&chunk);
    let record = records.next_record().expect("well formed").expect("whole");
    assert!(records.next_record().expect("well formed").is_none());
    record.to_vec()
}

/// How our events differ from those of Mesos, type by type.
pub(crate) async fn deviations() -> Vec<Deviation> {
    let mut cluster = after_teardown();
    // One of a single role, as older frameworks are.
    let framework = cluster.subscribe("legacy", Capabilities::default());
    cluster.ok(Command::TeardownFramework(TeardownFramework { framework }));
    let fake = at_the_beginning(&cluster);
    let expected = shapes("operator-stream");
    let request = &expected[0].1.request;
    let headers: Vec<_> = request.headers.iter().collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let response = watch(&fake, &headers).await;
    let status = response.status().as_u16();
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?")));
    let headers = headers_that_matter(headers);
    go_on(&fake, &cluster);
    let mut body = response.into_body();
    let mut ours: Vec<(String, Paths)> = Vec::new();
    let mut n_removed = 0;
    while n_removed < 2 {
        let text = String::from_utf8(next(&mut body).await).expect("JSON is text");
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let name = event["type"].as_str().expect("a type").to_owned();
        let Shape::Json(_, paths) = shape_of(&text) else {
            panic!("no JSON: {text}");
        };
        n_removed += usize::from(name == "FRAMEWORK_REMOVED");
        ours.push((name, paths));
    }
    let mut deviations = Vec::new();
    for (case, expected) in &expected {
        let mut deviate = |path: &str, what: String| {
            deviations.push(Deviation {
                case: case.clone(),
                path: path.to_owned(),
                what,
            });
        };
        if status != expected.status || headers != expected.headers {
            deviate("headers", format!("{:?} is {headers:?}", expected.headers));
        }
        let Shape::Json(_, expected) = &expected.body else {
            panic!("an event is JSON");
        };
        let name = case.rsplit('/').next().expect("a type");
        let mut all = Paths::new();
        for (_, paths) in ours.iter().filter(|(ours, _)| ours == name) {
            for (path, kinds) in paths {
                all.entry(path.clone()).or_default().extend(kinds);
            }
        }
        for (path, what) in missing(expected, &all) {
            deviate(&path, what);
        }
    }
    deviations
}

#[tokio::test]
async fn a_stream_begins_with_everything_or_goes_on_behind_a_position() {
    let cluster = after_teardown();
    let fake = at_the_beginning(&cluster);
    let plain = watch(&fake, &[]).await;
    assert_eq!(plain.headers()["x-regency-index"], "17");
    let mut plain = plain.into_body();
    let text = String::from_utf8(next(&mut plain).await).expect("text");
    assert!(text.starts_with(r#"{"type":"SUBSCRIBED","subscribed":{"get_state":"#));
    assert!(!text.contains("regency_position"), "nobody asked for it");
    assert_eq!(next(&mut plain).await, br#"{"type":"HEARTBEAT"}"#);

    go_on(&fake, &cluster);
    let mut fresh = watch(&fake, &[("x-regency-after", "17")]).await.into_body();
    let text = String::from_utf8(next(&mut fresh).await).expect("text");
    assert_eq!(
        text,
        r#"{"type":"SUBSCRIBED","subscribed":{"heartbeat_interval_seconds":15.0},"regency_position":"17"}"#
    );
    next(&mut fresh).await;
    let text = String::from_utf8(next(&mut fresh).await).expect("text");
    assert!(text.ends_with(r#","regency_position":"18.0"}"#), "{text}");
}

#[tokio::test]
async fn a_stream_is_protobuf_where_asked_for_and_never_compressed() {
    let cluster = after_teardown();
    let fake = at_the_beginning(&cluster);
    let asked = [
        ("accept", "application/x-protobuf"),
        ("accept-encoding", "gzip"),
    ];
    let response = watch(&fake, &asked).await;
    assert_eq!(response.headers()["content-type"], "application/x-protobuf");
    assert!(!response.headers().contains_key("content-encoding"));
    let mut body = response.into_body();
    for expected in [Type::Subscribed, Type::Heartbeat] {
        let event: Event = decode(ContentType::Protobuf, &next(&mut body).await).expect("an event");
        assert_eq!(event.r#type(), expected);
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_had_is_refused_with_the_reason() {
    let mut fake = Fake::leading(&after_teardown());
    let wrong = watch(&fake, &[("x-regency-after", "soon")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let text = body_text(wrong).await;
    assert!(text.starts_with("'x-regency-after' is 'soon'"), "{text}");
    let later = watch(&fake, &[("x-regency-after", "18.2")]).await;
    assert_eq!(later.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body_text(later).await, "entry 18 is not applied here");
    let not_acceptable = watch(&fake, &[("accept", "text/html")]).await;
    assert_eq!(not_acceptable.status(), StatusCode::NOT_ACCEPTABLE);
    fake.leader = LeaderAt::Nowhere;
    let nobody = watch(&fake, &[]).await;
    assert_eq!(nobody.status(), StatusCode::SERVICE_UNAVAILABLE);
    fake.ready = Err(Unavailable("it just started".into()));
    assert_eq!(body_text(watch(&fake, &[]).await).await, "it just started");
}
