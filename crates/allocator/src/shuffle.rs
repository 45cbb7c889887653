//! A shuffle that depends on nothing but its seed.

/// A small generator (SplitMix64): fair enough for an order of visits, not for secrets.
pub(crate) struct Shuffler {
    state: u64,
}

impl Shuffler {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, by the high half of a product instead of a remainder.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// Puts the items in another order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_comes_first_about_as_often() {
        let mut first = [0_u32; 8];
        for seed in 0..8000 {
            let mut items: Vec<usize> = (0..8).collect();
            Shuffler::new(seed).shuffle(&mut items);
            first[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, (0..8).collect::<Vec<_>>());
        }
        for count in first {
            assert!((800..1200).contains(&count), "{first:?}");
        }
    }
}
