//! Wrong binary messages.

use prost::encoding::{decode_varint, encode_varint};
use regency_wire::{Occurs, Shape};

use super::Wrong;
use crate::Rng;

/// A message taken apart as far as its shape goes.
struct Tree {
    fields: Vec<Field>,
}

struct Field {
    number: u32,
    value: Value,
}

enum Value {
    Number(u64),
    Bytes(Vec<u8>),
    Message(Tree),
    /// Of a fixed length: wire type and bytes.
    Fixed(u8, Vec<u8>),
}

/// A valid message with one thing wrong.
pub(super) fn wrong(rng: &mut Rng, whole: &[u8], shape: &'static Shape) -> Wrong {
    let names = ["protobuf"];
    let mut bytes = whole.to_vec();
    match rng.below(5) {
        0 => {
            bytes.push(0x07);
            Wrong::new(bytes, "kind: a field of no kind", &names)
        }
        1 => {
            bytes.extend([0xa2, 0x06, 0x7f, 1]);
            Wrong::new(bytes, "length: beyond the end", &names)
        }
        2 => {
            bytes.extend([0xa0, 0x06, 0xff, 0xff]);
            Wrong::new(bytes, "cut: within a number", &names)
        }
        _ => lacking(rng, whole, shape).unwrap_or_else(|| {
            bytes.push(0x0f);
            Wrong::new(bytes, "kind: a field of no kind", &names)
        }),
    }
}

/// The message without a field that it must have; `None` when there is no such field.
fn lacking(rng: &mut Rng, whole: &[u8], shape: &'static Shape) -> Option<Wrong> {
    let mut tree = Tree::read(whole, shape)?;
    let n = tree.count(shape);
    if n == 0 {
        return None;
    }
    let mut left = rng.index(n);
    let name = tree.take(shape, &mut left)?;
    let mut bytes = Vec::new();
    tree.write(&mut bytes);
    Some(Wrong::new(bytes, format!("missing: {name}"), &[name]))
}

impl Tree {
    fn read(mut bytes: &[u8], shape: &'static Shape) -> Option<Self> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = decode_varint(&mut bytes).ok()?;
            let number = u32::try_from(key >> 3).ok()?;
            let nested = shape
                .fields
                .iter()
                .find(|field| field.number == number && !matches!(field.occurs, Occurs::Map))
                .and_then(|field| field.nested);
            let value = match key & 7 {
                0 => Value::Number(decode_varint(&mut bytes).ok()?),
                2 => {
                    let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                    let (value, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    match nested {
                        Some(nested) => Value::Message(Self::read(value, nested)?),
                        None => Value::Bytes(value.to_vec()),
                    }
                }
                fixed @ (1 | 5) => {
                    let length = if fixed == 1 { 8 } else { 4 };
                    let (value, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    Value::Fixed(fixed as u8, value.to_vec())
                }
                _ => return None,
            };
            fields.push(Field { number, value });
        }
        Some(Self { fields })
    }

    /// How many fields are there that must be there.
    fn count(&self, shape: &'static Shape) -> usize {
        let counts = self.fields.iter().map(|field| {
            let Some(of) = shape.fields.iter().find(|of| of.number == field.number) else {
                return 0;
            };
            let below = match (&field.value, of.nested) {
                (Value::Message(tree), Some(nested)) => tree.count(nested),
                _ => 0,
            };
            usize::from(matches!(of.occurs, Occurs::Required(_))) + below
        });
        counts.sum()
    }

    /// Takes one of those away and gives its name.
    fn take(&mut self, shape: &'static Shape, left: &mut usize) -> Option<&'static str> {
        for i in 0..self.fields.len() {
            let number = self.fields[i].number;
            let Some(of) = shape.fields.iter().find(|of| of.number == number) else {
                continue;
            };
            if matches!(of.occurs, Occurs::Required(_)) {
                if *left == 0 {
                    self.fields.retain(|field| field.number != number);
                    return Some(of.name);
                }
                *left -= 1;
            }
            if let (Value::Message(tree), Some(nested)) = (&mut self.fields[i].value, of.nested)
                && let Some(name) = tree.take(nested, left)
            {
                return Some(name);
            }
        }
        None
    }

    fn write(&self, out: &mut Vec<u8>) {
        for field in &self.fields {
            let key = u64::from(field.number) << 3;
            match &field.value {
                Value::Number(number) => {
                    encode_varint(key, out);
                    encode_varint(*number, out);
                }
                Value::Fixed(kind, bytes) => {
                    encode_varint(key | u64::from(*kind), out);
                    out.extend(bytes);
                }
                Value::Bytes(bytes) => {
                    encode_varint(key | 2, out);
                    encode_varint(bytes.len() as u64, out);
                    out.extend(bytes);
                }
                Value::Message(tree) => {
                    let mut bytes = Vec::new();
                    tree.write(&mut bytes);
                    encode_varint(key | 2, out);
                    encode_varint(bytes.len() as u64, out);
                    out.extend(bytes);
                }
            }
        }
    }
}
