//! Amounts of scalars by name, as quotas and offer filters hold them.

use std::collections::BTreeMap;

use regency_resources::Quantities;

use super::read::amount;
use super::{Fault, InvalidValue};
use crate::v1::value::Scalar;

/// Reads quantities; a zero is kept only in so far as [`Quantities`] keeps it.
///
/// # Errors
/// At the first amount that is negative or not a finite number.
pub fn quantities_from_wire(map: &BTreeMap<String, Scalar>) -> Result<Quantities, InvalidValue> {
    let mut quantities = Quantities::new();
    for (name, scalar) in map {
        let invalid = |fault: Fault| InvalidValue {
            what: "Quantity",
            text: format!("{name}:{}", scalar.value),
            fault,
        };
        if name.is_empty() {
            return Err(invalid(Fault::Missing("name")));
        }
        quantities.add(name, amount(scalar.value, "value").map_err(invalid)?);
    }
    Ok(quantities)
}

/// Writes quantities.
#[must_use]
pub fn quantities_to_wire(quantities: &Quantities) -> BTreeMap<String, Scalar> {
    let scalar = |(name, amount): (&str, regency_resources::Milli)| {
        (
            name.to_owned(),
            Scalar {
                value: amount.to_f64(),
            },
        )
    };
    quantities.iter().map(scalar).collect()
}
