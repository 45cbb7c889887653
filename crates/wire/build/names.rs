//! The names that the Rust generator gives to what a `.proto` file names.

use heck::{ToSnakeCase, ToUpperCamelCase};

/// Keywords that occur as field names and are written raw.
const KEYWORDS: [&str; 12] = [
    "type", "ref", "match", "mod", "move", "use", "where", "loop", "in", "fn", "for", "box",
];

/// Name of the struct field for a message field.
pub(crate) fn field(name: &str) -> String {
    let name = name.to_snake_case();
    if KEYWORDS.contains(&name.as_str()) {
        format!("r#{name}")
    } else {
        name
    }
}

/// Name of a type, enum variant or oneof variant.
pub(crate) fn camel(name: &str) -> String {
    name.to_upper_camel_case()
}

/// Path of the type for `nested` (such as `Offer.Operation`) in `package`.
pub(crate) fn path(package: &str, nested: &str) -> String {
    let mut path = String::from("crate::proto");
    for part in package.split('.') {
        path.push_str("::");
        path.push_str(part);
    }
    let (parents, name) = nested.rsplit_once('.').unwrap_or(("", nested));
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        path.push_str("::");
        path.push_str(&parent.to_snake_case());
    }
    path.push_str("::");
    path.push_str(&camel(name));
    path
}

/// Path of the enum for the oneof `oneof` of the message `nested` in `package`.
pub(crate) fn oneof_path(package: &str, nested: &str, oneof: &str) -> String {
    path(package, &format!("{nested}.{oneof}"))
}
