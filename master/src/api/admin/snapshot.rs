//! `GET /regency/snapshot`: the whole state of the cluster as a file, from any master.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode, Uri};
use futures::Stream;
use regency_raft_store::{SaveError, SavedSnapshot};

use crate::api::answer::text;
use crate::api::cx::ApiCx;
use crate::api::operator::consistency::INDEX_HEADER;

/// Bytes read from disk at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// Header of the answer: term of the last entry in the snapshot.
const TERM_HEADER: &str = "x-regency-term";
/// Header of the answer: the cluster whose state it is.
const CLUSTER_HEADER: &str = "x-regency-cluster";

/// The answer: what this master has applied, or with `?consistent=true` at least everything that
/// was committed anywhere before the request.
pub(crate) async fn get(State(cx): State<ApiCx>, uri: Uri) -> Response<Body> {
    let consistent = match wants_consistent(&uri) {
        Ok(consistent) => consistent,
        Err(reason) => return text(StatusCode::BAD_REQUEST, reason),
    };
    match cx.consensus.saved_snapshot(consistent).await {
        Ok(snapshot) => answer(snapshot),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, reason(&error)),
    }
}

fn wants_consistent(uri: &Uri) -> Result<bool, String> {
    let Query(parameters) =
        Query::<BTreeMap<String, String>>::try_from_uri(uri).map_err(|e| e.body_text())?;
    let mut consistent = false;
    for (name, value) in &parameters {
        consistent = match (name.as_str(), value.as_str()) {
            ("consistent", "true") => true,
            ("consistent", "false") => false,
            ("consistent", other) => {
                return Err(format!("'consistent' is 'true' or 'false', not '{other}'"));
            }
            (other, _) => return Err(format!("'{other}' is no parameter of this path")),
        };
    }
    Ok(consistent)
}

fn reason(error: &SaveError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn answer(snapshot: SavedSnapshot) -> Response<Body> {
    let headers = [
        (CONTENT_LENGTH.as_str(), snapshot.bytes().to_string()),
        (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        (INDEX_HEADER, snapshot.index().to_string()),
        (TERM_HEADER, snapshot.term().0.to_string()),
        (CLUSTER_HEADER, snapshot.cluster().to_string()),
    ];
    let mut response = Response::new(Body::from_stream(pieces(snapshot)));
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).expect("digits and letters");
        response.headers_mut().insert(name, value);
    }
    response
}

/// The file from its beginning. An error breaks the connection off, so the client notices that
/// something is missing.
fn pieces(snapshot: SavedSnapshot) -> impl Stream<Item = std::io::Result<bytes::Bytes>> {
    futures::stream::try_unfold((snapshot, 0), |(snapshot, offset)| async move {
        if offset >= snapshot.bytes() {
            return Ok(None);
        }
        let piece = snapshot.read_at(offset, PIECE_BYTES).await?;
        let next = offset + piece.len() as u64;
        Ok(Some((piece, (snapshot, next))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consistency_is_asked_for_by_its_name_and_value() {
        let ask = |path: &str| wants_consistent(&path.parse().expect("a path"));
        assert_eq!(ask("/regency/snapshot"), Ok(false));
        assert_eq!(ask("/regency/snapshot?consistent=true"), Ok(true));
        assert_eq!(ask("/regency/snapshot?consistent=false"), Ok(false));
        for (path, word) in [
            ("/regency/snapshot?consistent=yes", "'yes'"),
            ("/regency/snapshot?consistant=true", "'consistant'"),
        ] {
            let error = ask(path).expect_err("refused");
            assert!(error.contains(word), "{error}");
        }
    }
}
