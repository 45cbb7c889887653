//! An amount of any of the three kinds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Milli, Ranges, Set};

/// An amount of a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// So much of it.
    Scalar(Milli),
    /// These integers of it.
    Ranges(Ranges),
    /// These words of it.
    Set(Set),
}

/// Which kind of amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of mesos.v1.Value.Type")]
pub enum ValueKind {
    Scalar,
    Ranges,
    Set,
}

impl Value {
    /// A scalar of whole units.
    #[must_use]
    pub const fn units(units: i64) -> Self {
        Self::Scalar(Milli::from_units(units))
    }

    /// Which kind this is.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self {
            Self::Scalar(_) => ValueKind::Scalar,
            Self::Ranges(_) => ValueKind::Ranges,
            Self::Set(_) => ValueKind::Set,
        }
    }

    /// Whether it amounts to nothing. A scalar below zero does too: nothing can hold it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(milli) => milli.0 <= 0,
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }

    /// The scalar; `None` for the other kinds.
    #[must_use]
    pub const fn as_scalar(&self) -> Option<Milli> {
        match self {
            Self::Scalar(milli) => Some(*milli),
            Self::Ranges(_) | Self::Set(_) => None,
        }
    }

    /// Whether `other` can be taken from this; never across kinds.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => a >= b,
            (Self::Ranges(a), Self::Ranges(b)) => a.contains(b),
            (Self::Set(a), Self::Set(b)) => a.contains(b),
            _ => false,
        }
    }

    /// Adds an amount of the same kind. One of another kind leaves this one as it is; the
    /// collection keeps kinds apart.
    pub(crate) fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => *a += *b,
            (Self::Ranges(a), Self::Ranges(b)) => *a = a.union(b),
            (Self::Set(a), Self::Set(b)) => *a = a.union(b),
            _ => {}
        }
    }

    /// Takes away what is contained; see [`Value::add`] for kinds.
    pub(crate) fn take(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) => *a = *a - *b,
            (Self::Ranges(a), Self::Ranges(b)) => *a = a.difference(b),
            (Self::Set(a), Self::Set(b)) => *a = a.difference(b),
            _ => {}
        }
    }
}

impl From<Milli> for Value {
    fn from(milli: Milli) -> Self {
        Self::Scalar(milli)
    }
}

impl From<Ranges> for Value {
    fn from(ranges: Ranges) -> Self {
        Self::Ranges(ranges)
    }
}

impl From<Set> for Value {
    fn from(set: Set) -> Self {
        Self::Set(set)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(milli) => milli.fmt(f),
            Self::Ranges(ranges) => ranges.fmt(f),
            Self::Set(set) => set.fmt(f),
        }
    }
}
