//! Of what a value is an amount.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DiskInfo, Reservation, ReservationKind, role};

/// Everything about a resource but how much of it there is. Amounts under equal keys add up.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// `cpus`, `mem`, `disk`, `gpus`, `ports`, or any other name.
    pub name: String,
    /// From the least to the most refined; empty when it is not reserved.
    pub reservations: Vec<Reservation>,
    /// Which disk, when it is not just space in the agent's work directory.
    pub disk: Option<Box<DiskInfo>>,
    /// The resource provider it belongs to; the agent itself when absent.
    pub provider_id: Option<String>,
    /// Whether it may be taken away from a running task.
    pub revocable: bool,
    /// Whether several tasks may use it at once.
    pub shared: bool,
}

impl ResourceKey {
    /// A plain, unreserved resource.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// A resource reserved for `role` by the agent's flags; unreserved for the role `*`.
    pub fn fixed(name: impl Into<String>, role: &str) -> Self {
        let mut key = Self::new(name);
        if role != role::DEFAULT {
            key.reservations.push(Reservation::fixed(role));
        }
        key
    }

    /// The role it is reserved for; `None` when it is not reserved.
    #[must_use]
    pub fn reserved_role(&self) -> Option<&str> {
        self.reservations.last().map(|r| r.role.as_str())
    }

    /// Whether `role` may use it: it is unreserved, or reserved for the role or one above it.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.reserved_role()
            .is_none_or(|reserved| role::is_within(role, reserved))
    }

    /// Whether it is a persistent volume.
    #[must_use]
    pub fn is_persistent_volume(&self) -> bool {
        self.disk.as_ref().is_some_and(|d| d.persistence.is_some())
    }

    /// Whether amounts under this key are whole things that are never split or joined: shared
    /// resources and indivisible disks.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.shared || self.disk.as_ref().is_some_and(|d| d.is_indivisible())
    }

    /// Brings parts whose order means nothing into one order.
    pub(crate) fn normalize(&mut self) {
        for reservation in &mut self.reservations {
            reservation.labels.sort();
        }
        if let Some(source) = self.disk.as_mut().and_then(|d| d.source.as_mut()) {
            source.metadata.sort();
        }
    }
}

impl fmt::Display for ResourceKey {
    /// The part of Mesos' text form before the colon. A single static reservation is written
    /// `cpus(role)`, which [`crate::parse`] reads; the other decorations are for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.reservations.as_slice() {
            [] => {}
            [only]
                if only.kind == ReservationKind::Static
                    && only.principal.is_none()
                    && only.labels.is_empty() =>
            {
                write!(f, "({})", only.role)?;
            }
            stack => {
                f.write_str("(reservations: [")?;
                for (i, reservation) in stack.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{reservation}")?;
                }
                f.write_str("])")?;
            }
        }
        if let Some(disk) = &self.disk {
            write!(f, "[{disk}]")?;
        }
        if self.revocable {
            f.write_str("{REV}")?;
        }
        if self.shared {
            f.write_str("<SHARED>")?;
        }
        Ok(())
    }
}
