//! Our answers beside those of a real Mesos 1.11 master.
//!
//! `shapes/` holds what captures of one look like (see `shape`; `examples/golden_shapes.rs`
//! derives them). Each request is sent to our routes, over a state brought into the same
//! situation by entries, and the answer's shape compared: status, headers, the words of errors,
//! and every path that Mesos' body has, with its type. What we add is our own business; what
//! we leave out or do otherwise is in [`differences`], with its reason, and nowhere else.

mod differences;
mod document;
mod events;
mod figures;
mod http;
mod judge;
mod maintenance;
mod methods;
mod operations;
mod roles;
mod shape;
mod world;

#[path = "../../src/query/fixture.rs"]
#[allow(dead_code, reason = "shared with the unit tests, which use the rest")]
mod fixture;

// The fixture names it relative to its place below `query`.
use regency_master::query::Identity;

use std::path::Path;

use axum::body::Body;
use axum::http::Request;

use differences::DIFFERENCES;
use figures::OPERATORS;
use fixture::Cluster;
use http_body_util::BodyExt as _;
use judge::{Deviation, judge};
use shape::{
    Exchange, Shape, differences_of, headers_that_matter, missing, readable, shape_of, unmasked,
};
use world::Fake;

fn shapes(situation: &str) -> Vec<(String, Exchange)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/shapes")
        .join(situation);
    let mut shapes: Vec<(String, Exchange)> = std::fs::read_dir(&folder)
        .expect("there are shapes of the situation")
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let name = path
                .file_stem()
                .expect("a file has a name")
                .to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("a shape is text");
            (format!("{situation}/{name}"), Exchange::read(&text))
        })
        .collect();
    shapes.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(!shapes.is_empty(), "there are no shapes of {situation}");
    shapes
}

async fn deviations(situation: &str, cluster: &Cluster) -> Vec<Deviation> {
    let fake = Fake::leading(cluster);
    let mut deviations = Vec::new();
    // The captured number of an agent or a framework counts from the first one, as here.
    let here = |text: &str| {
        unmasked(text, |kind, number| {
            let mut agents = cluster.state.agents();
            let mut frameworks = cluster.state.frameworks();
            let id = match kind {
                "AGENT" => agents.nth(number).map(|agent| agent.id.to_string()),
                "FRAMEWORK" => frameworks.nth(number).map(|one| one.id.to_string()),
                _ => None,
            };
            id.unwrap_or_else(|| panic!("there is no {kind} {number} in {situation}"))
        })
    };
    for (case, expected) in shapes(situation) {
        let mut request = Request::builder()
            .method(expected.request.method.as_str())
            .uri(here(&expected.request.path));
        for (name, value) in &expected.request.headers {
            request = request.header(name, value);
        }
        let body = &expected.request.body;
        let body = match std::str::from_utf8(body) {
            Ok(text) => here(text).into_bytes(),
            Err(_) => body.clone(),
        };
        let request = request
            .body(Body::from(body))
            .expect("a captured request is one");
        let response = fake.send(request).await;
        let status = response.status().as_u16();
        let headers = headers_that_matter(
            response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?"))),
        );
        let body = response.into_body().collect().await;
        let body = body.expect("the body ends well").to_bytes();
        let body = readable(&expected.request.path, &headers, &body);
        let found = differences_of(&expected, status, &headers, &body);
        deviations.extend(found.into_iter().map(|(path, what)| Deviation {
            case: case.clone(),
            path,
            what,
        }));
    }
    deviations
}

#[tokio::test]
async fn answers_have_the_shape_of_mesos_but_for_the_listed_differences() {
    let situations = [
        ("idle", world::idle()),
        ("busy", world::busy()),
        ("disconnected", world::disconnected()),
        ("after-teardown", world::after_teardown()),
        ("reserved", world::reserved()),
        ("operator", world::operator()),
        ("maintenance", world::maintenance()),
        ("deactivated", world::deactivated()),
        ("drained", world::drained()),
        ("gone", world::gone()),
        ("errors", world::idle()),
    ];
    let mut all = Vec::new();
    for (situation, cluster) in &situations {
        all.extend(deviations(situation, cluster).await);
    }
    all.extend(events::deviations().await);
    let n = situations
        .iter()
        .map(|(name, _)| shapes(name).len())
        .sum::<usize>()
        + shapes("operator-stream").len();
    judge(DIFFERENCES, &all, n, OPERATORS);
}

#[test]
fn a_missing_path_and_a_wrong_type_are_noticed() {
    let paths = |text| match shape_of(text) {
        Shape::Json(None, paths) => paths,
        other => panic!("{other:?}"),
    };
    let expected = paths(r#"{"a":[{"b":1.0}],"c":"x"}"#);
    assert_eq!(
        missing(&expected, &paths(r#"{"a":[{"b":2.5}],"c":"y","d":1}"#)),
        []
    );
    let found: Vec<String> = missing(&expected, &paths(r#"{"a":[{"b":1}]}"#))
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    assert_eq!(found, ["$.a[].b", "$.c"]);
}
