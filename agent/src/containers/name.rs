//! The id of a container: its own, below those of the containers that it is in.

use std::path::{Path, PathBuf};

use regency_wire::v1::ContainerId;
use serde::{Deserialize, Serialize};

/// Most containers within each other, the outermost counted.
const DEPTH_MAX: usize = 8;
/// Longest own id; it is the name of a directory.
const ID_BYTES_MAX: usize = 255;

/// A whole id, outermost first; never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Name(Vec<String>);

/// Why an id is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadName {
    #[error("'{field}.value' is empty")]
    Empty { field: String },
    #[error("'{field}.value' has {bytes} bytes, {ID_BYTES_MAX} are allowed")]
    TooLong { field: String, bytes: usize },
    #[error("'{field}.value' contains {found:?}, which no container id may")]
    BadCharacter { field: String, found: char },
    #[error("'{field}' has more than {DEPTH_MAX} containers within each other")]
    TooDeep { field: String },
}

impl Name {
    /// Reads an id; `field` is where it stands in the call.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn of(field: &str, id: &ContainerId) -> Result<Self, BadName> {
        let mut parts = Vec::new();
        let (mut at, mut next) = (field.to_owned(), Some(id));
        while let Some(id) = next {
            if parts.len() == DEPTH_MAX {
                let field = field.to_owned();
                return Err(BadName::TooDeep { field });
            }
            parts.push(part(&at, &id.value)?);
            next = id.parent.as_deref();
            at.push_str(".parent");
        }
        parts.reverse();
        Ok(Self(parts))
    }

    pub(crate) fn to_wire(&self) -> ContainerId {
        let mut whole: Option<ContainerId> = None;
        for value in &self.0 {
            whole = Some(ContainerId {
                value: value.clone(),
                parent: whole.map(Box::new),
            });
        }
        whole.unwrap_or_default()
    }

    /// The container it is in.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        (!parent.is_empty()).then(|| Self(parent.to_vec()))
    }

    /// The id of the outermost container.
    pub(crate) fn root(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    pub(crate) fn is_nested(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether this one is somewhere in the other.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.len() > other.0.len() && self.0.starts_with(&other.0)
    }

    /// All ids, outermost first.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Its own id alone.
    pub(crate) fn own(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Where its records lie below the folder of all.
    pub(crate) fn folder(&self, all: &Path) -> PathBuf {
        let mut folder = all.join(self.root());
        for part in self.0.iter().skip(1) {
            folder.push("containers");
            folder.push(part);
        }
        folder
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

fn part(field: &str, value: &str) -> Result<String, BadName> {
    let field = field.to_owned();
    if value.is_empty() {
        return Err(BadName::Empty { field });
    }
    if value.len() > ID_BYTES_MAX {
        let bytes = value.len();
        return Err(BadName::TooLong { field, bytes });
    }
    // A dot is what separates the parts of a whole id.
    let bad = |c: &char| c.is_control() || matches!(c, '/' | '\\' | '.' | ' ');
    match value.chars().find(bad) {
        Some(found) => Err(BadName::BadCharacter { field, found }),
        None => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(parts: &[&str]) -> ContainerId {
        Name(parts.iter().map(|part| (*part).to_owned()).collect()).to_wire()
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let wire = id(&["root", "a", "b"]);
        assert_eq!(wire.value, "b");
        let name = Name::of("id", &wire).expect("an id");
        assert_eq!(name.to_string(), "root.a.b");
        assert_eq!((name.root(), name.own()), ("root", "b"));
        assert_eq!(name.to_wire(), wire);
        let parent = name.parent().expect("a parent");
        assert_eq!(parent.to_string(), "root.a");
        assert!(name.is_within(&parent) && !parent.is_within(&name) && !name.is_within(&name));
        let folder = name.folder(Path::new("/m"));
        assert_eq!(folder, Path::new("/m/root/containers/a/containers/b"));
        assert_eq!(
            Name::of("id", &id(&["root"])).expect("an id").parent(),
            None
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (parts, named) in [
            (&[""][..], "'id.value' is empty"),
            (&["..", "a"][..], "'id.parent.value' contains '.'"),
            (&["a", "b/c"][..], "'id.value' contains '/'"),
            (&["a b"][..], "' '"),
            (&["a\n"][..], "\\n"),
            (&["a"; 9][..], "within each other"),
        ] {
            let error = Name::of("id", &id(parts)).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
        let long = "a".repeat(256);
        assert!(Name::of("id", &id(&[&long])).is_err());
    }
}
