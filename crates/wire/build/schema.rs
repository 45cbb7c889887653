//! The descriptors, flattened into what the generators ask for.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};

use crate::names;

/// How often a field can be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// `required` of proto2.
    Required,
    /// `optional`, or a member of a oneof.
    Optional,
    /// A plain field of proto3, which is zero when absent.
    Implicit,
    /// `repeated`.
    List,
    /// `map<string, …>`.
    Map,
}

/// What one value of a field is.
#[derive(Clone)]
pub(crate) enum Kind {
    /// A number, string, bytes or boolean; the name of its kind in `crate::json`.
    Scalar(&'static str),
    /// An enum, by full name.
    Enum(String),
    /// A message, by full name.
    Message(String),
}

/// A field of a message.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: i32,
    pub(crate) presence: Presence,
    pub(crate) kind: Kind,
    pub(crate) oneof: Option<String>,
    /// Whether the `.proto` file gives it a default value.
    pub(crate) has_default: bool,
    /// Whether it is held in a box: because it is large, or would contain itself.
    pub(crate) boxed: bool,
}

/// A message.
pub(crate) struct Message {
    /// Package and name, such as `mesos.v1.Offer.Operation`.
    pub(crate) full_name: String,
    pub(crate) package: String,
    /// Name within the package, such as `Offer.Operation`.
    pub(crate) nested: String,
    pub(crate) fields: Vec<Field>,
    /// Whether it is the hidden message behind an entry of a map.
    pub(crate) is_map_entry: bool,
}

/// Every message and enum, by full name.
pub(crate) struct Schema {
    pub(crate) messages: BTreeMap<String, Message>,
    /// Path of the Rust type of each enum.
    pub(crate) enums: BTreeMap<String, String>,
}

impl Schema {
    pub(crate) fn new(set: &FileDescriptorSet, boxed: &[&str]) -> Self {
        let mut schema = Self {
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in &set.file {
            for message in &file.message_type {
                schema.add_message(file, "", message);
            }
            for one in &file.enum_type {
                schema.add_enum(file, "", one);
            }
        }
        schema.mark_recursive();
        for path in boxed {
            schema.mark_boxed(path);
        }
        schema
    }

    fn add_message(&mut self, file: &FileDescriptorProto, parent: &str, message: &DescriptorProto) {
        let nested = format!("{parent}{}", message.name());
        for child in &message.nested_type {
            self.add_message(file, &format!("{nested}."), child);
        }
        for one in &message.enum_type {
            self.add_enum(file, &format!("{nested}."), one);
        }
        let map_entries: BTreeMap<String, &DescriptorProto> = message
            .nested_type
            .iter()
            .filter(|child| child.options.as_ref().is_some_and(|o| o.map_entry()))
            .map(|child| {
                let name = format!(".{}.{nested}.{}", file.package(), child.name());
                (name, child)
            })
            .collect();
        let fields = message
            .field
            .iter()
            .map(|field| {
                let entry = map_entries.get(field.type_name()).copied();
                convert_field(file, message, field, entry)
            })
            .collect();
        let full_name = format!("{}.{nested}", file.package());
        self.messages.insert(
            full_name.clone(),
            Message {
                full_name,
                package: file.package().to_owned(),
                nested,
                fields,
                is_map_entry: message.options.as_ref().is_some_and(|o| o.map_entry()),
            },
        );
    }

    fn add_enum(&mut self, file: &FileDescriptorProto, parent: &str, one: &EnumDescriptorProto) {
        let nested = format!("{parent}{}", one.name());
        self.enums.insert(
            format!("{}.{nested}", file.package()),
            names::path(file.package(), &nested),
        );
    }

    /// Messages reached from `from` through fields that hold the message itself.
    fn reached_inline(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![from.to_owned()];
        while let Some(name) = todo.pop() {
            for field in &self.messages[&name].fields {
                if let (Kind::Message(next), false) = (
                    &field.kind,
                    matches!(field.presence, Presence::List | Presence::Map),
                ) && seen.insert(next.clone())
                {
                    todo.push(next.clone());
                }
            }
        }
        seen
    }

    fn mark_boxed(&mut self, path: &str) {
        let found = path.rsplit_once('.').and_then(|(message, name)| {
            let fields = &mut self.messages.get_mut(message)?.fields;
            fields.iter_mut().find(|field| field.name == name)
        });
        found
            .unwrap_or_else(|| panic!("there is no field {path} to box"))
            .boxed = true;
    }

    fn mark_recursive(&mut self) {
        let mut boxed = Vec::new();
        for message in self.messages.values() {
            for (i, field) in message.fields.iter().enumerate() {
                if let Kind::Message(target) = &field.kind
                    && !matches!(field.presence, Presence::List | Presence::Map)
                    && (*target == message.full_name
                        || self.reached_inline(target).contains(&message.full_name))
                {
                    boxed.push((message.full_name.clone(), i));
                }
            }
        }
        for (name, i) in boxed {
            if let Some(message) = self.messages.get_mut(&name) {
                message.fields[i].boxed = true;
            }
        }
    }

    /// The messages in which, or in a part of which, a field is required.
    pub(crate) fn with_required_fields(&self) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        loop {
            let before = found.len();
            for message in self.messages.values() {
                let needs = message.fields.iter().any(|field| {
                    field.presence == Presence::Required
                        || matches!(&field.kind, Kind::Message(name) if found.contains(name))
                });
                if needs {
                    found.insert(message.full_name.clone());
                }
            }
            if found.len() == before {
                return found;
            }
        }
    }
}

fn convert_field(
    file: &FileDescriptorProto,
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
    map_entry: Option<&DescriptorProto>,
) -> Field {
    let value = map_entry.map_or(field, |entry| &entry.field[1]);
    let type_name = value.type_name().trim_start_matches('.').to_owned();
    let kind = match value.r#type() {
        Type::Message => Kind::Message(type_name),
        Type::Enum => Kind::Enum(type_name),
        Type::String => Kind::Scalar("Text"),
        Type::Bytes => Kind::Scalar("Blob"),
        Type::Bool => Kind::Scalar("Bool"),
        Type::Double => Kind::Scalar("F64"),
        Type::Int32 => Kind::Scalar("I32"),
        Type::Int64 => Kind::Scalar("I64"),
        Type::Uint32 => Kind::Scalar("U32"),
        Type::Uint64 => Kind::Scalar("U64"),
        other => panic!("no JSON mapping for {other:?} of field {}", field.name()),
    };
    let oneof = field
        .oneof_index
        .filter(|_| !field.proto3_optional())
        .map(|i| message.oneof_decl[i as usize].name().to_owned());
    let presence = match field.label() {
        Label::Required => Presence::Required,
        Label::Repeated if map_entry.is_some() => Presence::Map,
        Label::Repeated => Presence::List,
        Label::Optional
            if file.syntax() == "proto3"
                && oneof.is_none()
                && !field.proto3_optional()
                && !matches!(kind, Kind::Message(_)) =>
        {
            Presence::Implicit
        }
        Label::Optional => Presence::Optional,
    };
    Field {
        name: field.name().to_owned(),
        number: field.number(),
        presence,
        kind,
        oneof,
        has_default: field.default_value.is_some(),
        boxed: false,
    }
}
