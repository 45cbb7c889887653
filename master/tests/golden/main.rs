//! Our answers beside those of a real Mesos 1.11 master.
//!
//! `shapes/` holds what captures of one look like (see `shape`; `examples/golden_shapes.rs`
//! derives them). Each request is sent to our routes, over a state brought into the same
//! situation by entries, and the answer's shape compared: status, headers, the words of errors,
//! and every path that Mesos' body has, with its type. What we add is our own business; what
//! we leave out or do otherwise is in [`differences`], with its reason, and nowhere else.

mod differences;
mod events;
mod http;
mod operations;
mod roles;
mod shape;
mod world;

#[path = "../../src/query/fixture.rs"]
#[allow(dead_code, reason = "shared with the unit tests, which use the rest")]
mod fixture;

// The fixture names it relative to its place below `query`.
use regency_master::query::Identity;

use std::collections::BTreeSet;
use std::path::Path;

use axum::body::Body;
use axum::http::Request;

use differences::{DIFFERENCES, Difference};
use fixture::Cluster;
use shape::{Exchange, Paths, Shape, headers_that_matter, shape_of};
use world::{Fake, body_text};

/// One way in which an answer of ours is not the captured one.
#[derive(Debug)]
struct Deviation {
    case: String,
    path: String,
    what: String,
}

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
    for (case, expected) in shapes(situation) {
        let mut request = Request::builder()
            .method(expected.request.method.as_str())
            .uri(&expected.request.path);
        for (name, value) in &expected.request.headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Body::from(expected.request.body.clone()))
            .expect("a captured request is one");
        let response = fake.send(request).await;
        let status = response.status().as_u16();
        let headers = headers_that_matter(
            response
                .headers()
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?"))),
        );
        let body = shape_of(&body_text(response).await);
        let mut deviate = |path: &str, what: String| {
            deviations.push(Deviation {
                case: case.clone(),
                path: path.to_owned(),
                what,
            });
        };
        if status != expected.status {
            deviate("status", format!("{} is {status}", expected.status));
        }
        if headers != expected.headers {
            deviate("headers", format!("{:?} is {headers:?}", expected.headers));
        }
        match (&expected.body, &body) {
            (Shape::Json(name, expected), Shape::Json(ours, paths)) if name == ours => {
                for (path, what) in missing(expected, paths) {
                    deviate(&path, what);
                }
            }
            (expected, ours) if expected == ours => {}
            (expected, ours) => deviate("body", format!("{expected:?} is {ours:?}")),
        }
    }
    deviations
}

/// The paths that are not there, or hold something else.
fn missing(expected: &Paths, ours: &Paths) -> Vec<(String, String)> {
    expected
        .iter()
        .filter_map(|(path, kinds)| match ours.get(path) {
            None => Some((path.clone(), format!("{kinds:?} is not there"))),
            Some(ours) if ours != kinds => Some((path.clone(), format!("{kinds:?} is {ours:?}"))),
            Some(_) => None,
        })
        .collect()
}

impl Difference {
    fn covers(&self, deviation: &Deviation) -> bool {
        self.cases.iter().any(|case| matches(case, &deviation.case))
            && self.paths.iter().any(|path| matches(path, &deviation.path))
    }

    /// The patterns that no deviation needs.
    fn unused<'a>(&self, all: &'a [Deviation]) -> impl Iterator<Item = &'static str> {
        let covered: Vec<&'a Deviation> = all.iter().filter(|d| self.covers(d)).collect();
        let cases = self.cases.iter().copied();
        let paths = self.paths.iter().copied();
        let unused_cases: Vec<_> = cases
            .filter(|case| !covered.iter().any(|d| matches(case, &d.case)))
            .collect();
        let unused_paths: Vec<_> = paths
            .filter(|path| !covered.iter().any(|d| matches(path, &d.path)))
            .collect();
        unused_cases.into_iter().chain(unused_paths)
    }
}

/// Whether a pattern of [`differences`] means this text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, behind)) => {
            let rest = text.strip_prefix(before);
            rest.is_some_and(|rest| rest.ends_with(behind))
        }
        None => text == pattern,
    }
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
        ("errors", world::idle()),
    ];
    let mut all = Vec::new();
    for (situation, cluster) in &situations {
        all.extend(deviations(situation, cluster).await);
    }
    all.extend(events::deviations().await);
    let unlisted: Vec<String> = all
        .iter()
        .filter(|deviation| !DIFFERENCES.iter().any(|listed| listed.covers(deviation)))
        .map(|deviation| format!("{} {}: {}", deviation.case, deviation.path, deviation.what))
        .collect();
    assert!(
        unlisted.is_empty(),
        "{} deviations that no difference lists:\n{}",
        unlisted.len(),
        unlisted.join("\n")
    );
    let unused: BTreeSet<String> = DIFFERENCES
        .iter()
        .flat_map(|listed| {
            listed
                .unused(&all)
                .map(|pattern| format!("{pattern} ({})", listed.reason))
        })
        .collect();
    assert!(unused.is_empty(), "no longer differences: {unused:#?}");
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
