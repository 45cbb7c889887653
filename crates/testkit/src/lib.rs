//! What tests of several crates need: chance from a seed, arbitrary values of the replicated
//! state machine's types, and a small imagined cluster that asks what a real one would ask.
//!
//! Nothing here is compiled into the program.

pub mod arbitrary;
mod rng;
pub mod workload;

pub use rng::Rng;
pub use workload::Workload;
