//! The text forms of the flags `--resources`, `--attributes` and `--min_allocatable_resources`.
//!
//! Pieces are separated by `;` (or line ends), a name from its value by the first `:`. A value is
//! `[a-b, c-d]` (ranges), `{x, y}` (a set), a number, or, for attributes only, other text. Every
//! error names the piece that is wrong. The JSON form of `--resources` is known to `regency-wire`.

use crate::{
    AmountError, Attribute, AttributeValue, Milli, Quantities, RangeError, Ranges, ResourceKey,
    Resources, Set, Value, role,
};

/// Why a text is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A piece is not `name:value`.
    #[error("'{0}' is not of the form name:value")]
    NoValue(String),
    /// There is nothing before the colon.
    #[error("'{0}' has no name before the colon")]
    NoName(String),
    /// The role after the name is not closed, or text follows it.
    #[error("'{0}' should be of the form name(role):value")]
    BadRoleForm(String),
    /// The role after the name is not a role.
    #[error("in '{piece}'")]
    BadRole {
        /// The piece.
        piece: String,
        /// What is wrong with the role.
        source: role::Error,
    },
    /// The value is none of the accepted kinds.
    #[error("'{value}' of '{name}' is none of: {expected}")]
    BadValue {
        /// The name before the colon.
        name: String,
        /// The value.
        value: String,
        /// What is accepted there.
        expected: &'static str,
    },
    /// The value is a number, but not an amount.
    #[error("the value of '{name}' is not acceptable")]
    BadAmount {
        /// The name before the colon.
        name: String,
        /// What is wrong with the number.
        source: AmountError,
    },
    /// The value is ranges, but one is wrong.
    #[error("the value of '{name}' is not acceptable")]
    BadRange {
        /// The name before the colon.
        name: String,
        /// What is wrong with the range.
        source: RangeError,
    },
}

const AMOUNT: &str = "a number, ranges like [1-5, 7-9], a set like {a, b}";
const RANGES: &str = "ranges like [1-5, 7-9]";
const SET: &str = "a set like {a, b}";
const NUMBER: &str = "a number";

/// Reads `name(role):value;…`; what has no role is reserved for `default_role` (`*` for nobody).
/// Pieces of the same name and role add up.
///
/// # Errors
/// The first piece that is wrong.
pub fn resources(text: &str, default_role: &str) -> Result<Resources, Error> {
    Ok(entries(text, default_role)?.into_iter().collect())
}

/// Like [`resources`], but also keeps what amounts to nothing, so that an agent can tell `gpus:0`
/// from gpus that are not mentioned and should be detected.
///
/// # Errors
/// The first piece that is wrong.
pub fn entries(text: &str, default_role: &str) -> Result<Vec<(ResourceKey, Value)>, Error> {
    // The text form of no resources.
    if text.trim() == "{}" {
        return Ok(Vec::new());
    }
    pieces(text)
        .map(|piece| {
            let (name, value) = split(piece)?;
            let (name, role) = match name.split_once('(') {
                None => (name, default_role),
                Some((name, rest)) => {
                    let role = rest
                        .strip_suffix(')')
                        .ok_or_else(|| Error::BadRoleForm(piece.to_owned()))?;
                    (name.trim(), role.trim())
                }
            };
            if name.is_empty() {
                return Err(Error::NoName(piece.to_owned()));
            }
            role::validate(role).map_err(|source| Error::BadRole {
                piece: piece.to_owned(),
                source,
            })?;
            Ok((ResourceKey::fixed(name, role), amount(name, value)?))
        })
        .collect()
}

/// Reads `name:value;…` as attributes, in the order given.
///
/// # Errors
/// The first piece that is wrong.
pub fn attributes(text: &str) -> Result<Vec<Attribute>, Error> {
    pieces(text)
        .map(|piece| {
            let (name, value) = split(piece)?;
            let value = if value.starts_with('[') {
                AttributeValue::Ranges(ranges(name, value)?)
            } else if value.starts_with('{') {
                AttributeValue::Set(set(name, value)?)
            } else {
                match value.parse::<Milli>() {
                    Ok(milli) => AttributeValue::Scalar(milli),
                    // Text that happens to read as a number too large for one is still text.
                    Err(_) => AttributeValue::Text(value.to_owned()),
                }
            };
            Ok(Attribute {
                name: name.to_owned(),
                value,
            })
        })
        .collect()
}

/// Reads `name:number;…` as scalar sums.
///
/// # Errors
/// The first piece that is wrong.
pub fn quantities(text: &str) -> Result<Quantities, Error> {
    pieces(text)
        .map(|piece| {
            let (name, value) = split(piece)?;
            Ok((name.to_owned(), number(name, value, NUMBER)?))
        })
        .collect()
}

/// Reads alternatives of scalar sums, separated by `|`: `cpus:0.01|mem:32`. An empty alternative
/// asks for nothing.
///
/// # Errors
/// The first piece that is wrong.
pub fn quantity_sets(text: &str) -> Result<Vec<Quantities>, Error> {
    text.split('|').map(quantities).collect()
}

fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', '\n'])
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
}

fn split(piece: &str) -> Result<(&str, &str), Error> {
    let (name, value) = piece
        .split_once(':')
        .ok_or_else(|| Error::NoValue(piece.to_owned()))?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        return Err(Error::NoName(piece.to_owned()));
    }
    if value.is_empty() {
        return Err(Error::NoValue(piece.to_owned()));
    }
    Ok((name, value))
}

fn amount(name: &str, value: &str) -> Result<Value, Error> {
    if value.starts_with('[') {
        Ok(Value::Ranges(ranges(name, value)?))
    } else if value.starts_with('{') {
        Ok(Value::Set(set(name, value)?))
    } else {
        Ok(Value::Scalar(number(name, value, AMOUNT)?))
    }
}

fn number(name: &str, value: &str, expected: &'static str) -> Result<Milli, Error> {
    let float: f64 = value.parse().map_err(|_| bad(name, value, expected))?;
    Milli::amount_from_f64(float).map_err(|source| Error::BadAmount {
        name: name.to_owned(),
        source,
    })
}

fn ranges(name: &str, value: &str) -> Result<Ranges, Error> {
    let wrong = || bad(name, value, RANGES);
    let inner = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .ok_or_else(wrong)?;
    let mut pairs = Vec::new();
    for piece in members(inner) {
        let (begin, end) = piece.split_once('-').ok_or_else(wrong)?;
        pairs.push((
            begin.trim().parse().map_err(|_| wrong())?,
            end.trim().parse().map_err(|_| wrong())?,
        ));
    }
    Ranges::from_pairs(pairs).map_err(|source| Error::BadRange {
        name: name.to_owned(),
        source,
    })
}

fn set(name: &str, value: &str) -> Result<Set, Error> {
    let inner = value
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .ok_or_else(|| bad(name, value, SET))?;
    Ok(members(inner).collect())
}

fn members(inner: &str) -> impl Iterator<Item = &str> {
    inner
        .split(',')
        .map(str::trim)
        .filter(|member| !member.is_empty())
}

fn bad(name: &str, value: &str, expected: &'static str) -> Error {
    Error::BadValue {
        name: name.to_owned(),
        value: value.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_kinds_roles_and_spaces_are_read() {
        let read = resources(
            " cpus : 4 ; mem(web):1024.5; ports:[31000-32000, 1-2];zones:{a, b};",
            "*",
        )
        .unwrap();
        assert_eq!(
            read.to_string(),
            "cpus:4; mem(web):1024.5; ports:[1-2, 31000-32000]; zones:{a, b}"
        );
        assert_eq!(
            resources("cpus:1;mem(*):2", "eng/web").unwrap().to_string(),
            "cpus(eng/web):1; mem:2"
        );
        assert!(resources("", "*").unwrap().is_empty());
    }

    #[test]
    fn entries_keep_what_amounts_to_nothing() {
        let read = entries("gpus:0;ports:[]", "*").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].1, Value::Scalar(Milli::ZERO));
    }

    #[test]
    fn each_error_names_the_piece_that_is_wrong() {
        for (text, message) in [
            ("cpus", "'cpus' is not of the form name:value"),
            ("cpus:1;mem:", "'mem:' is not of the form name:value"),
            (":4", "':4' has no name before the colon"),
            ("(r):4", "'(r):4' has no name before the colon"),
            (
                "cpus(r:4",
                "'cpus(r:4' should be of the form name(role):value",
            ),
            ("cpus(a b):4", "in 'cpus(a b):4'"),
            (
                "cpus:four",
                "'four' of 'cpus' is none of: a number, ranges like [1-5, 7-9], a set like {a, b}",
            ),
            ("cpus:-1", "the value of 'cpus' is not acceptable"),
            ("cpus:nan", "the value of 'cpus' is not acceptable"),
            (
                "ports:[1-2",
                "'[1-2' of 'ports' is none of: ranges like [1-5, 7-9]",
            ),
            (
                "ports:[1]",
                "'[1]' of 'ports' is none of: ranges like [1-5, 7-9]",
            ),
            (
                "ports:[-1-2]",
                "'[-1-2]' of 'ports' is none of: ranges like [1-5, 7-9]",
            ),
            ("ports:[9-2]", "the value of 'ports' is not acceptable"),
            ("zones:{a", "'{a' of 'zones' is none of: a set like {a, b}"),
        ] {
            assert_eq!(resources(text, "*").unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn attributes_are_scalar_ranges_set_or_text() {
        let read =
            attributes("rack:r1;u:-1.5;zone:{a,b};slots:[1-4];url:http://x:80/;rack:2").unwrap();
        let texts: Vec<String> = read.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "rack:r1",
                "u:-1.5",
                "zone:{a, b}",
                "slots:[1-4]",
                "url:http://x:80/",
                "rack:2"
            ]
        );
        assert_eq!(read[0].value, AttributeValue::Text("r1".to_owned()));
        assert_eq!(read[5].value, AttributeValue::Scalar(Milli::from_units(2)));
        assert!(attributes("rack").is_err());
        assert!(attributes("slots:[4-1]").is_err());
    }

    #[test]
    fn minimums_are_alternatives_of_sums() {
        let sets = quantity_sets("cpus:0.01|mem:32;disk:5").unwrap();
        assert_eq!(sets.len(), 2);
        assert_eq!(sets[0].get("cpus"), Milli(10));
        assert_eq!(sets[1].to_string(), "disk:5; mem:32");
        assert!(quantity_sets("cpus:[1-2]").is_err());
    }
}
