//! The dominant share: of the scalar of which a client has the largest part, that part, divided by
//! the client's weight.
//!
//! Shares are integers in units of 2^-61, rounded down once at the very end. So equal fractions are
//! equal shares, the order is the same on every machine, and comparing costs next to nothing.

use regency_resources::Milli;

use crate::amounts::Amounts;

/// A weighted dominant share.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Share(u128);

const UNIT_BITS: u32 = 61;

/// Beyond this amounts are cut off, so that no product leaves 128 bits: 2^56 thousandths are the
/// memory of seventy million agents with a terabyte each.
const AMOUNT_MAX: i64 = 1 << 56;

impl Share {
    /// The share of a client that has `allocated` of `totals`. A scalar of which the cluster has
    /// none, or whose total was cleared to exclude it, does not count.
    pub(crate) fn new(allocated: &Amounts, totals: &Amounts, weight: Milli) -> Self {
        let weight = weight.0.clamp(1, AMOUNT_MAX) as u128;
        allocated
            .iter()
            .zip(totals.iter())
            .filter(|(part, total)| *part > 0 && *total > 0)
            .map(|(part, total)| {
                let part = part.min(AMOUNT_MAX) as u128;
                let total = total.min(AMOUNT_MAX) as u128;
                // A weight of one is a thousand thousandths.
                Self(((part * 1000) << UNIT_BITS) / (total * weight))
            })
            .max()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use regency_resources::{Quantities, parse};

    use super::*;
    use crate::amounts::Names;

    fn share(allocated: &str, totals: &str, weight: i64) -> Share {
        let mut names = Names::default();
        for name in ["cpus", "disk", "mem"] {
            names.note(name);
        }
        let amounts = |text: &str| -> Amounts {
            let quantities: Quantities = parse::quantities(text).unwrap();
            names.of_quantities(&quantities)
        };
        Share::new(&amounts(allocated), &amounts(totals), Milli(weight))
    }

    #[test]
    fn the_largest_part_counts_whatever_it_is_of() {
        let total = "cpus:10;mem:100";
        assert_eq!(
            share("cpus:5;mem:10", total, 1000),
            share("mem:50", total, 1000)
        );
        assert!(share("cpus:5;mem:51", total, 1000) > share("cpus:5", total, 1000));
        assert_eq!(share("disk:7", total, 1000), Share::default());
    }

    #[test]
    fn equal_fractions_are_equal_shares_under_any_weight() {
        // A third by different ways, none of which is exact in binary.
        for (allocated, total, weight) in [
            ("cpus:1", "cpus:3", 1000),
            ("cpus:2", "cpus:3", 2000),
            ("cpus:0.5", "cpus:1", 1500),
            ("mem:7000000", "mem:21000000", 1000),
            ("cpus:1", "cpus:1", 3000),
        ] {
            assert_eq!(
                share(allocated, total, weight),
                share("cpus:1", "cpus:3", 1000),
                "{allocated} of {total} at {weight}"
            );
        }
    }

    #[test]
    fn extreme_amounts_and_weights_do_not_overflow() {
        let all = Milli(i64::MAX).to_f64() / 1e4;
        let text = format!("cpus:{}", all.min(1e12));
        assert!(share(&text, &text, i64::MAX) < share(&text, &text, 1));
        assert!(share(&text, "cpus:0.001", -5) > share(&text, &text, 1));
    }
}
