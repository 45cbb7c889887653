//! The kinds of values that fields hold, and what of JSON each accepts.

use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Error, MapAccess};
use serde::ser::{Serialize, Serializer};

use super::context::Context;
use super::read;
use super::write::AsJson;
use crate::message::{WireEnum, WireMessage};

/// Which field a value is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) field: &'static str,
    /// Whether a value that means nothing (an unknown enum name) is an error.
    pub(super) required: bool,
}

/// A kind of value.
///
/// Every method answers one JSON type; what a kind does not override is refused. `None` means
/// that the value is to be treated as not there.
pub(super) trait Kind {
    /// The Rust type it is held in.
    type Output: Default;

    fn from_str<E: Error>(
        _: &str,
        at: Target,
        cx: &mut Context,
    ) -> Result<Option<Self::Output>, E> {
        Err(refuse("string", at, cx))
    }

    fn from_bool<E: Error>(
        _: bool,
        at: Target,
        cx: &mut Context,
    ) -> Result<Option<Self::Output>, E> {
        Err(refuse("boolean", at, cx))
    }

    fn from_number<E: Error>(
        _: Number,
        at: Target,
        cx: &mut Context,
    ) -> Result<Option<Self::Output>, E> {
        Err(refuse("number", at, cx))
    }

    fn from_map<'de, A: MapAccess<'de>>(
        _: A,
        at: Target,
        cx: &mut Context,
    ) -> Result<Option<Self::Output>, A::Error> {
        Err(refuse("object", at, cx))
    }

    /// Writes the value; `None` when it has no JSON form, as a number that is not of the enum.
    fn to_json(value: &Self::Output) -> Option<impl Serialize + '_>;
}

/// The error for a value of the wrong JSON type.
pub(super) fn refuse<E: Error>(json_type: &str, at: Target, cx: &mut Context) -> E {
    cx.mismatch(format!(
        "Not expecting a JSON {json_type} for field '{}'",
        at.field
    ))
}

/// A JSON number as the parser gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// Reads a string that stands for a number.
    fn parse(text: &str) -> Option<Self> {
        match text.parse::<i128>() {
            Ok(whole) => Some(Self::Whole(whole)),
            Err(_) => text.parse::<f64>().ok().map(Self::Float),
        }
    }

    /// The whole number, when the fraction is zero.
    fn whole(self) -> Option<i128> {
        match self {
            Self::Whole(whole) => Some(whole),
            // Beyond this the cast would saturate, and no field is that wide.
            Self::Float(float) if float.fract() == 0.0 && float.abs() < 1e30 => Some(float as i128),
            Self::Float(_) => None,
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }
}

fn not_a<E: Error>(what: &str, value: &dyn std::fmt::Display, at: Target, cx: &mut Context) -> E {
    cx.mismatch(format!(
        "Expecting {what} for field '{}', not '{value}'",
        at.field
    ))
}

/// `string`.
pub(super) enum Text {}

impl Kind for Text {
    type Output = String;

    fn from_str<E: Error>(text: &str, _: Target, _: &mut Context) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }

    fn to_json(value: &String) -> Option<impl Serialize + '_> {
        Some(value)
    }
}

/// `bytes`.
pub(super) enum Blob {}

impl Kind for Blob {
    type Output = Bytes;

    fn from_str<E: Error>(text: &str, at: Target, cx: &mut Context) -> Result<Option<Bytes>, E> {
        match STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(cx.mismatch(format!(
                "Expecting base64 for field '{}': {error}",
                at.field
            ))),
        }
    }

    fn to_json(value: &Bytes) -> Option<impl Serialize + '_> {
        Some(AsBase64(value))
    }
}

struct AsBase64<'a>(&'a Bytes);

impl Serialize for AsBase64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

/// `bool`.
pub(super) enum Bool {}

impl Kind for Bool {
    type Output = bool;

    fn from_bool<E: Error>(value: bool, _: Target, _: &mut Context) -> Result<Option<bool>, E> {
        Ok(Some(value))
    }

    fn from_str<E: Error>(text: &str, at: Target, cx: &mut Context) -> Result<Option<bool>, E> {
        match text {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            other => Err(not_a("a boolean", &other, at, cx)),
        }
    }

    fn to_json(value: &bool) -> Option<impl Serialize + '_> {
        Some(value)
    }
}

macro_rules! whole_kind {
    ($kind:ident, $type:ty, $name:literal) => {
        #[doc = concat!("`", $name, "`.")]
        pub(super) enum $kind {}

        impl Kind for $kind {
            type Output = $type;

            fn from_number<E: Error>(
                number: Number,
                at: Target,
                cx: &mut Context,
            ) -> Result<Option<$type>, E> {
                match number.whole().and_then(|whole| whole.try_into().ok()) {
                    Some(value) => Ok(Some(value)),
                    None => Err(match number {
                        Number::Whole(whole) => not_a(concat!("a ", $name), &whole, at, cx),
                        Number::Float(float) => not_a(concat!("a ", $name), &float, at, cx),
                    }),
                }
            }

            fn from_str<E: Error>(
                text: &str,
                at: Target,
                cx: &mut Context,
            ) -> Result<Option<$type>, E> {
                match Number::parse(text) {
                    Some(number) => Self::from_number(number, at, cx),
                    None => Err(not_a(concat!("a ", $name), &text, at, cx)),
                }
            }

            fn to_json(value: &$type) -> Option<impl Serialize + '_> {
                Some(value)
            }
        }
    };
}

whole_kind!(I32, i32, "32-bit integer");
whole_kind!(I64, i64, "64-bit integer");
whole_kind!(U32, u32, "32-bit unsigned integer");
whole_kind!(U64, u64, "64-bit unsigned integer");

/// `double`.
pub(super) enum F64 {}

impl Kind for F64 {
    type Output = f64;

    fn from_number<E: Error>(number: Number, _: Target, _: &mut Context) -> Result<Option<f64>, E> {
        Ok(Some(number.float()))
    }

    fn from_str<E: Error>(text: &str, at: Target, cx: &mut Context) -> Result<Option<f64>, E> {
        match Number::parse(text) {
            Some(number) => Ok(Some(number.float())),
            None => Err(not_a("a number", &text, at, cx)),
        }
    }

    fn to_json(value: &f64) -> Option<impl Serialize + '_> {
        Some(AsFloat(*value))
    }
}

struct AsFloat(f64);

impl Serialize for AsFloat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else if self.0 > 0.0 {
            serializer.serialize_str("Infinity")
        } else {
            serializer.serialize_str("-Infinity")
        }
    }
}

/// An enum, held as its number.
pub(super) struct EnumOf<E>(PhantomData<E>);

impl<W: WireEnum> Kind for EnumOf<W> {
    type Output = i32;

    fn from_str<E: Error>(name: &str, at: Target, cx: &mut Context) -> Result<Option<i32>, E> {
        match W::number_of(name) {
            None if at.required => Err(cx.mismatch(format!(
                "Unknown name '{name}' for required field '{}'",
                at.field
            ))),
            number => Ok(number),
        }
    }

    fn to_json(value: &i32) -> Option<impl Serialize + '_> {
        W::name_of(*value)
    }
}

/// A message.
pub(super) struct MessageOf<M>(PhantomData<M>);

impl<M: WireMessage> Kind for MessageOf<M> {
    type Output = M;

    fn from_map<'de, A: MapAccess<'de>>(
        map: A,
        _: Target,
        cx: &mut Context,
    ) -> Result<Option<M>, A::Error> {
        let mut message = M::default();
        read::object(&mut message, map, cx)?;
        Ok(Some(message))
    }

    fn to_json(value: &M) -> Option<impl Serialize + '_> {
        Some(AsJson(value))
    }
}
