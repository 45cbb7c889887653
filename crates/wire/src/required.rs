//! Which required fields a binary message lacks.
//!
//! The binary decoder fills a missing required field with its zero value without a word, where
//! Mesos refuses the message. So the raw bytes are walked before they are decoded, looking only at
//! fields that are required or contain some. Before, because an element of two bytes can take a
//! kilobyte once decoded: what is refused here costs no memory.

use crate::json::{MISSING_TOLD_MAX, Path};

/// The fields of a message that matter here.
#[derive(Debug)]
pub struct Shape {
    /// Names of the required fields; a field's bit is its index.
    pub required: &'static [&'static str],
    /// Required fields and fields that contain some, by ascending number.
    pub fields: &'static [FieldShape],
}

/// A field that is required or contains required fields.
#[derive(Debug)]
pub struct FieldShape {
    /// Its number in the binary encoding.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// How often it can be there.
    pub occurs: Occurs,
    /// What it contains.
    pub nested: Option<&'static Shape>,
    /// For a required enum: whether a number belongs to it. A number that does not counts as
    /// missing, as in Mesos.
    pub is_known: Option<fn(i32) -> bool>,
}

/// How often a field can be there.
#[derive(Debug, Clone, Copy)]
pub enum Occurs {
    /// Exactly once; the bit that says it was seen.
    Required(u32),
    /// At most once.
    Optional,
    /// Any number of times.
    List,
    /// As entries of a map.
    Map,
}

/// Number of the value within an entry of a map.
const MAP_VALUE: u32 = 2;

/// How deep groups may nest, the old way to put fields together. None of our messages has any;
/// a few are skipped as unknown fields.
const GROUPS_MAX: u32 = 8;

/// Why a message is not to be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incomplete {
    /// These required fields are missing; paths, of which only the first few are told.
    Missing(Vec<String>),
    /// The bytes are no message, or one that nests too deeply.
    Malformed,
}

/// Checks that `bytes`, a message of this shape, has the fields it requires.
///
/// Only what leads to required fields is looked at; that the rest is well formed is for the
/// decoder to say.
///
/// # Errors
/// When it lacks some or is no message.
pub(crate) fn check(shape: &'static Shape, bytes: &[u8]) -> Result<(), Incomplete> {
    let mut found = Vec::new();
    match walk(shape, bytes, &mut Path::default(), &mut found) {
        Err(Stop::Malformed) => Err(Incomplete::Malformed),
        _ if found.is_empty() => Ok(()),
        Ok(()) | Err(Stop::Enough) => Err(Incomplete::Missing(found)),
    }
}

/// Why a walk does not go on.
enum Stop {
    /// Enough fields are missing.
    Enough,
    /// This is no message.
    Malformed,
}

fn walk(
    shape: &'static Shape,
    mut bytes: &[u8],
    path: &mut Path,
    found: &mut Vec<String>,
) -> Result<(), Stop> {
    let (mut seen, own_from) = (0_u64, found.len());
    // Elements of a list lie together, so that one counter is enough; it serves messages only.
    let mut element = (0_u32, 0_usize);
    while !bytes.is_empty() {
        let (number, value) = next_field(&mut bytes, GROUPS_MAX).ok_or(Stop::Malformed)?;
        let Ok(at) = shape
            .fields
            .binary_search_by_key(&number, |field| field.number)
        else {
            continue;
        };
        let field = &shape.fields[at];
        if let Occurs::Required(bit) = field.occurs {
            let known = match (field.is_known, &value) {
                (Some(is_known), Raw::Number(number)) => is_known(*number as i32),
                _ => true,
            };
            // A field that comes twice has the later value.
            seen = (seen & !(1 << bit)) | (u64::from(known) << bit);
        }
        let (Some(nested), Raw::Bytes(inner)) = (field.nested, value) else {
            continue;
        };
        if path.is_deepest() {
            return Err(Stop::Malformed);
        }
        match field.occurs {
            Occurs::Required(_) | Occurs::Optional => {
                path.enter(field.name, None);
                walk(nested, inner, path, found)?;
            }
            Occurs::List => {
                element = if element.0 == number {
                    (number, element.1 + 1)
                } else {
                    (number, 0)
                };
                path.enter(field.name, Some(element.1));
                walk(nested, inner, path, found)?;
            }
            Occurs::Map => {
                path.enter(field.name, None);
                let mut entry = inner;
                while !entry.is_empty() {
                    let (number, value) =
                        next_field(&mut entry, GROUPS_MAX).ok_or(Stop::Malformed)?;
                    if let (MAP_VALUE, Raw::Bytes(value)) = (number, value) {
                        walk(nested, value, path, found)?;
                    }
                }
            }
        }
        path.leave();
    }
    let own = (0..shape.required.len()).filter(|bit| seen & (1 << bit) == 0);
    let own: Vec<String> = own.map(|bit| path.with(shape.required[bit])).collect();
    found.splice(own_from..own_from, own);
    if found.len() < MISSING_TOLD_MAX {
        Ok(())
    } else {
        Err(Stop::Enough)
    }
}

/// The value of a field as it lies in the bytes.
enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Skipped,
}

/// Takes the next field off `bytes`; `None` when there is none. `groups` is how deep it may go
/// into groups.
fn next_field<'a>(bytes: &mut &'a [u8], groups: u32) -> Option<(u32, Raw<'a>)> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).ok()?;
    let value = match key & 7 {
        0 => Raw::Number(varint(bytes)?),
        1 => skip(bytes, 8)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            let (value, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Raw::Bytes(value)
        }
        // A group, which none of our messages has: skip its fields up to its end.
        3 => loop {
            let mut ahead = *bytes;
            let end = varint(&mut ahead)? == u64::from(number) << 3 | 4;
            if end {
                *bytes = ahead;
                break Raw::Skipped;
            }
            next_field(bytes, groups.checked_sub(1)?)?;
        },
        5 => skip(bytes, 4)?,
        _ => return None,
    };
    Some((number, value))
}

fn skip<'a>(bytes: &mut &[u8], n: usize) -> Option<Raw<'a>> {
    *bytes = bytes.split_at_checked(n)?.1;
    Some(Raw::Skipped)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::{Incomplete, Shape, check};
    use crate::message::WireMessage;
    use crate::v1::scheduler::{Call, call};
    use crate::v1::{FrameworkInfo, Offer, TaskInfo, offer};

    fn missing(shape: &'static Shape, bytes: &[u8]) -> Vec<String> {
        match check(shape, bytes) {
            Ok(()) => Vec::new(),
            Err(Incomplete::Missing(paths)) => paths,
            Err(Incomplete::Malformed) => panic!("malformed"),
        }
    }

    #[test]
    fn a_complete_message_lacks_nothing() {
        let call = Call {
            subscribe: Some(call::Subscribe {
                framework_info: FrameworkInfo {
                    user: "u".into(),
                    name: "n".into(),
                    ..Default::default()
                },
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(
            missing(Call::shape(), &call.encode_to_vec()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn missing_fields_are_named_with_their_path() {
        // subscribe { framework_info { name: "n" } }
        let bytes = [0x1a, 5, 0x0a, 3, 0x12, 1, b'n'];
        assert!(Call::decode(&bytes[..]).is_ok());
        assert_eq!(
            missing(Call::shape(), &bytes),
            ["subscribe.framework_info.user"]
        );
    }

    #[test]
    fn elements_of_lists_are_counted_and_unknown_fields_skipped() {
        let task = TaskInfo {
            name: "t".into(),
            ..Default::default()
        }
        .encode_to_vec();
        // A task whose resources hold an empty message, behind an unknown varint field.
        let mut bytes = vec![0xf8, 0x3f, 1];
        bytes.extend(&task);
        bytes.extend([0x22, 0]);
        assert_eq!(
            missing(TaskInfo::shape(), &bytes),
            ["resources[0].name", "resources[0].type"]
        );
    }

    #[test]
    fn an_unknown_number_for_a_required_enum_counts_as_missing() {
        let known = TaskStatusBytes::with_state(1);
        assert_eq!(
            missing(crate::v1::TaskStatus::shape(), &known),
            Vec::<String>::new()
        );
        let unknown = TaskStatusBytes::with_state(99);
        assert_eq!(missing(crate::v1::TaskStatus::shape(), &unknown), ["state"]);
        let replaced = [known, unknown].concat();
        assert_eq!(
            missing(crate::v1::TaskStatus::shape(), &replaced),
            ["state"]
        );
    }

    struct TaskStatusBytes;

    impl TaskStatusBytes {
        fn with_state(state: i32) -> Vec<u8> {
            crate::v1::TaskStatus {
                state,
                ..Default::default()
            }
            .encode_to_vec()
        }
    }

    #[test]
    fn an_offer_operation_without_parts_needs_nothing() {
        let bytes = offer::Operation::default().encode_to_vec();
        assert_eq!(
            missing(offer::Operation::shape(), &bytes),
            Vec::<String>::new()
        );
        assert_eq!(
            missing(Offer::shape(), &[]),
            ["id", "framework_id", "agent_id", "hostname"]
        );
    }

    #[test]
    fn only_the_first_few_are_told() {
        let bytes = b"\x22\x00".repeat(1000);
        assert_eq!(
            missing(TaskInfo::shape(), &bytes).len(),
            super::MISSING_TOLD_MAX
        );
    }

    #[test]
    fn groups_are_skipped_but_not_without_end() {
        // Field 100 as a group that holds another and a number.
        let group = b"\xa3\x06\x0b\x08\x01\x0c\xa4\x06";
        assert_eq!(check(offer::Operation::shape(), group), Ok(()));
        assert!(offer::Operation::decode(&group[..]).is_ok());
        for malformed in [
            &[0x0b; 1000][..],
            &group[..6],
            b"\x0f",
            b"\x12\x05a",
            b"\x08",
        ] {
            assert_eq!(
                check(offer::Operation::shape(), malformed),
                Err(Incomplete::Malformed),
                "{malformed:?}"
            );
        }
    }
}
