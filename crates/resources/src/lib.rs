//! Fixed-point resource algebra.
//!
//! What an agent has, what an offer promises and what a task uses are all [`Resources`]: an
//! ordered, canonical collection in which sums and differences are exact. Nothing here knows who
//! owns resources or when they change hands.
//!
//! Reading order: [`Milli`], [`Ranges`] and [`Set`] are the three kinds of [`Value`];
//! [`ResourceKey`] says of what the value is an amount; [`Resources`] holds both. [`Quantities`]
//! forgets everything but names and scalar sums. [`parse`] reads the text forms of Mesos' flags.

mod milli;
mod ranges;
mod set;
mod value;

pub mod role;

mod disk;
mod key;
mod reservation;

mod conversion;
mod filters;
mod quantities;
mod resources;

mod attribute;
pub mod parse;

pub use attribute::{Attribute, AttributeValue};
pub use conversion::Conversion;
pub use disk::{DiskInfo, DiskSource, DiskSourceKind, Persistence, Volume, VolumeMode};
pub use key::ResourceKey;
pub use milli::{AmountError, Milli};
pub use quantities::Quantities;
pub use ranges::{Range, RangeError, Ranges};
pub use reservation::{Reservation, ReservationKind};
pub use resources::{Resource, Resources, Shortage};
pub use set::Set;
pub use value::{Value, ValueKind};
