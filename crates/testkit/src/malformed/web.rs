//! What is wrong around a body: methods, headers, parameters; and forms.

use regency_wire::Shape;

use super::{Content, FORM, JSON, Malformed, PROTOBUF, Request, Valid, Wrong, json, one_of};
use crate::Rng;

const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "PATCH", "BREW"];

/// A method that there is not; where all are taken, something else around it.
pub(super) fn method(valid: &Valid, rng: &mut Rng) -> Malformed {
    let others: Vec<&str> = METHODS
        .into_iter()
        .filter(|method| !valid.methods.contains(method))
        .filter(|method| !valid.other_methods.contains(method))
        .collect();
    let mut request = valid.request(rng);
    if others.is_empty() {
        return around(valid, rng);
    }
    let other = *one_of(rng, &others);
    other.clone_into(&mut request.method);
    if other != "GET" {
        request
            .headers
            .push(("content-type".to_owned(), JSON.to_owned()));
    }
    Malformed {
        request,
        how: format!("method: {other}"),
        names: vec![other.to_owned(), "method".to_owned()],
    }
}

/// A body that is longer than any may be.
pub(super) fn too_long(valid: &Valid) -> Malformed {
    let mut rng = Rng::new(0);
    let mut request = valid.request(&mut rng);
    request
        .headers
        .push(("content-type".to_owned(), JSON.to_owned()));
    request.body = vec![b' '; valid.too_long.unwrap_or(0)];
    Malformed {
        request,
        how: "long: the body".to_owned(),
        names: vec!["length limit".to_owned(), "larger than".to_owned()],
    }
}

/// The request as it should be.
pub(super) fn whole(valid: &Valid, rng: &mut Rng) -> Request {
    let mut request = valid.request(rng);
    let (media, body) = match &valid.content {
        Content::Message { binary, .. } if rng.chance(50) => (PROTOBUF, binary.clone()),
        Content::Message { json, .. } | Content::Json { json, .. } => {
            (JSON, json.clone().into_bytes())
        }
        Content::Form(fields, _) => (FORM, encode_form(fields).into_bytes()),
        Content::Nothing => return request,
    };
    request
        .headers
        .push(("content-type".to_owned(), media.to_owned()));
    request.body = body;
    request
}

/// A wrong header, parameter or last part of the path beside a valid body.
pub(super) fn around(valid: &Valid, rng: &mut Rng) -> Malformed {
    let mut request = whole(valid, rng);
    let n = valid.parameters.len() + valid.bad_headers.len();
    let chosen = rng.index(n + valid.bad_segments.len());
    if let Some(segment) = valid.bad_segments.get(chosen.wrapping_sub(n)) {
        return last_segment(rng, request, segment);
    }
    if let Some((name, values)) = valid.parameters.get(chosen) {
        let value = one_of(rng, values);
        let mark = if request.path.contains('?') { '&' } else { '?' };
        let value = escape(value);
        request.path = format!("{}{mark}{name}={value}", request.path);
        return Malformed {
            request,
            how: format!("parameter: {name}={value}"),
            names: vec![(*name).to_owned()],
        };
    }
    let (name, value, word) = valid.bad_headers[chosen - valid.parameters.len()];
    request.headers.retain(|(of, _)| of != name);
    if !value.is_empty() {
        request.headers.push((name.to_owned(), value.to_owned()));
    }
    Malformed {
        request,
        how: format!("header: {name}: {value}"),
        names: vec![word.to_owned()],
    }
}

/// A path whose last part is what it must not be, among other letters.
fn last_segment(rng: &mut Rng, mut request: Request, wrong: &str) -> Malformed {
    let mut letters = || -> String {
        let n = rng.below(5);
        (0..n).map(|_| *one_of(rng, &['x', '7', '_'])).collect()
    };
    let segment = format!("{}{wrong}{}", letters(), letters());
    let before = request
        .path
        .rsplit_once('/')
        .map_or("", |(before, _)| before);
    request.path = format!("{before}/{}", escape(&segment));
    Malformed {
        request,
        how: format!("path: {segment}"),
        names: vec![segment],
    }
}

/// A body whose type is not said, or is another.
pub(super) fn content_type(valid: &Valid, rng: &mut Rng, json: &str) -> Malformed {
    const OTHERS: [&str; 7] = [
        "",
        "text/plain",
        "Application/Json",
        "application/json; charset=utf-8",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "x",
    ];
    let other = *one_of(rng, &OTHERS);
    let mut request = valid.request(rng);
    if !other.is_empty() {
        request
            .headers
            .push(("content-type".to_owned(), other.to_owned()));
    }
    request.body = json.as_bytes().to_vec();
    Malformed {
        request,
        how: format!("content-type: {other}"),
        names: vec!["content-type".to_owned()],
    }
}

/// A form with one thing wrong.
pub(super) fn form(
    rng: &mut Rng,
    fields: &[(&'static str, String)],
    shape: Option<&'static Shape>,
) -> Wrong {
    let chosen = rng.index(fields.len());
    let (name, value) = &fields[chosen];
    let mut damaged = fields.to_vec();
    if value.starts_with('[') && rng.chance(80) {
        let mut wrong = json::wrong(rng, value, shape, &[]);
        // What is no text cannot be said in a form.
        while std::str::from_utf8(&wrong.body).is_err() {
            wrong = json::wrong(rng, value, shape, &[]);
        }
        let text = String::from_utf8_lossy(&wrong.body).into_owned();
        damaged[chosen].1 = text;
        // What is wrong in the list is wrong in the field.
        let mut names = wrong.names;
        names.push((*name).to_owned());
        return Wrong {
            body: encode_form(&damaged).into_bytes(),
            how: format!("{} in {name}", wrong.how),
            names,
        };
    }
    if rng.chance(70) {
        damaged.remove(chosen);
        let body = encode_form(&damaged);
        return Wrong::new(body, format!("missing: {name}"), &[name]);
    }
    let garbage: String = (0..rng.below(30))
        .map(|_| *one_of(rng, &['x', '%', '&', '=']))
        .collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    Wrong::new(garbage, "form: none", &names)
}

fn encode_form(fields: &[(&'static str, String)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", escape(value)))
        .collect();
    fields.join("&")
}

fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}
