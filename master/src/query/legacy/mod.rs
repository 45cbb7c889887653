//! The JSON of the older endpoints: `/state`, `/slaves`, `/frameworks`, `/tasks`, `/roles`.
//!
//! Exporters, service discovery and web interfaces read these by key, so keys, types and forms of
//! numbers are those of Mesos 1.11: resources and times are floating numbers (`1.0`), ranges and
//! sets are strings. Where an agent is meant the word is `slave`, as it was when the keys were
//! made; the word appears nowhere else.
//!
//! Each function gives something to serialize, which walks the state as it is written: no tree
//! of the whole answer is built.

mod agent;
mod excluded;
mod executor;
mod framework;
mod master;
mod resources;
mod role;
mod summary;
mod task;

pub use agent::slaves;
pub use excluded::offer_constraints_debug;
pub use framework::frameworks;
pub use master::{flags, state, version};
pub use role::roles;
pub use summary::summary;
pub use task::{Order, TASKS_LIMIT_DEFAULT, TasksQuery, tasks};

use serde::ser::{Serialize, Serializer};

/// A list made anew each time it is written.
struct List<F>(F);

impl<F, I> Serialize for List<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}
