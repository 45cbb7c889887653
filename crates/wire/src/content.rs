//! Bodies and the headers that say what they are.
//!
//! Which of the two encodings a body has is decided here and nowhere else; whoever handles a
//! call sees the message only. The texts of the errors are what real masters answer with, since
//! clients' users search for them.

use bytes::Bytes;

use crate::json::{self, JsonError, missing_text};
use crate::message::WireMessage;
use crate::required::{self, Incomplete};

/// Media type of a JSON body.
pub const APPLICATION_JSON: &str = "application/json";
/// Media type of a binary body.
pub const APPLICATION_PROTOBUF: &str = "application/x-protobuf";
/// Media type of a request body that is a RecordIO stream; its records' own type is in the
/// header `Message-Content-Type`.
pub const APPLICATION_RECORDIO: &str = "application/recordio";

/// The encoding of a body, or of the records of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// JSON in Mesos' mapping.
    Json,
    /// Binary protobuf.
    Protobuf,
}

/// Why a request's `Content-Type` will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// There is none: 400.
    #[error("Expecting 'Content-Type' to be present")]
    Missing,
    /// It is another: 415.
    #[error("Expecting 'Content-Type' of {APPLICATION_JSON} or {APPLICATION_PROTOBUF}")]
    Unsupported,
}

/// A request's `Accept` admits neither encoding: 406.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Expecting 'Accept' to allow '{APPLICATION_PROTOBUF}' or '{APPLICATION_JSON}'")]
pub struct NotAcceptable;

impl ContentType {
    /// The encoding that a request's `Content-Type` names.
    ///
    /// Compared exactly, as Mesos does: no parameters, no other case.
    ///
    /// # Errors
    /// When the header is missing or names something else.
    pub fn of_request(header: Option<&str>) -> Result<Self, ContentTypeError> {
        match header {
            None => Err(ContentTypeError::Missing),
            Some(APPLICATION_JSON) => Ok(Self::Json),
            Some(APPLICATION_PROTOBUF) => Ok(Self::Protobuf),
            Some(_) => Err(ContentTypeError::Unsupported),
        }
    }

    /// The encoding to answer in, from the values of all `Accept` headers of a request.
    ///
    /// JSON wins when both are acceptable, whatever their weights, and when nothing is asked for.
    ///
    /// # Errors
    /// When neither encoding is acceptable.
    pub fn acceptable<'a>(
        headers: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, NotAcceptable> {
        let ranges: Vec<Range<'a>> = headers
            .into_iter()
            .flat_map(|header| header.split(','))
            .filter_map(Range::parse)
            .collect();
        if ranges.is_empty() || admits(&ranges, APPLICATION_JSON) {
            Ok(Self::Json)
        } else if admits(&ranges, APPLICATION_PROTOBUF) {
            Ok(Self::Protobuf)
        } else {
            Err(NotAcceptable)
        }
    }

    /// The media type, for a `Content-Type` or `Accept` header.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => APPLICATION_JSON,
            Self::Protobuf => APPLICATION_PROTOBUF,
        }
    }
}

/// One media range of an `Accept` header.
struct Range<'a> {
    media: &'a str,
    /// False when its weight is zero.
    wanted: bool,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media = parts.next().filter(|media| !media.is_empty())?;
        let weight = parts
            .filter_map(|part| part.split_once('='))
            .find_map(|(key, value)| {
                key.trim()
                    .eq_ignore_ascii_case("q")
                    .then(|| value.trim().parse::<f32>().ok())
            });
        Some(Self {
            media,
            wanted: weight.flatten() != Some(0.0),
        })
    }

    /// How closely this range names the media type; `None` when it does not cover it.
    fn closeness(&self, media_type: &str) -> Option<u8> {
        if self.media.eq_ignore_ascii_case(media_type) {
            Some(2)
        } else if self.media.eq_ignore_ascii_case("application/*") {
            Some(1)
        } else {
            (self.media == "*/*").then_some(0)
        }
    }
}

/// Whether the range that names the media type most closely wants it.
fn admits(ranges: &[Range<'_>], media_type: &str) -> bool {
    ranges
        .iter()
        .filter_map(|range| Some((range.closeness(media_type)?, range.wanted)))
        .max_by_key(|(closeness, _)| *closeness)
        .is_some_and(|(_, wanted)| wanted)
}

/// Why a body is not the message it should be; the text is fit for a 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not JSON.
    #[error("Failed to parse body into JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but not of this message.
    #[error("Failed to convert JSON into {message} protobuf: {reason}")]
    Mismatch {
        /// Name of the message.
        message: &'static str,
        /// Which field is wrong, and how.
        reason: String,
    },
    /// The body is not binary protobuf of this message.
    #[error("Failed to parse body into {message} protobuf")]
    NotProtobuf {
        /// Name of the message.
        message: &'static str,
    },
    /// The body is binary protobuf, but a field holds what it cannot, such as a string that is not
    /// UTF-8.
    #[error("Failed to parse body into {message} protobuf: field '{field}': {reason}")]
    BadField {
        /// Name of the message.
        message: &'static str,
        /// The path of the field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The body is binary protobuf, but required fields are missing.
    #[error("Failed to parse body into {message} protobuf: {reason}")]
    Incomplete {
        /// Name of the message.
        message: &'static str,
        /// The paths of the missing fields.
        reason: String,
    },
}

/// Reads a message from a body, or from one record of a stream.
///
/// # Errors
/// When the bytes are not this message, or lack fields it requires.
pub fn decode<M: WireMessage>(content_type: ContentType, bytes: &[u8]) -> Result<M, DecodeError> {
    match content_type {
        ContentType::Json => json::from_slice(bytes).map_err(|error| match error {
            JsonError::Syntax { .. } => DecodeError::NotJson(error.to_string()),
            JsonError::Mismatch(reason) => DecodeError::Mismatch {
                message: M::NAME,
                reason,
            },
        }),
        ContentType::Protobuf => {
            let malformed = DecodeError::NotProtobuf { message: M::NAME };
            match required::check(M::shape(), bytes) {
                Ok(()) => M::decode(bytes).map_err(|error| {
                    bad_field(&error).map_or(malformed, |(field, reason)| DecodeError::BadField {
                        message: M::NAME,
                        field,
                        reason,
                    })
                }),
                Err(Incomplete::Malformed) => Err(malformed),
                Err(Incomplete::Missing(paths)) => Err(DecodeError::Incomplete {
                    message: M::NAME,
                    reason: missing_text(&paths),
                }),
            }
        }
    }
}

/// The path of the field that a binary message could not be decoded for, and what is wrong with it;
/// `None` when it is no field's fault. The decoder tells both as text only, innermost field first:
/// `…: Inner.field: Outer.field: what is wrong`.
fn bad_field(error: &prost::DecodeError) -> Option<(String, String)> {
    let text = error.to_string();
    let mut rest = text.split_once(": ")?.1;
    let mut fields = Vec::new();
    while let Some((place, more)) = rest.split_once(": ")
        && let Some((_, field)) = place.split_once('.')
        && !place.contains(' ')
    {
        fields.push(field.trim_start_matches("r#"));
        rest = more;
    }
    fields.reverse();
    (!fields.is_empty()).then(|| (fields.join("."), rest.to_owned()))
}

/// Writes a message as a body, or as one record of a stream (see [`crate::recordio::frame`]).
#[must_use]
pub fn encode<M: WireMessage>(content_type: ContentType, message: &M) -> Bytes {
    match content_type {
        ContentType::Json => json::to_vec(message).into(),
        ContentType::Protobuf => message.encode_to_vec().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_is_compared_exactly() {
        assert_eq!(
            ContentType::of_request(Some("application/json")),
            Ok(ContentType::Json)
        );
        assert_eq!(
            ContentType::of_request(Some("application/x-protobuf")),
            Ok(ContentType::Protobuf)
        );
        assert_eq!(
            ContentType::of_request(None),
            Err(ContentTypeError::Missing)
        );
        for other in [
            "Application/Json",
            "application/json; charset=utf-8",
            "text/plain",
            "",
        ] {
            assert_eq!(
                ContentType::of_request(Some(other)),
                Err(ContentTypeError::Unsupported),
                "{other}"
            );
        }
    }

    #[test]
    fn json_is_preferred_and_zero_weights_are_respected() {
        let json = Ok(ContentType::Json);
        let protobuf = Ok(ContentType::Protobuf);
        for (headers, expected) in [
            (&[][..], json),
            (&[""][..], json),
            (&["*/*"][..], json),
            (&["application/*"][..], json),
            (&["application/json"][..], json),
            (&["APPLICATION/JSON"][..], json),
            (&["application/x-protobuf"][..], protobuf),
            (
                &["application/x-protobuf, application/json;q=0.1"][..],
                json,
            ),
            (&["application/x-protobuf", "application/json"][..], json),
            (&["application/json;q=0, */*"][..], protobuf),
            (&["*/*;q=0.5, application/json; q=0.0"][..], protobuf),
            (&["text/html"][..], Err(NotAcceptable)),
            (&["application/json;q=0"][..], Err(NotAcceptable)),
            (&["*/*;q=0"][..], Err(NotAcceptable)),
        ] {
            assert_eq!(
                ContentType::acceptable(headers.iter().copied()),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn header_errors_read_as_those_of_mesos() {
        assert_eq!(
            ContentTypeError::Missing.to_string(),
            "Expecting 'Content-Type' to be present"
        );
        assert_eq!(
            ContentTypeError::Unsupported.to_string(),
            "Expecting 'Content-Type' of application/json or application/x-protobuf"
        );
        assert_eq!(
            NotAcceptable.to_string(),
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'"
        );
    }

    #[test]
    fn a_string_that_is_no_text_is_named() {
        use crate::v1::scheduler::Call;

        let told = |bytes: &[u8]| {
            decode::<Call>(ContentType::Protobuf, bytes)
                .expect_err("no message")
                .to_string()
        };
        // framework_id { value: ff }
        let text = told(&[0x0a, 3, 0x0a, 1, 0xff]);
        assert!(
            text.starts_with("Failed to parse body into Call protobuf"),
            "{text}"
        );
        assert!(text.contains("field 'framework_id.value': "), "{text}");
        assert!(text.contains("UTF-8"), "{text}");
        // subscribe { framework_info { user: "u" name: ff } }
        let text = told(&[0x1a, 8, 0x0a, 6, 0x0a, 1, b'u', 0x12, 1, 0xff]);
        assert!(text.contains("'subscribe.framework_info.name'"), "{text}");
        // The type as bytes.
        let text = told(&[0x12, 1, 1]);
        assert!(text.contains("field 'type': "), "{text}");
        assert_eq!(
            told(&[0xff, 0xff, 0xff]),
            "Failed to parse body into Call protobuf"
        );
    }
}
