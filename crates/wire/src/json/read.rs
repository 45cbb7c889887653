//! Reading: one visitor for single values, one for lists and one for maps, over any [`Kind`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::context::{Context, MISSING_TOLD_MAX, NESTING_MAX, Seen};
use super::kind::{Kind, Number, Target, refuse};
use crate::message::WireMessage;

/// Reads a message through serde, as a part of some other value.
///
/// # Errors
/// As [`super::from_slice`].
pub fn deserialize<'de, M: WireMessage, D: Deserializer<'de>>(reader: D) -> Result<M, D::Error> {
    let mut cx = Context::default();
    let mut message = M::default();
    TopLevel::new(&mut message, &mut cx).deserialize(reader)?;
    match cx.fault() {
        None => Ok(message),
        Some(fault) => Err(D::Error::custom(fault)),
    }
}

/// Reads the fields of a message from a JSON object and notes the required ones it lacks.
pub(super) fn object<'de, M: WireMessage, A: MapAccess<'de>>(
    message: &mut M,
    mut map: A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    let mut seen = Seen::default();
    let own_from = cx.missing.len();
    while let Some(Key(key)) = map.next_key()? {
        message.read_field(&key, &mut map, &mut seen, cx)?;
    }
    let absent = (0..)
        .zip(M::shape().required)
        .filter(|(bit, _)| !seen.contains(*bit));
    let paths: Vec<String> = absent.map(|(_, field)| cx.path.with(field)).collect();
    // A message's own fields are told before those of its parts.
    cx.missing.splice(own_from..own_from, paths);
    if cx.missing.len() < MISSING_TOLD_MAX {
        Ok(())
    } else {
        Err(A::Error::custom("too many required fields are missing"))
    }
}

/// A key, borrowed from the text unless it holds escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

/// The message that a whole text is.
pub(super) struct TopLevel<'a, M> {
    message: &'a mut M,
    cx: &'a mut Context,
}

impl<'a, M> TopLevel<'a, M> {
    pub(super) fn new(message: &'a mut M, cx: &'a mut Context) -> Self {
        Self { message, cx }
    }

    fn not_an_object<E: Error>(self) -> Result<(), E> {
        Err(self.cx.mismatch("Expecting a JSON object".to_owned()))
    }
}

impl<'de, M: WireMessage> DeserializeSeed<'de> for TopLevel<'_, M> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, M: WireMessage> Visitor<'de> for TopLevel<'_, M> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        object(self.message, map, self.cx)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.not_an_object()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.not_an_object()
    }
}

/// One value of a field; `null` and what means nothing give `None`.
struct Single<'a, K> {
    at: Target,
    element: Option<usize>,
    cx: &'a mut Context,
    kind: PhantomData<K>,
}

impl<'a, K: Kind> Single<'a, K> {
    fn new(at: Target, element: Option<usize>, cx: &'a mut Context) -> Self {
        Self {
            at,
            element,
            cx,
            kind: PhantomData,
        }
    }
}

impl<'de, K: Kind> DeserializeSeed<'de> for Single<'_, K> {
    type Value = Option<K::Output>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Single<'_, K> {
    type Value = Option<K::Output>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value for field '{}'", self.at.field)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        K::from_bool(value, self.at, self.cx)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        K::from_number(Number::Whole(value.into()), self.at, self.cx)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        K::from_number(Number::Whole(value.into()), self.at, self.cx)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        K::from_number(Number::Float(value), self.at, self.cx)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        K::from_str(value, self.at, self.cx)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(refuse("array", self.at, self.cx))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        if self.cx.path.is_deepest() {
            return Err(self.cx.mismatch(format!(
                "Field '{}' is nested more than {NESTING_MAX} levels deep",
                self.at.field
            )));
        }
        self.cx.path.enter(self.at.field, self.element);
        let value = K::from_map(map, self.at, self.cx);
        self.cx.path.leave();
        value
    }
}

/// The values of a list field, or the single one that stands for a list of one.
struct Many<'a, K: Kind> {
    values: &'a mut Vec<K::Output>,
    at: Target,
    cx: &'a mut Context,
}

impl<K: Kind> Many<'_, K> {
    /// Takes the value that `read` gets for the only element.
    fn only<E>(
        self,
        read: impl FnOnce(Single<'_, K>) -> Result<Option<K::Output>, E>,
    ) -> Result<(), E> {
        let value = read(Single::new(self.at, Some(0), self.cx))?;
        self.values.extend(value);
        Ok(())
    }
}

impl<'de, K: Kind> DeserializeSeed<'de> for Many<'_, K> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Many<'_, K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list for field '{}'", self.at.field)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            let single = Single::<K>::new(self.at, Some(self.values.len()), self.cx);
            match list.next_element_seed(single)? {
                Some(value) => self.values.extend(value),
                None => return Ok(()),
            }
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.only(|single| single.visit_bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.only(|single| single.visit_i64(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.only(|single| single.visit_u64(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.only(|single| single.visit_f64(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.only(|single| single.visit_str(value))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.only(|single| single.visit_map(map))
    }
}

/// The entries of a map field.
struct Table<'a, K: Kind> {
    values: &'a mut BTreeMap<String, K::Output>,
    at: Target,
    cx: &'a mut Context,
}

impl<'de, K: Kind> DeserializeSeed<'de> for Table<'_, K> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, K: Kind> Visitor<'de> for Table<'_, K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map for field '{}'", self.at.field)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let single = Single::<K>::new(self.at, None, self.cx);
            if let Some(value) = map.next_value_seed(single)? {
                self.values.insert(key.into_owned(), value);
            }
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(refuse("boolean", self.at, self.cx))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(refuse("number", self.at, self.cx))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(refuse("number", self.at, self.cx))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(refuse("number", self.at, self.cx))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(refuse("string", self.at, self.cx))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(refuse("array", self.at, self.cx))
    }
}

// What the generated code calls, one function for each way a field can occur.

pub(super) fn unknown<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

pub(super) fn value<'de, K: Kind, A: MapAccess<'de>>(
    field: &'static str,
    required: bool,
    map: &mut A,
    cx: &mut Context,
) -> Result<Option<K::Output>, A::Error> {
    map.next_value_seed(Single::<K>::new(Target { field, required }, None, cx))
}

pub(super) fn required<'de, K: Kind, A: MapAccess<'de>>(
    slot: &mut K::Output,
    bit: u32,
    seen: &mut Seen,
    field: &'static str,
    map: &mut A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    let value = value::<K, A>(field, true, map, cx)?;
    seen.set(bit, value.is_some());
    *slot = value.unwrap_or_default();
    Ok(())
}

pub(super) fn implicit<'de, K: Kind, A: MapAccess<'de>>(
    slot: &mut K::Output,
    field: &'static str,
    map: &mut A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    *slot = value::<K, A>(field, false, map, cx)?.unwrap_or_default();
    Ok(())
}

pub(super) fn optional<'de, K: Kind, A: MapAccess<'de>>(
    slot: &mut Option<K::Output>,
    field: &'static str,
    map: &mut A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    *slot = value::<K, A>(field, false, map, cx)?;
    Ok(())
}

pub(super) fn boxed<'de, K: Kind, A: MapAccess<'de>>(
    slot: &mut Option<Box<K::Output>>,
    field: &'static str,
    map: &mut A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    *slot = value::<K, A>(field, false, map, cx)?.map(Box::new);
    Ok(())
}

pub(super) fn list<'de, K: Kind, A: MapAccess<'de>>(
    slot: &mut Vec<K::Output>,
    field: &'static str,
    map: &mut A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    slot.clear();
    map.next_value_seed(Many::<K> {
        values: slot,
        at: Target {
            field,
            required: false,
        },
        cx,
    })
}

pub(super) fn table<'de, K: Kind, A: MapAccess<'de>>(
    slot: &mut BTreeMap<String, K::Output>,
    field: &'static str,
    map: &mut A,
    cx: &mut Context,
) -> Result<(), A::Error> {
    slot.clear();
    map.next_value_seed(Table::<K> {
        values: slot,
        at: Target {
            field,
            required: false,
        },
        cx,
    })
}
