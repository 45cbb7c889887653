//! Derives the shapes in `tests/golden/shapes` anew from captures of a real Mesos master.
//!
//! `cargo run -p regency-master --example golden_shapes -- CAPTURES`, where CAPTURES is the folder
//! with one folder per situation (`idle`, `busy`, …) and one `.http` file per exchange: the
//! request behind a line `>>>`, the answer behind a line `<<<`, both as sent.

#![allow(clippy::print_stderr, reason = "a tool that people run")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regency_wire::v1::scheduler::Event;
use regency_wire::{ContentType, decode, encode};

#[path = "../tests/golden/figures.rs"]
#[allow(dead_code, reason = "the other figures are for the tests")]
mod figures;
#[path = "../tests/golden/shape.rs"]
#[allow(dead_code, reason = "shared with the tests, which compare as well")]
mod shape;

use shape::{Exchange, Request, Shape, headers_that_matter, masked, readable, shape_of};

/// Header of the calls on a stream.
const STREAM_ID: &str = "mesos-stream-id";

/// The situations that the tests can bring about.
const SITUATIONS: [&str; 12] = [
    "idle",
    "busy",
    "disconnected",
    "after-teardown",
    "reserved",
    "operator",
    "maintenance",
    "deactivated",
    "drained",
    "gone",
    "errors",
    "session",
];
/// Where frameworks subscribe; of each stream the beginning.
const SUBSCRIPTIONS: [&str; 2] = ["subscribe-errors", "session"];
/// Calls of frameworks among others have this in their name.
const OF_FRAMEWORKS: &str = "-scheduler-";
/// Requests to an agent have this in their name.
const OF_AGENTS: &str = "_slave_1_";

fn main() -> Result<()> {
    let Some(captures) = std::env::args_os().nth(1).map(PathBuf::from) else {
        bail!("give the folder with the captures");
    };
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shapes");
    let of_agents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent/tests/golden");
    let mut read_from = BTreeSet::new();
    for situation in SITUATIONS {
        let folder = shapes.join(situation);
        std::fs::create_dir_all(&folder)?;
        let mut n = 0;
        for entry in std::fs::read_dir(captures.join(situation))? {
            let path = entry?.path();
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .context("a file has a name")?;
            if path.extension().is_none_or(|ext| ext != "http")
                || (situation == "operator" && is_about_machines(name))
            {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            let text = String::from_utf8_lossy(&bytes);
            let mut exchange = read(&text).with_context(|| format!("in {}", path.display()))?;
            // Another stream than the framework's is wrong on purpose.
            if !name.contains("wrong-stream-id")
                && let Some(stream) = exchange.request.headers.get_mut(STREAM_ID)
            {
                "<STREAM>".clone_into(stream);
            }
            let folder = if name.contains(OF_FRAMEWORKS) {
                shapes.join(format!("{situation}-of-frameworks"))
            } else if name.contains(OF_AGENTS) {
                of_agents.join(situation)
            } else {
                folder.clone()
            };
            std::fs::create_dir_all(&folder)?;
            let name = without_id(name);
            std::fs::write(folder.join(format!("{name}.shape")), exchange.write())?;
            read_from.insert(path.clone());
            n += 1;
        }
        eprintln!("{situation}: {n} shapes");
    }
    let mut of_session = BTreeMap::new();
    for situation in SUBSCRIPTIONS {
        let folder = shapes.join(situation);
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(captures.join(situation))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.context("a file has a name")?;
            let Some(name) = name.strip_suffix(".stream.txt") else {
                continue;
            };
            let bytes = std::fs::read(&path)?;
            let text = String::from_utf8_lossy(&bytes);
            // Records that are no text are told in the other file, in base64.
            let text = match name.contains("protobuf") {
                true => {
                    let timing = format!("{name}.timing.txt");
                    let timing = std::fs::read_to_string(path.with_file_name(timing))?;
                    format!("{text}{}", events_of(&timing)?)
                }
                false => text.into_owned(),
            };
            let in_file = || format!("in {}", path.display());
            let beginning = read_beginning(&text).with_context(in_file)?;
            std::fs::write(folder.join(format!("{name}.shape")), beginning.write())?;
            read_from.insert(path.clone());
            // Older frameworks are sent resources in another form, which has tests of its own.
            let is_older = name.contains("old-style") || name.contains("protobuf");
            if situation == "session" && !is_older {
                read_events(&text, &mut of_session).with_context(in_file)?;
            }
        }
    }
    let mut of_operators = BTreeMap::new();
    let text = std::fs::read_to_string(captures.join("operator-stream/events.stream.txt"))?;
    read_events(&text, &mut of_operators).context("in the stream of events")?;
    for (situation, events) in [
        ("operator-stream", of_operators),
        ("framework-stream", of_session),
    ] {
        let folder = shapes.join(situation);
        std::fs::create_dir_all(&folder)?;
        eprintln!("{situation}: {} shapes", events.len());
        for (name, exchange) in events {
            std::fs::write(folder.join(format!("{name}.shape")), exchange.write())?;
        }
    }
    read_from.insert(captures.join("operator-stream/events.stream.txt"));
    let captured = exchanges_in(&captures)?;
    if captured.len() != figures::CAPTURED {
        bail!(
            "{} exchanges are captured; say so in figures.rs",
            captured.len()
        );
    }
    for path in captured {
        if !read_from.contains(&path) {
            eprintln!("no shape of {}", path.display());
        }
    }
    Ok(())
}

/// Whether an operator's call is about the maintenance of machines, which the tests cannot bring about
/// yet.
fn is_about_machines(name: &str) -> bool {
    ["maintenance", "-agent"]
        .iter()
        .any(|word| name.contains(word))
}

/// A name without the id at its end, which is of the one run.
fn without_id(name: &str) -> String {
    match masked(name, false).split_once("_<") {
        Some((before, _)) => before.to_owned(),
        None => name.to_owned(),
    }
}

/// The events of a binary stream as JSON. `timing` has a line for each: the seconds until it came, and the
/// record in base64; behind them is what else was noted.
fn events_of(timing: &str) -> Result<String> {
    let mut events = String::new();
    for line in timing.lines() {
        let Some((_, record)) = line.split_once(" s  ") else {
            continue;
        };
        let record = BASE64.decode(record)?;
        let event: Event = decode(ContentType::Protobuf, &record)?;
        events.push_str(std::str::from_utf8(&encode(ContentType::Json, &event))?);
    }
    Ok(events)
}

/// All captured exchanges.
fn exchanges_in(captures: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in std::fs::read_dir(captures)? {
        let folder = folder?.path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            let name = path.to_string_lossy();
            if name.ends_with(".http") || name.ends_with(".stream.txt") {
                all.push(path);
            }
        }
    }
    all.sort();
    Ok(all)
}

/// Reads the request for a stream, the head of the answer and its first record.
fn read_beginning(text: &str) -> Result<Exchange> {
    let (head, records) = text
        .rsplit_once("\r\n\r\n")
        .context("headers end with an empty line")?;
    let head = read(&format!("{head}\r\n\r\n"))?;
    let values = serde_json::Deserializer::from_str(records).into_iter::<serde_json::Value>();
    for value in values {
        let value = value?;
        match value["type"].as_str() {
            None => {}
            // What is wrong is said in words that clients' users search for.
            Some("ERROR") => {
                let text = value["error"]["message"].as_str().context("a message")?;
                let body = Shape::Text(shape::masked(text, false));
                return Ok(Exchange { body, ..head });
            }
            Some(_) => {
                let body = shape_of(&value.to_string());
                return Ok(Exchange { body, ..head });
            }
        }
    }
    bail!("the stream has no records")
}

/// Reads the capture of a stream of events: for each type the answer's head, and the shape of all
/// events of it together.
fn read_events(text: &str, events: &mut BTreeMap<String, Exchange>) -> Result<()> {
    let (head, records) = text
        .rsplit_once("\r\n\r\n")
        .context("headers end with an empty line")?;
    let head = read(&format!("{head}\r\n\r\n"))?;
    // A length before each event; masked text makes some of them wrong, but JSON knows its end.
    for value in serde_json::Deserializer::from_str(records).into_iter::<serde_json::Value>() {
        let value = value?;
        let Some(name) = value["type"].as_str() else {
            continue;
        };
        let Shape::Json(_, paths) = shape_of(&value.to_string()) else {
            bail!("an event is JSON");
        };
        let event = events.entry(name.to_owned()).or_insert_with(|| Exchange {
            body: Shape::Json(None, shape::Paths::new()),
            ..head.clone()
        });
        if let Shape::Json(_, all) = &mut event.body {
            for (path, kinds) in paths {
                all.entry(path).or_default().extend(kinds);
            }
        }
    }
    Ok(())
}

/// Reads one capture.
fn read(text: &str) -> Result<Exchange> {
    let (request, answer) = text
        .strip_prefix(">>>\n")
        .and_then(|text| text.split_once("\n<<<\n"))
        .context("request and answer are expected behind >>> and <<<")?;
    let (first, headers, body) = parts(request)?;
    let mut words = first.split(' ');
    let request = Request {
        method: words.next().context("a method")?.to_owned(),
        path: masked(words.next().context("a path")?, true),
        headers: ["content-type", "accept", STREAM_ID]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), headers.get(*name)?.clone())))
            .collect(),
        body: masked(body.trim_end_matches('\n'), true).into_bytes(),
    };
    let (first, headers, body) = parts(answer)?;
    let status = first.split(' ').nth(1).context("a status")?.parse()?;
    // The file ends with a line feed of its own.
    let body = body.strip_suffix('\n').unwrap_or(body);
    let headers = headers_that_matter(headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    let body = match body {
        // Of a stream, whose records come behind.
        "" => String::new(),
        body => readable(&request.path, &headers, body.as_bytes()),
    };
    Ok(Exchange {
        body: shape_of(&body),
        request,
        status,
        headers,
    })
}

/// First line, headers and body of a message.
fn parts(message: &str) -> Result<(&str, BTreeMap<String, String>, &str)> {
    let (head, body) = message
        .split_once("\r\n\r\n")
        .context("headers end with an empty line")?;
    let mut lines = head.split("\r\n");
    let first = lines.next().context("a first line")?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok((first, headers, body))
}
