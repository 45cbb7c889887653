//! Who a resource is kept for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a reservation came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReservationKind {
    /// By the agent's flags; it cannot be undone while the agent runs.
    Static,
    /// By a RESERVE operation.
    Dynamic,
}

/// One reservation out of a resource's stack of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reservation {
    /// How it came about.
    pub kind: ReservationKind,
    /// The role it is for; that role's descendants may use it too.
    pub role: String,
    /// Who made it.
    pub principal: Option<String>,
    /// Free words of who made it. Their order means nothing: a collection keeps them sorted.
    pub labels: Vec<(String, Option<String>)>,
}

impl Reservation {
    /// A reservation by the agent's flags.
    pub fn fixed(role: impl Into<String>) -> Self {
        Self {
            kind: ReservationKind::Static,
            role: role.into(),
            principal: None,
            labels: Vec::new(),
        }
    }

    /// A reservation by an operation, without labels.
    pub fn dynamic(role: impl Into<String>, principal: Option<String>) -> Self {
        Self {
            kind: ReservationKind::Dynamic,
            role: role.into(),
            principal,
            labels: Vec::new(),
        }
    }
}

impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReservationKind::Static => "STATIC",
            ReservationKind::Dynamic => "DYNAMIC",
        };
        write!(f, "({kind},{}", self.role)?;
        if let Some(principal) = &self.principal {
            write!(f, ",{principal}")?;
        }
        if !self.labels.is_empty() {
            f.write_str(",{")?;
            for (i, (key, value)) in self.labels.iter().enumerate() {
                let comma = if i == 0 { "" } else { ", " };
                write!(f, "{comma}{key}")?;
                if let Some(value) = value {
                    write!(f, ": {value}")?;
                }
            }
            f.write_str("}")?;
        }
        f.write_str(")")
    }
}
