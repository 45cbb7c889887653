//! Resources and attributes as the older endpoints show them.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities, Resources, Value};
use regency_wire::v1::{Attribute, value};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Resources as one object of sums: the four well-known scalars always, other scalars as
/// numbers, ranges and sets as text; revocable ones under keys of their own.
pub(super) struct Model(pub(super) Resources);

/// The scalars that are shown even when there are none.
const ALWAYS: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut always = [Milli::ZERO; ALWAYS.len()];
        let mut others: BTreeMap<(&str, bool), Value> = BTreeMap::new();
        for entry in self.0.entries() {
            let name = entry.key.name.as_str();
            // How many hold a shared resource does not make it more.
            let copies = if entry.key.shared { 1 } else { entry.copies };
            let value = match &entry.value {
                Value::Scalar(one) => {
                    let sum = Milli(one.0.saturating_mul(i64::from(copies)));
                    match ALWAYS
                        .iter()
                        .position(|n| *n == name && !entry.key.revocable)
                    {
                        Some(at) => {
                            always[at] += sum;
                            continue;
                        }
                        None => Value::Scalar(sum),
                    }
                }
                other => other.clone(),
            };
            others
                .entry((name, entry.key.revocable))
                .and_modify(|there| *there = joined(there, &value))
                .or_insert(value);
        }
        let mut map = serializer.serialize_map(None)?;
        for (name, amount) in ALWAYS.iter().zip(always) {
            map.serialize_entry(name, &amount.to_f64())?;
        }
        for ((name, revocable), value) in others {
            let suffix = if revocable { "_revocable" } else { "" };
            let key = format!("{name}{suffix}");
            match value {
                Value::Scalar(amount) => map.serialize_entry(&key, &amount.to_f64())?,
                Value::Ranges(ranges) => map.serialize_entry(&key, &ranges.to_string())?,
                Value::Set(set) => map.serialize_entry(&key, &set.to_string())?,
            }
        }
        map.end()
    }
}

/// The sum of two values of one kind. Of two kinds under one name the first is shown; the state
/// keeps them apart, and Mesos refuses such agents.
fn joined(one: &Value, other: &Value) -> Value {
    match (one, other) {
        (Value::Scalar(a), Value::Scalar(b)) => Value::Scalar(*a + *b),
        (Value::Ranges(a), Value::Ranges(b)) => Value::Ranges(a.union(b)),
        (Value::Set(a), Value::Set(b)) => Value::Set(a.union(b)),
        (first, _) => first.clone(),
    }
}

/// [`Quantities`] as an object of numbers.
pub(super) struct Amounts(pub(super) Quantities);

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, amount)| (name, amount.to_f64())))
    }
}

/// Attributes as one object. Of several under one name the last is shown.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Attributes(BTreeMap<String, AttributeText>);

#[derive(Serialize)]
#[serde(untagged)]
enum AttributeText {
    Number(f64),
    Text(String),
}

impl Attributes {
    pub(super) fn new(attributes: Vec<Attribute>) -> Self {
        Self(
            attributes
                .into_iter()
                .map(|attribute| {
                    let text = match (attribute.scalar, attribute.ranges, attribute.set) {
                        (Some(scalar), _, _) => AttributeText::Number(scalar.value),
                        (_, Some(ranges), _) => AttributeText::Text(ranges_text(&ranges)),
                        (_, _, Some(set)) => {
                            AttributeText::Text(format!("{{{}}}", set.item.join(", ")))
                        }
                        (None, None, None) => {
                            AttributeText::Text(attribute.text.unwrap_or_default().value)
                        }
                    };
                    (attribute.name, text)
                })
                .collect(),
        )
    }
}

fn ranges_text(ranges: &value::Ranges) -> String {
    let parts: Vec<String> = ranges
        .range
        .iter()
        .map(|range| format!("{}-{}", range.begin, range.end))
        .collect();
    format!("[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::resources;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).expect("it is JSON")
    }

    #[test]
    fn sums_are_numbers_and_the_rest_is_text() {
        let model = Model(resources(
            "cpus:1;cpus(eng):1.5;ports:[3-4, 1-1];words:{b,a};fpga:2",
        ));
        assert_eq!(
            json(&model),
            r#"{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":2.5,"fpga":2.0,"ports":"[1-1, 3-4]","words":"{a, b}"}"#
        );
        assert_eq!(
            json(&Model(Resources::default())),
            r#"{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0}"#
        );
    }

    #[test]
    fn revocable_resources_have_their_own_key() {
        let mut key = regency_resources::ResourceKey::new("cpus");
        key.revocable = true;
        let revocable: Resources = std::iter::once((key, Value::units(3))).collect();
        assert_eq!(
            json(&Model(resources("cpus:1") + revocable)),
            r#"{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":1.0,"cpus_revocable":3.0}"#
        );
    }

    #[test]
    fn attributes_are_numbers_or_text() {
        let scalar = Attribute {
            name: "level".into(),
            scalar: Some(value::Scalar { value: 3.0 }),
            ..Attribute::default()
        };
        let ranges = Attribute {
            name: "slots".into(),
            ranges: Some(value::Ranges {
                range: vec![value::Range { begin: 1, end: 2 }],
            }),
            ..Attribute::default()
        };
        let text = Attribute {
            name: "rack".into(),
            text: Some(value::Text { value: "r1".into() }),
            ..Attribute::default()
        };
        assert_eq!(
            json(&Attributes::new(vec![scalar, ranges, text])),
            r#"{"level":3.0,"rack":"r1","slots":"[1-2]"}"#
        );
    }
}
