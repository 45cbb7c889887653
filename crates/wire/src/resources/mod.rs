//! Resources, quantities and attributes between the wire and the algebra.
//!
//! The wire knows two forms of a reservation, an older one that holds a single role and a newer
//! one that holds a stack. Both are read, told apart by what is set; which one is written is for
//! the caller to say, because it depends on who reads it. The role that resources are allocated
//! to is no part of what they are; it is handed over beside them.
//!
//! Amounts of zero are dropped on input, as Mesos does. Whether resources exist and who may use
//! them is not asked here.

mod attributes;
mod quantities;
mod read;
mod write;

pub use attributes::{attributes_from_wire, attributes_to_wire};
pub use quantities::{quantities_from_wire, quantities_to_wire};
pub use read::{Allocated, entries_from_wire, from_wire};
pub use write::{ResourceFormat, to_wire};

use regency_resources::AmountError;

/// Why something of the wire is no resource, quantity or attribute; fit for a status message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} '{text}' is invalid: {fault}")]
pub struct InvalidValue {
    /// What it should have been, such as `Resource`.
    pub what: &'static str,
    /// Its name and value, such as `cpus:-1`.
    pub text: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a resource, quantity or attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field that must be there is not.
    #[error("Expecting '{0}' to be present")]
    Missing(&'static str),
    /// A field is there that has no place in this kind of resource.
    #[error("Not expecting '{field}' to be set for {reason}")]
    Misplaced {
        /// The field.
        field: &'static str,
        /// Where it has no place.
        reason: &'static str,
    },
    /// A type that is not known, or that this kind of thing cannot have.
    #[error("Unsupported '{field}' {value}")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
    /// A scalar below zero; the words are Mesos'.
    #[error("Invalid scalar resource: value <= 0")]
    Negative,
    /// A number that is none or beyond all reason.
    #[error("Invalid '{field}': {error}")]
    Amount {
        /// The field.
        field: &'static str,
        /// Why.
        error: AmountError,
    },
    /// A range that ends before it begins.
    #[error("Invalid 'ranges': {0}")]
    Ranges(#[from] regency_resources::RangeError),
    /// A role that cannot be one, or cannot be reserved for.
    #[error("Invalid '{field}': {error}")]
    Role {
        /// The field.
        field: &'static str,
        /// Why.
        error: regency_resources::role::Error,
    },
    /// Reservations for the role `*`, which stands for no reservation.
    #[error("Cannot reserve for role '*'")]
    ReservedForAll,
    /// A reservation that does not refine the one before it.
    #[error("Reservation for role '{role}' does not refine that for role '{outer}'")]
    NotRefined {
        /// The role of the inner reservation.
        role: String,
        /// The role of the one it stands on.
        outer: String,
    },
    /// The older and the newer form say different things.
    #[error("'role' or 'reservation' contradicts 'reservations'")]
    Contradiction,
    /// Resources of one list are allocated to different roles.
    #[error("allocated to role '{role}', others of the list to role '{other}'")]
    MixedAllocation {
        /// The role of this one.
        role: String,
        /// The role of those before it.
        other: String,
    },
}

#[cfg(test)]
mod tests;
