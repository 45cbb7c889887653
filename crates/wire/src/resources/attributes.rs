//! What an agent says about itself.

use regency_resources::{Attribute, AttributeValue, Milli, Set};

use super::read::read_ranges;
use super::write::{write_ranges, write_set};
use super::{Fault, InvalidValue};
use crate::v1;
use crate::v1::value::{Scalar, Text, Type as ValueType};

/// Reads attributes, in their order, which means something: of several of one name the first
/// counts.
///
/// # Errors
/// At the first one without a name, without the value its type asks for, or with a number that
/// is none.
pub fn attributes_from_wire(list: &[v1::Attribute]) -> Result<Vec<Attribute>, InvalidValue> {
    list.iter()
        .map(|attribute| {
            read(attribute).map_err(|fault| InvalidValue {
                what: "Attribute",
                text: attribute.name.clone(),
                fault,
            })
        })
        .collect()
}

fn read(attribute: &v1::Attribute) -> Result<Attribute, Fault> {
    if attribute.name.is_empty() {
        return Err(Fault::Missing("name"));
    }
    let value = match ValueType::try_from(attribute.r#type) {
        Ok(ValueType::Scalar) => {
            let scalar = attribute.scalar.as_ref().ok_or(Fault::Missing("scalar"))?;
            let amount = Milli::from_f64(scalar.value);
            AttributeValue::Scalar(amount.map_err(|error| Fault::Amount {
                field: "scalar",
                error,
            })?)
        }
        Ok(ValueType::Ranges) => {
            let ranges = attribute.ranges.as_ref().ok_or(Fault::Missing("ranges"))?;
            AttributeValue::Ranges(read_ranges(ranges)?)
        }
        Ok(ValueType::Set) => {
            let set = attribute.set.as_ref().ok_or(Fault::Missing("set"))?;
            AttributeValue::Set(Set(set.item.iter().cloned().collect()))
        }
        Ok(ValueType::Text) => {
            let text = attribute.text.as_ref().ok_or(Fault::Missing("text"))?;
            AttributeValue::Text(text.value.clone())
        }
        Err(_) => {
            let value = attribute.r#type.to_string();
            return Err(Fault::Unsupported {
                field: "type",
                value,
            });
        }
    };
    Ok(Attribute {
        name: attribute.name.clone(),
        value,
    })
}

/// Writes attributes, in their order.
#[must_use]
pub fn attributes_to_wire(attributes: &[Attribute]) -> Vec<v1::Attribute> {
    attributes.iter().map(write).collect()
}

fn write(attribute: &Attribute) -> v1::Attribute {
    let mut wire = v1::Attribute {
        name: attribute.name.clone(),
        ..v1::Attribute::default()
    };
    let value_type = match &attribute.value {
        AttributeValue::Scalar(milli) => {
            wire.scalar = Some(Scalar {
                value: milli.to_f64(),
            });
            ValueType::Scalar
        }
        AttributeValue::Ranges(ranges) => {
            wire.ranges = Some(write_ranges(ranges));
            ValueType::Ranges
        }
        AttributeValue::Set(set) => {
            wire.set = Some(write_set(set));
            ValueType::Set
        }
        AttributeValue::Text(text) => {
            wire.text = Some(Text {
                value: text.clone(),
            });
            ValueType::Text
        }
    };
    wire.r#type = value_type as i32;
    wire
}
