//! Scalar sums by name, for quotas, minimums and totals over many agents.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Milli, Resources};

/// How much of each scalar, whoever it is reserved for. Amounts of zero are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, Milli>", into = "BTreeMap<String, Milli>")]
pub struct Quantities(BTreeMap<String, Milli>);

impl Quantities {
    /// None of anything.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Whether there is none of anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The amount of `name`; zero when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Milli {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Whether there is any of `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds to one amount. A sum of zero or less is dropped.
    pub fn add(&mut self, name: &str, amount: Milli) {
        let sum = self.get(name) + amount;
        if sum.0 <= 0 {
            self.0.remove(name);
        } else if let Some(there) = self.0.get_mut(name) {
            *there = sum;
        } else {
            self.0.insert(name.to_owned(), sum);
        }
    }

    /// Adds all of `other`.
    pub fn add_all(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.add(name, amount);
        }
    }

    /// Adds the scalars of some resources.
    pub fn add_resources(&mut self, resources: &Resources) {
        for (name, amount) in resources.scalar_sums() {
            self.add(name, amount);
        }
    }

    /// The differences, none below zero.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        self.iter()
            .map(|(name, amount)| (name.to_owned(), amount.less(other.get(name))))
            .collect()
    }

    /// Whether there is at least as much of everything as in `other`.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|(name, amount)| self.get(name) >= amount)
    }

    /// Names and amounts in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Milli)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }
}

impl FromIterator<(String, Milli)> for Quantities {
    fn from_iter<I: IntoIterator<Item = (String, Milli)>>(pairs: I) -> Self {
        let mut quantities = Self::new();
        for (name, amount) in pairs {
            quantities.add(&name, amount);
        }
        quantities
    }
}

impl From<BTreeMap<String, Milli>> for Quantities {
    fn from(map: BTreeMap<String, Milli>) -> Self {
        map.into_iter().collect()
    }
}

impl From<Quantities> for BTreeMap<String, Milli> {
    fn from(quantities: Quantities) -> Self {
        quantities.0
    }
}

impl From<&Resources> for Quantities {
    fn from(resources: &Resources) -> Self {
        let mut quantities = Self::new();
        quantities.add_resources(resources);
        quantities
    }
}

impl fmt::Display for Quantities {
    /// `cpus:4; mem:1024`; `{}` when there is none of anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("{}");
        }
        for (i, (name, amount)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{name}:{amount}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    #[test]
    fn sums_go_over_reservations_and_zero_is_dropped() {
        let resources = parse::resources("cpus:1;cpus(a):2;ports:[1-9]", "*").unwrap();
        let sums = Quantities::from(&resources);
        assert_eq!(sums.to_string(), "cpus:3");
        assert!(sums.less(&sums).is_empty());
        let mut more = sums.clone();
        more.add("cpus", Milli(-5000));
        assert!(more.is_empty());
        assert!(sums.contains(&more) && !more.contains(&sums));
    }
}
