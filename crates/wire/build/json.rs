//! Writes, for every message, how it is read from and written as JSON, and its shape.
//!
//! The code it writes is thin: one `match` over the field names that calls the functions of
//! `crate::json`, which hold all the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::names;
use crate::schema::{Field, Kind, Message, Presence, Schema};

/// Optional fields whose default value is not written although the schema has one: both are
/// deprecated, and real masters leave them out.
const SILENT_DEFAULTS: [(&str, &str); 2] = [
    ("mesos.v1.FrameworkInfo", "role"),
    ("mesos.v1.Resource", "role"),
];

/// Lists that real masters write even when they are empty.
const WRITTEN_WHEN_EMPTY: [(&str, &str); 8] = [
    ("mesos.v1.master.Response.GetAgents", "agents"),
    ("mesos.v1.master.Response.GetAgents", "recovered_agents"),
    ("mesos.v1.master.Response.GetExecutors", "executors"),
    ("mesos.v1.master.Response.GetFrameworks", "frameworks"),
    (
        "mesos.v1.master.Response.GetFrameworks",
        "completed_frameworks",
    ),
    ("mesos.v1.master.Response.GetTasks", "tasks"),
    ("mesos.v1.master.Response.GetTasks", "completed_tasks"),
    ("mesos.v1.master.Response.GetTasks", "unreachable_tasks"),
];

/// The generated source.
pub(crate) fn generate(schema: &Schema) -> String {
    for (message, field) in SILENT_DEFAULTS.iter().chain(&WRITTEN_WHEN_EMPTY) {
        assert!(
            schema.messages[*message]
                .fields
                .iter()
                .any(|f| f.name == *field),
            "{message}.{field} is named in a list of exceptions but does not exist"
        );
    }
    let with_required = schema.with_required_fields();
    let shape_ids: BTreeMap<&str, usize> = schema
        .messages
        .keys()
        .enumerate()
        .map(|(i, name)| (name.as_str(), i))
        .collect();
    let mut out = String::new();
    for (name, path) in &schema.enums {
        let _ = writeln!(out, "enum_names!({path}); // {name}");
    }
    for message in schema.messages.values().filter(|m| !m.is_map_entry) {
        let mut generator = Generator {
            schema,
            message,
            out: &mut out,
        };
        generator.message(shape_ids[message.full_name.as_str()]);
        generator.shape(&shape_ids, &with_required);
    }
    out
}

/// A macro that hands every message with its name to another macro.
pub(crate) fn every_message(schema: &Schema) -> String {
    let mut out = String::from("macro_rules! every_message { ($to:ident) => { $to! {\n");
    for message in schema.messages.values().filter(|m| !m.is_map_entry) {
        let path = names::path(&message.package, &message.nested);
        let path = path.replacen("crate::", "regency_wire::", 1);
        let _ = writeln!(out, "\"{}\" => {path},", message.full_name);
    }
    out.push_str("} } }\n");
    out
}

struct Generator<'a> {
    schema: &'a Schema,
    message: &'a Message,
    out: &'a mut String,
}

impl Generator<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn message(&mut self, shape_id: usize) {
        let message = self.message;
        let path = names::path(&message.package, &message.nested);
        let short = message.nested.rsplit('.').next().unwrap_or(&message.nested);
        self.line(&format!("json_message!({path});"));
        self.line(&format!("impl WireMessage for {path} {{"));
        self.line(&format!("const NAME: &'static str = \"{short}\";"));
        self.line(&format!(
            "fn shape() -> &'static Shape {{ &SHAPE_{shape_id} }}"
        ));
        self.read();
        self.write();
        self.line("}");
    }

    fn read(&mut self) {
        let message = self.message;
        self.line(
            "fn read_field<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A, \
             seen: &mut Seen, cx: &mut Context) -> Result<(), A::Error> {",
        );
        if message.fields.is_empty() {
            return self.line("let _ = (key, seen, cx); read::unknown(map) }");
        }
        self.line("let _ = (&mut *seen, &mut *cx); match key {");
        let mut bit = 0;
        for field in &message.fields {
            let read = self.read_one(field, bit);
            self.line(&format!("\"{}\" => {read},", field.name));
            if let Some(alias) = self.older_name(&field.name) {
                let unset = match field.presence {
                    Presence::Required => format!("!seen.contains({bit})"),
                    Presence::Optional if field.oneof.is_none() => {
                        format!("self.{}.is_none()", names::field(&field.name))
                    }
                    _ => format!("self.{}.is_empty()", names::field(&field.name)),
                };
                self.line(&format!("\"{alias}\" if {unset} => {read},"));
            }
            bit += usize::from(field.presence == Presence::Required);
        }
        assert!(
            bit <= 64,
            "{} has too many required fields",
            message.full_name
        );
        self.line("_ => read::unknown(map), } }");
    }

    /// The name that the older API has for this field, where it says slave for agent.
    fn older_name(&self, name: &str) -> Option<String> {
        let older = name.replace("agent", "slave");
        let taken = self.message.fields.iter().any(|field| field.name == older);
        (older != name && !taken).then_some(older)
    }

    fn read_one(&self, field: &Field, bit: usize) -> String {
        let (name, slot, kind) = (
            &field.name,
            names::field(&field.name),
            self.kind_type(&field.kind),
        );
        if let Some(oneof) = &field.oneof {
            let path = names::oneof_path(&self.message.package, &self.message.nested, oneof);
            let variant = names::camel(name);
            let value = if field.boxed {
                "Box::new(value)"
            } else {
                "value"
            };
            return format!(
                "{{ if let Some(value) = read::value::<{kind}, A>(\"{name}\", false, map, cx)? \
                 {{ self.{} = Some({path}::{variant}({value})); }} Ok(()) }}",
                names::field(oneof)
            );
        }
        match field.presence {
            Presence::Required => format!(
                "read::required::<{kind}, A>(&mut self.{slot}, {bit}, seen, \"{name}\", map, cx)"
            ),
            Presence::Implicit => {
                format!("read::implicit::<{kind}, A>(&mut self.{slot}, \"{name}\", map, cx)")
            }
            Presence::Optional if field.boxed => {
                format!("read::boxed::<{kind}, A>(&mut self.{slot}, \"{name}\", map, cx)")
            }
            Presence::Optional => {
                format!("read::optional::<{kind}, A>(&mut self.{slot}, \"{name}\", map, cx)")
            }
            Presence::List => {
                format!("read::list::<{kind}, A>(&mut self.{slot}, \"{name}\", map, cx)")
            }
            Presence::Map => {
                format!("read::table::<{kind}, A>(&mut self.{slot}, \"{name}\", map, cx)")
            }
        }
    }

    fn write(&mut self) {
        let message = self.message;
        self.line("fn write_fields<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {");
        for field in &message.fields {
            let line = self.write_one(field);
            self.line(&line);
        }
        self.line("let _ = map; Ok(()) }");
    }

    fn write_one(&self, field: &Field) -> String {
        let (name, slot, kind) = (
            &field.name,
            names::field(&field.name),
            self.kind_type(&field.kind),
        );
        let key = (self.message.full_name.as_str(), name.as_str());
        if let Some(oneof) = &field.oneof {
            let path = names::oneof_path(&self.message.package, &self.message.nested, oneof);
            return format!(
                "if let Some({path}::{}(value)) = &self.{} \
                 {{ write::value::<{kind}, M>(\"{name}\", value, map)?; }}",
                names::camel(name),
                names::field(oneof)
            );
        }
        match field.presence {
            Presence::Required => {
                format!("write::value::<{kind}, M>(\"{name}\", &self.{slot}, map)?;")
            }
            Presence::Implicit => {
                format!("write::implicit::<{kind}, M>(\"{name}\", &self.{slot}, map)?;")
            }
            Presence::Optional if field.has_default && !SILENT_DEFAULTS.contains(&key) => {
                // The accessor of the generated type, named as the field, gives the value or the default.
                let access = &slot;
                match &field.kind {
                    Kind::Enum(_) => format!(
                        "write::value::<{kind}, M>(\"{name}\", &(self.{access}() as i32), map)?;"
                    ),
                    Kind::Scalar("Text") => {
                        format!("map.serialize_entry(\"{name}\", self.{access}())?;")
                    }
                    _ => format!("write::value::<{kind}, M>(\"{name}\", &self.{access}(), map)?;"),
                }
            }
            Presence::Optional => format!(
                "if let Some(value) = &self.{slot} \
                 {{ write::value::<{kind}, M>(\"{name}\", value, map)?; }}"
            ),
            Presence::List => {
                let write = format!("write::list::<{kind}, M>(\"{name}\", &self.{slot}, map)?;");
                if WRITTEN_WHEN_EMPTY.contains(&key) {
                    write
                } else {
                    format!("if !self.{slot}.is_empty() {{ {write} }}")
                }
            }
            Presence::Map => format!(
                "if !self.{slot}.is_empty() \
                 {{ write::table::<{kind}, M>(\"{name}\", &self.{slot}, map)?; }}"
            ),
        }
    }

    fn shape(&mut self, ids: &BTreeMap<&str, usize>, with_required: &BTreeSet<String>) {
        let message = self.message;
        // Tags in ascending order, because the walker searches; bits as in `read`.
        let mut rows: Vec<(i32, String)> = Vec::new();
        let mut bit = 0;
        for field in &message.fields {
            let required = field.presence == Presence::Required;
            let nested = match &field.kind {
                Kind::Message(name) if with_required.contains(name) => {
                    format!("Some(&SHAPE_{})", ids[name.as_str()])
                }
                _ => "None".to_owned(),
            };
            if required || nested != "None" {
                let is_known = match &field.kind {
                    Kind::Enum(name) if required => {
                        format!("Some(<{} as WireEnum>::is_known)", self.schema.enums[name])
                    }
                    _ => "None".to_owned(),
                };
                let occurs = match field.presence {
                    Presence::Required => format!("Occurs::Required({bit})"),
                    Presence::List => "Occurs::List".to_owned(),
                    Presence::Map => "Occurs::Map".to_owned(),
                    Presence::Optional | Presence::Implicit => "Occurs::Optional".to_owned(),
                };
                rows.push((
                    field.number,
                    format!(
                        "FieldShape {{ number: {}, name: \"{}\", occurs: {occurs}, \
                         nested: {nested}, is_known: {is_known} }},",
                        field.number, field.name
                    ),
                ));
            }
            bit += usize::from(required);
        }
        rows.sort();
        let required: Vec<String> = message
            .fields
            .iter()
            .filter(|field| field.presence == Presence::Required)
            .map(|field| format!("\"{}\"", field.name))
            .collect();
        self.line(&format!(
            "static SHAPE_{}: Shape = Shape {{ required: &[{}], fields: &[",
            ids[message.full_name.as_str()],
            required.join(", ")
        ));
        for (_, row) in rows {
            self.line(&row);
        }
        self.line("] };");
    }

    fn kind_type(&self, kind: &Kind) -> String {
        match kind {
            Kind::Scalar(name) => (*name).to_owned(),
            Kind::Enum(name) => format!("EnumOf<{}>", self.schema.enums[name]),
            Kind::Message(name) => {
                let message = &self.schema.messages[name];
                format!(
                    "MessageOf<{}>",
                    names::path(&message.package, &message.nested)
                )
            }
        }
    }
}
