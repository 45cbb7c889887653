//! What is left of an agent during a run, and for whom.

use regency_resources::{Resources, Shortage, role};

use crate::quota;

/// The available resources of one agent, less what this run has given away.
#[derive(Debug, Clone)]
pub(crate) struct Remainder {
    all: Resources,
    unreserved: Resources,
    /// Roles that something of it is reserved for, each once.
    reserved_roles: Vec<String>,
    /// Whether some unreserved scalar is beyond the reach of quotas.
    has_free_scalar: bool,
}

impl Remainder {
    pub(crate) fn new(all: Resources) -> Self {
        let mut reserved_roles: Vec<String> = all
            .entries()
            .iter()
            .filter_map(|entry| entry.key.reserved_role())
            .map(str::to_owned)
            .collect();
        reserved_roles.sort_unstable();
        reserved_roles.dedup();
        Self {
            has_free_scalar: all.entries().iter().any(|entry| {
                entry.key.reservations.is_empty()
                    && entry.value.as_scalar().is_some()
                    && !quota::is_held_back(entry)
            }),
            unreserved: all.unreserved(),
            reserved_roles,
            all,
        }
    }

    pub(crate) fn all(&self) -> &Resources {
        &self.all
    }

    pub(crate) fn unreserved(&self) -> &Resources {
        &self.unreserved
    }

    pub(crate) fn reserved_roles(&self) -> impl Iterator<Item = &str> {
        self.reserved_roles.iter().map(String::as_str)
    }

    /// Whether quotas cannot keep some scalar here from `role`.
    pub(crate) fn is_beyond_quota(&self, role: &str) -> bool {
        self.has_free_scalar || self.is_reserved_for(role)
    }

    /// Whether quotas cannot keep some unreserved scalar here from anybody.
    pub(crate) fn has_free_scalar(&self) -> bool {
        self.has_free_scalar
    }

    fn is_reserved_for(&self, name: &str) -> bool {
        self.reserved_roles().any(|r| role::is_within(name, r))
    }

    /// What `role` may use.
    pub(crate) fn for_role(&self, name: &str) -> Resources {
        // Most agents have no reservations and most roles none on this agent: no copying for them.
        if self.is_reserved_for(name) {
            self.all.allocatable_to(name)
        } else {
            self.unreserved.clone()
        }
    }

    /// Takes an offer out. A shared resource goes with it: it is offered once in a run.
    pub(crate) fn take(&mut self, offer: &Resources) -> Result<(), Shortage> {
        *self = Self::new(self.all.checked_sub(offer)?);
        Ok(())
    }
}
