//! Real processes, faults, and what must hold all the same.
//!
//! Everything works from outside, but for [`model`] and [`invariants`]: they run the pure crates
//! through millions of failures, without processes. The rest is processes of the one binary, started by
//! `regency local --json --no-demo --no-restart`, signals, files that tasks write, and the public
//! APIs. What a test believes, it has seen there.
//!
//! [`binary`] finds or builds the binary, [`cluster`] starts, kills and restarts processes,
//! [`masters`] are masters that join, [`operator`] types commands, [`writes`] is a load that is
//! accounted for, [`scheduler`] is a framework that remembers what it was told, [`ledger`] is what
//! tasks themselves say, [`watcher`] an operator who watches events, [`wait`] waits for conditions.

pub mod binary;
pub mod cluster;
pub mod invariants;
pub mod ledger;
pub mod masters;
pub mod model;
pub mod operator;
pub mod scheduler;
pub mod threads;
pub mod wait;
pub mod watcher;
pub mod writes;
