//! What tests of several crates need: chance from a seed, arbitrary values of the replicated
//! state machine's types, a small imagined cluster that asks what a real one would ask, an agent around its
//! real machine, rules that span entries, requests with something wrong in them, and connections that can be
//! broken at will.
//!
//! Nothing here is compiled into the program.

pub mod agent;
pub mod arbitrary;
pub mod malformed;
mod proxy;
mod rng;
pub mod rules;
pub mod workload;

pub use proxy::Proxy;
pub use rng::Rng;
pub use workload::Workload;
