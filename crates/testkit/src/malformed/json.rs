//! Wrong JSON.

use regency_wire::{FieldShape, Occurs, Shape};
use serde_json::{Value, json};

use super::{Wrong, one_of};
use crate::Rng;

/// Fields that are maps: what is wrong with an entry is said of the map.
const MAPS: [&str; 8] = [
    "offer_filters",
    "role_constraints",
    "limits",
    "guarantees",
    "quantities",
    "volume_context",
    "node_stage_secrets",
    "node_publish_secrets",
];
/// Fields that are bytes.
pub(super) const BYTES: [&str; 2] = ["uuid", "data"];

/// How deep a value is put that is nested too deeply for any reader.
const DEPTH: usize = 400;

/// A value in a body.
struct Site {
    /// Where, as a JSON pointer.
    at: String,
    /// The field it belongs to.
    field: String,
    required: bool,
    /// Whether an unknown name is an error here.
    is_required_enum: bool,
}

/// A valid body with one thing wrong.
pub(super) fn wrong(
    rng: &mut Rng,
    text: &str,
    shape: Option<&'static Shape>,
    required: &[&str],
) -> Wrong {
    let whole: Value = serde_json::from_str(text).expect("a valid body is JSON");
    let mut sites = Vec::new();
    match &whole {
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                collect(element, shape, &format!("/{i}"), &mut sites);
            }
        }
        other => collect(other, shape, "", &mut sites),
    }
    for site in &mut sites {
        site.required |= shape.is_none()
            && site.at.matches('/').count() == 1
            && required.contains(&site.field.as_str());
    }
    if sites.is_empty() || rng.chance(30) {
        return syntax(rng, &whole.to_string());
    }
    let site = one_of(rng, &sites);
    if site.required && rng.chance(50) {
        return lacking(rng, whole, site);
    }
    if rng.chance(10) {
        return given_twice(rng, &whole);
    }
    let valid = whole.pointer(&site.at).expect("a site");
    if rng.chance(10) {
        return outsized(rng, &whole, valid.is_number(), site);
    }
    let value = wrong_value(rng, valid, site);
    let how = format!("type: {} is {value}", site.at);
    let mut damaged = whole;
    *damaged.pointer_mut(&site.at).expect("a site") = value;
    Wrong::new(damaged.to_string(), how, &[&site.field])
}

fn collect(value: &Value, shape: Option<&'static Shape>, at: &str, sites: &mut Vec<Site>) {
    let Value::Object(members) = value else {
        return;
    };
    for (key, member) in members {
        let of_shape = shape.and_then(|shape| shape.fields.iter().find(|f| f.name == key));
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        let site = |at: &str, required: bool| Site {
            at: at.to_owned(),
            field: key.clone(),
            required,
            is_required_enum: required && of_shape.is_some_and(|f| f.is_known.is_some()),
        };
        let required = matches!(
            of_shape,
            Some(FieldShape {
                occurs: Occurs::Required(_),
                ..
            })
        );
        sites.push(site(&at, required));
        let nested = of_shape.and_then(|field| field.nested);
        match member {
            Value::Array(elements) => {
                for (i, element) in elements.iter().enumerate() {
                    sites.push(site(&format!("{at}/{i}"), false));
                    collect(element, nested, &format!("{at}/{i}"), sites);
                }
            }
            Value::Object(entries) if MAPS.contains(&key.as_str()) => {
                for (name, entry) in entries {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    sites.push(site(&at, false));
                    collect(entry, nested, &at, sites);
                }
            }
            _ => collect(member, nested, &at, sites),
        }
    }
}

/// A value that nothing which is valid here can be exchanged for.
fn wrong_value(rng: &mut Rng, valid: &Value, site: &Site) -> Value {
    let mut values = match valid {
        Value::Object(_) => vec![json!("x"), json!(1), json!(1.5), json!(true), json!("")],
        Value::String(_) => vec![json!({"x": 1}), json!({})],
        Value::Bool(_) => vec![json!("maybe"), json!(7), json!({})],
        Value::Number(number) if number.is_f64() => vec![json!("much"), json!(true), json!({})],
        Value::Number(_) => vec![
            json!("many"),
            json!(true),
            json!({}),
            json!(1.5),
            json!(1e30),
            json!("99999999999999999999999999"),
        ],
        // Of a list of strings, an object; of one of objects, what is none.
        Value::Array(elements) => match elements.first() {
            Some(Value::Object(_)) => vec![json!("x"), json!(7), json!(["x"]), json!([[]])],
            _ => vec![json!({"x": 1}), json!([{}]), json!([[]])],
        },
        Value::Null => vec![json!([[]])],
    };
    if site.is_required_enum {
        values.push(json!("NO_SUCH_NAME"));
        values.push(json!(""));
    }
    if BYTES.contains(&site.field.as_str()) {
        values.push(json!("***"));
        values.push(json!("A"));
    }
    one_of(rng, &values).clone()
}

/// A value that is much too deep, or a number that is much too large.
fn outsized(rng: &mut Rng, whole: &Value, is_number: bool, site: &Site) -> Wrong {
    const MARK: &str = "the-value";
    let mut marked = whole.clone();
    *marked.pointer_mut(&site.at).expect("a site") = json!(MARK);
    let (value, how) = if is_number && rng.chance(50) {
        ("9".repeat(400), "huge")
    } else {
        (
            format!("{}1{}", "[".repeat(DEPTH), "]".repeat(DEPTH)),
            "deep",
        )
    };
    let text = marked.to_string().replace(&format!("\"{MARK}\""), &value);
    // What no reader takes as a number is no JSON to some.
    let names = [site.field.as_str(), "syntax error", "line 1"];
    Wrong::new(text, format!("{how}: {}", site.at), &names)
}

fn lacking(rng: &mut Rng, mut whole: Value, site: &Site) -> Wrong {
    let how = format!("missing: {}", site.at);
    let (parent, _) = site
        .at
        .rsplit_once('/')
        .expect("a pointer begins with a slash");
    if rng.chance(30) {
        *whole.pointer_mut(&site.at).expect("a site") = Value::Null;
    } else if let Some(Value::Object(members)) = whole.pointer_mut(parent) {
        members.remove(&site.field);
    }
    Wrong::new(whole.to_string(), how, &[&site.field])
}

/// A key that is there twice: the last one counts, and is wrong.
fn given_twice(rng: &mut Rng, whole: &Value) -> Wrong {
    let first = match whole {
        Value::Array(elements) => elements.first().unwrap_or(whole),
        other => other,
    };
    let keys: Vec<&String> = first
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, _)| k)
        .collect();
    let Some(&key) = rng.pick(&keys) else {
        return syntax(rng, &whole.to_string());
    };
    let text = first.to_string();
    let inner = text.strip_suffix('}').expect("an object");
    let text = format!("{inner},\"{key}\":[[{{\"x\":[]}}]]}}");
    let text = if whole.is_array() {
        format!("[{text}]")
    } else {
        text
    };
    Wrong::new(text, format!("twice: {key}"), &[key])
}

/// What no reader of JSON takes. There is no field to be named.
fn syntax(rng: &mut Rng, text: &str) -> Wrong {
    const NAMES: [&str; 3] = ["syntax error", "JSON", "line 1"];
    match rng.below(4) {
        0 => {
            let end = rng.index(text.len());
            Wrong::new(&text.as_bytes()[..end], format!("cut: at {end}"), &NAMES)
        }
        1 => {
            let more = *one_of(rng, &["x", "{}", "]", "}", ",", "\u{0}"]);
            Wrong::new(format!("{text}{more}"), format!("more: {more:?}"), &NAMES)
        }
        2 => {
            // In a string, because what is between values is no text.
            let at = text.find('"').map_or(0, |at| at + 1);
            let mut bytes = text.as_bytes().to_vec();
            bytes.splice(
                at..at,
                *one_of(rng, &[[0xff, 0xfe], [0xc0, 0x80], [0xed, 0xa0]]),
            );
            Wrong::new(bytes, "utf8: in a key", &NAMES)
        }
        _ => {
            let other = *one_of(rng, &["", "1", "\"text\"", "null", "true", "[1]", "<xml/>"]);
            let names = ["syntax error", "JSON", "line 1", "object", "list", "array"];
            Wrong::new(other, format!("instead: {other:?}"), &names)
        }
    }
}
