//! Forms of answers.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use regency_wire::content::APPLICATION_JSON;
use regency_wire::{ContentType, WireMessage, encode};
use serde_json::Value as Json;

use crate::refused::Refused;

/// What stands behind the question mark.
pub(super) type Parameters = BTreeMap<String, String>;

/// JSON, handed to the function that the client names with `jsonp`.
pub(super) fn json_answer(parameters: &Parameters, json: &Json) -> Result<Response<Body>, Refused> {
    let text = json.to_string();
    Ok(match parameters.get("jsonp") {
        None => body(APPLICATION_JSON, text),
        // Only names: anything else would let a link run a script of its author's choice in the
        // origin of this agent.
        Some(name) if is_function(name) => body("text/javascript", format!("{name}({text})")),
        Some(name) => {
            let words = format!("'jsonp' is the name of a function, not '{name}'");
            return Err(Refused::bad(words));
        }
    })
}

fn is_function(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_$.[]".contains(c);
    !name.is_empty() && name.chars().all(plain)
}

/// A message in the form that the client accepts.
pub(super) fn message<M: WireMessage>(accepted: ContentType, message: &M) -> Response<Body> {
    body(accepted.media_type(), encode(accepted, message))
}

fn body(media_type: &'static str, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_names_are_called() {
        let answer = |name: &str| {
            let parameters = [("jsonp".to_owned(), name.to_owned())].into();
            json_answer(&parameters, &json!({"a": 1}))
        };
        let response = answer("cb").expect("a name");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/javascript");
        for bad in ["", "alert(1)//", "a;b"] {
            assert_eq!(answer(bad).expect_err(bad).code.as_u16(), 400);
        }
    }
}
