//! The master: the edges that speak protocols, the duties of a leader, and the queries.
//!
//! Suggested reading order: [`flags`] and `run` for the wiring; `leader` for what only the leading
//! master does; `api` for clients' HTTP, `rpc` for agents' gRPC; `query` for reads. What is true
//! is decided in `regency-state`; nothing here may tell anybody anything that is not committed.

pub mod api;
pub mod counters;
pub mod flags;
mod http_server;
mod leader;
mod limit_flags;
pub mod metrics;
mod offer_constraints;
mod offer_filters;
pub mod query;
mod rpc;
mod run;
mod timing_flags;
mod zk_facade;

pub use flags::{MasterFlags, Peer};
pub use run::run;
