//! Names of roles and the tree they form.
//!
//! A role is a path: `eng/web` is below `eng`. `*` is the default role; it has neither parent nor
//! descendants.

/// The default role, also the way to write "not reserved" in text.
pub const DEFAULT: &str = "*";

/// Longest accepted role in bytes. Mesos has no bound; ours keeps a role usable as a key.
pub const BYTES_MAX: usize = 1024;

/// Why a string is not a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The string is empty.
    #[error("a role must not be empty")]
    Empty,
    /// The string is longer than [`BYTES_MAX`].
    #[error("a role must not be longer than {BYTES_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// It begins with a dash, which flags would mistake for themselves.
    #[error("role '{0}' must not start with a dash")]
    StartsWithDash(String),
    /// A component holds whitespace, a control character or a backslash. The text is the one
    /// Mesos' masters were seen to answer with.
    #[error("Role component '{0}' is invalid because it contains backspace or whitespace")]
    BadCharacter(String),
    /// A slash at the beginning. The text is the one Mesos' masters were seen to answer with.
    #[error("Role '{0}' cannot start with a slash")]
    StartsWithSlash(String),
    /// A slash at the end, or two in a row.
    #[error("role '{0}' must not end with a slash or contain two in a row")]
    EmptyComponent(String),
    /// A component that is `.`, `..` or `*`.
    #[error("role '{role}' must not have the component '{component}'")]
    ReservedComponent {
        /// The whole role.
        role: String,
        /// The component in the way.
        component: String,
    },
}

/// Checks that `role` is one Mesos accepts.
///
/// # Errors
/// What is wrong with it.
pub fn validate(role: &str) -> Result<(), Error> {
    if role == DEFAULT {
        return Ok(());
    }
    if role.is_empty() {
        return Err(Error::Empty);
    }
    if role.len() > BYTES_MAX {
        return Err(Error::TooLong(role.len()));
    }
    if role.starts_with('-') {
        return Err(Error::StartsWithDash(role.to_owned()));
    }
    if role.starts_with('/') {
        return Err(Error::StartsWithSlash(role.to_owned()));
    }
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    for component in role.split('/') {
        match component {
            _ if component.contains(bad) => {
                return Err(Error::BadCharacter(component.to_owned()));
            }
            "" => return Err(Error::EmptyComponent(role.to_owned())),
            "." | ".." | "*" => {
                return Err(Error::ReservedComponent {
                    role: role.to_owned(),
                    component: component.to_owned(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The role one level up: `eng` for `eng/web`; `None` at the top.
#[must_use]
pub fn parent(role: &str) -> Option<&str> {
    role.rsplit_once('/').map(|(parent, _)| parent)
}

/// The top-level role: `eng` for `eng/web/blue`, the role itself at the top.
#[must_use]
pub fn top(role: &str) -> &str {
    role.split_once('/').map_or(role, |(top, _)| top)
}

/// Whether `role` lies strictly below `ancestor`.
#[must_use]
pub fn is_below(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `role` is `other` or below it.
#[must_use]
pub fn is_within(role: &str, other: &str) -> bool {
    role == other || is_below(role, other)
}

/// The roles above `role`, nearest first.
pub fn ancestors(role: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(parent(role), |role| parent(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_that_mesos_refuses_are_refused() {
        for good in ["*", "eng", "eng/web", "a.b", "a-b", ".a", "eng/web/blue"] {
            assert_eq!(validate(good), Ok(()), "{good}");
        }
        for bad in [
            "", ".", "..", "-a", "a b", "a\tb", "a\\b", "a\u{8}", "/a", "a/", "a//b", "a/..",
            "a/*", "*/a",
        ] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
        assert_eq!(validate(&"r".repeat(1025)), Err(Error::TooLong(1025)));
    }

    #[test]
    fn the_tree_follows_slashes_only() {
        assert!(is_below("eng/web", "eng"));
        assert!(!is_below("engine", "eng"));
        assert!(!is_below("eng", "eng"));
        assert!(is_within("eng", "eng"));
        assert_eq!(top("eng/web/blue"), "eng");
        assert_eq!(parent("eng"), None);
        assert_eq!(ancestors("a/b/c").collect::<Vec<_>>(), vec!["a/b", "a"]);
    }
}
