//! Scalar amounts in thousandths.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A scalar amount in thousandths of its unit (a cpu, a megabyte), the precision to which Mesos
/// itself compares scalars: `0.1 + 0.2 == 0.3` holds.
///
/// Sums and differences stop at the ends of the range instead of wrapping. No single amount taken
/// from outside exceeds [`Milli::INPUT_MAX`], so thousands of the largest can be added before
/// that could matter.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Milli(pub i64);

/// Why a number is not a scalar amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// The text is not a number at all.
    #[error("'{0}' is not a number")]
    NotANumber(String),
    /// Infinite, or not a number in floating point.
    #[error("a scalar must be finite")]
    NotFinite,
    /// Below zero where an amount is wanted.
    #[error("an amount must not be negative, this one is {0}")]
    Negative(Milli),
    /// Beyond [`Milli::INPUT_MAX`] in either direction.
    #[error("a scalar must be within {max} of zero", max = Milli::INPUT_MAX)]
    TooLarge,
}

impl Milli {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The largest amount accepted from outside, in either direction: 2^40 units, which is also
    /// Mesos' bound for a quota on megabytes.
    pub const INPUT_MAX: Self = Self((1 << 40) * 1000);

    /// A whole number of units.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// The nearest amount of three decimals; a half is rounded away from zero.
    ///
    /// # Errors
    /// When the number is not finite or beyond [`Milli::INPUT_MAX`].
    pub fn from_f64(number: f64) -> Result<Self, AmountError> {
        if !number.is_finite() {
            return Err(AmountError::NotFinite);
        }
        let thousandths = (number * 1000.0).round();
        if thousandths.abs() > Self::INPUT_MAX.0 as f64 {
            return Err(AmountError::TooLarge);
        }
        Ok(Self(thousandths as i64))
    }

    /// Like [`Milli::from_f64`], for what cannot be negative.
    ///
    /// # Errors
    /// When the number is negative after rounding, not finite, or beyond [`Milli::INPUT_MAX`].
    pub fn amount_from_f64(number: f64) -> Result<Self, AmountError> {
        let milli = Self::from_f64(number)?;
        if milli.0 < 0 {
            return Err(AmountError::Negative(milli));
        }
        Ok(milli)
    }

    /// As floating point, for encoding and display.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Whether this is exactly nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The difference, but never below zero.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

impl Add for Milli {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for Milli {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

impl Sub for Milli {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

impl Sum for Milli {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Milli {
    /// Decimal without trailing zeros: `4`, `0.1`, `-1.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (units, rest) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        let decimals = format!("{rest:03}");
        let decimals = decimals.trim_end_matches('0');
        let point = if decimals.is_empty() { "" } else { "." };
        f.pad(&format!("{sign}{units}{point}{decimals}"))
    }
}

impl FromStr for Milli {
    type Err = AmountError;

    /// Reads what [`f64`] reads, so exponents are accepted as Mesos accepts them.
    fn from_str(text: &str) -> Result<Self, AmountError> {
        let number: f64 = text
            .parse()
            .map_err(|_| AmountError::NotANumber(text.to_owned()))?;
        Self::from_f64(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousandths_add_exactly() {
        let tenth = Milli::from_f64(0.1).unwrap();
        let fifth = Milli::from_f64(0.2).unwrap();
        assert_eq!(tenth + fifth, Milli::from_f64(0.3).unwrap());
    }

    #[test]
    fn rounding_is_to_three_decimals_half_away_from_zero() {
        assert_eq!(Milli::from_f64(1.0004), Ok(Milli(1000)));
        assert_eq!(Milli::from_f64(0.0005), Ok(Milli(1)));
        assert_eq!(Milli::from_f64(-0.0005), Ok(Milli(-1)));
        assert_eq!(Milli::amount_from_f64(-0.0004), Ok(Milli(0)));
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Milli::from_f64(bad), Err(AmountError::NotFinite));
        }
        assert_eq!(Milli::from_f64(1e13), Err(AmountError::TooLarge));
        assert_eq!(Milli::from_f64(-1e13), Err(AmountError::TooLarge));
        assert_eq!(
            Milli::amount_from_f64(-1.0),
            Err(AmountError::Negative(Milli(-1000)))
        );
        assert!("".parse::<Milli>().is_err());
        assert!("4x".parse::<Milli>().is_err());
        assert!("inf".parse::<Milli>().is_err());
    }

    #[test]
    fn text_has_no_needless_digits() {
        for (milli, text) in [
            (0, "0"),
            (4000, "4"),
            (100, "0.1"),
            (1_024_500, "1024.5"),
            (1, "0.001"),
            (-1250, "-1.25"),
            (-5, "-0.005"),
        ] {
            assert_eq!(Milli(milli).to_string(), text);
            assert_eq!(text.parse(), Ok(Milli(milli)));
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Milli(i64::MAX) + Milli(1), Milli(i64::MAX));
        assert_eq!(Milli(i64::MIN) - Milli(1), Milli(i64::MIN));
        assert_eq!(Milli(3).less(Milli(5)), Milli::ZERO);
    }
}
