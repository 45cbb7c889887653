//! Scalar amounts by number instead of name, as the inner loops want them.

use std::collections::BTreeMap;

use regency_resources::{Milli, Quantities, Resources};

/// The scalar names of a run, numbered in order.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    numbers: BTreeMap<&'a str, usize>,
}

/// Thousandths of each scalar, by the number of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amounts(Vec<i64>);

impl<'a> Names<'a> {
    /// Makes a name known. All names are noted before the first amounts are made.
    pub(crate) fn note(&mut self, name: &'a str) {
        let next = self.numbers.len();
        self.numbers.entry(name).or_insert(next);
    }

    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    pub(crate) fn zero(&self) -> Amounts {
        Amounts(vec![0; self.numbers.len()])
    }

    pub(crate) fn of_quantities(&self, quantities: &Quantities) -> Amounts {
        let mut amounts = self.zero();
        for (name, amount) in quantities.iter() {
            amounts.add_named(self, name, amount);
        }
        amounts
    }

    pub(crate) fn of_resources(&self, resources: &Resources) -> Amounts {
        let mut amounts = self.zero();
        amounts.add_resources(self, resources);
        amounts
    }
}

impl Amounts {
    pub(crate) fn get(&self, number: usize) -> i64 {
        self.0[number]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is more than nothing of anything.
    pub(crate) fn any(&self) -> bool {
        self.0.iter().any(|amount| *amount > 0)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// The differences, none below zero.
    pub(crate) fn less(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(mine, theirs)| mine.saturating_sub(*theirs).max(0))
                .collect(),
        )
    }

    pub(crate) fn add_named(&mut self, names: &Names<'_>, name: &str, amount: Milli) {
        if let Some(number) = names.number(name) {
            self.0[number] = self.0[number].saturating_add(amount.0);
        }
    }

    pub(crate) fn add_resources(&mut self, names: &Names<'_>, resources: &Resources) {
        for (name, amount) in resources.scalar_sums() {
            self.add_named(names, name, amount);
        }
    }

    pub(crate) fn clear(&mut self, number: usize) {
        self.0[number] = 0;
    }
}
