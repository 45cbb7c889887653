//! What one reading of a JSON text remembers.

/// How deep messages may nest. The binary decoder stops at a hundred; this is less, so that what
/// was read in one encoding can be written and read in the other.
pub(crate) const NESTING_MAX: usize = 64;

/// How many missing fields are told. A message that lacks more is not read to its end, so that a
/// small text cannot make a long answer.
pub(crate) const MISSING_TOLD_MAX: usize = 16;

/// Where in a message the reader is.
#[derive(Debug, Default)]
pub(crate) struct Path {
    steps: Vec<(&'static str, Option<usize>)>,
}

impl Path {
    /// Goes into a field, or into one element of it.
    pub(crate) fn enter(&mut self, field: &'static str, element: Option<usize>) {
        self.steps.push((field, element));
    }

    /// Whether going into another field would be too deep.
    pub(crate) fn is_deepest(&self) -> bool {
        self.steps.len() >= NESTING_MAX
    }

    /// Leaves the field entered last.
    pub(crate) fn leave(&mut self) {
        self.steps.pop();
    }

    /// The path to `field` of the message that the reader is in.
    pub(crate) fn with(&self, field: &str) -> String {
        let mut text = String::new();
        for (name, element) in &self.steps {
            text.push_str(name);
            if let Some(element) = element {
                text.push_str(&format!("[{element}]"));
            }
            text.push('.');
        }
        text + field
    }
}

/// The required fields of a message that were there, one bit each.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen(u64);

impl Seen {
    /// Whether the field with this bit was there.
    #[must_use]
    pub fn contains(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }

    pub(super) fn set(&mut self, bit: u32, was_there: bool) {
        self.0 = self.0 & !(1 << bit) | u64::from(was_there) << bit;
    }
}

/// What one reading of a JSON text remembers: where it is and what it found wrong.
///
/// The faults are kept here and not in the reader's errors, because those carry a position in
/// the text that Mesos does not tell, and because missing fields are told all at once.
#[derive(Debug, Default)]
pub struct Context {
    pub(super) path: Path,
    mismatch: Option<String>,
    pub(super) missing: Vec<String>,
}

impl Context {
    /// Notes that a value does not fit and gives the error that ends the reading.
    pub(super) fn mismatch<E: serde::de::Error>(&mut self, text: String) -> E {
        let error = E::custom(&text);
        self.mismatch.get_or_insert(text);
        error
    }

    /// The text about what was wrong, if anything was.
    pub(super) fn fault(self) -> Option<String> {
        match self.mismatch {
            Some(text) => Some(text),
            None if self.missing.is_empty() => None,
            None => Some(missing_text(&self.missing)),
        }
    }
}

/// The text for missing required fields.
pub(crate) fn missing_text(paths: &[String]) -> String {
    let more = if paths.len() < MISSING_TOLD_MAX {
        ""
    } else {
        ", ..."
    };
    format!("Missing required fields: {}{more}", paths.join(", "))
}
