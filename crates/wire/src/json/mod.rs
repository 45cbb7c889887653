//! The JSON mapping of Mesos, read and written directly into and from the generated types.
//!
//! The rules, which are Mesos' and in places looser than protobuf's own mapping:
//!
//! - field names are those of the `.proto` files; where they say `agent`, `slave` is understood
//!   too unless the newer name is there as well; unknown keys are skipped, `null` means unset;
//! - a number or boolean may come as a string, a whole number with a fraction of zero, a float as
//!   `"Infinity"`; bytes are base64; a single value stands for a list of one;
//! - an enum is a name; an unknown one leaves an optional field unset and is an error for a
//!   required one;
//! - written is what is set, lists that are not empty, and optional fields with a default value;
//!   a handful of exceptions, seen on real masters, are listed in `build/json.rs`.
//!
//! What is wrong is said with the name of the field, and missing required fields all together,
//! with their paths. Nothing passes through `serde_json::Value`.

mod context;
mod kind;
mod read;
mod write;

use std::borrow::Cow;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess};
use serde::ser::SerializeMap;

pub use context::{Context, Seen};
pub(crate) use context::{MISSING_TOLD_MAX, Path, missing_text};
pub use read::deserialize;
pub use write::AsJson;

use kind::{Blob, Bool, EnumOf, F64, I32, I64, MessageOf, Text, U32, U64};

use crate::message::{WireEnum, WireMessage};
use crate::required::{FieldShape, Occurs, Shape};

/// Why bytes are not the JSON form of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// They are not JSON.
    #[error("syntax error at line {line} near: {near}")]
    Syntax {
        /// Line of the offending character, from one.
        line: usize,
        /// The rest of that line, shortened.
        near: String,
    },
    /// They are JSON, but not this message; the text names the field.
    #[error("{0}")]
    Mismatch(String),
}

/// How much of the offending line an error text repeats, in characters.
const NEAR_CHARS_MAX: usize = 200;

/// Reads a message from a JSON text.
///
/// # Errors
/// When the text is not JSON, a value does not fit its field, or a required field is missing.
pub fn from_slice<M: WireMessage>(bytes: &[u8]) -> Result<M, JsonError> {
    let mut cx = Context::default();
    let mut message = M::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = read::TopLevel::new(&mut message, &mut cx)
        .deserialize(&mut reader)
        .and_then(|()| reader.end());
    match (read, cx.fault()) {
        (Ok(()), None) => Ok(message),
        // The whole text is judged as JSON before its content is.
        (Ok(()), Some(fault)) => Err(JsonError::Mismatch(fault)),
        (Err(error), fault) if error.is_data() => {
            match serde_json::from_slice::<IgnoredAny>(bytes) {
                Err(syntax) => Err(syntax_error(bytes, &syntax)),
                Ok(_) => Err(JsonError::Mismatch(
                    fault.unwrap_or_else(|| error.to_string()),
                )),
            }
        }
        (Err(error), _) => Err(syntax_error(bytes, &error)),
    }
}

/// Writes a message as compact JSON.
#[must_use]
pub fn to_vec<M: WireMessage>(message: &M) -> Vec<u8> {
    serde_json::to_vec(&AsJson(message)).expect("writing to memory and string keys cannot fail")
}

fn syntax_error(bytes: &[u8], error: &serde_json::Error) -> JsonError {
    let line = bytes
        .split(|&b| b == b'\n')
        .nth(error.line().saturating_sub(1));
    let from = error.column().saturating_sub(1);
    let near = match line.and_then(|line| line.get(from..)) {
        Some(rest) if !error.is_eof() => String::from_utf8_lossy(rest),
        _ => Cow::Borrowed(""),
    };
    JsonError::Syntax {
        line: error.line(),
        near: near
            .chars()
            .filter(|c| !c.is_control())
            .take(NEAR_CHARS_MAX)
            .collect(),
    }
}

/// Lets serde read and write a message inside other values, in the same mapping.
macro_rules! json_message {
    ($message:ty) => {
        impl serde::Serialize for $message {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                AsJson(self).serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $message {
            fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
                read::deserialize(reader)
            }
        }
    };
}

/// Gives an enum its names; the generated type knows them, but not through a trait.
macro_rules! enum_names {
    ($one:ty) => {
        impl WireEnum for $one {
            fn number_of(name: &str) -> Option<i32> {
                Self::from_str_name(name)
                    .or_else(|| Self::from_str_name(&name.replace("SLAVE", "AGENT")))
                    .map(|one| one as i32)
            }

            fn name_of(number: i32) -> Option<&'static str> {
                Self::try_from(number).ok().map(|one| one.as_str_name())
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/mesos_json.rs"));

#[cfg(test)]
mod tests;
