//! The collection of resources and its arithmetic.
//!
//! Canonical form, kept by every operation, so that equal resources are equal values: entries in
//! order of their key, divisible amounts of one key joined, whole things of the same size counted,
//! and nothing that amounts to nothing.
//!
//! *Divisible* amounts (cpus, ports) add up and can be taken in parts. *Whole* things (persistent
//! volumes, file systems, shared resources; [`ResourceKey::is_whole`]) are counted: they can be
//! taken only whole, as often as they were added. For a shared resource the count says how many
//! hold it; an agent's total has it once, so whoever compares uses with totals must set shared
//! resources aside first ([`Resources::non_shared`]).

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Milli, ResourceKey, Value};

/// One entry of a collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// Of what.
    pub key: ResourceKey,
    /// How much; for a whole thing, the size of one.
    pub value: Value,
    /// How often a whole thing is there; 1 for what is divisible.
    pub copies: u32,
}

impl Resource {
    /// The order of entries: sizes of whole things tell them apart, amounts of others do not.
    fn place(&self, key: &ResourceKey, value: &Value) -> Ordering {
        self.key
            .cmp(key)
            .then_with(|| self.value.kind().cmp(&value.kind()))
            .then_with(|| {
                if key.is_whole() {
                    self.value.cmp(value)
                } else {
                    Ordering::Equal
                }
            })
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key, self.value)?;
        if self.copies > 1 {
            write!(f, "<{}>", self.copies)?;
        }
        Ok(())
    }
}

/// The first resource that falls short of what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {wanted} wanted, {available} available")]
pub struct Shortage {
    /// Its name with reservation and disk, as text.
    pub resource: String,
    /// How much is asked, as text.
    pub wanted: String,
    /// How much there is, as text.
    pub available: String,
}

/// An ordered, canonical collection of resources. Cloning costs a reference count.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Resource>", into = "Vec<Resource>")]
pub struct Resources {
    entries: Arc<Vec<Resource>>,
}

impl Resources {
    /// No resources.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No resources.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A plain, unreserved scalar.
    #[must_use]
    pub fn of_scalar(name: &str, amount: Milli) -> Self {
        std::iter::once((ResourceKey::new(name), Value::Scalar(amount))).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in order, whole things counted.
    #[must_use]
    pub fn entries(&self) -> &[Resource] {
        &self.entries
    }

    /// Key and value of each resource in order; a whole thing that is there several times is given
    /// as often. Collecting them gives the same resources again.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceKey, &Value)> {
        self.entries.iter().flat_map(|entry| {
            std::iter::repeat_n((&entry.key, &entry.value), entry.copies as usize)
        })
    }

    /// The sum of the scalars of this name, whoever they are reserved for. A shared resource
    /// counts once, however many hold it.
    #[must_use]
    pub fn scalar(&self, name: &str) -> Milli {
        self.scalar_sums()
            .filter(|(other, _)| *other == name)
            .map(|(_, amount)| amount)
            .sum()
    }

    /// Name and amount of each scalar entry, in the order of names, which may repeat.
    pub fn scalar_sums(&self) -> impl Iterator<Item = (&str, Milli)> {
        self.entries.iter().filter_map(|entry| {
            let one = entry.value.as_scalar()?;
            let times = if entry.key.shared { 1 } else { entry.copies };
            Some((
                entry.key.name.as_str(),
                Milli(one.0.saturating_mul(i64::from(times))),
            ))
        })
    }

    /// The names, each once, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let mut last = None;
        self.entries.iter().filter_map(move |entry| {
            let name = entry.key.name.as_str();
            (last.replace(name) != Some(name)).then_some(name)
        })
    }

    /// Adds one resource; nothing when the value amounts to nothing.
    pub fn insert(&mut self, mut key: ResourceKey, value: Value) {
        if value.is_empty() {
            return;
        }
        key.normalize();
        self.add_entry(Resource {
            key,
            value,
            copies: 1,
        });
    }

    /// `entry` is normalized and amounts to something.
    fn add_entry(&mut self, entry: Resource) {
        let place = self
            .entries
            .binary_search_by(|other| other.place(&entry.key, &entry.value));
        let entries = Arc::make_mut(&mut self.entries);
        match place {
            Err(at) => entries.insert(at, entry),
            Ok(at) if entry.key.is_whole() => {
                entries[at].copies = entries[at].copies.saturating_add(entry.copies);
            }
            Ok(at) => entries[at].value.add(&entry.value),
        }
    }

    /// Whether all of `wanted` can be taken from these.
    #[must_use]
    pub fn contains(&self, wanted: &Self) -> bool {
        Arc::ptr_eq(&self.entries, &wanted.entries)
            || wanted
                .entries
                .iter()
                .all(|entry| self.find_enough(entry).is_ok())
    }

    /// What is left after taking `wanted`.
    ///
    /// # Errors
    /// The first resource of which there is not enough; then nothing is taken.
    pub fn checked_sub(&self, wanted: &Self) -> Result<Self, Shortage> {
        if Arc::ptr_eq(&self.entries, &wanted.entries) {
            return Ok(Self::empty());
        }
        let mut left = self.clone();
        for entry in wanted.entries.iter() {
            let at = left.find_enough(entry)?;
            let entries = Arc::make_mut(&mut left.entries);
            let emptied = if entry.key.is_whole() {
                entries[at].copies -= entry.copies;
                entries[at].copies == 0
            } else {
                entries[at].value.take(&entry.value);
                entries[at].value.is_empty()
            };
            if emptied {
                entries.remove(at);
            }
        }
        Ok(left)
    }

    /// What is left of these, a total, while `used` is in use. A shared resource is left however
    /// many hold it.
    ///
    /// # Errors
    /// The first resource of which more is in use than there is.
    pub fn without_used(&self, used: &Self) -> Result<Self, Shortage> {
        for entry in used.entries.iter().filter(|entry| entry.key.shared) {
            let mut once = entry.clone();
            once.copies = 1;
            self.find_enough(&once)?;
        }
        self.checked_sub(&used.non_shared())
    }

    /// Where there is enough of `wanted`.
    fn find_enough(&self, wanted: &Resource) -> Result<usize, Shortage> {
        let place = self
            .entries
            .binary_search_by(|other| other.place(&wanted.key, &wanted.value));
        if let Ok(at) = place {
            let there = &self.entries[at];
            let enough = if wanted.key.is_whole() {
                there.copies >= wanted.copies
            } else {
                there.value.contains(&wanted.value)
            };
            if enough {
                return Ok(at);
            }
        }
        Err(self.shortage(wanted))
    }

    fn shortage(&self, wanted: &Resource) -> Shortage {
        let describe = |entry: &Resource| {
            if entry.copies > 1 {
                format!("{} x {}", entry.copies, entry.value)
            } else {
                entry.value.to_string()
            }
        };
        let there: Vec<String> = self
            .entries
            .iter()
            .filter(|entry| entry.key == wanted.key)
            .map(describe)
            .collect();
        Shortage {
            resource: wanted.key.to_string(),
            wanted: describe(wanted),
            available: if there.is_empty() {
                "none".to_owned()
            } else {
                there.join(" and ")
            },
        }
    }

    /// The part whose entries `keep` accepts; the same collection, uncopied, when it keeps all.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&Resource) -> bool) -> Self {
        if self.entries.iter().all(&keep) {
            return self.clone();
        }
        self.entries.iter().filter(|e| keep(e)).cloned().collect()
    }
}

impl From<Vec<Resource>> for Resources {
    fn from(entries: Vec<Resource>) -> Self {
        entries.into_iter().collect()
    }
}

impl From<Resources> for Vec<Resource> {
    fn from(resources: Resources) -> Self {
        Arc::unwrap_or_clone(resources.entries)
    }
}

impl FromIterator<Resource> for Resources {
    fn from_iter<I: IntoIterator<Item = Resource>>(entries: I) -> Self {
        let mut resources = Self::default();
        for mut entry in entries {
            if entry.copies == 0 || entry.value.is_empty() {
                continue;
            }
            entry.key.normalize();
            if !entry.key.is_whole() {
                entry.copies = 1;
            }
            resources.add_entry(entry);
        }
        resources
    }
}

impl FromIterator<(ResourceKey, Value)> for Resources {
    fn from_iter<I: IntoIterator<Item = (ResourceKey, Value)>>(pairs: I) -> Self {
        let mut resources = Self::default();
        for (key, value) in pairs {
            resources.insert(key, value);
        }
        resources
    }
}

impl AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, rhs: &Resources) {
        if self.is_empty() {
            self.clone_from(rhs);
            return;
        }
        for entry in rhs.entries.iter() {
            self.add_entry(entry.clone());
        }
    }
}

impl AddAssign for Resources {
    fn add_assign(&mut self, rhs: Resources) {
        *self += &rhs;
    }
}

impl Add<&Resources> for Resources {
    type Output = Self;

    fn add(mut self, rhs: &Resources) -> Self {
        self += rhs;
        self
    }
}

impl Add for Resources {
    type Output = Self;

    fn add(self, rhs: Resources) -> Self {
        self + &rhs
    }
}

impl Add<&Resources> for &Resources {
    type Output = Resources;

    fn add(self, rhs: &Resources) -> Resources {
        self.clone() + rhs
    }
}

impl<'a> std::iter::Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(iter: I) -> Self {
        iter.fold(Self::default(), |sum, next| sum + next)
    }
}

impl fmt::Display for Resources {
    /// As Mesos writes them: `cpus:4; mem:1024; ports:[31000-32000]`; `{}` when there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("{}");
        }
        for (i, entry) in self.entries.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{entry}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
