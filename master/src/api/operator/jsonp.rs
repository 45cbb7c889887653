//! JSON for those who ask a master from the page of another server.

use axum::body::Body;
use axum::http::Response;
use regency_wire::content::APPLICATION_JSON;
use serde::Serialize;

use super::consistency::Parameters;
use super::refused::Refused;
use super::reply::body;

/// Type of a body that is a call of a function of the client's.
const JAVASCRIPT: &str = "text/javascript";

/// The function that a client wants its answer handed to, if any.
#[derive(Debug, Clone, Default)]
pub(super) struct Callback(Option<String>);

impl Callback {
    /// The one that the parameter `jsonp` names.
    ///
    /// Only names are accepted: anything else would let a link run a script of its author's choice
    /// in the origin of this master.
    pub(super) fn of(parameters: &Parameters) -> Result<Self, Refused> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_$.[]".contains(c);
        match parameters.get("jsonp") {
            Some(name) if name.is_empty() || !name.chars().all(is_name) => Err(Refused::Malformed(
                format!("'jsonp' is the name of a function, not '{name}'"),
            )),
            name => Ok(Self(name.cloned())),
        }
    }

    /// The answer with this JSON.
    pub(super) fn answer(&self, json: Vec<u8>) -> Response<Body> {
        match &self.0 {
            None => body(APPLICATION_JSON, json),
            // Without a semicolon, as Mesos writes it.
            Some(name) => body(
                JAVASCRIPT,
                [name.as_bytes(), b"(", json.as_slice(), b")"].concat(),
            ),
        }
    }

    /// The answer with this value.
    pub(super) fn answer_with(&self, value: &impl Serialize) -> Response<Body> {
        self.answer(to_json(value))
    }
}

/// Writes what is shown.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("writing to memory and string keys cannot fail")
}
