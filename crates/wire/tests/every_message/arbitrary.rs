//! Arbitrary messages of a type, made from its descriptor and not from the generated code.

use std::collections::BTreeMap;

use prost::Message as _;
use prost::encoding::encode_varint;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use regency_testkit::Rng;

/// How deep messages nest; below that only what is required is there.
const DEPTH: u32 = 4;

/// Every message and enum by full name, with a dot before it as descriptors name them.
pub(crate) struct Descriptors {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, Vec<i32>>,
}

impl Descriptors {
    /// Those that the types were generated from.
    pub(crate) fn read() -> Self {
        let bytes = include_bytes!(concat!(env!("OUT_DIR"), "/mesos.fds"));
        let set = FileDescriptorSet::decode(&bytes[..]).expect("descriptors");
        let mut all = Self {
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in set.file {
            let package = format!(".{}", file.package());
            all.add_enums(&package, &file.enum_type);
            for message in file.message_type {
                all.add(&package, message);
            }
        }
        all
    }

    fn add(&mut self, parent: &str, message: DescriptorProto) {
        let name = format!("{parent}.{}", message.name());
        self.add_enums(&name, &message.enum_type);
        for child in &message.nested_type {
            self.add(&name, child.clone());
        }
        self.messages.insert(name, message);
    }

    fn add_enums(&mut self, parent: &str, enums: &[EnumDescriptorProto]) {
        for one in enums {
            let values = one.value.iter().map(|value| value.number()).collect();
            self.enums
                .insert(format!("{parent}.{}", one.name()), values);
        }
    }

    /// The names of all messages, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        let messages = self.messages.iter().filter(|(_, m)| !is_map_entry(m));
        messages.map(|(name, _)| &name[1..]).collect()
    }

    /// A whole message of this type, in binary.
    ///
    /// Optional fields that have a default are always there: JSON cannot say that one is not.
    pub(crate) fn message(&self, rng: &mut Rng, name: &str) -> Vec<u8> {
        self.at_depth(rng, &format!(".{name}"), DEPTH)
    }

    fn at_depth(&self, rng: &mut Rng, name: &str, depth: u32) -> Vec<u8> {
        let message = &self.messages[name];
        let of_oneofs: Vec<Option<usize>> = (0..message.oneof_decl.len())
            .map(|oneof| {
                let is_of = |f: &FieldDescriptorProto| f.oneof_index == Some(oneof as i32);
                let fields: Vec<usize> = (0..message.field.len())
                    .filter(|i| is_of(&message.field[*i]))
                    .collect();
                rng.pick(&fields).copied().filter(|_| rng.chance(80))
            })
            .collect();
        let mut bytes = Vec::new();
        for (i, field) in message.field.iter().enumerate() {
            let leaf = field.r#type() != Type::Message || depth > 0;
            let n = match (field.oneof_index, field.label()) {
                (Some(oneof), _) => u64::from(leaf && of_oneofs[oneof as usize] == Some(i)),
                (None, Label::Required) => 1,
                (None, Label::Optional) if field.default_value.is_some() => 1,
                (None, Label::Optional) => u64::from(leaf && rng.chance(50)),
                (None, Label::Repeated) if leaf => rng.below(3),
                (None, Label::Repeated) => 0,
            };
            for _ in 0..n {
                self.field(rng, field, depth.saturating_sub(1), &mut bytes);
            }
        }
        bytes
    }

    fn field(&self, rng: &mut Rng, field: &FieldDescriptorProto, depth: u32, out: &mut Vec<u8>) {
        let number = u64::from(field.number() as u32) << 3;
        let mut whole = |value: u64| {
            encode_varint(number, out);
            encode_varint(value, out);
        };
        let value = match field.r#type() {
            Type::Message if is_map_entry(&self.messages[field.type_name()]) => {
                self.entry(rng, field.type_name(), depth)
            }
            Type::Message => self.at_depth(rng, field.type_name(), depth),
            Type::String => text(rng).into_bytes(),
            Type::Bytes => (0..rng.below(20)).map(|_| rng.number() as u8).collect(),
            Type::Enum => {
                let numbers = &self.enums[field.type_name()];
                return whole(*rng.pick(numbers).expect("an enum has values") as i64 as u64);
            }
            Type::Bool => return whole(rng.below(2)),
            Type::Int32 => return whole(rng.any_size() as i32 as i64 as u64),
            Type::Uint32 => return whole(u64::from(rng.any_size() as u32)),
            Type::Int64 | Type::Uint64 => return whole(rng.any_size()),
            Type::Double => {
                encode_varint(number | 1, out);
                return out.extend(double(rng).to_le_bytes());
            }
            other => panic!("no value for {other:?} of {}", field.name()),
        };
        encode_varint(number | 2, out);
        encode_varint(value.len() as u64, out);
        out.extend(value);
    }

    /// An entry of a map: both parts are always there, as every writer of binary has it.
    fn entry(&self, rng: &mut Rng, name: &str, depth: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in &self.messages[name].field {
            self.field(rng, field, depth, &mut bytes);
        }
        bytes
    }
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

fn text(rng: &mut Rng) -> String {
    const PIECES: [&str; 12] = [
        "a",
        "role/child",
        " ",
        "\"",
        "\\",
        "\n",
        "\u{0}",
        "\u{7f}",
        "ä",
        "\u{1f980}",
        "*",
        "cpus",
    ];
    (0..rng.below(5))
        .map(|_| *rng.pick(&PIECES).expect("there are some"))
        .collect()
}

fn double(rng: &mut Rng) -> f64 {
    match rng.below(6) {
        0 => f64::from(rng.below(9) as u32) / 4.0,
        // JSON has one word for all that are no numbers.
        1 => Some(f64::from_bits(rng.number()))
            .filter(|number| !number.is_nan())
            .unwrap_or(f64::NAN),
        2 => -0.0,
        3 => f64::INFINITY,
        4 => f64::NEG_INFINITY,
        _ => rng.number() as f64 / 1e6,
    }
}
