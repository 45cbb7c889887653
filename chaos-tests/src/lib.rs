//! Real processes, faults, and what must hold all the same.
//!
//! Everything here works from outside: processes of the one binary, started by
//! `regency local --json --no-demo --no-restart`, signals, files that tasks write, and the public
//! APIs. What a test believes, it has seen there.
//!
//! [`binary`] finds or builds the binary, [`cluster`] starts, kills and restarts processes,
//! [`scheduler`] is a framework that remembers what it was told, [`ledger`] is what tasks
//! themselves say, [`wait`] waits for conditions.

pub mod binary;
pub mod cluster;
pub mod ledger;
pub mod scheduler;
pub mod wait;
