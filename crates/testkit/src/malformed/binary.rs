//! Wrong binary messages.

use prost::encoding::{decode_varint, encode_varint};
use regency_wire::{FieldShape, Occurs, Shape};

use super::Wrong;
use super::json::BYTES;
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
    match rng.below(6) {
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
        3 => not_text(rng, whole, shape).unwrap_or_else(|| {
            bytes.push(0x0f);
            Wrong::new(bytes, "kind: a field of no kind", &names)
        }),
        _ => lacking(rng, whole, shape).unwrap_or_else(|| {
            bytes.push(0x0f);
            Wrong::new(bytes, "kind: a field of no kind", &names)
        }),
    }
}

/// A field of a message: the index in each tree on the way to it, and its name.
struct Site {
    way: Vec<usize>,
    name: &'static str,
}

/// The message without a field that it must have; `None` when there is no such field.
fn lacking(rng: &mut Rng, whole: &[u8], shape: &'static Shape) -> Option<Wrong> {
    let mut tree = Tree::read(whole, shape)?;
    let sites = tree.sites(shape, |_, of| matches!(of.occurs, Occurs::Required(_)));
    let Site { way, name } = rng.pick(&sites)?;
    let (parent, last) = tree.parent_of(way)?;
    let number = parent.fields[last].number;
    parent.fields.retain(|field| field.number != number);
    Some(Wrong::new(
        tree.bytes(),
        format!("missing: {name}"),
        &[name],
    ))
}

/// The message with a string that is no text; `None` when it has no string that can be told from
/// bytes.
fn not_text(rng: &mut Rng, whole: &[u8], shape: &'static Shape) -> Option<Wrong> {
    let mut tree = Tree::read(whole, shape)?;
    let sites = tree.sites(shape, |field, of| {
        let is_string = of.nested.is_none() && !BYTES.contains(&of.name);
        is_string && matches!(field.value, Value::Bytes(_))
    });
    let Site { way, name } = rng.pick(&sites)?;
    let (parent, last) = tree.parent_of(way)?;
    let bad: &[u8] = rng.pick(&[&b"\xff"[..], b"a\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90"])?;
    parent.fields[last].value = Value::Bytes(bad.to_vec());
    Some(Wrong::new(
        tree.bytes(),
        format!("utf8: in {name}"),
        &[name],
    ))
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

    /// All fields of the shape that are wanted.
    fn sites(
        &self,
        shape: &'static Shape,
        wanted: impl Fn(&Field, &FieldShape) -> bool + Copy,
    ) -> Vec<Site> {
        let mut sites = Vec::new();
        for (i, field) in self.fields.iter().enumerate() {
            let Some(of) = shape.fields.iter().find(|of| of.number == field.number) else {
                continue;
            };
            if wanted(field, of) {
                sites.push(Site {
                    way: vec![i],
                    name: of.name,
                });
            }
            if let (Value::Message(tree), Some(nested)) = (&field.value, of.nested) {
                sites.extend(tree.sites(nested, wanted).into_iter().map(|mut site| {
                    site.way.insert(0, i);
                    site
                }));
            }
        }
        sites
    }

    /// The message that a field lies in, and its index there.
    fn parent_of(&mut self, way: &[usize]) -> Option<(&mut Self, usize)> {
        match way {
            [] => None,
            [last] => Some((self, *last)),
            [next, rest @ ..] => match &mut self.fields.get_mut(*next)?.value {
                Value::Message(tree) => tree.parent_of(rest),
                _ => None,
            },
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
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
                    let bytes = tree.bytes();
                    encode_varint(key | 2, out);
                    encode_varint(bytes.len() as u64, out);
                    out.extend(bytes);
                }
            }
        }
    }
}
