//! Writing: what the generated code calls, over any [`Kind`].

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::kind::Kind;
use crate::message::WireMessage;

/// A message in its JSON form, for any serializer.
#[derive(Debug)]
pub struct AsJson<'a, M>(pub &'a M);

impl<M: WireMessage> Serialize for AsJson<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.write_fields(&mut map)?;
        map.end()
    }
}

struct List<'a, K: Kind>(&'a [K::Output]);

impl<K: Kind> Serialize for List<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter_map(|value| K::to_json(value)))
    }
}

struct Table<'a, K: Kind>(&'a BTreeMap<String, K::Output>, PhantomData<K>);

impl<K: Kind> Serialize for Table<'_, K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.0.iter();
        serializer.collect_map(entries.filter_map(|(k, value)| Some((k, K::to_json(value)?))))
    }
}

pub(super) fn value<K: Kind, M: SerializeMap>(
    field: &'static str,
    value: &K::Output,
    map: &mut M,
) -> Result<(), M::Error> {
    match K::to_json(value) {
        Some(value) => map.serialize_entry(field, &value),
        None => Ok(()),
    }
}

pub(super) fn implicit<K: Kind<Output: PartialEq>, M: SerializeMap>(
    field: &'static str,
    content: &K::Output,
    map: &mut M,
) -> Result<(), M::Error> {
    if *content == K::Output::default() {
        Ok(())
    } else {
        value::<K, M>(field, content, map)
    }
}

pub(super) fn list<K: Kind, M: SerializeMap>(
    field: &'static str,
    values: &[K::Output],
    map: &mut M,
) -> Result<(), M::Error> {
    map.serialize_entry(field, &List::<K>(values))
}

pub(super) fn table<K: Kind, M: SerializeMap>(
    field: &'static str,
    values: &BTreeMap<String, K::Output>,
    map: &mut M,
) -> Result<(), M::Error> {
    map.serialize_entry(field, &Table::<K>(values, PhantomData))
}
