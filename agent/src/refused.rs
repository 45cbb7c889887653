//! Why a request to the agent's HTTP port is not carried out: a status and words for people.

use axum::body::Body;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use axum::response::IntoResponse;
use regency_wire::content::{ContentTypeError, NotAcceptable};

/// Why a call is not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: StatusCode,
    pub(crate) words: String,
}

impl Refused {
    pub(crate) fn new(code: StatusCode, words: impl ToString) -> Self {
        let words = words.to_string();
        Self { code, words }
    }

    pub(crate) fn bad(words: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    pub(crate) fn not_found(words: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, words)
    }

    pub(crate) fn conflict(words: impl ToString) -> Self {
        Self::new(StatusCode::CONFLICT, words)
    }

    pub(crate) fn not_implemented(words: impl ToString) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, words)
    }

    /// What was tried failed on this machine.
    pub(crate) fn failed(words: impl ToString) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
    }

    /// There is as much of it as a flag allows.
    pub(crate) fn full(words: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }

    /// The agent ends, or its disk stands still.
    pub(crate) fn busy() -> Self {
        Self::full("the agent does not answer; try again")
    }

    /// Only POST will do.
    pub(crate) fn not_post(method: &Method) -> Self {
        let words = format!(
            "405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'."
        );
        Self::new(StatusCode::METHOD_NOT_ALLOWED, words)
    }
}

impl From<ContentTypeError> for Refused {
    fn from(error: ContentTypeError) -> Self {
        let code = match error {
            ContentTypeError::Missing => StatusCode::BAD_REQUEST,
            ContentTypeError::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        };
        Self::new(code, error)
    }
}

impl From<NotAcceptable> for Refused {
    fn from(error: NotAcceptable) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let mut response = (self.code, self.words).into_response();
        if self.code == StatusCode::METHOD_NOT_ALLOWED {
            let only = HeaderValue::from_static("POST");
            response.headers_mut().insert(ALLOW, only);
        }
        response
    }
}
