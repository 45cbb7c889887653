//! The fast model run: the replicated state, the allocator, the leader's decisions and the agents'
//! machines as they are in the program, around a model of everything else.
//!
//! What is real: [`regency_state::State`], [`regency_allocator`], [`regency_leader_core`],
//! [`regency_agent_core`]. What is a model: the log of the masters ([`log`]: it loses, delays and
//! reorders proposals, and leaders die or are deposed between any two steps), the leader's runtime
//! ([`leader`], `session`), the network, the agents' driver and processes
//! ([`regency_testkit::agent`]), and the frameworks ([`framework`]), which play by the rules of Mesos.
//!
//! A history is a list of [`Op`]s drawn from a seed. Running it is deterministic, also when steps are
//! left out, which is how a failing one is shrunk. After the last step faults end and everything must
//! heal (`heal`). What must hold is in [`crate::invariants`].

mod agents;
pub mod campaign;
mod convert;
mod coverage;
pub mod framework;
mod frameworks;
mod heal;
pub mod leader;
pub mod log;
#[cfg(feature = "mutants")]
pub mod mutants;
mod op;
mod operator;
mod run;
mod session;
mod shrink;
mod world;

pub use coverage::{Coverage, Fault};
pub use op::{Kind, Op, history};
pub use run::{Failure, Found, N_STEPS_MAX, Outcome, run_history, run_seed, trace_of};
pub use shrink::shrink;
pub use world::World;

/// Silence after which an agent is given up, as the masters have it by default.
pub const AGENT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(75);
/// How long frameworks are awaited before their offers are taken back, by default.
pub const OFFER_GRACE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long frameworks are awaited before they count as disconnected, by default.
pub const FRAMEWORK_GRACE: std::time::Duration = std::time::Duration::from_secs(75);
