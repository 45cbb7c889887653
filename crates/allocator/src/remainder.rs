//! What is left of an agent during a run, and for whom.

use regency_resources::{Resources, Shortage, role};

/// The available resources of one agent, less what this run has given away.
#[derive(Debug, Clone)]
pub(crate) struct Remainder {
    all: Resources,
    unreserved: Resources,
    /// Roles that something of it is reserved for, each once.
    reserved_roles: Vec<String>,
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

    /// What `role` may use.
    pub(crate) fn for_role(&self, name: &str) -> Resources {
        // Most agents have no reservations and most roles none on this agent: no copying for them.
        if self.reserved_roles().any(|r| role::is_within(name, r)) {
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
