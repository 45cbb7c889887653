//! Parts of a collection, and the same resources under another reservation.

use std::collections::BTreeMap;

use crate::{Reservation, Resource, Resources, ValueKind};

impl Resources {
    /// What is reserved for nobody.
    #[must_use]
    pub fn unreserved(&self) -> Self {
        self.filter(|e| e.key.reservations.is_empty())
    }

    /// What is reserved for anybody.
    #[must_use]
    pub fn reserved(&self) -> Self {
        self.filter(|e| !e.key.reservations.is_empty())
    }

    /// What is reserved for exactly this role.
    #[must_use]
    pub fn reserved_to(&self, role: &str) -> Self {
        self.filter(|e| e.key.reserved_role() == Some(role))
    }

    /// What is reserved, by role.
    #[must_use]
    pub fn reservations(&self) -> BTreeMap<String, Self> {
        let mut by_role: BTreeMap<String, Self> = BTreeMap::new();
        for entry in self.entries() {
            if let Some(role) = entry.key.reserved_role() {
                *by_role.entry(role.to_owned()).or_default() +=
                    std::iter::once(entry.clone()).collect::<Self>();
            }
        }
        by_role
    }

    /// What `role` may use: unreserved, or reserved for it or a role above it.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        self.filter(|e| e.key.is_allocatable_to(role))
    }

    /// What may be taken away from a running task.
    #[must_use]
    pub fn revocable(&self) -> Self {
        self.filter(|e| e.key.revocable)
    }

    /// What a task keeps until it ends.
    #[must_use]
    pub fn non_revocable(&self) -> Self {
        self.filter(|e| !e.key.revocable)
    }

    /// What several tasks may use at once.
    #[must_use]
    pub fn shared(&self) -> Self {
        self.filter(|e| e.key.shared)
    }

    /// What only one task can use at a time.
    #[must_use]
    pub fn non_shared(&self) -> Self {
        self.filter(|e| !e.key.shared)
    }

    /// The scalars.
    #[must_use]
    pub fn scalars(&self) -> Self {
        self.filter(|e| e.value.kind() == ValueKind::Scalar)
    }

    /// Ranges and sets.
    #[must_use]
    pub fn non_scalars(&self) -> Self {
        self.filter(|e| e.value.kind() != ValueKind::Scalar)
    }

    /// The resources of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        self.filter(|e| e.key.name == name)
    }

    /// The persistent volumes.
    #[must_use]
    pub fn persistent_volumes(&self) -> Self {
        self.filter(|e| e.key.is_persistent_volume())
    }

    /// What belongs to this resource provider; to the agent itself for `None`.
    #[must_use]
    pub fn of_provider(&self, provider_id: Option<&str>) -> Self {
        self.filter(|e| e.key.provider_id.as_deref() == provider_id)
    }

    /// Whether any of `other` could be taken from these: there is something under the same key.
    #[must_use]
    pub fn shares_any(&self, other: &Self) -> bool {
        self.entries()
            .iter()
            .any(|e| other.entries().iter().any(|o| o.key == e.key))
    }

    /// The same amounts with every reservation taken off.
    #[must_use]
    pub fn to_unreserved(&self) -> Self {
        self.rekeyed(|entry| entry.key.reservations.clear())
    }

    /// The same amounts with one more reservation on top of each stack.
    #[must_use]
    pub fn push_reservation(&self, reservation: &Reservation) -> Self {
        self.rekeyed(|entry| entry.key.reservations.push(reservation.clone()))
    }

    /// The same amounts with the topmost reservation of each taken off, if it has one.
    #[must_use]
    pub fn pop_reservation(&self) -> Self {
        self.rekeyed(|entry| {
            entry.key.reservations.pop();
        })
    }

    fn rekeyed(&self, change: impl Fn(&mut Resource)) -> Self {
        self.entries()
            .iter()
            .map(|entry| {
                let mut entry = entry.clone();
                change(&mut entry);
                entry
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn text(text: &str) -> Resources {
        parse::resources(text, "*").unwrap()
    }

    #[test]
    fn a_role_may_use_what_is_reserved_for_it_or_above_it() {
        let all = text("cpus:1;cpus(eng):2;cpus(eng/web):4;cpus(ads):8");
        for (role, cpus) in [
            ("eng", 3),
            ("eng/web", 7),
            ("eng/web/blue", 7),
            ("ads", 9),
            ("*", 1),
        ] {
            assert_eq!(
                all.allocatable_to(role).scalar("cpus").0,
                cpus * 1000,
                "{role}"
            );
        }
        assert_eq!(all.reserved_to("eng"), text("cpus(eng):2"));
        assert_eq!(
            all.reservations().keys().collect::<Vec<_>>(),
            vec!["ads", "eng", "eng/web"]
        );
    }

    #[test]
    fn pushing_and_popping_a_reservation_gives_the_same_back() {
        let plain = text("cpus:4;mem:8;ports:[1-2]");
        let reserved = plain.push_reservation(&Reservation::dynamic("eng", Some("p".to_owned())));
        assert_eq!(reserved.reserved_to("eng"), reserved);
        assert_eq!(reserved.pop_reservation(), plain);
        assert_eq!(
            (&plain + &reserved).to_unreserved(),
            text("cpus:8;mem:16;ports:[1-2]")
        );
    }
}
