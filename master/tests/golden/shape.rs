//! Shapes of answers: what of a captured answer must hold for ours.
//!
//! A shape is a request with the status, the headers that matter, and of a JSON body the paths of
//! its keys with their JSON types (`int` and `float` apart: clients in typed languages care), of
//! another body its text. Values that differ from run to run are not in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use regency_wire::content::APPLICATION_PROTOBUF;
use regency_wire::v1::{master, scheduler};
use regency_wire::{ContentType, WireMessage, decode, encode};
use serde_json::Value;

/// Headers that clients act on.
const HEADERS: [&str; 3] = ["allow", "content-type", "location"];

/// A request as a capture has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// Its method.
    pub(crate) method: String,
    /// Its path and query.
    pub(crate) path: String,
    /// `Content-Type`, `Accept` and `Mesos-Stream-Id`, where it has them.
    pub(crate) headers: BTreeMap<String, String>,
    /// Its body; one line, where it is text.
    pub(crate) body: Vec<u8>,
}

/// The paths of a JSON value with the types seen there; elements of a list share one path.
pub(crate) type Paths = BTreeMap<String, BTreeSet<&'static str>>;

/// What a body looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// JSON, possibly as the argument of a call of this function.
    Json(Option<String>, Paths),
    /// Text, word for word.
    Text(String),
}

/// An answer with its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// What was asked.
    pub(crate) request: Request,
    /// The status code.
    pub(crate) status: u16,
    /// The headers that matter.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: Shape,
}

/// The headers that matter out of all, with what differs from run to run left out.
pub(crate) fn headers_that_matter<'a>(
    all: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, String> {
    all.map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| HEADERS.contains(&name.as_str()))
        .map(|(name, value)| {
            let value = match value.strip_prefix("//").and_then(|v| v.rsplit_once(':')) {
                Some((_, port)) if name == "location" && port.parse::<u16>().is_ok() => {
                    "//HOST:PORT".to_owned()
                }
                _ => value.to_owned(),
            };
            (name, value)
        })
        .collect()
}

/// A text with the ids in it replaced: they differ from run to run. With numbers, so that the same
/// can be put in their places again, or without.
pub(crate) fn masked(text: &str, numbered: bool) -> String {
    /// Letters and dashes of a uuid.
    const UUID: usize = 36;
    let is_uuid = |text: &str| {
        text.len() == UUID
            && text.char_indices().all(|(i, c)| match i {
                8 | 13 | 18 | 23 => c == '-',
                _ => c.is_ascii_hexdigit(),
            })
    };
    let mut masked = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let id = rest.get(..UUID).filter(|start| is_uuid(start));
        let behind = id.and_then(|_| rest[UUID..].strip_prefix('-'));
        let kind = behind.and_then(|behind| match behind.chars().next()? {
            'S' => Some(("AGENT", &behind[1..])),
            'O' => Some(("OFFER", &behind[1..])),
            c if c.is_ascii_digit() => Some(("FRAMEWORK", behind)),
            _ => None,
        });
        let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).count();
        match kind.filter(|(_, number)| digits(number) > 0) {
            Some((name, number)) => {
                let (number, behind) = number.split_at(digits(number));
                let number = if numbered {
                    format!("-{number}")
                } else {
                    String::new()
                };
                let _ = write!(masked, "<{name}{number}>");
                rest = behind;
            }
            None => {
                masked.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    masked
}

/// A body as text: a binary message as the JSON that says the same.
///
/// # Panics
/// When the bytes are no message of what this path answers with.
#[allow(dead_code, reason = "not everybody compares binary answers")]
pub(crate) fn readable(path: &str, headers: &BTreeMap<String, String>, body: &[u8]) -> String {
    fn as_json<M: WireMessage>(bytes: &[u8]) -> String {
        let message: M = decode(ContentType::Protobuf, bytes).expect("a message");
        let json = encode(ContentType::Json, &message);
        String::from_utf8(json.to_vec()).expect("JSON is text")
    }
    let content_type = headers.get("content-type").map(String::as_str);
    match content_type {
        Some(APPLICATION_PROTOBUF) if path.ends_with("/scheduler") => {
            as_json::<scheduler::Event>(body)
        }
        Some(APPLICATION_PROTOBUF) => as_json::<master::Response>(body),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// A text with ids of what there is here in the places of those that [`masked`] numbered; `of` gives
/// the one of a kind (`AGENT`, …) and a number.
#[allow(dead_code, reason = "the tool that writes shapes does not send them")]
pub(crate) fn unmasked(text: &str, of: impl Fn(&str, usize) -> String) -> String {
    let mut parts = text.split('<');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('>') {
            Some((name, rest)) => {
                let (kind, number) = name.split_once('-').unwrap_or((name, "0"));
                out.push_str(&of(kind, number.parse().unwrap_or(0)));
                out.push_str(rest);
            }
            None => {
                out.push('<');
                out.push_str(part);
            }
        }
    }
    out
}

/// In which ways an answer is not the expected one: where, and what.
pub(crate) fn differences_of(
    expected: &Exchange,
    status: u16,
    headers: &BTreeMap<String, String>,
    body: &str,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut note = |path: &str, what: String| found.push((path.to_owned(), what));
    if status != expected.status {
        note("status", format!("{} is {status}", expected.status));
    }
    if *headers != expected.headers {
        note("headers", format!("{:?} is {headers:?}", expected.headers));
    }
    match (&expected.body, &shape_of(body)) {
        (Shape::Json(name, expected), Shape::Json(ours, paths)) if name == ours => {
            found.extend(missing(expected, paths));
        }
        (expected, ours) if expected == ours => {}
        (expected, ours) => note("body", format!("{expected:?} is {ours:?}")),
    }
    found
}

/// The paths that are not there, or hold something else.
pub(crate) fn missing(expected: &Paths, ours: &Paths) -> Vec<(String, String)> {
    expected
        .iter()
        .filter_map(|(path, kinds)| match ours.get(path) {
            None => Some((path.clone(), format!("{kinds:?} is not there"))),
            Some(ours) if ours != kinds => Some((path.clone(), format!("{kinds:?} is {ours:?}"))),
            Some(_) => None,
        })
        .collect()
}

/// The shape of a body.
pub(crate) fn shape_of(body: &str) -> Shape {
    if let Ok(json) = serde_json::from_str::<Value>(body) {
        return Shape::Json(None, paths_of(&json));
    }
    if let Some((function, rest)) = body.split_once('(')
        && let Some(argument) = rest.strip_suffix(')')
        && let Ok(json) = serde_json::from_str::<Value>(argument)
    {
        return Shape::Json(Some(function.to_owned()), paths_of(&json));
    }
    Shape::Text(masked(body, false))
}

fn paths_of(json: &Value) -> Paths {
    let mut paths = Paths::new();
    walk("$", json, &mut paths);
    paths
}

/// Objects whose keys are names that somebody chose; only that there are some matters.
const FREE_KEYS: [&str; 3] = [".flags", ".attributes", ".offer_filters"];

fn walk(path: &str, json: &Value, paths: &mut Paths) {
    let kind = match json {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(elements) => {
            for element in elements {
                walk(&format!("{path}[]"), element, paths);
            }
            "array"
        }
        Value::Object(members) => {
            let free = FREE_KEYS.iter().any(|name| path.ends_with(name));
            for (key, member) in members {
                let key = if free {
                    "*".to_owned()
                } else {
                    masked(key, false)
                };
                walk(&format!("{path}.{key}"), member, paths);
            }
            "object"
        }
    };
    paths.entry(path.to_owned()).or_default().insert(kind);
}

/// The kinds that a written shape can name.
const KINDS: [&str; 7] = ["null", "bool", "float", "int", "string", "array", "object"];

impl Exchange {
    /// Writes it, a line for each thing.
    #[allow(dead_code, reason = "the test that reads shapes does not write them")]
    pub(crate) fn write(&self) -> String {
        let mut out = String::new();
        let request = &self.request;
        let _ = writeln!(out, "> {} {}", request.method, request.path);
        for (name, value) in &request.headers {
            let _ = writeln!(out, "> {name}: {value}");
        }
        match std::str::from_utf8(&request.body) {
            Ok(text) if !text.contains(char::is_control) => {
                let _ = writeln!(out, ">> {text}");
            }
            _ => {
                out.push_str(">>hex ");
                for byte in &request.body {
                    let _ = write!(out, "{byte:02x}");
                }
                out.push('\n');
            }
        }
        let _ = writeln!(out, "< {}", self.status);
        for (name, value) in &self.headers {
            let _ = writeln!(out, "< {name}: {value}");
        }
        match &self.body {
            Shape::Text(text) => {
                let _ = writeln!(out, "<< text {}", text.escape_default());
            }
            Shape::Json(function, paths) => {
                let _ = writeln!(out, "<< json {}", function.as_deref().unwrap_or_default());
                for (path, kinds) in paths {
                    let kinds: Vec<_> = kinds.iter().copied().collect();
                    let _ = writeln!(out, "{path} {}", kinds.join("|"));
                }
            }
        }
        out
    }

    /// Reads what [`Exchange::write`] wrote.
    ///
    /// # Panics
    /// When it is something else.
    #[allow(dead_code, reason = "the tool that writes shapes does not read them")]
    pub(crate) fn read(text: &str) -> Self {
        let mut exchange = Self {
            request: Request {
                method: String::new(),
                path: String::new(),
                headers: BTreeMap::new(),
                body: Vec::new(),
            },
            status: 0,
            headers: BTreeMap::new(),
            body: Shape::Text(String::new()),
        };
        for line in text.lines() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (mark, rest.split_once(": ")) {
                (">>", _) => rest.as_bytes().clone_into(&mut exchange.request.body),
                (">>hex", _) => exchange.request.body = bytes_of(rest),
                (">", Some((name, value))) => {
                    let headers = &mut exchange.request.headers;
                    headers.insert(name.to_owned(), value.to_owned());
                }
                (">", None) => {
                    let (method, path) = rest.split_once(' ').expect("a request line");
                    exchange.request.method = method.to_owned();
                    exchange.request.path = path.to_owned();
                }
                ("<<", _) => exchange.body = read_body(rest),
                ("<", Some((name, value))) => {
                    exchange.headers.insert(name.to_owned(), value.to_owned());
                }
                ("<", None) => exchange.status = rest.parse().expect("a status"),
                _ => {
                    let Shape::Json(_, paths) = &mut exchange.body else {
                        panic!("a path outside of a JSON body: {line}");
                    };
                    // A key may have spaces in it, a kind has not.
                    let (path, kinds) = line.rsplit_once(' ').expect("a path with its kinds");
                    paths.insert(path.to_owned(), kinds.split('|').map(kind).collect());
                }
            }
        }
        exchange
    }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(text, 16).ok()
    };
    pairs
        .map(|pair| byte(pair).expect("two digits for each byte"))
        .collect()
}

fn read_body(text: &str) -> Shape {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("json", "") => Shape::Json(None, Paths::new()),
        ("json", function) => Shape::Json(Some(function.to_owned()), Paths::new()),
        ("text", text) => Shape::Text(text.replace("\\'", "'").replace("\\\"", "\"")),
        other => panic!("no such body: {other:?}"),
    }
}

fn kind(name: &str) -> &'static str {
    KINDS
        .into_iter()
        .find(|kind| *kind == name)
        .unwrap_or_else(|| panic!("no such kind: {name}"))
}
