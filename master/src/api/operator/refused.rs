//! Why a request is not answered, and what that is in HTTP.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse;
use regency_wire::DecodeError;
use regency_wire::content::{ContentTypeError, NotAcceptable};
use regency_wire::validate::InvalidCall;

use super::Unavailable;
use crate::api::answer::{only_post, text};

/// Why a request is not answered. The text is the body of the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// Only POST is taken.
    #[error("expected POST, not {0}")]
    NotPost(Method),
    /// The type of the body is not given, or not one that is taken.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// The body cannot be read.
    #[error(transparent)]
    Body(#[from] DecodeError),
    /// The body is not a call.
    #[error(transparent)]
    Call(#[from] InvalidCall),
    /// No type that the client accepts can be given.
    #[error(transparent)]
    NotAcceptable(#[from] NotAcceptable),
    /// A parameter, header or field is wrong; the text names it and its value.
    #[error("{0}")]
    Malformed(String),
    /// The agent named is not known.
    #[error("Agent '{0}' not found")]
    NoSuchAgent(String),
    /// The same, for calls that Mesos answers with less.
    #[error("Unknown agent")]
    UnknownAgent,
    /// There is no file of that name.
    #[error("")]
    NoSuchFile,
    /// This is not there yet.
    #[error("{0} is not implemented")]
    NotImplemented(String),
    /// It could not be done, for a reason that is in the log.
    #[error("{0}")]
    Failed(&'static str),
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let code = match &self {
            Self::NotPost(method) => return only_post(method),
            Self::ContentType(ContentTypeError::Unsupported) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ContentType(ContentTypeError::Missing)
            | Self::Body(_)
            | Self::Call(_)
            | Self::Malformed(_)
            | Self::UnknownAgent => StatusCode::BAD_REQUEST,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::NoSuchAgent(_) | Self::NoSuchFile => StatusCode::NOT_FOUND,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        text(code, self.to_string())
    }
}
