//! Arbitrary values: every field takes every kind of value it can, whether it makes sense or not.
//!
//! For tests of stored and wire forms. Struct literals without `..` make sure that a new field
//! is not forgotten.

mod command;
mod record;
mod resource;

use bytes::Bytes;
use regency_types::{
    AgentId, ClusterTime, DurationMs, FrameworkId, Generation, IdError, OperationId, OperationKey,
    TaskId, TaskKey, TaskState, UpdateUuid, WallTime,
};

use crate::Rng;

pub use command::{N_COMMANDS, command, place_of, resource_operation};
pub use record::{parts, quota, verdict};
pub use resource::resources;

/// Some text, possibly empty, not only of ASCII.
pub fn text(rng: &mut Rng) -> String {
    const PIECES: [&str; 6] = ["", "a", "eng/web", "näme", "x y\n", "0123456789"];
    let mut text = String::new();
    for _ in 0..rng.below(4) {
        text.push_str(PIECES[rng.index(PIECES.len())]);
    }
    text
}

/// Some bytes, possibly none.
pub fn bytes(rng: &mut Rng) -> Bytes {
    Bytes::from(rng.several(20, |rng| rng.number() as u8))
}

fn id<T>(rng: &mut Rng, make: impl Fn(String) -> Result<T, IdError>) -> T {
    let n = rng.any_size();
    let text = match rng.below(3) {
        0 => format!("{n}"),
        1 => format!("00000000-0000-0000-0000-000000000007-S{n}"),
        _ => format!("tâche {n}: é"),
    };
    make(text).expect("all forms are valid ids")
}

/// Some framework's id.
pub fn framework_id(rng: &mut Rng) -> FrameworkId {
    id(rng, FrameworkId::new)
}

/// Some agent's id.
pub fn agent_id(rng: &mut Rng) -> AgentId {
    id(rng, AgentId::new)
}

/// Some task's id.
pub fn task_id(rng: &mut Rng) -> TaskId {
    id(rng, TaskId::new)
}

/// Some task's key.
pub fn task_key(rng: &mut Rng) -> TaskKey {
    TaskKey {
        framework: framework_id(rng),
        task: task_id(rng),
    }
}

/// Some operation's key.
pub fn operation_key(rng: &mut Rng) -> OperationKey {
    OperationKey {
        framework: framework_id(rng),
        operation: id(rng, OperationId::new),
    }
}

/// Some state of a task.
pub fn task_state(rng: &mut Rng) -> TaskState {
    TaskState::ALL[rng.index(TaskState::ALL.len())]
}

fn time(rng: &mut Rng) -> ClusterTime {
    ClusterTime(rng.any_size())
}

fn wall(rng: &mut Rng) -> WallTime {
    WallTime(rng.any_size())
}

fn duration(rng: &mut Rng) -> DurationMs {
    DurationMs(rng.any_size())
}

fn generation(rng: &mut Rng) -> Generation {
    Generation(rng.any_size())
}

fn uuid(rng: &mut Rng) -> UpdateUuid {
    UpdateUuid(rng.wide_number())
}
