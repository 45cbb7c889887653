//! Derives the shapes in `tests/golden/shapes` anew from captures of a real Mesos master.
//!
//! `cargo run -p regency-master --example golden_shapes -- CAPTURES`, where CAPTURES is the folder
//! with one folder per situation (`idle`, `busy`, …) and one `.http` file per exchange: the
//! request behind a line `>>>`, the answer behind a line `<<<`, both as sent.

#![allow(clippy::print_stderr, reason = "a tool that people run")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

#[path = "../tests/golden/shape.rs"]
mod shape;

use shape::{Exchange, Request, Shape, headers_that_matter, shape_of};

/// The situations that the tests can bring about. Of `errors` the operator side only, of `operator`
/// what is about roles.
const SITUATIONS: [&str; 7] = [
    "idle",
    "busy",
    "disconnected",
    "after-teardown",
    "reserved",
    "operator",
    "errors",
];

fn main() -> Result<()> {
    let Some(captures) = std::env::args_os().nth(1).map(PathBuf::from) else {
        bail!("give the folder with the captures");
    };
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shapes");
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
                || name.contains("-scheduler-")
                || name.contains("slave_1_")
                || name.contains("slave_id_")
                || (situation == "operator" && !is_about_roles(name))
            {
                continue;
            }
            let bytes = std::fs::read(&path)?;
            let text = String::from_utf8_lossy(&bytes);
            let exchange = read(&text).with_context(|| format!("in {}", path.display()))?;
            std::fs::write(folder.join(format!("{name}.shape")), exchange.write())?;
            n += 1;
        }
        eprintln!("{situation}: {n} shapes");
    }
    let folder = shapes.join("operator-stream");
    std::fs::create_dir_all(&folder)?;
    let text = std::fs::read_to_string(captures.join("operator-stream/events.stream.txt"))?;
    let events = read_events(&text).context("in the stream of events")?;
    eprintln!("operator-stream: {} shapes", events.len());
    for (name, exchange) in events {
        std::fs::write(folder.join(format!("{name}.shape")), exchange.write())?;
    }
    Ok(())
}

fn is_about_roles(name: &str) -> bool {
    let words = ["quota", "QUOTA", "weights", "WEIGHTS", "roles", "ROLES"];
    words.iter().any(|word| name.contains(word))
}

/// Reads the capture of a stream of events: for each type the answer's head, and the shape of all
/// events of it together.
fn read_events(text: &str) -> Result<BTreeMap<String, Exchange>> {
    let (head, records) = text
        .rsplit_once("\r\n\r\n")
        .context("headers end with an empty line")?;
    let head = read(&format!("{head}\r\n\r\n"))?;
    let mut events: BTreeMap<String, Exchange> = BTreeMap::new();
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
    Ok(events)
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
        path: words.next().context("a path")?.to_owned(),
        headers: ["content-type", "accept"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), headers.get(*name)?.clone())))
            .collect(),
        body: body.trim_end_matches('\n').to_owned(),
    };
    let (first, headers, body) = parts(answer)?;
    let status = first.split(' ').nth(1).context("a status")?.parse()?;
    // The file ends with a line feed of its own.
    let body = body.strip_suffix('\n').unwrap_or(body);
    Ok(Exchange {
        request,
        status,
        headers: headers_that_matter(headers.iter().map(|(n, v)| (n.as_str(), v.as_str()))),
        body: shape_of(body),
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
