//! Sets of integers as inclusive ranges, such as ports.

use std::fmt;

use serde::{Deserialize, Serialize};

/// All integers from `begin` to `end`, both included. Within [`Ranges`] `begin <= end` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first integer.
    pub begin: u64,
    /// The last integer.
    pub end: u64,
}

/// Why ranges are not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// A range that ends before it begins.
    #[error("the range {begin}-{end} ends before it begins")]
    Reversed {
        /// Its first integer.
        begin: u64,
        /// Its last integer.
        end: u64,
    },
}

/// A set of integers. Kept sorted, with ranges that touch or overlap made one, so that equal sets
/// are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Range>", into = "Vec<Range>")]
pub struct Ranges(Vec<Range>);

impl Ranges {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The union of inclusive pairs, in any order.
    ///
    /// # Errors
    /// When a pair ends before it begins.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (u64, u64)>) -> Result<Self, RangeError> {
        let mut ranges = Vec::new();
        for (begin, end) in pairs {
            if begin > end {
                return Err(RangeError::Reversed { begin, end });
            }
            ranges.push(Range { begin, end });
        }
        Ok(Self::coalesced(ranges))
    }

    fn coalesced(mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.begin <= kept.end.saturating_add(1);
            if joins {
                kept.end = kept.end.max(next.end);
            }
            joins
        });
        Self(ranges)
    }

    /// Whether no integer is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in ascending order, none touching the next.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().copied()
    }

    /// How many integers are in it.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.iter()
            .map(|r| u128::from(r.end) - u128::from(r.begin) + 1)
            .sum()
    }

    /// Whether `integer` is in it.
    #[must_use]
    pub fn has(&self, integer: u64) -> bool {
        let after = self.0.partition_point(|r| r.begin <= integer);
        after > 0 && self.0[after - 1].end >= integer
    }

    /// Whether every integer of `other` is in it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|wanted| {
            let after = self.0.partition_point(|r| r.begin <= wanted.begin);
            after > 0 && self.0[after - 1].end >= wanted.end
        })
    }

    /// The integers in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::coalesced(self.iter().chain(other.iter()).collect())
    }

    /// The integers in `self` that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut left = Vec::with_capacity(self.0.len() + other.0.len());
        let mut taken = other.iter().peekable();
        for mut range in self.iter() {
            // What ends before this range cannot reach a later one either.
            while taken.next_if(|t| t.end < range.begin).is_some() {}
            let mut used_up = false;
            while let Some(t) = taken.peek().filter(|t| t.begin <= range.end) {
                if t.begin > range.begin {
                    left.push(Range {
                        begin: range.begin,
                        end: t.begin - 1,
                    });
                }
                if t.end >= range.end {
                    used_up = true;
                    break;
                }
                range.begin = t.end + 1;
                taken.next();
            }
            if !used_up {
                left.push(range);
            }
        }
        Self(left)
    }
}

impl TryFrom<Vec<Range>> for Ranges {
    type Error = RangeError;

    fn try_from(ranges: Vec<Range>) -> Result<Self, RangeError> {
        Self::from_pairs(ranges.into_iter().map(|r| (r.begin, r.end)))
    }
}

impl From<Ranges> for Vec<Range> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

impl fmt::Display for Ranges {
    /// As Mesos writes them: `[31000-32000, 33000-33000]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, range) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}-{}", range.begin, range.end)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(u64, u64)]) -> Ranges {
        Ranges::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn touching_and_overlapping_ranges_become_one() {
        assert_eq!(ranges(&[(5, 6), (1, 2), (3, 4)]), ranges(&[(1, 6)]));
        assert_eq!(ranges(&[(1, 9), (2, 3)]), ranges(&[(1, 9)]));
        assert_eq!(ranges(&[(1, 2), (4, 5)]).iter().count(), 2);
        assert_eq!(
            ranges(&[(u64::MAX, u64::MAX), (0, u64::MAX)]).to_string(),
            format!("[0-{}]", u64::MAX)
        );
    }

    #[test]
    fn a_reversed_range_is_refused() {
        assert_eq!(
            Ranges::from_pairs([(2, 1)]),
            Err(RangeError::Reversed { begin: 2, end: 1 })
        );
    }

    #[test]
    fn difference_cuts_at_both_ends_and_in_the_middle() {
        let all = ranges(&[(1, 10), (20, 30)]);
        for (taken, left) in [
            (ranges(&[(1, 10)]), ranges(&[(20, 30)])),
            (ranges(&[(1, 1), (10, 10)]), ranges(&[(2, 9), (20, 30)])),
            (ranges(&[(5, 5)]), ranges(&[(1, 4), (6, 10), (20, 30)])),
            (ranges(&[(5, 25)]), ranges(&[(1, 4), (26, 30)])),
            (ranges(&[(0, 100)]), Ranges::new()),
            (ranges(&[(11, 19)]), all.clone()),
            (ranges(&[(0, u64::MAX)]), Ranges::new()),
        ] {
            assert_eq!(all.difference(&taken), left, "{all} less {taken}");
        }
    }

    #[test]
    fn contains_wants_each_range_within_one_range() {
        let some = ranges(&[(1, 5), (7, 9)]);
        assert!(some.contains(&ranges(&[(2, 3), (7, 9)])));
        assert!(!some.contains(&ranges(&[(5, 7)])));
        assert!(!some.contains(&ranges(&[(0, 1)])));
        assert!(some.contains(&Ranges::new()));
        assert!(some.has(5) && !some.has(6) && some.has(7) && !some.has(10));
        assert_eq!(some.count(), 8);
    }
}
