//! The calls of frameworks beside those of a real Mesos, at a real master: status, headers, words, and
//! the shape of events. What is compared, and how, is that of `tests/golden`.

#[path = "../../tests/golden/differences.rs"]
#[allow(dead_code, reason = "the other list is for the tests of operators")]
mod differences;
#[path = "../../tests/golden/figures.rs"]
#[allow(dead_code, reason = "the other figures are for other tests")]
mod figures;
#[path = "../../tests/golden/judge.rs"]
mod judge;
#[path = "../../tests/golden/shape.rs"]
#[allow(dead_code, reason = "shared with the tool that writes shapes")]
mod shape;

use std::collections::BTreeMap;
use std::path::Path;

use regency_testkit::malformed::Request;

use self::differences::OF_FRAMEWORKS;
use self::figures::FRAMEWORKS;
use self::judge::{Deviation, judge};
use self::shape::{
    Exchange, Paths, Shape, differences_of, headers_that_matter, missing, readable, shape_of,
    unmasked,
};
use super::testing::{Master, first_record};

/// The shapes of a situation, in the order of their names.
fn shapes(situation: &str) -> Vec<(String, Exchange)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/shapes")
        .join(situation);
    let entries = std::fs::read_dir(folder).expect("there are shapes of the situation");
    let mut shapes: Vec<(String, Exchange)> = entries
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            let text = std::fs::read_to_string(&path).expect("a shape is text");
            (format!("{situation}/{name}"), Exchange::read(&text))
        })
        .collect();
    shapes.sort_by(|one, other| one.0.cmp(&other.0));
    shapes
}

/// The captured request with the ids that there are here.
fn request(exchange: &Exchange, master: &Master) -> Request {
    let ids = &master.ids;
    let here = |text: &str| {
        unmasked(text, |kind, _| match kind {
            "FRAMEWORK" => ids.framework.clone(),
            "AGENT" => ids.agent.clone(),
            "OFFER" => ids.offer.clone(),
            "STREAM" => ids.stream.clone(),
            other => panic!("nothing is known of {other:?}"),
        })
    };
    let headers = exchange.request.headers.iter();
    let body = &exchange.request.body;
    Request {
        method: exchange.request.method.clone(),
        path: exchange.request.path.clone(),
        headers: headers
            .map(|(name, value)| (name.clone(), here(value)))
            .collect(),
        body: match std::str::from_utf8(body) {
            Ok(text) => here(text).into_bytes(),
            Err(_) => body.clone(),
        },
    }
}

async fn compare(master: &Master, case: &str, expected: &Exchange) -> Vec<Deviation> {
    let request = request(expected, master);
    let response = master.respond(&request).await;
    let headers = response.headers().iter();
    let headers: BTreeMap<String, String> = headers_that_matter(
        headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?"))),
    );
    let (status, body) = master.told_bytes(response).await;
    let text = readable(&request.path, &headers, &body);
    // Of an ERROR event only its words are compared.
    let error = serde_json::from_str::<serde_json::Value>(&text).ok();
    let error = error.and_then(|event| Some(event["error"]["message"].as_str()?.to_owned()));
    let found = differences_of(expected, status, &headers, &error.unwrap_or(text));
    found
        .into_iter()
        .map(|(path, what)| Deviation {
            case: case.to_owned(),
            path,
            what,
        })
        .collect()
}

/// What each kind of event holds, of those that are sent up to the last one.
async fn events(
    master: &mut Master,
    all: &mut BTreeMap<String, Paths>,
    is_last: impl Fn(&serde_json::Value) -> bool,
) {
    loop {
        let text = first_record(&mut master.subscription).await;
        let event: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let name = event["type"].as_str().expect("a type").to_owned();
        let Shape::Json(_, paths) = shape_of(&text) else {
            panic!("an event is JSON: {text}");
        };
        let of_name = all.entry(name).or_default();
        for (path, kinds) in paths {
            of_name.entry(path).or_default().extend(kinds);
        }
        if is_last(&event) {
            return;
        }
    }
}

#[tokio::test]
async fn calls_of_frameworks_are_answered_as_by_mesos_but_for_the_listed_differences() {
    let mut all = Vec::new();
    let mut n = 0;
    let mut master = Master::start().await;
    for (case, expected) in shapes("errors-of-frameworks") {
        all.extend(compare(&master, &case, &expected).await);
        n += 1;
    }
    for (case, expected) in shapes("subscribe-errors") {
        all.extend(compare(&master, &case, &expected).await);
        n += 1;
    }
    for (case, expected) in shapes("session") {
        let name = case.rsplit('/').next().unwrap_or_default();
        // Others of the captured frameworks, after the end of the first one.
        if name.starts_with("93") || name.starts_with("stream") {
            master = Master::start().await;
        }
        all.extend(compare(&master, &case, &expected).await);
        n += 1;
    }
    let mut master = Master::start().await;
    master.live_through().await;
    let mut ours = BTreeMap::new();
    events(&mut master, &mut ours, |event| {
        // That the agent is lost.
        event["type"] == "FAILURE" && event["failure"]["executor_id"].is_null()
    })
    .await;
    master.fail_over().await;
    events(&mut master, &mut ours, |event| event["type"] == "ERROR").await;
    let none = Paths::new();
    for (case, expected) in shapes("framework-stream") {
        let Shape::Json(_, expected) = &expected.body else {
            panic!("an event is JSON");
        };
        let name = case.rsplit('/').next().expect("a type");
        let found = missing(expected, ours.get(name).unwrap_or(&none));
        all.extend(found.into_iter().map(|(path, what)| Deviation {
            case: case.clone(),
            path,
            what,
        }));
        n += 1;
    }
    judge(OF_FRAMEWORKS, &all, n, FRAMEWORKS);
}
