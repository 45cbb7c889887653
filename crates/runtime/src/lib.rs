//! What acting in time needs: a clock, a mint for ids, delays between retries, named tasks, and
//! the signal to stop.
//!
//! The pure crates cannot depend on this one, so whatever they decide with (time, ids) has to be
//! read here, at the edge, and handed to them as an argument.

pub mod backoff;
pub mod clock;
pub mod ids;
pub mod shutdown;
pub mod simulation;
pub mod tasks;

pub use backoff::Backoff;
#[cfg(any(test, feature = "test-util"))]
pub use clock::FakeClock;
pub use clock::{Clock, SystemClock};
#[cfg(any(test, feature = "test-util"))]
pub use ids::CountingIds;
pub use ids::{IdMint, RandomIds};
pub use shutdown::{StopSignal, stop_signal};
pub use simulation::{simulated, spawn_blocking};
pub use tasks::{Ended, TaskSet, Why};
