//! How fresh a read is, and how a client says how fresh it wants it.
//!
//! A plain read tells what this master has applied: on a follower that may be a little behind,
//! on any master it never goes back. Every read carries the index of the last entry in it.
//!
//! - `?consistent=true`, or the header `X-Regency-Consistent: true`, waits for a read barrier: the
//!   answer includes every write that was answered anywhere before the request arrived.
//! - `X-Regency-Min-Index: N` waits until entry N is applied here. A client that hands on the
//!   highest index it has seen never goes back in time, whichever masters it asks.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Query;
use axum::http::request::Parts;

use super::refused::Refused;
use super::{OperatorCx, OwnedView};

/// Header of answers: index of the last entry in what is shown.
pub const INDEX_HEADER: &str = "x-regency-index";
/// Header of requests: the entry that the answer must include.
pub const MIN_INDEX_HEADER: &str = "x-regency-min-index";
/// Header of requests: whether the answer must include every write answered before.
pub const CONSISTENT_HEADER: &str = "x-regency-consistent";

/// Longest a request waits for its minimum index.
pub const MIN_INDEX_WAIT_MAX: Duration = Duration::from_secs(5);

/// The parameters in a request's query.
pub(super) type Parameters = BTreeMap<String, String>;

/// Reads the query of a request; of a parameter given twice, the last counts.
pub(super) fn parameters(parts: &Parts) -> Result<Parameters, Refused> {
    match Query::<Parameters>::try_from_uri(&parts.uri) {
        Ok(Query(parameters)) => Ok(parameters),
        Err(error) => Err(Refused::Malformed(error.body_text())),
    }
}

/// What there is to read, as fresh as the request asks for it.
pub(super) async fn view<C: OperatorCx>(
    cx: &C,
    parts: &Parts,
    parameters: &Parameters,
) -> Result<OwnedView, Refused> {
    let consistent = wants_consistent(parts, parameters)?;
    let min_index = min_index(parts)?;
    cx.ready()?;
    if consistent {
        cx.barrier().await?;
    }
    if let Some(index) = min_index {
        cx.applied(index, MIN_INDEX_WAIT_MAX).await?;
    }
    Ok(cx.view())
}

fn wants_consistent(parts: &Parts, parameters: &Parameters) -> Result<bool, Refused> {
    let asked = match parameters.get("consistent") {
        Some(text) => Some(("consistent", text.as_str())),
        None => parts
            .headers
            .get(CONSISTENT_HEADER)
            .map(|value| (CONSISTENT_HEADER, value.to_str().unwrap_or("?"))),
    };
    match asked {
        None | Some((_, "false")) => Ok(false),
        Some((_, "true")) => Ok(true),
        Some((name, other)) => Err(Refused::Malformed(format!(
            "'{name}' is 'true' or 'false', not '{other}'"
        ))),
    }
}

fn min_index(parts: &Parts) -> Result<Option<u64>, Refused> {
    let Some(value) = parts.headers.get(MIN_INDEX_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?");
    match text.parse() {
        Ok(index) => Ok(Some(index)),
        Err(_) => Err(Refused::Malformed(format!(
            "'{MIN_INDEX_HEADER}' is the index of an entry, not '{text}'"
        ))),
    }
}
