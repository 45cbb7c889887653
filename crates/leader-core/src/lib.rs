//! The decisions of a leader's duties, without I/O.
//!
//! The duties themselves are loops in the master: they wait, look, propose and send. What they
//! decide is here, as functions of the replicated state, of a time and of what this leader saw for
//! itself, so that every order of failures can be tried in memory.
//!
//! This crate deliberately knows no clock, no chance, no task, no socket and no protobuf.
//!
//! * [`attachment`]: whether an agent is let in, and what it is asked and sent first.
//! * [`allocation`]: the cluster as the allocator is to see it, and rounds cut into entries.
//! * [`liveness`]: which agents are silent, for how long, and what follows.
//! * [`awaited`]: frameworks whose stream is missing after a change of leader.
//! * [`expiry`]: what is due by cluster time.
//! * [`subscription`]: what a framework is sent when its stream opens.
//! * [`maintenance`]: who is to be asked to leave, and which draining agents are empty.
//! * [`registry`]: which agents that are gone or unreachable are to be forgotten.
//! * [`retries`]: when an update that nobody acknowledged is sent again.

pub mod allocation;
pub mod attachment;
pub mod awaited;
pub mod expiry;
pub mod liveness;
pub mod maintenance;
pub mod registry;
pub mod retries;
pub mod subscription;
