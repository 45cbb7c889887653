//! Turning resources into others of the same amount: reservations and persistent volumes.

use std::ops::AddAssign;

use crate::{ReservationKind, Resource, ResourceKey, Resources, Shortage};

/// What goes and what comes in its place. Both amount to the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversion {
    /// What goes.
    pub consumed: Resources,
    /// What comes in its place.
    pub converted: Resources,
}

impl Conversion {
    /// The resources after the conversion.
    ///
    /// # Errors
    /// The first resource of which there is not enough to consume.
    pub fn apply_to(&self, resources: &Resources) -> Result<Resources, Shortage> {
        Ok(resources.checked_sub(&self.consumed)? + &self.converted)
    }
}

impl AddAssign for Conversion {
    fn add_assign(&mut self, rhs: Self) {
        self.consumed += rhs.consumed;
        self.converted += rhs.converted;
    }
}

impl ResourceKey {
    /// Whether its innermost reservation was made by an operation.
    #[must_use]
    pub fn is_dynamically_reserved(&self) -> bool {
        self.reservations
            .last()
            .is_some_and(|r| r.kind == ReservationKind::Dynamic)
    }

    /// The disk that a persistent volume was made of: nothing persists on it, nothing is mounted.
    #[must_use]
    pub fn without_volume(&self) -> Self {
        let mut key = self.clone();
        key.shared = false;
        key.disk = key.disk.and_then(|mut disk| {
            disk.persistence = None;
            disk.volume = None;
            disk.source.is_some().then_some(disk)
        });
        key
    }

    /// What it was before any operation: no volume, and only reservations of the agent's flags.
    fn origin(&self) -> Self {
        let mut key = self.without_volume();
        key.reservations
            .retain(|r| r.kind == ReservationKind::Static);
        key
    }
}

impl Resources {
    /// What only operations make and an agent's description does not tell: dynamic reservations
    /// and persistent volumes. Mesos calls these the checkpointed resources.
    #[must_use]
    pub fn checkpointed(&self) -> Self {
        self.filter(|e| e.key.is_dynamically_reserved() || e.key.is_persistent_volume())
    }

    /// The same amounts as they were before any operation.
    #[must_use]
    pub fn origin(&self) -> Self {
        self.iter()
            .map(|(key, value)| (key.origin(), value.clone()))
            .collect()
    }

    /// These as an agent described them, with what operations made of them.
    ///
    /// # Errors
    /// The first resource that something was made of and that is not there (any more).
    pub fn with_checkpointed(&self, checkpointed: &Self) -> Result<Self, Shortage> {
        if checkpointed.is_empty() {
            return Ok(self.clone());
        }
        Conversion {
            consumed: checkpointed.origin(),
            converted: checkpointed.clone(),
        }
        .apply_to(self)
    }

    /// The only entry, when there is exactly one thing.
    #[must_use]
    pub fn single(&self) -> Option<&Resource> {
        match self.entries() {
            [only] if only.copies == 1 => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DiskInfo, Persistence, Reservation, Value, Volume, VolumeMode, parse};

    fn text(text: &str) -> Resources {
        parse::resources(text, "*").unwrap()
    }

    fn volume(of: &Resources, id: &str) -> Resources {
        of.iter()
            .map(|(key, value)| {
                let mut key = key.clone();
                key.disk = Some(Box::new(DiskInfo {
                    persistence: Some(Persistence {
                        id: id.to_owned(),
                        principal: None,
                    }),
                    volume: Some(Volume {
                        container_path: "data".to_owned(),
                        host_path: None,
                        mode: VolumeMode::ReadWrite,
                    }),
                    source: None,
                }));
                (key, value.clone())
            })
            .collect()
    }

    #[test]
    fn what_operations_made_leads_back_to_where_it_came_from() {
        let described = text("cpus:4;disk:100;disk(eng):50");
        let reserved = text("cpus:1;disk:20").push_reservation(&Reservation::dynamic("eng", None));
        let refined = text("disk(eng):10").push_reservation(&Reservation::dynamic("eng/web", None));
        let mut made = reserved.named("cpus");
        made += volume(&reserved.named("disk"), "one");
        made += &refined;
        assert_eq!(made.checkpointed(), made);
        assert_eq!(made.origin(), text("cpus:1;disk:20;disk(eng):10"));
        let total = described.with_checkpointed(&made).unwrap();
        assert_eq!(total.origin(), described);
        assert_eq!(total.checkpointed(), made);
        assert_eq!(total.scalar("disk"), described.scalar("disk"));
    }

    #[test]
    fn a_volume_of_statically_reserved_disk_is_checkpointed_and_its_disk_is_not() {
        let made = volume(&text("disk(eng):10"), "one");
        assert_eq!(made.checkpointed(), made);
        assert_eq!(made.origin(), text("disk(eng):10"));
        assert!(text("disk(eng):10").checkpointed().is_empty());
    }

    #[test]
    fn two_volumes_of_one_size_lead_back_to_twice_the_disk() {
        let one = volume(&text("disk(eng):10"), "one");
        let twice = &one + &one;
        assert_eq!(twice.origin(), text("disk(eng):20"));
        assert_eq!(twice.single(), None);
        assert_eq!(one.single().map(|e| &e.value), Some(&Value::units(10)));
    }

    #[test]
    fn what_is_not_there_cannot_have_been_made_of() {
        let made = text("cpus:2").push_reservation(&Reservation::dynamic("eng", None));
        assert!(text("cpus:1").with_checkpointed(&made).is_err());
    }
}
